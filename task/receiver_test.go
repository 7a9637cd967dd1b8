package task_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// What a client is told of its receiver tells nothing of the network in between.
func TestWhatIsToldOfAReceiver(t *testing.T) {
	for want, hears := range map[string]func(*http.Request) (*http.Response, error){
		"redirects are not followed":                        func(*http.Request) (*http.Response, error) { return answer(302), nil },
		"the receiver answered 404":                         func(*http.Request) (*http.Response, error) { return answer(404), nil },
		"the receiver wants no more callbacks":              func(*http.Request) (*http.Response, error) { return answer(410), nil },
		"the receiver answered 101, and nobody asked it to": func(*http.Request) (*http.Response, error) { return answer(101), nil },
		"the connection to the receiver broke":              func(*http.Request) (*http.Response, error) { return nil, errors.New("10.0.0.7: reset") },
		"the receiver did not answer in time":               func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.hears(hears)
				id := w.accept()
				time.Sleep(31 * time.Second)
				require.Equal(t, want, w.task(id).Callback.Log[0].Error)
			})
		})
	}
}

// A host that refuses callbacks is there: its others are not held back. One
// that is in trouble gets a pause.
func TestWhichAnswersMeanThatAHostIsDown(t *testing.T) {
	for status, down := range map[int]bool{302: false, 400: false, 404: false, 429: true, 500: false, 501: false, 502: true, 503: true, 504: true, 505: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.hears(func(*http.Request) (*http.Response, error) { return answer(status), nil })
				for range 10 {
					w.accept()
				}
				time.Sleep(time.Second)
				if down {
					require.Len(t, w.received(), 3)
				} else {
					require.Len(t, w.received(), 10)
				}
			})
		})
	}
}

func TestTheResponseOfATask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.accept()
		synctest.Wait()
		_, response, body, err := w.engine.Response(t.Context(), id)
		require.NoError(t, err)
		defer body.Close()
		require.Equal(t, 200, response.Status)
		b, err := io.ReadAll(body)
		require.NoError(t, err)
		require.Equal(t, "answer", string(b))

		later := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) })
		got, response, _, err := w.engine.Response(t.Context(), later)
		require.NoError(t, err)
		require.Nil(t, response)
		require.Equal(t, task.Queued, got.Status)
		_, _, _, err = w.engine.Response(t.Context(), task.NewID(time.Now()))
		require.ErrorIs(t, err, task.ErrNotFound)
	})
}
