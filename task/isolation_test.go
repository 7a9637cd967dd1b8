package task_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// A thousand dead hosts, with ten thousand tasks for them, do not delay the
// callbacks to a healthy host, and do not get more attempts than make sense.
func TestDeadHostsDoNotDelayAHealthyOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const hosts, tasksEach = 1000, 10
		w := newWorld(t, func(r *task.Route) { r.Concurrency = 1000 })
		deadAttempts := make(map[string]int)
		hears := func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "healthy.example" {
				time.Sleep(50 * time.Millisecond)
				return answer(200), nil
			}
			w.mu.Lock()
			deadAttempts[r.URL.Host]++
			w.mu.Unlock()
			switch r.URL.Host[4] % 3 {
			case 0: // refuses
				return nil, errors.New("connection refused")
			case 1: // a black hole
				<-r.Context().Done()
				return nil, r.Context().Err()
			default: // slow, and then of no use
				time.Sleep(29 * time.Second)
				return answer(503), nil
			}
		}
		w.hears(hears)

		// The time that callbacks take to the healthy host, from the backend's
		// answer to the attempt.
		measure := func() time.Duration {
			var worst time.Duration
			for range 200 {
				id := w.accept(func(a *task.Acceptance) { a.CallbackURL = "https://healthy.example/" })
				done, err := w.engine.Await(t.Context(), id)
				require.NoError(t, err)
				for done.Callback.Status != task.CallbackDelivered {
					time.Sleep(10 * time.Millisecond)
					done = w.task(id)
				}
				worst = max(worst, done.Callback.Log[0].At.Sub(done.FinishedAt))
				time.Sleep(500 * time.Millisecond)
			}
			return worst
		}
		alone := measure()
		for n := range tasksEach {
			for h := range hosts {
				w.accept(func(a *task.Acceptance) { a.CallbackURL = fmt.Sprintf("https://dead%d-%d.example/%d", h%10, h, n) })
			}
		}
		among := measure()
		require.LessOrEqual(t, among, 2*alone+time.Millisecond)

		stats := w.engine.Stats()
		require.Equal(t, hosts*tasksEach, stats.Undelivered+stats.Delivering, "none is given up yet")
		w.mu.Lock()
		defer w.mu.Unlock()
		for host, n := range deadAttempts {
			// In under two minutes: three to open the circuit, then one per pause.
			require.LessOrEqual(t, n, 10, host)
		}
	})
}

func TestAHostThatRecoversGetsAllItsCallbacks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		var ids []task.ID
		for range 200 {
			ids = append(ids, w.accept())
		}
		time.Sleep(10 * time.Minute)
		w.hears(nil)
		time.Sleep(time.Hour)
		for _, id := range ids {
			require.Equal(t, task.CallbackDelivered, w.task(id).Callback.Status)
		}
	})
}

// After a restart, too, callbacks to a host run side by side: they are queued
// before the routes are known.
func TestPendingCallbacksRunSideBySideAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return answer(503), nil })
		for range 200 {
			w.accept()
		}
		time.Sleep(time.Second)
		w.hears(func(*http.Request) (*http.Response, error) { time.Sleep(time.Second); return answer(200), nil })
		w.restart(ended())
		time.Sleep(40 * time.Second) // one after the other, they would take 200
		require.Zero(t, w.engine.Stats())
	})
}

func TestASlowRouteDoesNotDelayAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error {
			time.Sleep(10 * time.Minute)
			return nil
		})
		fast := &task.Route{Name: "fast", Transport: w.route.Transport, Backend: task.BackendFunc(func(context.Context, *task.Call, http.ResponseWriter) error {
			return nil
		})}
		w.engine.Register(fast)
		for range 1000 {
			w.accept()
		}
		start := time.Now()
		id := w.accept(func(a *task.Acceptance) { a.Route = fast })
		_, err := w.engine.Await(t.Context(), id)
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
	})
}

func TestConcurrencyIsBoundedAndOrderIsFirstComeFirstServed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Concurrency = 4 })
		running, most := 0, 0
		var order []string
		w.answers(func(_ context.Context, call *task.Call, _ http.ResponseWriter) error {
			w.mu.Lock()
			order = append(order, call.Request.URL)
			running++
			most = max(most, running)
			w.mu.Unlock()
			time.Sleep(time.Second)
			w.mu.Lock()
			running--
			w.mu.Unlock()
			return nil
		})
		for n := range 100 {
			w.accept(func(a *task.Acceptance) { a.Request.URL = fmt.Sprintf("/%03d", n) })
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		require.Equal(t, 4, most)
		require.Len(t, order, 100)
		require.True(t, slices.IsSorted(order), order)
	})
}

// Tasks that are tried again take their turn by when they are due: they do
// not starve new ones, nor the reverse.
func TestRetriesAndNewTasksShareARoute(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Concurrency, r.Attempts = 1, 4 })
		w.answers(func(_ context.Context, call *task.Call, _ http.ResponseWriter) error {
			time.Sleep(100 * time.Millisecond)
			if strings.HasPrefix(call.Request.URL, "/bad") {
				return &task.BackendError{NotSent: true, Err: errors.New("connection refused")}
			}
			return nil
		})
		var bad, good []task.ID
		for n := range 50 {
			bad = append(bad, w.accept(func(a *task.Acceptance) { a.Request.URL = fmt.Sprintf("/bad%d", n) }))
			good = append(good, w.accept(func(a *task.Acceptance) { a.Request.URL = fmt.Sprintf("/good%d", n) }))
			time.Sleep(200 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i := range good {
			require.Equal(t, task.Completed, w.task(good[i]).Status)
			require.Equal(t, task.Failed, w.task(bad[i]).Status)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.engine.Stop(ended())
		w.engine = task.New(task.Options{Store: w.store, MaxPending: 3})
		require.NoError(t, w.engine.Start())
		w.engine.Register(w.route)
		w.answers(func(context.Context, *task.Call, http.ResponseWriter) error { time.Sleep(time.Minute); return nil })
		for range 3 {
			w.accept()
		}
		_, _, err := w.engine.Accept(t.Context(), task.Acceptance{Route: w.route, Request: &task.Request{Method: "GET"}})
		var problem *task.Problem
		require.ErrorAs(t, err, &problem)
		require.Equal(t, 429, problem.Status)
		require.NotZero(t, problem.RetryAfter)
		time.Sleep(2 * time.Minute)
		for range 3 { // none of the three places was lost
			w.accept()
		}
	})
}
