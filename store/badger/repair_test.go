package badger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// killed is the directory of a store that was killed: with tasks in tables, in
// a log and in the journal, and some bodies.
func killed(t *testing.T, options Options) (dir string, tasks []*task.Task, body []byte) {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "store"), options)
	body = noise(100_000)
	for n := range 300 {
		one := newTask()
		q := newRequest(2000)
		if n%50 == 0 {
			putBody(t, s, one.ID, task.RequestPart, body)
			q.Body = task.Body{Size: int64(len(body)), Stored: true}
		}
		require.NoError(t, s.Create(t.Context(), one, q, nil))
		tasks = append(tasks, one)
		if n == 100 {
			require.NoError(t, s.fillMemtable(t.Context()))
		}
	}
	require.NoError(t, s.Remove(t.Context(), tasks[0].ID))
	require.NoError(t, s.settleAll(t.Context()))
	dir = snapshot(t, s)
	require.NoError(t, s.Close())
	return dir, tasks, body
}

// flip flips a bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	used := bytes.TrimRight(content, "\x00")
	content[len(used)/2] ^= 1
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

// A sound directory is told what it holds, and stays as it is; of a damaged
// one, what is damaged.
func TestCheck(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": key1} {
		t.Run(name, func(t *testing.T) {
			options := Options{MemTableSize: minMemTableSize, EncryptionKey: key}
			dir, tasks, _ := killed(t, options)
			before := files(t, dir)
			found, err := Check(dir, options)
			require.NoError(t, err)
			require.Equal(t, map[string]int{"queued": len(tasks) - 1}, found.Tasks)
			require.NotZero(t, found.Records)
			require.Empty(t, found.Lost)
			require.Equal(t, before, files(t, dir))
			beside, err := os.ReadDir(filepath.Dir(dir))
			require.NoError(t, err)
			for _, entry := range beside {
				require.NotContains(t, entry.Name(), "check")
			}

			bodies, err := filepath.Glob(filepath.Join(dir, bodiesDir, "*", "*"))
			require.NoError(t, err)
			flip(t, bodies[1])
			found, err = Check(dir, options)
			require.NoError(t, err)
			require.Len(t, found.Lost, 1)
			require.ErrorContains(t, found.Lost[0], "request body of task")

			flip(t, filepath.Join(dir, dbDir, "000001.sst"))
			_, err = Check(dir, options)
			require.ErrorAs(t, err, new(*DamageError))
			require.ErrorContains(t, err, "000001.sst")
			_, err = Check(t.TempDir(), options)
			require.ErrorContains(t, err, "there is no task store in")
		})
	}
}

// What is readable of a damaged directory is saved into another one, and the
// rest is named. Of a sound one, that is everything.
func TestRepair(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": key1} {
		t.Run(name, func(t *testing.T) {
			options := Options{MemTableSize: minMemTableSize, EncryptionKey: key}
			dir, tasks, body := killed(t, options)
			requireTasks := func(to string, least int) {
				s := open(t, to, options)
				there := 0
				for _, one := range tasks[1:] {
					q, err := s.LoadRequest(t.Context(), one.ID)
					if err != nil {
						continue
					}
					there++
					if q.Body.Stored {
						got, err := readBody(t, s, one.ID, task.RequestPart)
						if err == nil {
							require.Equal(t, body, got)
						}
					}
				}
				require.GreaterOrEqual(t, there, least)
				_, err := s.Load(t.Context(), tasks[0].ID)
				require.ErrorIs(t, err, task.ErrNotFound, "it was removed")
			}
			to := filepath.Join(t.TempDir(), "sound")
			n, lost, err := Repair(dir, to, options)
			require.NoError(t, err)
			require.Empty(t, lost)
			require.Equal(t, len(tasks)-1, n)
			requireTasks(to, len(tasks)-1)
			_, _, err = Repair(dir, to, options)
			require.ErrorContains(t, err, "is there already")

			flip(t, filepath.Join(dir, dbDir, "000001.sst"))
			flip(t, filepath.Join(dir, journalDir, "a.journal"))
			flip(t, filepath.Join(dir, journalDir, "b.journal"))
			logs, err := memtableFiles(filepath.Join(dir, dbDir))
			require.NoError(t, err)
			flip(t, logs[0])
			bodies, err := filepath.Glob(filepath.Join(dir, bodiesDir, "*", "*"))
			require.NoError(t, err)
			require.NoError(t, os.Remove(bodies[0]))
			require.NoError(t, os.Remove(filepath.Join(dir, dbDir, "MANIFEST")))
			before := files(t, dir)
			_, err = Open(dir, options)
			require.Error(t, err)
			to = filepath.Join(t.TempDir(), "rest")
			n, lost, err = Repair(dir, to, options)
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(lost), 4)
			t.Log(n, "tasks; lost:", lost)
			requireTasks(to, len(tasks)*2/3)
			require.Equal(t, before, files(t, dir))
		})
	}
}
