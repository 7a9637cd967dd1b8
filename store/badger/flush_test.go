package badger

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// crash ends a store as a kill of the process does, when nothing is being
// written: all files stay as they are.
func crash(t *testing.T, s *Store) {
	t.Helper()
	left := snapshot(t, s)
	require.NoError(t, s.Close())
	require.NoError(t, os.RemoveAll(s.dir))
	require.NoError(t, os.Rename(left, s.dir))
}

// snapshot copies the directory of a store that is open.
func snapshot(t *testing.T, s *Store) (dir string) {
	t.Helper()
	s.compactor.flattening.Lock() // so that the files are at rest
	defer s.compactor.flattening.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	require.NoError(t, s.awaitTables(t.Context(), filepath.Join(s.dir, dbDir)))
	dir = t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(s.dir)))
	return dir
}

func journalFiles(t *testing.T, s *Store) []string {
	files, err := filepath.Glob(filepath.Join(s.dir, journalDir, "*"))
	require.NoError(t, err)
	return files
}

// What the process has not given to Badger is there again, each step in its
// order; also after several crashes, with other options, and when it is encrypted.
func TestCatchUp(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": []byte("0123456789abcdef")} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			var kept, gone []*task.Task
			for _, memTable := range []int64{4 << 20, minMemTableSize, 64 << 20, 2 << 20} {
				s := open(t, dir, Options{MemTableSize: memTable, EncryptionKey: key})
				for n := range 300 {
					one := create(t, s, 10_000)
					if n%2 == 0 {
						kept = append(kept, one)
						one.Attempts = 7
						require.NoError(t, s.Save(t.Context(), task.Step{Task: one, Response: &task.Response{Status: 200}}))
					} else {
						gone = append(gone, one)
						require.NoError(t, s.Remove(t.Context(), one.ID))
					}
				}
				require.NoError(t, s.settleAll(t.Context()))
				crash(t, s)
			}
			s := open(t, dir, Options{MemTableSize: minMemTableSize, EncryptionKey: key})
			for _, one := range kept {
				got, err := s.Load(t.Context(), one.ID)
				require.NoError(t, err)
				require.Equal(t, 7, got.Attempts)
				_, err = s.LoadRequest(t.Context(), one.ID)
				require.NoError(t, err)
				_, err = s.LoadResponse(t.Context(), one.ID)
				require.NoError(t, err)
			}
			for _, one := range gone {
				_, err := s.Load(t.Context(), one.ID)
				require.ErrorIs(t, err, task.ErrNotFound)
			}
			due := 0
			require.NoError(t, s.Due(t.Context(), func(task.Due) error { due++; return nil }))
			require.Equal(t, len(kept), due)
		})
	}
}

// The memtables of a process that was killed fit into larger ones only: a store
// with smaller ones, or whose key is changed, sees to that.
func TestSmallerMemtable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir, Options{MemTableSize: 64 << 20})
	var all []*task.Task
	for range 3 {
		all = append(all, createMany(t, s, 1000)...)
		require.NoError(t, s.flushNow(t.Context()))
	}
	left := snapshot(t, s)
	key := []byte("0123456789abcdef")
	require.NoError(t, RotateKey(left, nil, key))
	crash(t, s)
	for _, s := range []*Store{open(t, dir, Options{MemTableSize: minMemTableSize}), open(t, left, Options{MemTableSize: minMemTableSize, EncryptionKey: key})} {
		for _, one := range all {
			_, err := s.LoadRequest(t.Context(), one.ID)
			require.NoError(t, err)
		}
	}
}

