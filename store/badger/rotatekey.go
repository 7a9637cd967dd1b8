package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// RotateKey changes the key of a store's directory, which no process may have
// open. It is quick, and whole or not at all: what it writes anew are the data
// keys, in one small file; these, and so the data, stay what they are. A nil
// oldKey encrypts a store from now on: what is there stays as it is until it
// is removed. A nil newKey ends encryption, and leaves the data keys readable.
func RotateKey(dir string, oldKey, newKey []byte) error {
	for _, key := range [][]byte{oldKey, newKey} {
		if _, err := (Options{EncryptionKey: key}).withDefaults(); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, dbDir)
	if _, err := os.Stat(filepath.Join(path, badger.ManifestFilename)); err != nil {
		return fmt.Errorf("there is no task store in %s: %w", dir, err)
	}
	// Opening it checks the key, and that nothing is damaged. Closing it empties
	// the journal, so that what is in there is not encrypted another way than the
	// store is.
	s, err := Open(dir, Options{EncryptionKey: oldKey, EncryptionKeyRotation: noRotation})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	unlock, err := lock(path)
	if err != nil {
		return fmt.Errorf("task store %s is in use by another process%s", dir, ownerOf(path))
	}
	keys, err := openKeys(path, oldKey)
	if err != nil {
		return errors.Join(fmt.Errorf("task store %s: reading its data keys: %w", dir, err), unlock())
	}
	if err := badger.WriteKeyRegistry(keys, keyOptions(path, newKey)); err != nil {
		return errors.Join(noSpace(fmt.Errorf("task store %s: writing its data keys: %w", dir, err)), unlock())
	}
	return unlock()
}
