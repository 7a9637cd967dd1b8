package badger

import (
	"errors"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/task"
)

// smallDisk is a disk of 48 MiB; the test is skipped where none can be made.
func smallDisk(t *testing.T) string {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("a small disk needs mount(2): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// fillBeside is fill while the store does not compact: nothing could save it
// from another program that takes the space it is just about to write to.
func fillBeside(t *testing.T, s *Store, path string, left int64) {
	s.compactor.flattening.Lock()
	defer s.compactor.flattening.Unlock()
	fill(t, path, left)
}

// fill takes the disk until so many bytes are left.
func fill(t *testing.T, path string, left int64) {
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for {
		free, err := freeBytes(filepath.Dir(path))
		require.NoError(t, err)
		if free <= left {
			return
		}
		_, err = f.Write(make([]byte, min(free-left, 1<<20)))
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		require.NoError(t, err)
	}
}

var smallOptions = Options{MemTableSize: minMemTableSize, MinFree: 4 << 20}

// untilFull creates tasks until there is no space.
func untilFull(t *testing.T, s *Store) []*task.Task {
	t.Helper()
	tasks, refusals := createAtMost(t, s, math.MaxInt)
	for _, err := range refusals {
		require.ErrorIs(t, err, task.ErrNoSpace)
	}
	return tasks
}

// persist tries until there is space, as while Badger compacts there is not.
func persist(t *testing.T, try func() error) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := try()
		if err != nil {
			require.ErrorIs(t, err, task.ErrNoSpace)
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
}

// A disk that fills up refuses new tasks, and nothing else; when there is room
// again the same store takes them again.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t)
	s := open(t, filepath.Join(disk, "store"), smallOptions)
	tasks := untilFull(t, s)
	require.NotEmpty(t, tasks)
	t.Logf("%d tasks of 20 kB fit", len(tasks))

	// The store may tidy up now, and make room: someone else takes it.
	s.space.mu.Lock()
	keep := s.space.minFree + s.space.headroom
	s.space.mu.Unlock()
	fillBeside(t, s, filepath.Join(disk, "other"), keep*3/4)
	_, err := s.CreateBody(t.Context(), newTask().ID, task.RequestPart)
	require.ErrorIs(t, err, task.ErrNoSpace)
	for i, one := range tasks {
		_, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
		if i < len(tasks)/2 { // those that were taken go on
			one.Status, one.Callback.Status, one.ExpiresAt = task.Completed, task.CallbackDelivered, time.Now()
			persist(t, func() error { return s.Save(t.Context(), task.Step{Task: one, DropRequest: true}) })
		}
	}

	// Someone takes all that is left: now nothing can be written. It must
	// not kill the process, either.
	fillBeside(t, s, filepath.Join(disk, "more"), 0)
	require.ErrorIs(t, s.Create(t.Context(), newTask(), newRequest(10), nil), task.ErrNoSpace)
	require.ErrorIs(t, s.Save(t.Context(), task.Step{Task: tasks[len(tasks)-1]}), task.ErrNoSpace)
	for _, one := range tasks {
		_, err := s.Load(t.Context(), one.ID)
		require.NoError(t, err)
	}
	require.NoError(t, os.Remove(filepath.Join(disk, "other")))
	require.NoError(t, os.Remove(filepath.Join(disk, "more")))

	for _, one := range tasks[:len(tasks)/2] {
		require.NoError(t, s.Remove(t.Context(), one.ID))
	}
	persist(t, func() error { return s.compact(t.Context()) })
	again := untilFull(t, s)
	require.NotEmpty(t, again, "there is room again")
	t.Logf("%d more fit when half of them were removed", len(again))

	require.NoError(t, s.Close())
	s = open(t, filepath.Join(disk, "store"), smallOptions)
	for _, one := range append(tasks[len(tasks)/2:], again...) {
		_, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
	}
}

// A body that meets the end of the disk is refused in the middle, and leaves
// nothing behind.
func TestFullDiskBody(t *testing.T) {
	disk := smallDisk(t)
	s := open(t, filepath.Join(disk, "store"), smallOptions)
	before, err := freeBytes(disk)
	require.NoError(t, err)
	w, err := s.CreateBody(t.Context(), newTask().ID, task.RequestPart)
	require.NoError(t, err)
	for err == nil {
		_, err = w.Write(noise(1 << 20))
	}
	require.ErrorIs(t, err, task.ErrNoSpace)
	require.NoError(t, w.Discard())
	after, err := freeBytes(disk)
	require.NoError(t, err)
	require.InDelta(t, before, after, 64<<10)
	create(t, s, 1000)
}

// A limit for the size of files that is met refuses steps, and nothing else.
// When it is raised, the same store takes them again.
func TestFileSizeLimit(t *testing.T) {
	s := open(t, t.TempDir(), Options{MemTableSize: minMemTableSize})
	before := create(t, s, 20_000)
	require.NoError(t, s.Health())

	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &limit))
	restore := func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit)) }
	defer restore()
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 8 << 10, Max: limit.Max}))
	for range 3 {
		require.ErrorIs(t, s.Create(t.Context(), newTask(), newRequest(20_000), nil), task.ErrNoSpace)
	}
	require.ErrorIs(t, s.Health(), task.ErrNoSpace)
	_, err := s.LoadRequest(t.Context(), before.ID)
	require.NoError(t, err)

	// The journal has room again, but the database has none: until the journal
	// is full, steps are taken.
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(s.space.memTable), Max: limit.Max}))
	tasks, refusals := createAtMost(t, s, 1000)
	require.NotEmpty(t, tasks)
	for _, err := range refusals {
		require.ErrorIs(t, err, task.ErrNoSpace)
	}
	require.NotEmpty(t, refusals)
	require.ErrorIs(t, s.Health(), task.ErrNoSpace)
	restore()
	persist(t, func() error { return s.Create(t.Context(), newTask(), newRequest(20_000), nil) })
	require.NoError(t, s.Health())
	crash(t, s)
	s = open(t, s.dir, Options{MemTableSize: minMemTableSize})
	for _, one := range append(tasks, before) {
		_, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
	}
}

// A disk without room for the journal is refused at the start.
func TestFullJournal(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, journalDir)
	require.NoError(t, makeDirs(dir))
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=400k"); err != nil {
		t.Skipf("a small disk needs mount(2): %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	_, err := Open(dir, Options{MemTableSize: minMemTableSize})
	require.ErrorIs(t, err, task.ErrNoSpace)
	require.NoError(t, unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=8m"))
	s := open(t, dir, Options{MemTableSize: minMemTableSize})
	create(t, s, 20_000)
}

// Even where nothing is checked, an error that means a full disk is one.
func TestNoSpaceErrors(t *testing.T) {
	require.NoError(t, noSpace(nil))
	for err, want := range map[error]bool{
		unix.ENOSPC: true,
		unix.EDQUOT: true,
		unix.EFBIG:  true,
		&os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}:          true,
		errors.New("while writing err: write x: " + unix.ENOSPC.Error()): true,
		unix.EIO: false,
	} {
		require.Equal(t, want, errors.Is(noSpace(err), task.ErrNoSpace), err)
	}
}
