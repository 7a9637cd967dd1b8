package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// isDue checks that exactly these are due, in this order.
func (f *fixture) isDue(want ...*task.Task) {
	f.Helper()
	all := f.due()
	require.Len(f, all, len(want))
	for i, t := range want {
		due := again(f, t).Due()
		require.Equal(f, due.ID, all[i].ID)
		require.Equal(f, due.Action, all[i].Action)
		require.Equal(f, due.Lane, all[i].Lane)
		require.WithinDuration(f, due.At, all[i].At, time.Microsecond)
		require.Equal(f, due.At.IsZero(), all[i].At.IsZero())
		require.WithinDuration(f, due.Deadline, all[i].Deadline, time.Microsecond)
		require.Equal(f, due.Deadline.IsZero(), all[i].Deadline.IsZero())
	}
}

// dueOf is what is due of one task; the zero value if nothing is.
func (f *fixture) dueOf(id task.ID) (due task.Due) {
	f.Helper()
	for _, d := range f.due() {
		if d.ID == id {
			require.Zero(f, due.ID, "it is due twice")
			due = d
		}
	}
	return due
}

var dueTests = []test{
	{"each state", func(f *fixture) {
		t := f.create()
		f.isDue(t)
		for _, status := range []task.Status{task.Queued, task.Running, task.Completed, task.Failed, task.Canceled, task.Expired} {
			for _, callback := range []task.CallbackStatus{task.CallbackNone, task.CallbackPending, task.CallbackRetrying, task.CallbackDelivered, task.CallbackDead} {
				t.Status, t.Callback.Status, t.ExpiresAt = status, callback, time.Time{}
				action, _ := t.Next()
				if action == task.ActionRemove {
					t.ExpiresAt = time.Now().Add(-time.Hour)
				}
				f.save(t)
				expired, err := f.Expired(f.Context(), time.Now(), 10)
				require.NoError(f, err)
				if action == task.ActionRemove {
					f.isDue()
					require.Equal(f, []task.ID{t.ID}, expired, "%v, %v", status, callback)
				} else {
					f.isDue(t)
					require.Empty(f, expired, "%v, %v", status, callback)
				}
			}
		}
	}},
	{"time and lane", func(f *fixture) {
		t := f.create()
		t.NextCallAt = time.Now().Add(time.Hour)
		f.save(t)
		f.isDue(t)
		t.Deadline = time.Now().Add(3 * time.Hour)
		f.save(t)
		f.isDue(t)
		t.Status, t.Callback.Status, t.Callback.NextAt = task.Failed, task.CallbackRetrying, time.Now().Add(2*time.Hour)
		t.Callback.ErrorURL = "https://elsewhere.example/errors"
		f.save(t)
		f.isDue(t)
	}},
	{"in order, persistent", func(f *fixture) {
		var tasks []*task.Task
		start := time.Now()
		for i := range 40 { // created in an order that is not that of their IDs
			t := newTask()
			t.ID = task.NewID(start.Add(time.Duration(i*7%40) * time.Second))
			t.NextCallAt = start.Add(time.Duration(-i) * time.Minute)
			require.NoError(f, f.Create(f.Context(), t, newRequest(), nil))
			tasks = append(tasks, t)
		}
		sorted := make([]*task.Task, len(tasks))
		for i, t := range tasks {
			sorted[i*7%40] = t
		}
		f.isDue(sorted...)
		f.settle(sorted[3], time.Now())
		require.NoError(f, f.Remove(f.Context(), sorted[4].ID))
		want := append(append([]*task.Task{}, sorted[:3]...), sorted[5:]...)
		f.isDue(want...)
		f.reopen()
		f.isDue(want...)
	}},
	{"stops at an error", func(f *fixture) {
		for range 3 {
			f.create()
		}
		stop := errors.New("stop")
		n := 0
		err := f.Due(f.Context(), func(task.Due) error {
			if n++; n == 2 {
				return stop
			}
			return nil
		})
		require.ErrorIs(f, err, stop)
		require.Equal(f, 2, n)
	}},
	{"may call the store", func(f *fixture) {
		t := f.create()
		require.NoError(f, f.Due(f.Context(), func(d task.Due) error {
			got, err := f.Load(f.Context(), d.ID)
			if err != nil {
				return err
			}
			got.Attempts = 5
			return f.Save(f.Context(), task.Step{Task: got})
		}))
		t.Attempts = 5
		f.isStored(t)
	}},
	{"canceled", func(f *fixture) {
		f.create()
		err := f.Due(canceled(), func(task.Due) error { return nil })
		require.ErrorIs(f, err, context.Canceled)
	}},
}

