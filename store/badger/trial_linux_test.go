package badger

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	_ "unsafe" // for badgerSync

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/store/badger/journal"
	"github.com/ringback/ringback/task"
)

// What a trial by fresh eyes has found.

// requireSteps requires that steps go on, over more than one file of the journal.
func requireSteps(t *testing.T, s *Store) {
	t.Helper()
	require.NoError(t, s.Health())
	for range 40 {
		create(t, s, 20_000)
	}
}

// slowTable is a memtable that Badger takes so long to make a table of.
func slowTable(t *testing.T, dir string, takes time.Duration) {
	path := filepath.Join(dir, dbDir, "00000"+logExtension)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	time.AfterFunc(takes, func() { os.Remove(path) })
}

// A flush is not over before older memtables are tables; a slow disk holds it
// up, and nothing else once it is done.
func TestSlowTables(t *testing.T) {
	t.Run("flush", func(t *testing.T) {
		s := open(t, t.TempDir(), Options{MemTableSize: minMemTableSize})
		create(t, s, 1000)
		slowTable(t, s.dir, 300*time.Millisecond)
		begun := time.Now()
		require.NoError(t, s.flushNow(t.Context()))
		require.GreaterOrEqual(t, time.Since(begun), 300*time.Millisecond)
		requireSteps(t, s)
	})
	t.Run("compaction", func(t *testing.T) {
		s := open(t, t.TempDir(), Options{MemTableSize: minMemTableSize})
		create(t, s, 1000)
		require.NoError(t, s.flushNow(t.Context()))
		slowTable(t, s.dir, flushPatience+time.Second)
		require.NoError(t, s.fillMemtable(t.Context()))
		requireSteps(t, s)
	})
	t.Run("start", func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "store"), Options{MemTableSize: minMemTableSize})
		create(t, s, 1000)
		crash(t, s)
		options, err := Options{MemTableSize: minMemTableSize}.withDefaults()
		require.NoError(t, err)
		d, err := look(s.dir, nil)
		require.NoError(t, err)
		db, err := openBadger(s.dir, options)
		require.NoError(t, err)
		slowTable(t, s.dir, flushPatience+time.Second)
		s, err = newStore(d, db, options)
		require.NoError(t, err)
		s.start()
		requireSteps(t, s)
		require.NoError(t, s.Close())
	})
}

// badgerSync syncs Badger's manifest.
//
//go:linkname badgerSync github.com/dgraph-io/badger/v4.syncFunc
var badgerSync func(*os.File) error

// beforeSync is called before that, if there is one.
var beforeSync atomic.Pointer[func(*os.File)]

func init() { // when no database is open that could be syncing
	sync := badgerSync
	badgerSync = func(f *os.File) error {
		if before := beforeSync.Load(); before != nil {
			(*before)(f)
		}
		return sync(f)
	}
}

// What a compaction has written to the manifest, but not synced yet, may be gone
// after a power loss without anything being lost.
func TestManifestThatIsNotSynced(t *testing.T) {
	options := Options{MemTableSize: minMemTableSize}
	s := open(t, t.TempDir(), options)
	for range 3 {
		create(t, s, 1000)
		require.NoError(t, s.fillMemtable(t.Context()))
	}
	one := create(t, s, 1000)
	manifest := filepath.Join(s.dir, dbDir, "MANIFEST")
	info, err := os.Stat(manifest)
	require.NoError(t, err)
	var once, durable atomic.Bool
	syncing, goOn := make(chan struct{}), make(chan struct{})
	hold := func(f *os.File) {
		if filepath.Base(f.Name()) == "MANIFEST" && once.CompareAndSwap(false, true) {
			close(syncing)
			<-goOn
		}
	}
	beforeSync.Store(&hold)
	defer beforeSync.Store(nil)
	flattened := make(chan error)
	go func() { flattened <- s.compactor.flatten() }()
	<-syncing
	s.beforeFlush = func(step flushStep) error {
		if step == flushSyncCheckpoint { // the mark is made: what it says is durable
			file, err := os.Open(manifest)
			require.NoError(t, err)
			durable.Store(dirtyOrUnknown(file) == 0)
			require.NoError(t, file.Close())
		}
		return nil
	}
	require.NoError(t, s.flushNow(t.Context()))
	left := t.TempDir()
	require.NoError(t, os.CopyFS(left, os.DirFS(s.dir)))
	if !durable.Load() {
		require.NoError(t, os.Truncate(filepath.Join(left, dbDir, "MANIFEST"), info.Size()))
	}
	close(goOn)
	require.NoError(t, <-flattened)
	s = open(t, left, options)
	_, err = s.Load(t.Context(), one.ID)
	require.NoError(t, err)
}

// What a start finds in the journal is synced before the database gets it, or
// the database would have, for good, what the journal may yet lose.
func TestReplayIsSynced(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), Options{MemTableSize: minMemTableSize})
	create(t, s, 1000)
	crash(t, s)
	paths := journalFiles(t, s)
	for _, path := range paths { // written anew, and so not on the disk
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	options, err := Options{MemTableSize: minMemTableSize}.withDefaults()
	require.NoError(t, err)
	d, err := look(s.dir, nil)
	require.NoError(t, err)
	require.NoError(t, d.journal.Sync())
	used := 0
	for _, path := range paths {
		file, err := os.Open(path)
		require.NoError(t, err)
		if dirtyOrUnknown(file) == 0 {
			used++
		}
		require.NoError(t, file.Close())
	}
	require.NotZero(t, used, "the file that has records")
	s, err = d.open(options)
	require.NoError(t, err)
	s.start()
	require.NoError(t, s.Close())
}

