package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

var removeTests = []test{
	{"everything", func(f *fixture) {
		t, key := newTask(), keyOf("key", "one")
		f.putBody(t.ID, task.RequestPart, noise(100_000, 1))
		require.NoError(f, f.Create(f.Context(), t, newRequest(), key))
		f.putBody(t.ID, task.ResponsePart, noise(100_000, 2))
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, Response: newResponse()}))
		other := f.create()
		require.NoError(f, f.Remove(f.Context(), t.ID))
		f.isGone(t.ID)
		f.isDue(other)
		require.NoError(f, f.Create(f.Context(), newTask(), newRequest(), key))
	}},
	{"settled", func(f *fixture) {
		t := f.create()
		f.settle(t, time.Now().Add(-time.Second))
		require.NoError(f, f.Remove(f.Context(), t.ID))
		f.isGone(t.ID)
		f.isExpired(time.Now(), 10)
	}},
	{"persistent", func(f *fixture) {
		t, key := newTask(), keyOf("key", "one")
		require.NoError(f, f.Create(f.Context(), t, newRequest(), key))
		f.putBody(t.ID, task.ResponsePart, noise(100_000, 3))
		require.NoError(f, f.Remove(f.Context(), t.ID))
		f.reopen()
		f.isGone(t.ID)
		f.isDue()
		require.NoError(f, f.Create(f.Context(), newTask(), newRequest(), key))
	}},
	{"not there", func(f *fixture) {
		id := newTask().ID
		require.NoError(f, f.Remove(f.Context(), id))
		f.putBody(id, task.RequestPart, noise(100_000, 4)) // of a task that was not created after all
		require.NoError(f, f.Remove(f.Context(), id))
		f.hasNoBody(id, task.RequestPart)
	}},
	{"after a step nobody waits for", func(f *fixture) {
		for range 20 {
			t := f.create()
			t.Status, t.Callback.Status, t.ExpiresAt = task.Completed, task.CallbackDelivered, time.Now()
			require.NoError(f, f.Save(f.Context(), task.Step{Task: t, Response: newResponse(), NoWait: true}))
			require.NoError(f, f.Remove(f.Context(), t.ID))
			f.isGone(t.ID)
		}
		f.isDue()
		f.isExpired(time.Now().Add(time.Hour), 100)
	}},
	{"canceled", func(f *fixture) {
		t := f.create()
		require.ErrorIs(f, f.Remove(canceled(), t.ID), context.Canceled)
		f.isStored(t)
	}},
}

// list is List, as IDs.
func (f *fixture) list(match func(*task.Task) bool, after task.ID, limit int) (ids []task.ID) {
	f.Helper()
	tasks, err := f.List(f.Context(), match, after, limit)
	require.NoError(f, err)
	for _, t := range tasks {
		ids = append(ids, t.ID)
	}
	return ids
}

var listTests = []test{
	{"newest first, in pages", func(f *fixture) {
		require.Empty(f, f.list(nil, task.ID{}, 10))
		var newest []task.ID
		start := time.Now()
		for i := range 25 {
			t := newTask()
			t.ID = task.NewID(start.Add(time.Duration(i*4%25) * time.Millisecond))
			t.Attempts = i * 4 % 25
			require.NoError(f, f.Create(f.Context(), t, newRequest(), nil))
			newest = append(newest, t.ID)
		}
		slices.SortFunc(newest, func(a, b task.ID) int { return b.Compare(a) })
		all := func(*task.Task) bool { return true }
		require.Equal(f, newest, f.list(all, task.ID{}, 100))
		require.Equal(f, newest, f.list(nil, task.ID{}, 100))

		var pages []task.ID
		var after task.ID
		for {
			page := f.list(all, after, 7)
			if len(page) == 0 {
				break
			}
			pages = append(pages, page...)
			after = page[len(page)-1]
		}
		require.Equal(f, newest, pages)

		odd := func(t *task.Task) bool { return t.Attempts%2 == 1 }
		var want []task.ID
		for i, id := range newest {
			if (24-i)%2 == 1 {
				want = append(want, id)
			}
		}
		require.Equal(f, want[:5], f.list(odd, task.ID{}, 5))
		require.Equal(f, want[5:], f.list(odd, want[4], 100))

		require.NoError(f, f.Remove(f.Context(), newest[6])) // the end of a page may be gone
		require.Equal(f, newest[7:9], f.list(all, newest[6], 2))
	}},
	{"whole tasks", func(f *fixture) {
		t := f.create()
		t.Callback.Log = []task.Delivery{{At: time.Now(), Status: 503, Error: "busy"}}
		f.save(t)
		tasks, err := f.List(f.Context(), nil, task.ID{}, 1)
		require.NoError(f, err)
		require.Len(f, tasks, 1)
		same(f, t, tasks[0])
	}},
	{"canceled", func(f *fixture) {
		f.create()
		_, err := f.List(canceled(), nil, task.ID{}, 10)
		require.ErrorIs(f, err, context.Canceled)
	}},
}
