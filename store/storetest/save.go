package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

var saveTests = []test{
	{"step", func(f *fixture) {
		t := f.create()
		t.Status, t.StartedAt, t.Attempts = task.Running, time.Now(), 1
		f.save(t)
		f.isStored(t)

		r := newResponse()
		t.Status, t.FinishedAt = task.Completed, time.Now()
		t.Response = &task.Summary{Status: r.Status, ContentType: "application/json", Bytes: r.Body.Size}
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, Response: r, DropRequest: true}))
		f.isStored(t)
		got, err := f.LoadResponse(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, r, got)
		_, err = f.LoadRequest(f.Context(), t.ID)
		require.ErrorIs(f, err, task.ErrNotFound)

		t.Callback.Status = task.CallbackDelivered // the response stays
		f.save(t)
		got, err = f.LoadResponse(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, r, got)
	}},
	{"persistent", func(f *fixture) {
		t, r := f.create(), newResponse()
		t.Status = task.Failed
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, Response: r, DropRequest: true}))
		f.reopen()
		f.isStored(t)
		got, err := f.LoadResponse(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, r, got)
		_, err = f.LoadRequest(f.Context(), t.ID)
		require.ErrorIs(f, err, task.ErrNotFound)
	}},
	{"not waited for, persistent", func(f *fixture) {
		var tasks []*task.Task
		for range 50 {
			tasks = append(tasks, f.create())
		}
		for _, t := range tasks {
			t.Attempts = 7
			require.NoError(f, f.Save(f.Context(), task.Step{Task: t, NoWait: true}))
		}
		f.reopen()
		for _, t := range tasks {
			f.isStored(t)
		}
	}},
	{"unknown", func(f *fixture) {
		t := newTask()
		require.ErrorIs(f, f.Save(f.Context(), task.Step{Task: t, Response: newResponse()}), task.ErrNotFound)
		f.isGone(t.ID)
		require.Empty(f, f.due())
	}},
	{"removed", func(f *fixture) {
		t := f.create()
		require.NoError(f, f.Remove(f.Context(), t.ID))
		require.ErrorIs(f, f.Save(f.Context(), task.Step{Task: t}), task.ErrNotFound)
		if err := f.Save(f.Context(), task.Step{Task: t, NoWait: true}); err != nil {
			require.ErrorIs(f, err, task.ErrNotFound)
		}
		f.isGone(t.ID)
		require.Empty(f, f.due())
	}},
	{"copied", func(f *fixture) {
		for _, noWait := range []bool{false, true} {
			t, r := f.create(), newResponse()
			require.NoError(f, f.Save(f.Context(), task.Step{Task: t, Response: r, NoWait: noWait}))
			want, wantResponse := again(f, t), again(f, r)
			*t = *newTask()
			r.Body.Inline[0] = 'X'
			f.isStored(want)
			got, err := f.LoadResponse(f.Context(), want.ID)
			require.NoError(f, err)
			same(f, wantResponse, got)
		}
	}},
	{"in order", func(f *fixture) {
		t := f.create()
		for n := range 300 { // the one that is waited for comes first, last and between
			t.Attempts = n
			require.NoError(f, f.Save(f.Context(), task.Step{Task: t, NoWait: n%3 != 0}))
			if n%17 == 0 {
				f.isStored(t)
			}
		}
		f.isStored(t)
	}},
	{"seen at once", func(f *fixture) {
		t := f.create()
		t.Status = task.Running
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, NoWait: true}))
		f.isStored(t)
		t.Status, t.Callback.Status = task.Completed, task.CallbackDelivered
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, NoWait: true, DropRequest: true}))
		require.Empty(f, f.due())
		_, err := f.LoadRequest(f.Context(), t.ID)
		require.ErrorIs(f, err, task.ErrNotFound)
	}},
	{"at once, one of the two", func(f *fixture) {
		for range 50 {
			t := f.create()
			one, other := again(f, t), again(f, t)
			one.LastError, one.Status = "one", task.Running
			other.LastError, other.Status, other.Callback.Status = "other", task.Completed, task.CallbackRetrying
			var both sync.WaitGroup
			for _, step := range []*task.Task{one, other} {
				both.Go(func() {
					if err := f.Save(f.Context(), task.Step{Task: step}); err != nil {
						f.Error(err)
					}
				})
			}
			both.Wait()
			got, err := f.Load(f.Context(), t.ID)
			require.NoError(f, err)
			want, action := one, task.ActionCall
			if got.LastError == "other" {
				want, action = other, task.ActionDeliver
			}
			same(f, want, got) // and not half of each
			require.Equal(f, action, f.dueOf(t.ID).Action)
		}
	}},
	{"canceled", func(f *fixture) {
		t := f.create()
		want := again(f, t)
		t.Attempts = 3
		for _, noWait := range []bool{false, true} {
			err := f.Save(canceled(), task.Step{Task: t, NoWait: noWait})
			require.ErrorIs(f, err, context.Canceled)
		}
		f.isStored(want)
	}},
}
