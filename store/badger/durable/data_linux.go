package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Data makes durable what was written to a file, but not the time when it was.
func Data(file *os.File) error {
	for {
		err := unix.Fdatasync(int(file.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
