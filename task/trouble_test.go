package task_test

import (
	"context"
	"errors"
	"fmt"
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
