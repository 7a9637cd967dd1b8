package badger

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// unpack unpacks a directory that an older version left behind when it was
// killed: with a journal of as many files as it took, and plain bodies.
func unpack(t *testing.T, archive string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	file, err := os.Open(archive)
	require.NoError(t, err)
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	for r := tar.NewReader(zipped); ; {
		head, err := r.Next()
		if err == io.EOF {
			return dir
		}
		require.NoError(t, err)
		path := filepath.Join(dir, filepath.FromSlash(head.Name))
		if head.Typeflag == tar.TypeDir {
			require.NoError(t, os.MkdirAll(path, 0o700))
			continue
		}
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
}

// requireExpected requires that a store has what the older version was told.
func requireExpected(t *testing.T, s *Store, list string) {
	t.Helper()
	file, err := os.Open(list)
	require.NoError(t, err)
	defer file.Close()
	n := 0
	for lines := bufio.NewScanner(file); lines.Scan(); n++ {
		text, kind, _ := strings.Cut(lines.Text(), " ")
		id, err := task.ParseID(text)
		require.NoError(t, err)
		one, err := s.Load(t.Context(), id)
		if kind == "removed" {
			require.ErrorIs(t, err, task.ErrNotFound)
			continue
		}
		require.NoError(t, err)
		request, err := s.LoadRequest(t.Context(), id)
		if kind == "completed" {
			require.ErrorIs(t, err, task.ErrNotFound)
			require.Equal(t, task.Completed, one.Status)
			response, err := s.LoadResponse(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, "yes", string(response.Body.Inline))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, kind == "retried", one.Attempts == 7)
		body := request.Body.Inline
		if request.Body.Stored {
			body, err = readBody(t, s, id, task.RequestPart)
			require.NoError(t, err)
		}
		require.Equal(t, bytes.Repeat(id[:], 500), body)
	}
	require.NotZero(t, n)
}

// A directory of an older version opens, after a kill as well, and is one of this
// version from then on.
func TestUpgrade(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "encrypted": key1} {
		t.Run(name, func(t *testing.T) {
			dir := unpack(t, filepath.Join("testdata", "older-"+name+".tar.gz"))
			options := Options{MemTableSize: minMemTableSize, EncryptionKey: key}
			old, err := filepath.Glob(filepath.Join(dir, "store", journalDir, "*"))
			require.NoError(t, err)

			// The process is killed while it upgrades: the new journal was begun.
			half := t.TempDir()
			require.NoError(t, os.CopyFS(half, os.DirFS(filepath.Join(dir, "store"))))
			s := open(t, half, options)
			require.NoError(t, s.Close())
			for _, path := range old {
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(half, journalDir, filepath.Base(path)), content, 0o600))
			}
			s = open(t, half, options)
			requireExpected(t, s, filepath.Join(dir, "expected"))
			require.NoError(t, s.Close())

			s = open(t, filepath.Join(dir, "store"), options)
			requireExpected(t, s, filepath.Join(dir, "expected"))
			require.Len(t, journalFiles(t, s), 2)
			one := create(t, s, 10)
			crash(t, s)
			s = open(t, filepath.Join(dir, "store"), options)
			requireExpected(t, s, filepath.Join(dir, "expected"))
			_, err = s.Load(t.Context(), one.ID)
			require.NoError(t, err)
			duplicate := &task.IdempotencyKey{Name: [32]byte{1}}
			require.ErrorAs(t, s.Create(t.Context(), newTask(), newRequest(10), duplicate), new(*task.DuplicateError))
			_, err = s.Expired(t.Context(), time.Now(), 10)
			require.NoError(t, err)
		})
	}
}
