package badger

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// openSmall opens a store with small memtables, which takes so much for quiet.
func openSmall(t *testing.T, dir string, after time.Duration) *Store {
	t.Helper()
	options, err := Options{MemTableSize: minMemTableSize}.withDefaults()
	require.NoError(t, err)
	require.NoError(t, makeDirs(dir))
	found, err := look(dir, nil)
	require.NoError(t, err)
	s, err := found.open(options)
	require.NoError(t, err)
	s.compactor.after = after
	s.start()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			require.ErrorIs(t, err, task.ErrClosed)
		}
	})
	return s
}

// createMany creates tasks of 20 kB.
func createMany(t *testing.T, s *Store, n int) []*task.Task {
	t.Helper()
	tasks, refusals := createAtMost(t, s, n)
	require.Empty(t, refusals)
	require.Len(t, tasks, n)
	return tasks
}

// When nothing happens, what was removed takes no disk space any more.
func TestSpaceComesBackWhenItIsQuiet(t *testing.T) {
	dir := t.TempDir()
	s := openSmall(t, dir, 100*time.Millisecond)
	tasks := createMany(t, s, 1600)
	for _, one := range tasks[1:] {
		require.NoError(t, s.Remove(t.Context(), one.ID))
	}
	require.Eventually(t, func() bool {
		return diskUsage(filepath.Join(dir, dbDir)) < 4<<20 && s.compactor.removals() == 0
	}, 30*time.Second, 10*time.Millisecond)
	_, err := s.LoadRequest(t.Context(), tasks[0].ID)
	require.NoError(t, err)

	vlogs, err := filepath.Glob(filepath.Join(dir, dbDir, "*.vlog"))
	require.NoError(t, err)
	require.Len(t, vlogs, 1)
	require.NoError(t, s.Close())
	require.Less(t, diskUsage(filepath.Join(dir, dbDir)), int64(4<<20))
}

// Under load many tables are sorted at once, and when it is over the rest.
func TestManyTablesAreCompacted(t *testing.T) {
	dir := t.TempDir()
	s := openSmall(t, dir, time.Hour) // it is never quiet
	tasks := createMany(t, s, 4000)
	require.Eventually(t, func() bool { // 76 MiB were written, a table for each
		levels := s.db.Levels()
		return levels[0].NumTables < manyTables && levels[len(levels)-1].Size > 60<<20
	}, 30*time.Second, 10*time.Millisecond)
	s.compactor.flattening.Lock() // when it is done with the rest
	tasks = append(tasks, createMany(t, s, 640)...)
	require.Eventually(t, func() bool { return s.db.Levels()[0].NumTables >= fewTables }, 30*time.Second, 10*time.Millisecond)
	s.compactor.flattening.Unlock()
	require.NoError(t, s.Close())

	s = openSmall(t, dir, 100*time.Millisecond)
	require.Eventually(t, func() bool { return s.db.Levels()[0].NumTables < fewTables }, 30*time.Second, 10*time.Millisecond)
	for _, one := range tasks {
		_, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
	}
}

// A full disk is not written to by a compaction, which is made up for later.
func TestCompactionNeedsRoom(t *testing.T) {
	s := openSmall(t, t.TempDir(), time.Hour)
	createMany(t, s, 160)
	s.space.mu.Lock()
	minFree := s.space.minFree
	s.space.minFree = 1 << 60
	s.space.mu.Unlock()
	require.ErrorIs(t, s.compact(t.Context()), task.ErrNoSpace)
	s.space.mu.Lock()
	s.space.minFree = minFree
	s.space.mu.Unlock()
	require.NoError(t, s.compact(t.Context()))
}

// A small bound is never met by what is over: tasks come and go for ever.
func TestMaxBytesIsGivenBack(t *testing.T) {
	s := open(t, t.TempDir(), Options{MemTableSize: minMemTableSize, MaxBytes: 8 << 20})
	for n := range 3000 {
		one := newTask()
		create := func() error { return s.Create(t.Context(), one, newRequest(20_000), nil) }
		if n < 1000 {
			require.NoError(t, create()) // more than MaxBytes until here
		} else {
			persist(t, create)
		}
		one.Status, one.ExpiresAt = task.Completed, time.Now()
		require.NoError(t, s.Save(t.Context(), task.Step{Task: one, DropRequest: true, Response: &task.Response{Status: 200}}))
		require.NoError(t, s.Remove(t.Context(), one.ID))
	}
}

// Closing does not wait for a compaction, which may take long.
func TestCompactionIsNoCall(t *testing.T) {
	s := openSmall(t, t.TempDir(), time.Hour)
	s.compactor.flattening.Lock() // as if it took long
	createMany(t, s, 400)
	require.Eventually(t, func() bool { return s.db.Levels()[0].NumTables >= fewTables }, 10*time.Second, time.Millisecond)
	tidied, called := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(tidied)
		s.tidy(t.Context())
	}()
	require.Eventually(t, s.recent.empty, 10*time.Second, time.Millisecond) // then it waits to compact
	go func() {
		defer close(called)
		s.calls.Wait()
	}()
	select {
	case <-called:
	case <-time.After(10 * time.Second):
		t.Error("a call is under way as long as the compaction")
	}
	s.compactor.flattening.Unlock()
	<-tidied
}
