// Package durable has files and directories survive a crash of the machine.
package durable

import (
	"errors"
	"os"
)

// Dir makes durable which files are in a directory.
func Dir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
