package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

var closeTests = []test{
	{"closed", func(f *fixture) {
		t := f.create()
		f.putBody(t.ID, task.ResponsePart, []byte("body"))
		w, err := f.CreateBody(f.Context(), t.ID, task.RequestPart)
		require.NoError(f, err)
		require.NoError(f, f.Close())

		ctx := f.Context()
		for name, call := range map[string]func() error{
			"Create":       func() error { return f.Create(ctx, newTask(), newRequest(), nil) },
			"Save":         func() error { return f.Save(ctx, task.Step{Task: t}) },
			"Save, NoWait": func() error { return f.Save(ctx, task.Step{Task: t, NoWait: true}) },
			"Load":         func() error { _, err := f.Load(ctx, t.ID); return err },
			"LoadRequest":  func() error { _, err := f.LoadRequest(ctx, t.ID); return err },
			"LoadResponse": func() error { _, err := f.LoadResponse(ctx, t.ID); return err },
			"CreateBody":   func() error { _, err := f.CreateBody(ctx, t.ID, task.RequestPart); return err },
			"OpenBody":     func() error { _, err := f.OpenBody(ctx, t.ID, task.ResponsePart); return err },
			"Due":          func() error { return f.Due(ctx, func(task.Due) error { return nil }) },
			"Remove":       func() error { return f.Remove(ctx, t.ID) },
			"Expired":      func() error { _, err := f.Expired(ctx, time.Now(), 1); return err },
			"List":         func() error { _, err := f.List(ctx, nil, task.ID{}, 1); return err },
			"Commit":       w.Commit,
			"Close":        f.Close,
		} {
			require.ErrorIs(f, call(), task.ErrClosed, name)
		}
	}},
	{"steps before are done", func(f *fixture) {
		if f.opener.Volatile {
			f.Skip("the store forgets when it is closed")
		}
		var tasks, removed []*task.Task
		for range 20 {
			tasks, removed = append(tasks, f.create()), append(removed, f.create())
		}
		for n := range 10 {
			for i := range tasks {
				tasks[i].Attempts = n
				require.NoError(f, f.Save(f.Context(), task.Step{Task: tasks[i], NoWait: true}))
			}
		}
		for _, t := range removed {
			require.NoError(f, f.Remove(f.Context(), t.ID))
		}
		f.reopen()
		for i := range tasks {
			f.isStored(tasks[i])
			f.isGone(removed[i].ID)
		}
	}},
	{"meanwhile", func(f *fixture) { // each call is done, or refused: none hangs or is lost
		var all sync.WaitGroup
		var mu sync.Mutex
		var stored []*task.Task
		started := make(chan struct{}, 32)
		for range 32 {
			all.Go(func() {
				for first := true; ; first = false {
					t := newTask()
					err := f.Create(f.Context(), t, newRequest(), nil)
					if first {
						started <- struct{}{}
					}
					if err != nil {
						if !errors.Is(err, task.ErrClosed) {
							f.Error(err)
						}
						return
					}
					mu.Lock()
					stored = append(stored, t)
					mu.Unlock()
				}
			})
		}
		for range 32 {
			<-started
		}
		require.NoError(f, f.Close())
		all.Wait()
		require.NotEmpty(f, stored)
		if !f.opener.Volatile {
			f.open()
			for _, t := range stored {
				f.isStored(t)
			}
		}
	}},
}

var concurrentTests = []test{
	{"hammer", func(f *fixture) {
		const workers, rounds = 16, 25
		var all sync.WaitGroup
		var left sync.Map
		var steps atomic.Int64
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 2 { // what they see changes all the time, but is always whole
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					err := errors.Join(
						f.Due(f.Context(), func(d task.Due) error {
							if d.Action != task.ActionCall && d.Action != task.ActionDeliver {
								return fmt.Errorf("action %d is due", d.Action)
							}
							return nil
						}),
						second(f.List(f.Context(), nil, task.ID{}, 20)),
						second(f.Expired(f.Context(), time.Now().Add(time.Hour), 20)),
					)
					if err != nil {
						f.Error(err)
						return
					}
				}
			})
		}
		for worker := range workers {
			all.Go(func() {
				for round := range rounds {
					if err := f.life(worker, round, &left); err != nil {
						f.Errorf("worker %d, round %d: %v", worker, round, err)
						return
					}
					steps.Add(1)
				}
			})
		}
		all.Wait()
		close(stop)
		readers.Wait()
		require.Equal(f, int64(workers*rounds), steps.Load())

		check := func() {
			n := 0
			left.Range(func(_, t any) bool {
				f.isStored(t.(*task.Task))
				n++
				return true
			})
			all, err := f.List(f.Context(), nil, task.ID{}, workers*rounds)
			require.NoError(f, err)
			require.Len(f, all, n)
		}
		check()
		if !f.opener.Volatile {
			f.reopen()
			check()
		}
	}},
}

func second[T any](_ T, err error) error { return err }

// life takes a task through its states; every third is removed in the end,
// the others are left.
func (f *fixture) life(worker, round int, left *sync.Map) error {
	ctx := f.Context()
	t := newTask()
	key := keyOf(fmt.Sprintf("%d/%d", worker, round), "")
	body := noise(80_000, byte(worker))
	w, err := f.CreateBody(ctx, t.ID, task.RequestPart)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		return err
	}
	if err := f.Create(ctx, t, newRequest(), key); err != nil {
		return err
	}
	t.Status, t.Attempts = task.Running, 1
	if err := f.Save(ctx, task.Step{Task: t, NoWait: true}); err != nil {
		return err
	}
	r, err := f.OpenBody(ctx, t.ID, task.RequestPart)
	if err != nil {
		return err
	}
	got := make([]byte, len(body))
	_, err = r.Read(got[:1])
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got[:1], body[:1]) {
		return errors.New("another body")
	}
	t.Status, t.Callback.Status = task.Completed, task.CallbackPending
	if err := f.Save(ctx, task.Step{Task: t, Response: newResponse(), DropRequest: true}); err != nil {
		return err
	}
	if loaded, err := f.Load(ctx, t.ID); err != nil || loaded.Status != task.Completed {
		return fmt.Errorf("loaded %v, %w", loaded, err)
	}
	t.Callback.Status, t.ExpiresAt = task.CallbackDelivered, time.Now()
	if err := f.Save(ctx, task.Step{Task: t}); err != nil {
		return err
	}
	if round%3 != 0 {
		left.Store(t.ID, t)
		return nil
	}
	if err := f.Remove(ctx, t.ID); err != nil {
		return err
	}
	if _, err := f.Load(ctx, t.ID); !errors.Is(err, task.ErrNotFound) {
		return fmt.Errorf("removed, but: %w", err)
	}
	return f.Create(ctx, func() *task.Task { next := newTask(); left.Store(next.ID, next); return next }(), newRequest(), key)
}
