package task_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// vague is a store that creates tasks and says that it may not have.
type vague struct {
	task.Store
	on atomic.Bool
}

func (v *vague) Create(ctx context.Context, t *task.Task, r *task.Request, key *task.IdempotencyKey) error {
	err := v.Store.Create(ctx, t, r, key)
	if err == nil && v.on.Load() {
		return errors.New("the disk did not say whether it is synced")
	}
	return err
}

// A task of which the store can't say whether it is there is not: a client that
// sends its request again, with the same key, gets one that runs.
func TestATaskThatMayBeStoredIsTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := &vague{Store: w.store}
		w.on(store)
		store.on.Store(true)
		a := task.Acceptance{Route: w.route, Request: &task.Request{Method: "POST"}, CallbackURL: "https://receiver.example/"}
		a.Client.IdempotencyKey = "k"
		_, _, err := w.engine.Accept(t.Context(), a)
		var problem *task.Problem
		require.ErrorAs(t, err, &problem)
		require.Equal(t, 503, problem.Status)
		require.Zero(t, task.Pending(w.engine))
		store.on.Store(false)
		accepted, _, err := w.engine.Accept(t.Context(), a)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, task.Completed, w.task(accepted.ID).Status)
		require.Len(t, w.received(), 1)
	})
}

// unreadable is a store that can't read tasks.
type unreadable struct {
	task.Store
	why atomic.Pointer[error]
}

func (u *unreadable) Load(ctx context.Context, id task.ID) (*task.Task, error) {
	if err := u.why.Load(); err != nil {
		return nil, *err
	}
	return u.Store.Load(ctx, id)
}

func (u *unreadable) LoadRequest(ctx context.Context, id task.ID) (*task.Request, error) {
	if err := u.why.Load(); err != nil {
		return nil, *err
	}
	return u.Store.LoadRequest(ctx, id)
}

func TestARecordThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		why      error
		pending  int
		received int
	}{
		"never again":   {fmt.Errorf("task 5: %w", task.ErrBadRecord), 0, 0},
		"at the moment": {errors.New("input/output error"), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				store := &unreadable{Store: w.store}
				w.on(store)
				w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Minute) })
				store.why.Store(&c.why)
				time.Sleep(90 * time.Second)
				require.Equal(t, c.pending, task.Pending(w.engine))
				store.why.Store(nil)
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Len(t, w.received(), c.received)
				require.Zero(t, task.Pending(w.engine))
			})
		})
	}
}

// The memory that tasks take between their claims is bounded in all, whatever
// is large in them.
func TestWhatIsKeptInMemoryIsBounded(t *testing.T) {
	for name, change := range map[string]func(*task.Acceptance){
		"small":   func(*task.Acceptance) {},
		"headers": func(a *task.Acceptance) { a.Request.Header.Set("X-Large", strings.Repeat("x", 500_000)) },
		"trailer": func(a *task.Acceptance) {
			a.Trailer = func() http.Header { return http.Header{"X-Large": {strings.Repeat("x", 500_000)}} }
		},
		"URL":       func(a *task.Acceptance) { a.Request.URL = "/" + strings.Repeat("x", 500_000) },
		"callback":  func(a *task.Acceptance) { a.Client.Header = http.Header{"X-Large": {strings.Repeat("x", 500_000)}} },
		"variables": func(a *task.Acceptance) { a.Request.Vars = map[string]any{"large": strings.Repeat("x", 500_000)} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(r *task.Route) { r.Concurrency = 1 })
				w.answers(func(context.Context, *task.Call, http.ResponseWriter) error { time.Sleep(time.Second); return nil })
				for range 100 {
					w.accept(change)
				}
				synctest.Wait()
				require.Less(t, task.KeptBytes(w.engine), 100*16<<10)
				if name == "small" {
					require.NotZero(t, task.KeptBytes(w.engine))
				}
				time.Sleep(time.Hour)
				require.Len(t, w.received(), 100)
				require.Zero(t, task.KeptBytes(w.engine))
				require.Zero(t, task.Lives(w.engine))
			})
		})
	}
}

// bodies is a store that knows which bodies were begun and not ended.
type bodies struct {
	task.Store
	open atomic.Int64
}

type openBody struct {
	task.BodyWriter
	store *bodies
	ended atomic.Bool
}

func (b *bodies) CreateBody(ctx context.Context, id task.ID, part task.Part) (task.BodyWriter, error) {
	w, err := b.Store.CreateBody(ctx, id, part)
	if err != nil {
		return nil, err
	}
	b.open.Add(1)
	return &openBody{BodyWriter: w, store: b}, nil
}

func (o *openBody) end() {
	if o.ended.CompareAndSwap(false, true) {
		o.store.open.Add(-1)
	}
}

func (o *openBody) Commit() error  { o.end(); return o.BodyWriter.Commit() }
func (o *openBody) Discard() error { o.end(); return o.BodyWriter.Discard() }

