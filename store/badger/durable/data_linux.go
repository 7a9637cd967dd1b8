package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes durable what was written, but not the time when it was.
func syncData(file *os.File) error {
	for {
		err := unix.Fdatasync(int(file.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
