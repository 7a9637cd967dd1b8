package badger

import (
	"bytes"
	"flag"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/store/badger/journal"
	"github.com/ringback/ringback/task"
)

var powerLosses = flag.Int("badger.lives", 25, "how many lives of a store are played through")

// disk knows what of a store's directory would be there after the power fails.
// Of the journal's files it sees each write and sync. Of Badger's logs, which
// are written through memory, it asks the kernel which pages were written to
// since they were last synced. Badger syncs all else itself.
type disk struct {
	dir string
	r   *rand.Rand

	mu      sync.Mutex
	journal map[string]*journalFile
	durable map[string][]byte // of the others, by path within dir
}

const page = 4096

// journalFile is a file of the journal, sector by sector.
type journalFile struct {
	journal.File
	disk         *disk
	now, durable []byte
	dirty        map[int]bool
}

const sector = 512

func (d *disk) wrap(name string, f journal.File) journal.File {
	content, err := os.ReadFile(filepath.Join(d.dir, journalDir, name))
	if err != nil {
		panic(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.journal[name] = &journalFile{File: f, disk: d, now: content, durable: bytes.Clone(content), dirty: make(map[int]bool)}
	return d.journal[name]
}

func (f *journalFile) WriteAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	copy(f.now[at:], b)
	for s := int(at) / sector; s <= (int(at)+len(b)-1)/sector; s++ {
		f.dirty[s] = true
	}
	return f.File.WriteAt(b, at)
}

func (f *journalFile) Data() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	for s := range f.dirty {
		copy(f.durable[s*sector:(s+1)*sector], f.now[s*sector:])
	}
	clear(f.dirty)
	return nil // as durable as it need be
}

// image returns what is on the disk when the power fails now: of what was not
// synced, each page may be there or not. With a kill alone, all of it is.
func (d *disk) image(t *testing.T, powerLoss bool) (dir string) {
	dir, err := os.MkdirTemp(t.TempDir(), "")
	require.NoError(t, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	require.NoError(t, makeDirs(dir))
	for name, f := range d.journal {
		content := bytes.Clone(f.now)
		for s := range f.dirty {
			if powerLoss && d.r.IntN(2) == 0 {
				copy(content[s*sector:(s+1)*sector], f.durable[s*sector:])
			}
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, journalDir, name), content, 0o600))
	}
	// A log is copied before the manifest, which may say that it has become a
	// table; and that before the tables.
	for _, which := range []func(name string) bool{
		func(name string) bool { return strings.HasSuffix(name, logExtension) },
		func(name string) bool {
			return !strings.HasSuffix(name, logExtension) && !strings.HasSuffix(name, tableExtension)
		},
		func(name string) bool { return strings.HasSuffix(name, tableExtension) },
	} {
		require.NoError(t, filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
			name, _ := filepath.Rel(d.dir, path)
			switch {
			case err != nil:
				return err
			case name == journalDir:
				return filepath.SkipDir
			case entry.IsDir():
				return os.MkdirAll(filepath.Join(dir, name), 0o700)
			case !which(name):
				return nil
			}
			content, err := d.contentOf(path, name, powerLoss)
			if os.IsNotExist(err) {
				return nil
			}
			require.NoError(t, err)
			return os.WriteFile(filepath.Join(dir, name), content, 0o600)
		}))
	}
	return dir
}

// contentOf returns what a file has, and takes notice of what is durable of it.
func (d *disk) contentOf(path, name string, powerLoss bool) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	dirty := make(map[int]bool)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(name, logExtension) && notSynced(file, 0, uint64(info.Size())) {
		for at := int64(0); at < info.Size(); at += page {
			if notSynced(file, uint64(at), page) {
				dirty[int(at)] = true
			}
		}
	}
	content := make([]byte, info.Size())
	if _, err := file.ReadAt(content, 0); err != nil {
		return nil, err
	}
	before := d.durable[name]
	durable := make([]byte, len(content))
	for at := 0; at < len(content); at += page {
		end := min(at+page, len(content))
		switch {
		case !dirty[at]:
			copy(durable[at:end], content[at:end])
		case at < len(before):
			copy(durable[at:end], before[at:min(end, len(before))])
		}
		if dirty[at] && powerLoss && d.r.IntN(2) == 0 {
			copy(content[at:end], durable[at:end])
		}
	}
	d.durable[name] = durable
	return content, nil
}

func notSynced(file *os.File, at, length uint64) bool {
	var pages unix.Cachestat_t
	if unix.Cachestat(uint(file.Fd()), &unix.CachestatRange{Off: at, Len: length}, &pages, 0) != nil {
		return true
	}
	return pages.Dirty+pages.Writeback > 0
}