// A process without a file descriptor to spare goes on when it has one.
func TestNoDescriptors(t *testing.T) {
	var failed atomic.Int64
	s := open(t, t.TempDir(), Options{MemTableSize: minMemTableSize})
	create(t, s, 1000)
	s.beforeFlush = func(step flushStep) error {
		if step == flushSync && failed.Add(1) == 1 {
			return &os.PathError{Op: "open", Path: s.dir, Err: syscall.EMFILE}
		}
		return nil
	}
	require.ErrorIs(t, s.flushNow(t.Context()), syscall.EMFILE)
	require.Eventually(t, func() bool { return s.Health() == nil }, 10*time.Second, 10*time.Millisecond)
	requireSteps(t, s)
}

// A second process finds the directory locked from the first look on.
func TestLockedFromTheFirstLook(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, dir, Options{}).Close())
	d, err := look(dir, nil)
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "is in use by another process")
	_, err = Check(dir, Options{})
	require.ErrorContains(t, err, "is in use by another process")
	require.NoError(t, d.unlock())
	require.NoError(t, open(t, dir, Options{}).Close())
}

// A store that has space again is healthy, though nobody sends anything.
func TestHealthComesBackByItself(t *testing.T) {
	var failure atomic.Pointer[error]
	s := openSmall(t, t.TempDir(), 100*time.Millisecond)
	create(t, s, 10)
	require.Eventually(t, func() bool { // the leftovers of opening are given back
		s.compactor.mu.Lock()
		defer s.compactor.mu.Unlock()
		return s.compactor.resting
	}, 20*time.Second, 10*time.Millisecond)
	full := error(syscall.ENOSPC)
	failure.Store(&full)
	s.beforeCommit = func() error {
		if err := failure.Load(); err != nil {
			return s.writeFailed(*err)
		}
		return nil
	}
	require.ErrorIs(t, s.Create(t.Context(), newTask(), newRequest(10), nil), task.ErrNoSpace)
	require.ErrorIs(t, s.Health(), task.ErrNoSpace)
	require.Eventually(t, func() bool { return s.Health() == nil }, 20*time.Second, 10*time.Millisecond)
}

// A step that is refused for lack of space has the store give back what it can.
func TestRefusedStepWakesTheCompactor(t *testing.T) {
	s := openSmall(t, t.TempDir(), 100*time.Millisecond)
	tasks := createMany(t, s, 300)
	require.NoError(t, s.fillMemtable(t.Context()))
	for _, one := range tasks {
		require.NoError(t, s.Remove(t.Context(), one.ID))
	}
	require.NoError(t, s.settleAll(t.Context()))
	require.Eventually(t, func() bool {
		s.compactor.mu.Lock()
		defer s.compactor.mu.Unlock()
		return s.compactor.resting
	}, 20*time.Second, 10*time.Millisecond)
	s.space.mu.Lock() // as if bodies had taken the rest
	s.space.maxBytes = diskUsage(filepath.Join(s.dir, dbDir)) + diskUsage(filepath.Join(s.dir, journalDir)) - 1<<20
	s.space.mu.Unlock()
	persist(t, func() error { return s.Create(t.Context(), newTask(), newRequest(10), nil) })
}

// A record that took large values is read, and repaired, with small ones.
func TestLargeRecordsInASmallerStore(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"), Options{MemTableSize: 64 << 20})
	one := newTask()
	request := newRequest(700_000)
	require.NoError(t, s.Create(t.Context(), one, request, nil))
	crash(t, s)
	small := Options{MemTableSize: minMemTableSize}
	require.NoError(t, open(t, s.dir, small).Close())
	to := filepath.Join(t.TempDir(), "repaired")
	_, lost, err := Repair(s.dir, to, small)
	require.NoError(t, err)
	require.Empty(t, lost)
	for _, dir := range []string{s.dir, to} {
		s := open(t, dir, small)
		got, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
		require.Equal(t, request.Body.Inline, got.Body.Inline)
		logs, err := filepath.Glob(filepath.Join(dir, dbDir, "*.vlog"))
		require.NoError(t, err)
		for _, path := range logs {
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NotContains(t, string(content), string(request.Body.Inline[1000:1100]), "nothing is in the value log")
		}
	}
}

// Encrypted stores take nothing that was not encrypted.
func TestPlainJournalInEncryptedStore(t *testing.T) {
	options := Options{MemTableSize: minMemTableSize, EncryptionKey: key1}
	s := open(t, filepath.Join(t.TempDir(), "store"), options)
	create(t, s, 10)
	crash(t, s)
	forged := filepath.Join(t.TempDir(), "journal")
	contents, err := journal.Read(forged)
	require.NoError(t, err)
	j, err := journal.Open(contents, journal.Options{FileSize: minMemTableSize / 4})
	require.NoError(t, err)
	require.NoError(t, j.Append(nil))
	require.NoError(t, j.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(s.dir, journalDir)))
	require.NoError(t, os.Rename(forged, filepath.Join(s.dir, journalDir)))
	_, err = Open(s.dir, options)
	require.ErrorContains(t, err, "it is not encrypted, and should be")
}

// dirtyOrUnknown is how many pages of a file are not on the disk, as far as the
// system tells.
func dirtyOrUnknown(file *os.File) int {
	if notSynced(file, 0, 1<<40) {
		return 1
	}
	return 0
}
