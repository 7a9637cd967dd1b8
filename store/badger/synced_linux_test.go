package badger

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// When Create has returned, no page of Badger's log is left to be written: the
// kernel counts none of its mapping as dirty. Without SyncWrites, it does.
func TestSynced(t *testing.T) {
	dir := t.TempDir()
	var stat unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &stat))
	if stat.Type == unix.TMPFS_MAGIC {
		t.Skip("pages of a memory file system are always dirty")
	}
	control, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "control")).WithLogger(nil).WithSyncWrites(false))
	require.NoError(t, err)
	defer control.Close()
	require.NoError(t, control.Update(func(txn *badger.Txn) error { return txn.Set([]byte("k"), noise(50_000)) }))
	require.Positive(t, dirtyLog(t, filepath.Join(dir, "control")), "the measurement shows nothing")

	s := open(t, filepath.Join(dir, "store"), Options{MemTableSize: minMemTableSize})
	db := filepath.Join(dir, "store", dbDir)
	for range 100 { // over several logs
		create(t, s, 50_000)
		require.Zero(t, dirtyLog(t, db))
	}
}

// dirtyLog is how many kilobytes of the logs in a directory the process has
// changed and the kernel has not written.
func dirtyLog(t *testing.T, dir string) (kilobytes int) {
	smaps, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer smaps.Close()
	var log, found bool
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		line := lines.Text()
		first, _, _ := strings.Cut(line, " ")
		if !strings.HasSuffix(first, ":") { // the head of a mapping
			// A log that was written out meanwhile is deleted, dirty or not.
			log = strings.Contains(line, dir) && strings.HasSuffix(line, ".mem")
			found = found || log
		}
		var n int
		if log && (strings.HasPrefix(line, "Shared_Dirty:") || strings.HasPrefix(line, "Private_Dirty:")) {
			_, err := fmt.Sscan(strings.Fields(line)[1], &n)
			require.NoError(t, err)
			kilobytes += n
		}
	}
	require.True(t, found, "no log is mapped")
	return kilobytes
}
