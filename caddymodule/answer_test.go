package caddymodule

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/task"
)

// leaver is a client that leaves when it has got so many bytes.
type leaver struct {
	*httptest.ResponseRecorder
	after int
	leave func()
}

func (l *leaver) Write(p []byte) (int, error) {
	n, err := l.ResponseRecorder.Write(p)
	if l.Body.Len() >= l.after {
		l.leave()
	}
	return n, err
}

// A client that leaves the moment it has the answer, as clients do when the
// server closes their connection in a reload, gets no callback; one that leaves
// before does.
func TestAClientThatLeavesWithItsAnswerHasIt(t *testing.T) {
	const size = 100_000
	for name, c := range map[string]struct {
		leavesAfter int
		callbacks   task.CallbackStatus
	}{
		"with all of it": {size, task.CallbackNone},
		"before":         {size / 2, task.CallbackPending},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := memory.Open()
			require.NoError(t, err)
			engine := task.New(task.Options{Store: store})
			require.NoError(t, engine.Start())
			stopped, cancel := context.WithCancel(t.Context())
			cancel()
			defer engine.Stop(stopped)
			route := &task.Route{Name: "test",
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }),
				Backend: task.BackendFunc(func(_ context.Context, _ *task.Call, w http.ResponseWriter) error {
					_, err := w.Write(make([]byte, size))
					return err
				})}
			engine.Register(route)
			accepted, fresh, err := engine.Accept(t.Context(), task.Acceptance{Route: route, Hold: true,
				Request: &task.Request{Method: "GET", Header: http.Header{}}, CallbackURL: "https://receiver.example/"})
			require.NoError(t, err)

			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			client := &leaver{httptest.NewRecorder(), c.leavesAfter, leave}
			h := &Handler{log: zap.NewNop()}
			err = h.wait(client, httptest.NewRequest("GET", "/", nil).WithContext(ctx), engine, accepted,
				waiting{wait: time.Minute, fresh: fresh, accept: func(*task.Task) { io.WriteString(client, "202") }})
			require.NoError(t, err)
			got, err := store.Load(t.Context(), accepted.ID)
			require.NoError(t, err)
			require.Equal(t, c.callbacks, got.Callback.Status)
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
