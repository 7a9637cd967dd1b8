package journal

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// When Append has returned, the kernel has no page of the file left to write.
func TestSynced(t *testing.T) {
	dir := t.TempDir()
	var stat unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &stat))
	if stat.Type == unix.TMPFS_MAGIC {
		t.Skip("pages of a memory file system are always dirty")
	}
	control, err := os.Create(dir + "/control")
	require.NoError(t, err)
	defer control.Close()
	_, err = control.Write(make([]byte, 50_000))
	require.NoError(t, err)
	require.Positive(t, dirtyPages(t, control), "the measurement shows nothing")

	caller := &applied{1, 1}
	j, _ := reopen(t, dir+"/journal", caller.options())
	for n := range 50 { // over several files
		appendAll(t, j, n, n+1)
		require.Zero(t, dirtyPages(t, j.current.file))
	}
}

// dirtyPages is how many pages of a file the kernel has not written.
func dirtyPages(t *testing.T, file *os.File) uint64 {
	var pages unix.Cachestat_t
	err := unix.Cachestat(uint(file.Fd()), &unix.CachestatRange{}, &pages, 0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip("needs Linux 6.5")
	}
	require.NoError(t, err)
	return pages.Dirty + pages.Writeback
}
