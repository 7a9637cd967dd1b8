//go:build !linux

package journal

import "os"

// syncData makes durable what was written.
func syncData(file *os.File) error { return file.Sync() }
