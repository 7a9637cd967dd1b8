package badger

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

var damages = flag.Int("badger.damages", 40, "how often a directory is damaged, plain and encrypted each")

// A directory of a killed process in which a bit is flipped, a file is cut off
// or missing: either everything is there, or whoever opens the store, or reads
// a body, is told what is damaged. Nothing is missing without a word, no byte is
// wrong, and nothing is deleted.
func TestDamage(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": key1} {
		t.Run(name, func(t *testing.T) {
			options := Options{MemTableSize: minMemTableSize, EncryptionKey: key, MinFree: -1}
			s := open(t, filepath.Join(t.TempDir(), "store"), options)
			requests := make(map[task.ID]*task.Request)
			body := noise(150_000)
			for n := range 400 { // in tables, in a log, in the journal
				one := newTask()
				q := newRequest(3000)
				if n%100 == 7 {
					putBody(t, s, one.ID, task.RequestPart, body)
					q.Body = task.Body{Size: int64(len(body)), Stored: true}
				}
				require.NoError(t, s.Create(t.Context(), one, q, nil))
				requests[one.ID] = q
				if n == 200 {
					require.NoError(t, s.fillMemtable(t.Context()))
				}
			}
			for id := range requests {
				if len(requests) == 350 {
					break
				}
				require.NoError(t, s.Remove(t.Context(), id))
				delete(requests, id)
			}
			require.NoError(t, s.settleAll(t.Context()))
			whole := snapshot(t, s)
			require.NoError(t, s.Close())
			paths := slices.Sorted(maps.Keys(files(t, whole)))
			seed := rand.Uint64()
			t.Log("seed", seed)
			found := 0
			for n := range *damages {
				r := rand.New(rand.NewPCG(seed, uint64(n)))
				dir := filepath.Join(t.TempDir(), "store")
				require.NoError(t, os.CopyFS(dir, os.DirFS(whole)))
				path, err := filepath.Rel(whole, paths[r.IntN(len(paths))])
				require.NoError(t, err)
				what := spoil1(t, r, filepath.Join(dir, path))
				before := files(t, dir)
				if err := requireWhole(t, dir, options, requests, body, what); err != nil {
					found++
					after := files(t, dir)
					for path, content := range before {
						require.True(t, content == after[path], "%s: %v: %s has changed", what, err, path)
					}
				}
				require.NoError(t, os.RemoveAll(dir))
			}
			t.Logf("%d of %d were found", found, *damages)
		})
	}
}

// spoil1 damages a file, and says how.
func spoil1(t *testing.T, r *rand.Rand, path string) string {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	used := max(1, len(bytes.TrimRight(content, "\x00")))
	what := r.IntN(10)
	if len(content) == 0 {
		what = 9
	}
	switch at := r.IntN(min(used+10, max(1, len(content)))); {
	case what < 6:
		bit := r.IntN(8)
		content[at] ^= 1 << bit
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return fmt.Sprintf("bit %d of byte %d of %s", bit, at, path)
	case what < 9:
		require.NoError(t, os.Truncate(path, int64(at)))
		return fmt.Sprintf("%s cut at %d of %d", path, at, len(content))
	default:
		require.NoError(t, os.Remove(path))
		return path + " removed"
	}
}

// requireWhole opens a store, and returns why it can't be; or requires that
// all is there.
func requireWhole(t *testing.T, dir string, options Options, requests map[task.ID]*task.Request, body []byte, what string) error {
	t.Helper()
	s, err := Open(dir, options)
	if err != nil {
		return err
	}
	defer s.Close()
	for id, want := range requests {
		got, err := s.LoadRequest(t.Context(), id)
		require.NoError(t, err, what)
		require.Equal(t, want, got, what)
		if want.Body.Stored {
			got, err := readBody(t, s, id, task.RequestPart)
			require.True(t, err != nil || bytes.Equal(body, got), what)
		}
	}
	due := 0
	require.NoError(t, s.Due(t.Context(), func(task.Due) error { due++; return nil }))
	require.Equal(t, len(requests), due, what)
	tasks, err := s.List(t.Context(), nil, task.ID{}, 1000)
	require.NoError(t, err)
	require.Len(t, tasks, len(requests), what)
	_, err = s.Expired(t.Context(), time.Now(), 10)
	require.NoError(t, err)
	return nil
}
