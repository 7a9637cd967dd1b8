package task_test

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// wroteHeaders does what a transport does when it has sent a request's head.
func wroteHeaders(r *http.Request) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
}

func TestCanceledTasksLeaveTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.engine.Stop(ended())
		w.engine = task.New(task.Options{Store: w.store, MaxPending: 10})
		require.NoError(t, w.engine.Start())
		w.engine.Register(w.route)
		for range 5000 {
			id := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(24 * time.Hour) })
			_, err := w.engine.Cancel(t.Context(), id)
			require.NoError(t, err)
			synctest.Wait()
		}
		require.Zero(t, w.engine.Stats())
		require.Less(t, task.Waiting(w.engine), 4)
	})
}

func TestARedeliveryTakesThePlaceOfTheOneBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		id := w.accept()
		time.Sleep(time.Minute)
		require.Equal(t, task.CallbackRetrying, w.task(id).Callback.Status)
		for range 1000 {
			_, err := w.engine.Redeliver(t.Context(), id)
			require.NoError(t, err)
			synctest.Wait()
			stats := w.engine.Stats()
			require.Equal(t, 1, stats.Undelivered)
		}
		require.Less(t, task.Waiting(w.engine), 4)
		n := len(w.received())
		time.Sleep(6 * time.Second)
		require.Len(t, w.received(), n+1, "its schedule goes on once")
	})
}

func TestDeadlinesDoNotOutliveTheirTasks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		for range 100 {
			w.accept(func(a *task.Acceptance) { a.Client.Deadline = time.Now().Add(365 * 24 * time.Hour) })
		}
		synctest.Wait()
		require.Len(t, w.received(), 100)
		require.Less(t, task.Waiting(w.engine), 4)
	})
}

// What is counted as pending comes to nothing in the end, on every way that a
// task can go.
func TestPendingIsCountedDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		redelivered := w.accept()
		w.accept(func(a *task.Acceptance) { a.CallbackURL = "" })
		expires := w.accept(func(a *task.Acceptance) {
			a.Client.NotBefore, a.Client.Deadline = time.Now().Add(time.Hour), time.Now().Add(time.Minute)
		})
		canceled := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) })
		answered := w.accept(func(a *task.Acceptance) { a.Hold = true })
		synctest.Wait()
		require.Equal(t, 3, task.Pending(w.engine))
		_, err := w.engine.Cancel(t.Context(), canceled)
		require.NoError(t, err)
		_, err = w.engine.Redeliver(t.Context(), redelivered)
		require.NoError(t, err)
		require.NoError(t, w.engine.Answered(t.Context(), answered))
		synctest.Wait()
		require.Equal(t, 1, task.Pending(w.engine))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, task.Expired, w.task(expires).Status)
		require.Zero(t, task.Pending(w.engine))

		tooLarge := task.Acceptance{Route: w.route, Request: &task.Request{}, ContentLength: 2 << 30, Body: http.NoBody}
		_, _, err = w.engine.Accept(t.Context(), tooLarge)
		require.Error(t, err)
		require.Zero(t, task.Pending(w.engine), "a refused one leaves nothing")
	})
}

func TestPendingIsCountedAtTheStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		w.accept()
		w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) })
		synctest.Wait()
		w.restart(ended())
		require.Equal(t, 2, task.Pending(w.engine))
	})
}

// A delivery whose route is not configured is still counted, and goes out when
// it is.
func TestParkedDeliveriesAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		for range 10 {
			w.accept()
		}
		synctest.Wait()
		w.engine.Stop(ended())
		w.engine = task.New(task.Options{Store: w.store})
		require.NoError(t, w.engine.Start())
		time.Sleep(time.Hour)
		require.Equal(t, task.Stats{Undelivered: 10}, w.engine.Stats())
		w.hears(nil)
		w.engine.Register(w.route)
		time.Sleep(time.Minute)
		require.Zero(t, w.engine.Stats())
		require.Zero(t, task.Pending(w.engine))
	})
}

// A long poll does not hold up a process that stops.
func TestAwaitEndsWhenTheEngineStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error { <-ctx.Done(); return ctx.Err() })
		id := w.accept()
		ended := make(chan time.Time)
		go func() {
			_, err := w.engine.Await(t.Context(), id)
			require.NoError(t, err)
			ended <- time.Now()
		}()
		synctest.Wait()
		grace, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		go w.engine.Stop(grace)
		require.Equal(t, start, <-ended)
	})
}
