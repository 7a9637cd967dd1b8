package task_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// clocksThatAreSet runs a test with a clock that is set back, or ahead, while
// the process runs or while it does not. Whatever it does, no wait becomes longer than it had to be, and what is kept
// is neither removed at once nor kept for ever.
func clocksThatAreSet(t *testing.T, f func(t *testing.T, w *world, set func())) {
	for _, by := range []time.Duration{-time.Hour, -10 * 365 * 24 * time.Hour, time.Hour, 10 * 365 * 24 * time.Hour} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("by %s, restart %t", by, restart), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := newWorld(t)
					w.setClock(time.Nanosecond) // no monotonic reading from now on
					f(t, w, func() {
						if restart {
							w.engine.Stop(ended())
						}
						w.setClock(by)
						if restart {
							w.start()
						}
					})
				})
			})
		}
	}
}

func TestCallsRunWhateverTheClockDoes(t *testing.T) {
	clocksThatAreSet(t, func(t *testing.T, w *world, set func()) {
		w.route.Concurrency = 1
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return ctx.Err()
		})
		for range 10 {
			w.accept()
		}
		w.accept(func(a *task.Acceptance) { a.Client.NotBefore = w.now().Add(10 * time.Second) })
		time.Sleep(100 * time.Millisecond)
		set()
		time.Sleep(30 * time.Second)
		require.Len(t, w.received(), 11)
		require.Zero(t, w.engine.Stats())
	})
}

func TestRetriesRunWhateverTheClockDoes(t *testing.T) {
	clocksThatAreSet(t, func(t *testing.T, w *world, set func()) {
		w.answers(func(context.Context, *task.Call, http.ResponseWriter) error {
			return &task.BackendError{NotSent: true, Err: errors.New("connection refused")}
		})
		w.accept()
		time.Sleep(100 * time.Millisecond)
		require.Len(t, w.called(), 1)
		set()
		w.answers(nil)
		time.Sleep(5 * time.Second)
		require.Len(t, w.received(), 1)
	})
}

// The pauses between retries stay what they are, too.
func TestRetriesDoNotComeAtOnceWhenTheClockIsSet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(context.Context, *task.Call, http.ResponseWriter) error {
			w.setClock(-time.Hour)
			return &task.BackendError{NotSent: true, Err: errors.New("connection refused")}
		})
		w.accept()
		time.Sleep(100 * time.Millisecond)
		require.Len(t, w.called(), 1)
	})
}

func TestDeliveriesRunWhateverTheClockDoes(t *testing.T) {
	clocksThatAreSet(t, func(t *testing.T, w *world, set func()) {
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		id := w.accept()
		time.Sleep(100 * time.Millisecond)
		set()
		w.hears(nil)
		time.Sleep(10 * time.Second)
		require.Equal(t, task.CallbackDelivered, w.task(id).Callback.Status)
	})
}

func TestDeadlinesHoldWhateverTheClockDoes(t *testing.T) {
	clocksThatAreSet(t, func(t *testing.T, w *world, set func()) {
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error { <-ctx.Done(); return ctx.Err() })
		deadline := w.now().Add(time.Minute)
		running := w.accept(func(a *task.Acceptance) { a.Client.Deadline = deadline })
		queued := w.accept(func(a *task.Acceptance) {
			a.Client.Deadline, a.Client.NotBefore = deadline, deadline.Add(-time.Second)
		})
		time.Sleep(100 * time.Millisecond)
		set()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Equal(t, task.Expired, w.task(running).Status)
		require.Equal(t, task.Expired, w.task(queued).Status)
	})
}

// Idempotency keys live as long as their tasks.
func TestTasksAreKeptAsLongAsTheyShouldWhateverTheClockDoes(t *testing.T) {
	clocksThatAreSet(t, func(t *testing.T, w *world, set func()) {
		key := func(a *task.Acceptance) { a.Client.IdempotencyKey = "key" }
		id := w.accept(key)
		synctest.Wait()
		require.Equal(t, id, w.accept(key))
		set()
		time.Sleep(50 * time.Hour)
		_, err := w.engine.Task(t.Context(), id)
		require.ErrorIs(t, err, task.ErrNotFound, "it is not kept for ever")
		require.NotEqual(t, id, w.accept(key))
	})
}

// A clock that is set forward by mistake, and back again, removes nothing.
func TestAClockThatIsAheadForAWhileRemovesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.accept()
		synctest.Wait()
		w.setClock(365 * 24 * time.Hour)
		during := w.accept()
		time.Sleep(50 * time.Minute)
		w.setClock(-365 * 24 * time.Hour)
		time.Sleep(22 * time.Hour)
		for _, id := range []task.ID{id, during} {
			_, err := w.engine.Task(t.Context(), id)
			require.NoError(t, err)
		}
		time.Sleep(4 * time.Hour)
		for _, id := range []task.ID{id, during} {
			_, err := w.engine.Task(t.Context(), id)
			require.ErrorIs(t, err, task.ErrNotFound)
		}
	})
}
