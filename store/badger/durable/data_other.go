//go:build !linux

package durable

import "os"

// Data makes durable what was written to a file.
func Data(file *os.File) error { return file.Sync() }