// The journal has two files, whatever the traffic: many tasks or few, kept or
// not, one at a time or together, with or without quiet between them.
func TestJournalStaysSmall(t *testing.T) {
	s := openSmall(t, t.TempDir(), time.Hour)
	size := func() int64 { return diskUsage(filepath.Join(s.dir, journalDir)) }
	before := size()
	for n := range 3000 {
		one := create(t, s, 20_000)
		switch n % 3 {
		case 0:
			require.NoError(t, s.Remove(t.Context(), one.ID))
		case 1:
			one.Status, one.ExpiresAt = task.Completed, time.Now()
			require.NoError(t, s.Save(t.Context(), task.Step{Task: one, DropRequest: true, Response: &task.Response{Status: 200}}))
		}
	}
	require.Len(t, journalFiles(t, s), 2)
	require.Equal(t, before, size())
	require.NoError(t, s.Close())
	require.Len(t, journalFiles(t, s), 2)
	s = open(t, s.dir, Options{MemTableSize: minMemTableSize})
	require.Equal(t, before, size())
}

// A store that is killed again and again with a little traffic between opens
// each time, and keeps no table for each of them.
func TestManyCrashes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var all []*task.Task
	for range 200 {
		s, err := Open(dir, Options{MemTableSize: minMemTableSize})
		require.NoError(t, err)
		require.Less(t, s.db.Levels()[0].NumTables, tooManyTables)
		all = append(all, create(t, s, 1000))
		crash(t, s)
	}
	s := open(t, dir, Options{})
	for _, one := range all {
		_, err := s.LoadRequest(t.Context(), one.ID)
		require.NoError(t, err)
	}
}

// A crash right after the key of the bodies was made, which the journal needs.
func TestCatchUpWithNewKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir, Options{})
	plain := create(t, s, 10)
	crash(t, s)
	key := []byte("0123456789abcdef")
	require.NoError(t, RotateKey(dir, nil, key))
	s = open(t, dir, Options{EncryptionKey: key})
	sealed := create(t, s, 10)
	left := snapshot(t, s)
	s = open(t, left, Options{EncryptionKey: key})
	for _, one := range []*task.Task{plain, sealed} {
		_, err := s.Load(t.Context(), one.ID)
		require.NoError(t, err)
	}
}

// Logs that a crash has left without content do not keep the store from opening.
func TestEmptyLog(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	one := create(t, s, 10)
	require.NoError(t, s.Close())
	for _, name := range []string{"00009", "00010", "00011"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, dbDir, name+logExtension), nil, 0o600))
	}
	s = open(t, dir, Options{})
	_, err := s.Load(t.Context(), one.ID)
	require.NoError(t, err)
}

func appendWrites(all writes) (record []byte) {
	for _, w := range all {
		record = appendWrite(record, &w)
	}
	return record
}

// What nobody but Badger could have made is not taken for a log.
func TestLogEntries(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	create(t, s, 100)
	require.NoError(t, s.flushNow(t.Context()))
	logs, err := memtableFiles(filepath.Join(s.dir, dbDir))
	require.NoError(t, err)
	content, err := os.ReadFile(logs[0])
	require.NoError(t, err)
	n := 0
	for at := 20; ; n++ {
		_, length := logEntryAt(content[at:])
		if length == 0 {
			break
		}
		damaged := slices.Clone(content[at : at+length])
		damaged[len(damaged)/2] ^= 1
		_, none := logEntryAt(damaged)
		require.Zero(t, none)
		_, none = logEntryAt(content[at : at+length-1])
		require.Zero(t, none)
		at += length
	}
	require.Greater(t, n, 4)
}

// FuzzWrites reads records that are anything.
func FuzzWrites(f *testing.F) {
	f.Add(appendWrites(writes{{"key", []byte("value")}, {"gone", nil}, {"empty", []byte{}}}))
	f.Add([]byte{3, 'k', 'e'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, record []byte) {
		var all writes
		err := eachWrite(record, func(w write) error {
			all = append(all, w)
			return nil
		})
		if err != nil {
			return
		}
		var again writes
		require.NoError(t, eachWrite(appendWrites(all), func(w write) error {
			again = append(again, w)
			return nil
		}))
		require.Equal(t, all, again)
	})
}