// Over a long random life of a store, whatever was acknowledged is there after
// each kill and each power loss, at every step of a flush: no task is lost, no
// step is taken back, and what was removed for good stays away.
func TestPowerLoss(t *testing.T) {
	var stat unix.Statfs_t
	require.NoError(t, unix.Statfs(t.TempDir(), &stat))
	if stat.Type == unix.TMPFS_MAGIC {
		t.Skip("pages of a memory file system are always dirty")
	}
	if file, err := os.Open("powerloss_linux_test.go"); err != nil || unix.Cachestat(uint(file.Fd()), &unix.CachestatRange{}, &unix.Cachestat_t{}, 0) != nil {
		t.Skip("needs Linux 6.5")
	}
	seed := rand.Uint64()
	t.Log("seed", seed)
	for life := range *powerLosses {
		t.Run("", func(t *testing.T) { live(t, rand.New(rand.NewPCG(seed, uint64(life)))) })
	}
}

// known is what was acknowledged of a task.
type known struct {
	attempts int
	removed  bool
}

func live(t *testing.T, r *rand.Rand) {
	dir := filepath.Join(t.TempDir(), "store")
	var key []byte
	if r.IntN(3) == 0 {
		key = key1
	}
	tasks := make(map[task.ID]known)
	for range 1 + r.IntN(4) {
		dir = session(t, r, dir, key, tasks)
	}
}

// session opens a store, works with it, and returns what is left when it ends.
func session(t *testing.T, r *rand.Rand, dir string, key []byte, tasks map[task.ID]known) (left string) {
	d := &disk{dir: dir, r: rand.New(rand.NewPCG(r.Uint64(), 0)), journal: make(map[string]*journalFile), durable: make(map[string][]byte)}
	if _, err := os.Stat(dir); err == nil { // what survived the last power loss is on the disk
		for path, content := range files(t, dir) {
			name, err := filepath.Rel(dir, path)
			require.NoError(t, err)
			d.durable[name] = []byte(content)
		}
	}
	s, err := Open(dir, Options{MemTableSize: minMemTableSize << r.IntN(2), EncryptionKey: key, MinFree: -1, wrapJournal: d.wrap})
	require.NoError(t, err)
	defer s.Close()
	ids := make([]task.ID, 0, len(tasks))
	for id, want := range tasks {
		got, err := s.Load(t.Context(), id)
		if want.removed {
			require.ErrorIs(t, err, task.ErrNotFound)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want.attempts, got.Attempts)
		_, err = s.LoadRequest(t.Context(), id)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	d.image(t, false) // to see what is durable

	var mu sync.Mutex
	acknowledged := maps.Clone(tasks)
	powerLoss := r.IntN(3) > 0
	var atImage map[task.ID]known
	take := func() {
		mu.Lock()
		atImage = maps.Clone(acknowledged)
		mu.Unlock()
		left = d.image(t, powerLoss)
		mu.Lock()
		defer mu.Unlock()
		maps.DeleteFunc(atImage, func(id task.ID, was known) bool { // what changed meanwhile
			is, ok := acknowledged[id]
			return !ok || is != was
		})
	}
	point, count := flushStep(r.IntN(int(flushDone)+2)), r.IntN(4) // beyond flushDone: not while flushing
	s.beforeFlush = func(step flushStep) error {
		if step == flushDone || step == flushCheckpoint {
			d.image(t, false) // to see what is durable
		}
		if step != point || left != "" {
			return nil
		}
		if count--; count < 0 {
			s.compactor.flattening.Lock()
			defer s.compactor.flattening.Unlock()
			take()
		}
		return nil
	}
	for n := range r.IntN(250) {
		if len(ids) == 0 || r.IntN(2) == 0 {
			one := newTask()
			require.NoError(t, s.Create(t.Context(), one, newRequest(r.IntN(8000)), nil))
			mu.Lock()
			acknowledged[one.ID] = known{}
			mu.Unlock()
			ids = append(ids, one.ID)
			continue
		}
		i := r.IntN(len(ids))
		id := ids[i]
		if r.IntN(3) > 0 {
			one, err := s.Load(t.Context(), id)
			require.NoError(t, err)
			one.Attempts = n + 1
			mu.Lock() // whether an image has it is not known while it is on its way
			before := acknowledged[id]
			delete(acknowledged, id)
			mu.Unlock()
			require.NoError(t, s.Save(t.Context(), task.Step{Task: one}))
			before.attempts = one.Attempts
			mu.Lock()
			acknowledged[id] = before
			mu.Unlock()
			continue
		}
		mu.Lock()
		delete(acknowledged, id)
		mu.Unlock()
		require.NoError(t, s.Remove(t.Context(), id))
		require.NoError(t, s.settleAll(t.Context()))
		mu.Lock()
		acknowledged[id] = known{removed: true}
		mu.Unlock()
		ids[i] = ids[len(ids)-1]
		ids = ids[:len(ids)-1]
	}
	s.writing.Lock()
	if left == "" {
		s.compactor.flattening.Lock()
		require.NoError(t, s.awaitTables(t.Context(), filepath.Join(dir, dbDir)))
		take()
		s.compactor.flattening.Unlock()
	}
	s.writing.Unlock()
	clear(tasks)
	maps.Copy(tasks, atImage)
	return left
}