// isExpired checks that exactly these are expired at a time.
func (f *fixture) isExpired(now time.Time, limit int, want ...*task.Task) {
	f.Helper()
	got, err := f.Expired(f.Context(), now, limit)
	require.NoError(f, err)
	var ids []task.ID
	for _, t := range want {
		ids = append(ids, t.ID)
	}
	require.Equal(f, ids, got)
}

var expiredTests = []test{
	{"earliest first", func(f *fixture) {
		now := time.Now()
		a, b, c, d := f.create(), f.create(), f.create(), f.create()
		f.settle(a, now.Add(3*time.Minute))
		f.settle(b, now.Add(1*time.Minute))
		f.settle(c, now.Add(2*time.Minute))
		f.isExpired(now, 10)
		f.isExpired(now.Add(90*time.Second), 10, b)
		f.isExpired(now.Add(time.Hour), 10, b, c, a)
		f.isExpired(now.Add(time.Hour), 2, b, c) // having been returned does not remove it
		f.isExpired(c.ExpiresAt, 10, b, c)       // not after now
		f.isDue(d)
	}},
	{"no time, no end", func(f *fixture) {
		f.settle(f.create(), time.Time{})
		f.isExpired(time.Now().Add(1000*time.Hour), 10)
	}},
	{"delivered again", func(f *fixture) {
		now := time.Now()
		t := f.create()
		f.settle(t, now.Add(time.Minute))
		t.Callback.Status, t.ExpiresAt = task.CallbackPending, time.Time{}
		f.save(t)
		f.isExpired(now.Add(time.Hour), 10)
		f.isDue(t)
		f.settle(t, now.Add(2*time.Hour))
		f.isExpired(now.Add(time.Hour), 10)
		f.isExpired(now.Add(3*time.Hour), 10, t)
		f.settle(t, now.Add(time.Minute)) // earlier than what was looked at
		f.isExpired(now.Add(time.Hour), 10, t)
	}},
	{"the same again", func(f *fixture) {
		now := time.Now()
		t := f.create()
		f.settle(t, now)
		f.settle(t, now)
		f.isExpired(now, 10, t)
		f.isExpired(now, 10, t)
	}},
	{"one by one, persistent", func(f *fixture) {
		now := time.Now()
		var tasks []*task.Task
		for i := range 30 {
			t := f.create()
			f.settle(t, now.Add(time.Duration(i)*time.Second))
			tasks = append(tasks, t)
		}
		late := now.Add(time.Hour)
		for len(tasks) > 15 {
			f.isExpired(late, 4, tasks[:4]...)
			for _, t := range tasks[:3] {
				require.NoError(f, f.Remove(f.Context(), t.ID))
			}
			tasks = tasks[3:]
			early := f.create() // comes before all of those left
			f.settle(early, now.Add(-time.Hour))
			f.isExpired(late, 2, early, tasks[0])
			require.NoError(f, f.Remove(f.Context(), early.ID))
		}
		f.isExpired(late, 100, tasks...)
		f.reopen()
		f.isExpired(late, 100, tasks...)
	}},
	{"canceled", func(f *fixture) {
		_, err := f.Expired(canceled(), time.Now(), 10)
		require.ErrorIs(f, err, context.Canceled)
	}},
}
