package badger

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/store/badger/journal"
	"github.com/ringback/ringback/task"
)

// A step whose commit fails has its error, and has not happened; nor is it
// acknowledged before the commit is over.
func TestFailedCommit(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	before := create(t, s, 10)

	broken := errors.New("broken")
	var fail atomic.Bool
	entered, proceed := make(chan struct{}), make(chan struct{})
	s.beforeCommit = func() error {
		entered <- struct{}{}
		<-proceed
		if fail.Load() {
			return broken
		}
		return nil
	}
	for _, want := range []error{broken, nil} {
		fail.Store(want != nil)
		one := newTask()
		done := make(chan error, 1)
		go func() { done <- s.Create(t.Context(), one, newRequest(10), nil) }()
		<-entered
		select {
		case err := <-done:
			t.Fatalf("Create returned %v before the commit", err)
		case <-time.After(20 * time.Millisecond): // there is no event for what must not happen
		}
		proceed <- struct{}{}
		require.ErrorIs(t, <-done, want)
		_, err := s.Load(t.Context(), one.ID)
		if want == nil {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, task.ErrNotFound)
		}
	}

	fail.Store(true)
	go func() { <-entered; proceed <- struct{}{} }()
	before.Attempts = 5
	require.ErrorIs(t, s.Save(t.Context(), task.Step{Task: before}), broken)
	got, err := s.Load(t.Context(), before.ID)
	require.NoError(t, err)
	require.Zero(t, got.Attempts)
	fail.Store(false)
	go func() {
		for range entered {
			proceed <- struct{}{}
		}
	}()
}

// failing is a file of the journal whose syncs fail with an error, if there is one.
type failing struct {
	journal.File
	err *atomic.Pointer[error]
}

func (f failing) Data() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return f.File.Data()
}

// A disk that fails stops the store, which says so, once. One that is full does
// not: the next step may succeed, and what failed has not happened.
func TestFailedSync(t *testing.T) {
	var failure atomic.Pointer[error]
	told := make(chan error, 10)
	dir := t.TempDir()
	s := open(t, dir, Options{
		OnFailure:   func(err error) { told <- err },
		wrapJournal: func(_ string, f journal.File) journal.File { return failing{f, &failure} },
	})
	kept := create(t, s, 10)
	set := func(err error) { failure.Store(&err) }
	set(syscall.ENOSPC)
	full := newTask()
	require.ErrorIs(t, s.Create(t.Context(), full, newRequest(10), nil), task.ErrNoSpace)
	require.ErrorIs(t, s.Health(), task.ErrNoSpace)
	failure.Store(nil)
	kept2 := create(t, s, 10)
	require.NoError(t, s.Health())
	_, err := s.Load(t.Context(), full.ID)
	require.ErrorIs(t, err, task.ErrNotFound)
	require.Empty(t, told)

	set(syscall.EIO)
	require.ErrorIs(t, s.Create(t.Context(), newTask(), newRequest(10), nil), syscall.EIO)
	failure.Store(nil) // as if it were well again: nobody knows what it has done
	for range 3 {
		require.ErrorContains(t, s.Create(t.Context(), newTask(), newRequest(10), nil), "start again")
	}
	require.ErrorIs(t, s.Health(), syscall.EIO)
	require.ErrorIs(t, <-told, syscall.EIO)
	require.Empty(t, told)
	for _, one := range []*task.Task{kept, kept2} {
		_, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	s = open(t, dir, Options{})
	for _, one := range []*task.Task{kept, kept2} {
		_, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
	}
}

// Each step of a transaction has its own outcome: one that is refused does not
// take the others with it.
func TestOwnErrors(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	entered, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var commits atomic.Int32
	s.beforeCommit = func() error {
		commits.Add(1)
		once.Do(func() { close(entered); <-proceed })
		return nil
	}
	var all sync.WaitGroup
	all.Go(func() { create(t, s, 10) }) // holds up the others, so that they share a transaction
	<-entered
	key := &task.IdempotencyKey{Name: [32]byte{1}}
	var created, refused, notFound, tooLarge atomic.Int32
	for range 30 {
		all.Go(func() {
			err := s.Create(t.Context(), newTask(), newRequest(10), key)
			var duplicate *task.DuplicateError
			switch {
			case err == nil:
				created.Add(1)
			case errors.As(err, &duplicate):
				refused.Add(1)
			}
		})
		all.Go(func() {
			if errors.Is(s.Save(t.Context(), task.Step{Task: newTask()}), task.ErrNotFound) {
				notFound.Add(1)
			}
		})
		all.Go(func() {
			q := newRequest(10)
			q.URL = "/" + strings.Repeat("x", 5<<20)
			if err := s.Create(t.Context(), newTask(), q, nil); err != nil && strings.Contains(err.Error(), "smaller headers") {
				tooLarge.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return len(s.queue) == 60 && tooLarge.Load() == 30 }, 10*time.Second, time.Millisecond)
	close(proceed)
	all.Wait()
	require.Equal(t, []int32{1, 29, 30, 30}, []int32{created.Load(), refused.Load(), notFound.Load(), tooLarge.Load()})
	require.Equal(t, int32(2), commits.Load())
}

// Who was told that a step is done sees it, though the database may have it a
// moment later only.
func TestReadOwn(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 50 {
				one := newTask()
				if !assert.NoError(t, s.Create(t.Context(), one, newRequest(1000), nil)) {
					return
				}
				_, err := s.LoadRequest(t.Context(), one.ID)
				assert.NoError(t, err)
				one.Attempts = 3
				assert.NoError(t, s.Save(t.Context(), task.Step{Task: one}))
				got, err := s.Load(t.Context(), one.ID)
				if assert.NoError(t, err) {
					assert.Equal(t, 3, got.Attempts)
				}
			}
		})
	}
	all.Wait()
}

// A step that is refused because of another one of the same commit is refused
// when that is durable, and shares its failure.
func TestRefusedBySameCommit(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	broken := errors.New("broken")
	entered, proceed := make(chan struct{}), make(chan error)
	s.beforeCommit = func() error {
		entered <- struct{}{}
		return <-proceed
	}
	for _, want := range []error{broken, nil} {
		go s.Create(t.Context(), newTask(), newRequest(10), nil) // holds up the others
		<-entered
		key := &task.IdempotencyKey{Name: [32]byte{1}}
		outcomes := make(chan error, 2)
		for range 2 {
			go func() { outcomes <- s.Create(t.Context(), newTask(), newRequest(10), key) }()
		}
		require.Eventually(t, func() bool { return len(s.queue) == 2 }, 10*time.Second, time.Millisecond)
		proceed <- nil
		<-entered
		select {
		case err := <-outcomes:
			t.Fatalf("Create returned %v before the commit", err)
		case <-time.After(20 * time.Millisecond): // there is no event for what must not happen
		}
		proceed <- want
		first, second := <-outcomes, <-outcomes
		if want != nil {
			require.ErrorIs(t, first, want)
			require.ErrorIs(t, second, want)
			continue
		}
		if first != nil {
			first, second = second, first
		}
		var duplicate *task.DuplicateError
		require.NoError(t, first)
		require.ErrorAs(t, second, &duplicate)
	}
	s.beforeCommit = nil
}
