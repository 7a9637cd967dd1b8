package badger

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// crash is what a store leaves behind that was not closed: the journal, and of
// Badger's logs nothing.
func crash(t *testing.T, s *Store) {
	t.Helper()
	s.compactor.flattening.Lock() // so that the files are at rest
	require.Eventually(t, func() bool {
		first, last, err := logs(filepath.Join(s.dir, dbDir))
		return err == nil && first == last
	}, 10*time.Second, time.Millisecond)
	left := t.TempDir()
	require.NoError(t, os.CopyFS(left, os.DirFS(s.dir)))
	s.compactor.flattening.Unlock()
	require.NoError(t, s.Close())
	require.NoError(t, os.RemoveAll(s.dir))
	require.NoError(t, os.Rename(left, s.dir))
	logs, err := filepath.Glob(filepath.Join(s.dir, dbDir, "*"+logExtension))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	for _, log := range logs {
		require.NoError(t, os.Remove(log))
	}
}

func journalFiles(t *testing.T, s *Store) []string {
	files, err := filepath.Glob(filepath.Join(s.dir, journalDir, "*"))
	require.NoError(t, err)
	return files
}

// What is in the journal only is there again, each step in its order; also
// after several crashes, with other options, and when it is encrypted.
func TestCatchUp(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": []byte("0123456789abcdef")} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			var kept, gone []*task.Task
			for _, memTable := range []int64{2 << 20, minMemTableSize, 4 << 20} {
				s := open(t, dir, Options{MemTableSize: memTable, EncryptionKey: key})
				require.NoError(t, s.flush(t.Context())) // as the log with the key of the bodies was synced
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
			s := open(t, dir, Options{EncryptionKey: key})
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
	left := t.TempDir()
	require.NoError(t, os.CopyFS(left, os.DirFS(dir))) // synced or not: the logs are whole
	s = open(t, left, Options{EncryptionKey: key})
	for _, one := range []*task.Task{plain, sealed} {
		_, err := s.Load(t.Context(), one.ID)
		require.NoError(t, err)
	}
}

// A closed store has no journal, and one that is quiet a small one.
func TestJournalIsGivenBack(t *testing.T) {
	s := open(t, t.TempDir(), Options{MemTableSize: minMemTableSize})
	for range 200 {
		require.NoError(t, s.Remove(t.Context(), create(t, s, 20_000).ID))
	}
	require.Greater(t, len(journalFiles(t, s)), 3)
	require.NoError(t, s.compact(t.Context()))
	_, err := s.tidy(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, len(journalFiles(t, s)), 3)
	require.NoError(t, s.Close())
	require.Empty(t, journalFiles(t, s))
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
