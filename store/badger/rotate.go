package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// RotateKey changes the key of a store's directory, which no process may have
// open. It is quick, and whole or not at all: what it writes anew are the data
// keys, in one small file; these, and so the data, stay what they are. A nil
// oldKey encrypts a store from now on: what is there stays as it is until it
// is removed. A nil newKey ends encryption, and leaves the data keys readable.
func RotateKey(dir string, oldKey, newKey []byte) (err error) {
	for _, key := range [][]byte{oldKey, newKey} {
		if _, err := (Options{EncryptionKey: key}).withDefaults(); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, dbDir, badger.ManifestFilename)); err != nil {
		return fmt.Errorf("there is no task store in %s: %w", dir, err)
	}
	// Long enough that Badger does not add a key while the keys are copied.
	options, err := Options{EncryptionKey: oldKey, EncryptionKeyRotation: 100 * 365 * 24 * time.Hour}.withDefaults()
	if err != nil {
		return err
	}
	db, err := openDB(dir, options) // checks the key, and keeps other processes out
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("closing the task store: %w", e))
		}
	}()
	registry := badger.KeyRegistryOptions{
		Dir:                           filepath.Join(dir, dbDir),
		ReadOnly:                      true,
		EncryptionKey:                 oldKey,
		EncryptionKeyRotationDuration: options.EncryptionKeyRotation,
	}
	keys, err := badger.OpenKeyRegistry(registry)
	if err != nil {
		return fmt.Errorf("task store %s: reading its data keys: %w", dir, err)
	}
	registry.EncryptionKey = newKey
	if err := badger.WriteKeyRegistry(keys, registry); err != nil {
		return noSpace(fmt.Errorf("task store %s: writing its data keys: %w", dir, err))
	}
	return nil
}
