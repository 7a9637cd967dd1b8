//go:build !linux && !darwin

package badger

import (
	"errors"
	"io/fs"
)

// freeBytes is not known on this system; see Options.MinFree.
func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }

// allocated is the disk space that a file takes, as far as its size tells.
func allocated(info fs.FileInfo) int64 { return info.Size() }
