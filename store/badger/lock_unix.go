//go:build unix

package badger

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// locks says that lock does what Badger would.
const locks = true

// lock takes the lock of a database's directory, as Badger and older versions
// do, and leaves the number of the process there. An error: another process has it.
func lock(dir string) (unlock func() error, err error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	path := filepath.Join(dir, lockFile)
	// It is only told to people.
	_ = os.WriteFile(path, strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600)
	return func() error {
		_ = os.Remove(path)
		return file.Close()
	}, nil
}
