package badger

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/task"
)

// writing is a store that has each step written to Badger before the next one.
type writing struct{ *Store }

func (s writing) Create(ctx context.Context, t *task.Task, request *task.Request, key *task.IdempotencyKey) error {
	return errors.Join(s.Store.Create(ctx, t, request, key), s.write())
}

func (s writing) Save(ctx context.Context, step task.Step) error {
	return errors.Join(s.Store.Save(ctx, step), s.write())
}

func (s writing) Remove(ctx context.Context, id task.ID) error {
	return errors.Join(s.Store.Remove(ctx, id), s.write())
}

func (s writing) write() error {
	if err := s.flushNow(context.Background()); !errors.Is(err, task.ErrClosed) {
		return err
	}
	return nil // the step has said so
}

// Whatever is recent, on its way to Badger, there already, or in the journal
// when the machine crashes: it is all the same to who reads it.
func TestRecent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	options := Options{MemTableSize: minMemTableSize}
	reopen := func() *Store {
		s := open(t, dir, options)
		s.beforeFlush = func(flushStep) error { // slow, so that much is read meanwhile
			time.Sleep(5 * time.Millisecond)
			return nil
		}
		return s
	}
	s := reopen()
	model, err := memory.Open()
	require.NoError(t, err)
	defer model.Close()

	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(1, seed))
	var tasks []*task.Task // all there were
	both := func(do func(task.Store) error) {
		t.Helper()
		want := do(model)
		require.Equal(t, want, do(s))
	}
	check := func(one *task.Task) {
		t.Helper()
		same(t, model, s, func(s task.Store) (*task.Task, error) { return s.Load(t.Context(), one.ID) })
		same(t, model, s, func(s task.Store) (*task.Request, error) { return s.LoadRequest(t.Context(), one.ID) })
		same(t, model, s, func(s task.Store) (*task.Response, error) { return s.LoadResponse(t.Context(), one.ID) })
	}
	for range 3000 {
		what := r.IntN(100)
		if len(tasks) == 0 {
			what = 0
		}
		var one *task.Task
		if len(tasks) > 0 { // mostly a young one
			one = tasks[max(0, len(tasks)-1-int(r.ExpFloat64()*10))]
		}
		switch {
		case what < 25:
			one = newTask()
			request := newRequest(r.IntN(3000))
			var key *task.IdempotencyKey
			if r.IntN(4) == 0 {
				key = &task.IdempotencyKey{Name: [32]byte{byte(r.IntN(50))}}
			}
			both(func(s task.Store) error { return s.Create(t.Context(), one, request, key) })
			tasks = append(tasks, one)
		case what < 60:
			step := task.Step{Task: one, NoWait: r.IntN(3) == 0, DropRequest: r.IntN(3) == 0}
			one.Attempts++
			one.LastError = ""
			if r.IntN(20) == 0 { // a giant
				one.LastError = strings.Repeat("x", r.IntN(120_000))
			}
			if r.IntN(3) == 0 {
				step.Response = &task.Response{Status: 200, Body: task.Body{Inline: noise(r.IntN(1000))}}
			}
			if r.IntN(3) == 0 {
				one.Status, one.Callback.Status, one.ExpiresAt = task.Completed, task.CallbackDelivered, time.UnixMicro(r.Int64N(1000)+1).UTC()
			} else {
				one.Status, one.Callback.Status, one.ExpiresAt = task.Queued, task.CallbackPending, time.Time{}
			}
			both(func(s task.Store) error {
				err := s.Save(t.Context(), step)
				if step.NoWait { // then who waits for it next is told, and not the caller
					return nil
				}
				return err
			})
		case what < 75:
			both(func(s task.Store) error { return s.Remove(t.Context(), one.ID) })
		case what < 95:
			check(one)
		case what < 96:
			require.NoError(t, s.doRotate(t.Context()))
		case what < 97:
			require.NoError(t, s.flushNow(t.Context()))
		case what < 99:
			same(t, model, s, func(s task.Store) ([]*task.Task, error) {
				return s.List(t.Context(), func(*task.Task) bool { return true }, one.ID, 10)
			})
			same(t, model, s, func(s task.Store) (due []task.Due, err error) {
				err = s.Due(t.Context(), func(d task.Due) error { due = append(due, d); return nil })
				return due, err
			})
			same(t, model, s, func(s task.Store) ([]task.ID, error) {
				return s.Expired(t.Context(), time.UnixMicro(500), 1000)
			})
		case r.IntN(5) == 0:
			require.NoError(t, s.settleAll(t.Context()))
			crash(t, s)
			s = reopen()
		}
	}
	for _, one := range tasks {
		check(one)
	}
}