// Whatever becomes of a large answer, it does not stay half written.
func TestNoBodyStaysHalfWritten(t *testing.T) {
	large := strings.Repeat("x", 100_000)
	for name, answers := range map[string]func(context.Context, http.ResponseWriter) error{
		"a whole one":       func(context.Context, http.ResponseWriter) error { return nil },
		"it breaks":         func(context.Context, http.ResponseWriter) error { return errors.New("connection reset") },
		"it panics":         func(context.Context, http.ResponseWriter) error { panic(http.ErrAbortHandler) },
		"it takes too long": func(ctx context.Context, _ http.ResponseWriter) error { <-ctx.Done(); return ctx.Err() },
		"it looks at nothing": func(_ context.Context, rw http.ResponseWriter) error {
			time.Sleep(2 * time.Minute)
			_, err := rw.Write([]byte(large))
			require.Error(t, err)
			return err
		},
		"too large": func(_ context.Context, rw http.ResponseWriter) error {
			_, err := rw.Write(make([]byte, 1<<20))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(r *task.Route) { r.Timeout, r.MaxResponse = time.Minute, 500_000 })
				store := &bodies{Store: w.store}
				w.on(store)
				w.answers(func(ctx context.Context, _ *task.Call, rw http.ResponseWriter) error {
					if _, err := rw.Write([]byte(large)); err != nil {
						return err
					}
					return answers(ctx, rw)
				})
				id := w.accept()
				time.Sleep(3 * time.Minute)
				require.True(t, w.task(id).Status.Done())
				require.Zero(t, store.open.Load())
			})
		})
	}
}

// An answer that has no body may announce one (RFC 9110, section 8.6).
func TestAnswersWithoutABody(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		status int
	}{"HEAD": {"HEAD", 200}, "204": {"GET", 204}, "304": {"GET", 304}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(r *task.Route) { r.MaxResponse = 100 })
				w.answers(func(_ context.Context, _ *task.Call, rw http.ResponseWriter) error {
					rw.Header().Set("Content-Length", "1000")
					rw.WriteHeader(c.status)
					_, err := rw.Write(make([]byte, 1000))
					return err
				})
				id := w.accept(func(a *task.Acceptance) { a.Request.Method = c.method })
				synctest.Wait()
				got := w.task(id)
				require.Equal(t, task.Completed, got.Status)
				require.Zero(t, got.Response.Bytes)
			})
		})
	}
}

// vanishing is a store that has lost a task.
type vanishing struct{ task.Store }

func (vanishing) Save(context.Context, task.Step) error { return task.ErrNotFound }

// A task that is not there any more is neither queued nor counted.
func TestATaskThatHasVanished(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on(vanishing{w.store})
		id := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) })
		w.accept()
		synctest.Wait()
		_, err := w.engine.Cancel(t.Context(), id)
		require.ErrorIs(t, err, task.ErrNotFound)
		require.Zero(t, w.engine.Stats())
		require.Zero(t, task.Pending(w.engine))
		require.Zero(t, task.Lives(w.engine))
	})
}

// damagedBodies is a store whose large bodies are missing, or damaged in the
// middle.
type damagedBodies struct {
	task.Store
	missing bool
}

func (s damagedBodies) OpenBody(ctx context.Context, id task.ID, part task.Part) (io.ReadSeekCloser, error) {
	if s.missing {
		return nil, task.ErrNotFound
	}
	body, err := s.Store.OpenBody(ctx, id, part)
	return damagedBody{body}, err
}

type damagedBody struct{ io.ReadSeekCloser }

func (b damagedBody) Read(p []byte) (int, error) {
	if at, _ := b.Seek(0, io.SeekCurrent); at > 0 {
		return 0, task.ErrBadRecord
	}
	return b.ReadSeekCloser.Read(p[:min(len(p), 100)])
}

// A request whose stored body is gone or damaged is told as such, at once: no
// other try would be better, and the backend is not to blame.
func TestARequestWhoseBodyIsLost(t *testing.T) {
	for name, missing := range map[string]bool{"missing": true, "damaged": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.on(damagedBodies{w.store, missing})
				w.answers(func(_ context.Context, call *task.Call, _ http.ResponseWriter) error {
					_, err := io.Copy(io.Discard, call.Body)
					return err
				})
				id := w.accept(func(a *task.Acceptance) {
					a.Body, a.ContentLength = strings.NewReader(strings.Repeat("x", 100_000)), 100_000
				})
				time.Sleep(time.Hour)
				got := w.task(id)
				require.Equal(t, task.Failed, got.Status)
				require.Equal(t, task.CodeRequestLost, got.Failure.Code)
				require.Equal(t, 1, got.Attempts)
				require.Len(t, w.received(), 1)
			})
		})
	}
}
