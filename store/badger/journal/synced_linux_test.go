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

	j := begin(t, dir+"/journal", Options{})
	for n := range 50 {
		if !j.Fits(len(record(n))) {
			require.NoError(t, j.Rotate(j.Last()))
		}
		active := j.files[j.active].(osFile)
		j.files[j.active] = unmarked{active}
		require.NoError(t, active.Sync()) // its header, and what was marked
		appendAll(t, j, n, n+1)
		require.Zero(t, dirtyPages(t, active.File))
		j.files[j.active] = active
	}
}

// unmarked is a file without end marks, which are not synced.
type unmarked struct{ File }

func (f unmarked) WriteAt(b []byte, at int64) (int, error) {
	if len(b) == headSize {
		return len(b), nil
	}
	return f.File.WriteAt(b, at)
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
