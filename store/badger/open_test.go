package badger

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// These make the test binary do something else than testing, in the directory
// that they hold.
const (
	childEnv = "RINGBACK_STORE_TEST_DIR"
	idleEnv  = "RINGBACK_STORE_TEST_IDLE_DIR"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	if dir := os.Getenv(idleEnv); dir != "" {
		idleChild(dir)
		return
	}
	os.Exit(m.Run())
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	one := create(t, s, 10)

	_, err := Open(dir, Options{})
	require.ErrorContains(t, err, "task store "+dir+" is in use by another process (pid ")
	require.ErrorContains(t, err, "stop that one first")
	require.ErrorContains(t, RotateKey(dir, nil, []byte("0123456789abcdef")), "is in use")

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "is in use by another process")

	_, err = s.Load(t.Context(), one.ID) // and the first one goes on
	require.NoError(t, err)
}

// files is what there is in a directory, with its content, but for the lock.
func files(t *testing.T, dir string) map[string]string {
	all := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == lockFile {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	}))
	return all
}

func TestUnreadable(t *testing.T) {
	filled := func(t *testing.T) string {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		create(t, s, 1000)
		require.NoError(t, s.Close())
		return dir
	}
	manifest := func(dir string) string { return filepath.Join(dir, dbDir, badger.ManifestFilename) }
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"other version": {func(t *testing.T, dir string) {
			b, err := os.ReadFile(manifest(dir))
			require.NoError(t, err)
			b[5]++
			require.NoError(t, os.WriteFile(manifest(dir), b, 0o600))
		}, "was written by another version of this program"},
		"another Badger database": {func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(dir))
			db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, dbDir)).WithLogger(nil))
			require.NoError(t, err)
			require.NoError(t, db.Close())
		}, "is not a task store"},
		"no manifest": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(manifest(dir)))
		}, "has data but no MANIFEST"},
		"garbage": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(manifest(dir), noise(1000), 0o600))
		}, "can't be read"},
		"lost table": {func(t *testing.T, dir string) {
			tables, err := filepath.Glob(filepath.Join(dir, dbDir, "*.sst"))
			require.NoError(t, err)
			require.NotEmpty(t, tables)
			require.NoError(t, os.Remove(tables[0]))
		}, "is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			test.spoil(t, dir)
			before := files(t, dir)
			_, err := Open(dir, Options{})
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, dir)
			after := files(t, dir)
			for path, content := range before {
				require.Equal(t, content, after[path], path)
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	for want, options := range map[string]Options{
		"encryption key has 5 bytes": {EncryptionKey: []byte("short")},
		"memtable size is 1000":      {MemTableSize: 1000},
		"rotation is negative":       {EncryptionKeyRotation: -1},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		_, err := Open(dir, options)
		require.ErrorContains(t, err, want)
		require.NoDirExists(t, dir)
	}
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "deep")
	s := open(t, dir, Options{})
	id := newTask().ID
	putBody(t, s, id, task.RequestPart, noise(100))
	create(t, s, 10)
	require.NoError(t, s.Close())
	for path := range files(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
	}
	for path, want := range map[string]os.FileMode{
		dir:                            0o700,
		filepath.Join(dir, dbDir):      0o700,
		filepath.Join(dir, bodiesDir):  0o700,
		s.bodies.path(bodyName{id, 1}): 0o600,
	} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), path)
	}
}
