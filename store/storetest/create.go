package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

var createTests = []test{
	{"load", func(f *fixture) {
		t, q := newTask(), newRequest()
		require.NoError(f, f.Create(f.Context(), t, q, nil))
		f.isStored(t)
		got, err := f.LoadRequest(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, q, got)
		_, err = f.LoadResponse(f.Context(), t.ID)
		require.ErrorIs(f, err, task.ErrNotFound)
	}},
	{"unknown", func(f *fixture) {
		f.create()
		f.isGone(newTask().ID)
	}},
	{"persistent", func(f *fixture) {
		t, q := newTask(), newRequest()
		require.NoError(f, f.Create(f.Context(), t, q, nil))
		f.reopen()
		f.isStored(t)
		got, err := f.LoadRequest(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, q, got)
	}},
	{"copied", func(f *fixture) {
		t, q := newTask(), newRequest()
		require.NoError(f, f.Create(f.Context(), t, q, nil))
		wantTask, wantRequest := again(f, t), again(f, q)
		t.Callback.Header.Set("Authorization", "changed")
		q.Header["X-Many"][0] = "changed"
		q.Body.Inline[0] = 'X'
		f.isStored(wantTask)
		got, err := f.LoadRequest(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, wantRequest, got)

		got.Body.Inline[0] = 'Y' // what was read is the reader's
		got, err = f.LoadRequest(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, wantRequest, got)
	}},
	{"largest inline body", func(f *fixture) {
		t, q := newTask(), newRequest()
		q.Body = task.Body{Size: task.InlineLimit, Inline: noise(task.InlineLimit, 1)}
		require.NoError(f, f.Create(f.Context(), t, q, nil))
		got, err := f.LoadRequest(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, q, got)
	}},
	{"giant head", func(f *fixture) {
		t, q, r := newTask(), newRequest(), newResponse()
		giant := strings.Repeat("0123456789abcdef", 1<<20/16)
		q.Header.Set("X-Giant", giant)
		q.Body = task.Body{Size: task.InlineLimit, Inline: noise(task.InlineLimit, 2)}
		r.Header.Set("X-Giant", giant)
		require.NoError(f, f.Create(f.Context(), t, q, nil))
		got, err := f.LoadRequest(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, q, got)
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, Response: r, DropRequest: true}))
		_, err = f.LoadRequest(f.Context(), t.ID)
		require.ErrorIs(f, err, task.ErrNotFound)
		gotResponse, err := f.LoadResponse(f.Context(), t.ID)
		require.NoError(f, err)
		same(f, r, gotResponse)
		require.NoError(f, f.Remove(f.Context(), t.ID))
		f.isGone(t.ID)
	}},
	{"canceled", func(f *fixture) {
		t := newTask()
		require.ErrorIs(f, f.Create(canceled(), t, newRequest(), nil), context.Canceled)
		f.isGone(t.ID)
		require.Empty(f, f.due())
	}},
	{"canceled meanwhile", func(f *fixture) {
		for range 200 {
			ctx, cancel := context.WithCancel(f.Context())
			go cancel()
			t := newTask()
			switch err := f.Create(ctx, t, newRequest(), nil); {
			case err == nil:
				f.isStored(t)
			default: // it was not created, nor will be
				require.ErrorIs(f, err, context.Canceled)
				f.create()
				f.isGone(t.ID)
			}
		}
	}},
}

func keyOf(name, fingerprint string) *task.IdempotencyKey {
	key := new(task.IdempotencyKey)
	copy(key.Name[:], name)
	copy(key.Fingerprint[:], fingerprint)
	return key
}

func isDuplicate(f *fixture, err error, of task.ID, key *task.IdempotencyKey) {
	f.Helper()
	var duplicate *task.DuplicateError
	require.ErrorAs(f, err, &duplicate)
	require.Equal(f, of, duplicate.ID)
	require.Equal(f, key.Fingerprint, duplicate.Fingerprint)
}

var idempotencyTests = []test{
	{"duplicate", func(f *fixture) {
		first, second := newTask(), newTask()
		key := keyOf("key", "one")
		require.NoError(f, f.Create(f.Context(), first, newRequest(), key))
		err := f.Create(f.Context(), second, newRequest(), keyOf("key", "two"))
		isDuplicate(f, err, first.ID, key)
		f.isGone(second.ID)
		require.NoError(f, f.Create(f.Context(), second, newRequest(), keyOf("other", "two")))
		require.Len(f, f.due(), 2)
	}},
	{"persistent", func(f *fixture) {
		first := newTask()
		key := keyOf("key", "one")
		require.NoError(f, f.Create(f.Context(), first, newRequest(), key))
		f.reopen()
		isDuplicate(f, f.Create(f.Context(), newTask(), newRequest(), keyOf("key", "two")), first.ID, key)
	}},
	{"kept until removed", func(f *fixture) {
		t := newTask()
		key := keyOf("key", "one")
		require.NoError(f, f.Create(f.Context(), t, newRequest(), key))
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, Response: newResponse(), DropRequest: true}))
		isDuplicate(f, f.Create(f.Context(), newTask(), newRequest(), key), t.ID, key)
		require.NoError(f, f.Remove(f.Context(), t.ID))
		next := newTask()
		require.NoError(f, f.Create(f.Context(), next, newRequest(), key))
		isDuplicate(f, f.Create(f.Context(), newTask(), newRequest(), key), next.ID, key)
		require.NoError(f, f.Remove(f.Context(), t.ID)) // is no longer its key
		isDuplicate(f, f.Create(f.Context(), newTask(), newRequest(), key), next.ID, key)
	}},
	{"64 at once", func(f *fixture) {
		for round := range 5 {
			name := string(rune('a' + round))
			var all sync.WaitGroup
			var mu sync.Mutex
			var winners []task.ID
			var duplicates []task.DuplicateError
			tasks := make([]*task.Task, 64)
			for i := range tasks {
				tasks[i] = newTask()
				all.Go(func() {
					key := keyOf(name, "")
					key.Fingerprint = [32]byte(bytes.Repeat([]byte{byte(i)}, 32))
					err := f.Create(f.Context(), tasks[i], newRequest(), key)
					mu.Lock()
					defer mu.Unlock()
					var duplicate *task.DuplicateError
					switch {
					case err == nil:
						winners = append(winners, tasks[i].ID)
					case errors.As(err, &duplicate):
						duplicates = append(duplicates, *duplicate)
					default:
						f.Error(err)
					}
				})
			}
			all.Wait()
			require.Len(f, winners, 1)
			require.Len(f, duplicates, 63)
			for i, t := range tasks {
				if t.ID != winners[0] {
					f.isGone(t.ID)
					continue
				}
				for _, d := range duplicates {
					require.Equal(f, t.ID, d.ID)
					require.Equal(f, byte(i), d.Fingerprint[0])
				}
			}
			require.Len(f, f.due(), round+1)
		}
	}},
}
