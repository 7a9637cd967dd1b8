package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// slowDisk is a store whose writes take a while, or fail.
type slowDisk struct {
	task.Store
	takes time.Duration
	fails error
}

func (d *slowDisk) Create(ctx context.Context, t *task.Task, r *task.Request, key *task.IdempotencyKey) error {
	time.Sleep(d.takes)
	if d.fails != nil {
		return d.fails
	}
	return d.Store.Create(ctx, t, r, key)
}

// No 202 leaves, and no backend is called, before the task is on disk; that a
// store's Create returns only then is for the stores' own tests.
func TestNothingHappensBeforeTheTaskIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.engine.Stop(ended())
		w.store = &slowDisk{Store: w.store, takes: time.Minute}
		w.start()
		start := time.Now()
		accepted := make(chan task.ID, 1)
		go func() { accepted <- w.accept() }()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.Empty(t, accepted)
		require.Empty(t, w.called())
		<-accepted
		require.Equal(t, time.Minute, time.Since(start))
		synctest.Wait()
		require.Len(t, w.called(), 1)
	})
}

// A disk that fails gives no 202 and no call, and the client can try again.
func TestATaskThatCannotBeStoredIsRefused(t *testing.T) {
	for cause, retry := range map[error]time.Duration{
		errors.New("input/output error"): 5 * time.Second,
		task.ErrNoSpace:                  30 * time.Second,
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.engine.Stop(ended())
			w.store = &slowDisk{Store: w.store, fails: cause}
			w.start()
			_, _, err := w.engine.Accept(t.Context(), task.Acceptance{Route: w.route, Request: &task.Request{Method: "POST"}, CallbackURL: "https://receiver.example/"})
			var problem *task.Problem
			require.ErrorAs(t, err, &problem)
			require.Equal(t, 503, problem.Status)
			require.Equal(t, retry, problem.RetryAfter)
			require.NotContains(t, problem.Detail, "input/output", "what is wrong inside is for the log")
			time.Sleep(time.Hour)
			require.Empty(t, w.called())
			require.Zero(t, w.engine.Stats())
		})
	}
}

// A store that is slower than the backends slows them down: outcomes that wait
// for it are bounded.
func TestASlowStoreSlowsTheBackendsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Concurrency = 4 })
		w.on(&slowSaves{w.store, time.Minute})
		for range 1000 {
			w.accept()
		}
		time.Sleep(30 * time.Second)
		require.Equal(t, 512+4, len(w.called()))
		time.Sleep(time.Hour)
		require.Equal(t, 1000, len(w.received()))
	})
}