// same requires that two stores give the same answer.
func same[V any](t *testing.T, model, s task.Store, ask func(task.Store) (V, error)) {
	t.Helper()
	want, wantErr := ask(model)
	got, err := ask(s)
	require.ErrorIs(t, err, wantErr)
	require.Equal(t, want, got)
}

// Of tasks that come and go soon, Badger never hears.
func TestBadgerIsSpared(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for n := range 20 {
		one := newTask()
		key := &task.IdempotencyKey{Name: [32]byte{byte(n)}}
		require.NoError(t, s.Create(t.Context(), one, newRequest(3000), key))
		one.Status, one.ExpiresAt = task.Completed, time.Now()
		require.NoError(t, s.Save(t.Context(), task.Step{Task: one, DropRequest: true, Response: &task.Response{Status: 200}}))
		require.NoError(t, s.Remove(t.Context(), one.ID))
	}
	require.NoError(t, s.flushNow(t.Context()))
	require.Zero(t, s.compactor.removals(), "nothing to tidy up")
	require.NoError(t, s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			assert.Equal(t, byte(metaKey), it.Item().Key()[0], "%q", it.Item().Key())
		}
		return nil
	}))
}

// What Badger can't be given stops the store, is still seen, and is there
// after a restart.
func TestBadgerFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir, Options{})
	old := create(t, s, 1000)
	require.NoError(t, s.flushNow(t.Context()))
	one := create(t, s, 1000)
	require.NoError(t, s.Remove(t.Context(), old.ID))
	require.NoError(t, s.settleAll(t.Context()))

	broken := errors.New("broken")
	s.beforeFlush = func(flushStep) error { return broken }
	require.ErrorIs(t, s.flushNow(t.Context()), broken)
	require.ErrorContains(t, s.Create(t.Context(), newTask(), newRequest(10), nil), "task store stopped writing, start again")
	for range 2 {
		_, err := s.Load(t.Context(), one.ID)
		require.NoError(t, err)
		_, err = s.Load(t.Context(), old.ID)
		require.ErrorIs(t, err, task.ErrNotFound)
		tasks, err := s.List(t.Context(), nil, task.ID{}, 10)
		require.NoError(t, err)
		require.Len(t, tasks, 1)
		require.NoError(t, s.Close())
		s = open(t, dir, Options{})
	}
}

// A list is of one moment, however much is written while it is made.
func TestListIsOfOneMoment(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var want []task.ID
	for range 20 {
		want = append([]task.ID{create(t, s, 1000).ID}, want...)
	}
	slices.SortFunc(want, func(a, b task.ID) int { return b.Compare(a) })
	var got []task.ID
	tasks, err := s.List(t.Context(), func(one *task.Task) bool {
		for range 3 { // as often as memory is used again
			create(t, s, 1000)
			assert.NoError(t, s.Remove(t.Context(), want[len(want)-1]))
			require.NoError(t, s.doRotate(t.Context()))
		}
		got = append(got, one.ID)
		return true
	}, task.ID{}, 100)
	require.NoError(t, err)
	require.Len(t, tasks, len(want))
	require.Equal(t, want, got)
}
