package badger

import (
	"crypto/rand"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/ringback/ringback/store/storetest"
	"github.com/ringback/ringback/task"
)

func TestStore(t *testing.T) {
	for name, options := range map[string]Options{
		"plain":     {},
		"encrypted": {EncryptionKey: []byte("0123456789abcdef0123456789abcdef")},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Opener {
				dir := t.TempDir()
				options := options
				options.Logger = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
				return storetest.Opener{Open: func() (task.Store, error) { return Open(dir, options) }}
			})
		})
	}
	t.Run("written", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Opener {
			dir := t.TempDir()
			return storetest.Opener{Open: func() (task.Store, error) {
				s, err := Open(dir, Options{Logger: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))})
				return writing{s}, err
			}}
		})
	})
}

// open opens a store that the test closes.
func open(t testing.TB, dir string, options Options) *Store {
	t.Helper()
	s, err := Open(dir, options)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			require.ErrorIs(t, err, task.ErrClosed)
		}
	})
	return s
}

func newTask() *task.Task {
	now := time.Now()
	return &task.Task{
		ID: task.NewID(now), Route: "orders", CreatedAt: now,
		Callback: task.Callback{URL: "https://client.example/hook", Status: task.CallbackPending},
	}
}

// newRequest is a request of about a size.
func newRequest(size int) *task.Request {
	return &task.Request{
		Method: "POST", URL: "/orders", RequestURI: "/orders", Proto: "HTTP/1.1", Host: "shop.example", RemoteAddr: "192.0.2.1:4711",
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   task.Body{Size: int64(size), Inline: noise(size)},
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func create(t testing.TB, s *Store, size int) *task.Task {
	t.Helper()
	one := newTask()
	require.NoError(t, s.Create(t.Context(), one, newRequest(size), nil))
	return one
}

// createAtMost creates tasks of 20 kB, several at a time, each of which ends
// when one is refused.
func createAtMost(t *testing.T, s *Store, n int) (tasks []*task.Task, refusals []error) {
	var left atomic.Int64
	left.Store(int64(n))
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				one := newTask()
				err := s.Create(t.Context(), one, newRequest(20_000), nil)
				mu.Lock()
				if err == nil {
					tasks = append(tasks, one)
				} else {
					refusals = append(refusals, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return tasks, refusals
}

func putBody(t testing.TB, s *Store, id task.ID, part task.Part, body []byte) {
	t.Helper()
	w, err := s.CreateBody(t.Context(), id, part)
	require.NoError(t, err)
	_, err = w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Commit())
}

func readBody(t testing.TB, s *Store, id task.ID, part task.Part) ([]byte, error) {
	t.Helper()
	r, err := s.OpenBody(t.Context(), id, part)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
