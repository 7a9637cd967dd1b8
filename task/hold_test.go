package task_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// slowSaves is a store that takes a while to record a step.
type slowSaves struct {
	task.Store
	takes time.Duration
}

func (s *slowSaves) Save(ctx context.Context, step task.Step) error {
	time.Sleep(s.takes)
	return s.Store.Save(ctx, step)
}

// Whoever lets a task go that nobody holds does no harm.
func TestUnholdOfATaskThatIsNotHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.engine.Unhold(task.NewID(time.Now()))
		id := w.accept(func(a *task.Acceptance) { a.Hold = true })
		synctest.Wait()
		w.engine.Unhold(id)
		w.engine.Unhold(id)
		synctest.Wait()
		w.engine.Unhold(id)
		require.NoError(t, w.engine.Answered(t.Context(), id), "it is too late for that")
		synctest.Wait()
		require.Len(t, w.received(), 1)
		require.Equal(t, task.CallbackDelivered, w.task(id).Callback.Status)
	})
}

// That the client has its answer could not be recorded: it gets the callback,
// too, rather than nobody.
func TestAnAnswerThatIsNotRecorded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on(&slowSaves{w.store, time.Second})
		id := w.accept(func(a *task.Acceptance) { a.Hold = true })
		synctest.Wait()
		require.ErrorIs(t, w.engine.Answered(ended(), id), context.Canceled, "while the outcome is recorded")
		time.Sleep(time.Minute)
		require.Len(t, w.received(), 1)
		require.Zero(t, task.Lives(w.engine))
	})
}

// busy is a store that says how many looks for expired tasks are under way.
type busy struct {
	task.Store
	looks chan struct{}
}

func (b *busy) Expired(ctx context.Context, now time.Time, limit int) ([]task.ID, error) {
	b.looks <- struct{}{}
	time.Sleep(5 * time.Second)
	<-b.looks
	return b.Store.Expired(ctx, now, limit)
}

// The store may be closed when the engine has stopped: nothing uses it then.
func TestStopWaitsForTheJanitor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := &busy{w.store, make(chan struct{}, 1)}
		w.on(store)
		time.Sleep(11 * time.Second)
		require.Len(t, store.looks, 1)
		w.engine.Stop(ended())
		require.Empty(t, store.looks)
	})
}
