package caddymodule

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/ringback/ringback/store/badger"
	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/task"
)

func init() {
	caddy.RegisterModule(new(BadgerStore))
	caddy.RegisterModule(new(MemoryStore))
}

// Store is what modules in the namespace callback.stores are.
type Store interface {
	// Key identifies the store, and nothing else about it: two configurations
	// with the same key share what the first one opened.
	Key() string
	// Open opens the store. onFailure is called, once at most, when it can't keep
	// anything any more until the process is started again.
	Open(log *zap.Logger, onFailure func(error)) (task.Store, error)
}

// BadgerStore keeps tasks in an embedded database on the local disk. A task
// that was accepted survives a power loss.
type BadgerStore struct {
	// Dir is the folder, which is made if it is not there. Default: callback in
	// Caddy's data directory.
	Dir string `json:"dir,omitempty"`
	// EncryptionKey encrypts the folder: 16, 24 or 32 random bytes in base64, as
	// `openssl rand -base64 32` makes them. May have placeholders such as
	// {env.CALLBACK_STORE_KEY}. Default: no encryption.
	EncryptionKey string `json:"encryption_key,omitempty"`
	// MaxBytes is how large the folder may grow before requests are refused: at
	// least three times MemTableSize. Default: no limit.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// MinFree is how many bytes must be free on the disk for requests to be
	// accepted. Default: 64 MiB. Negative: nothing is checked.
	MinFree int64 `json:"min_free,omitempty"`
	// MemTableSize is how many bytes of new records are held in memory, two and a
	// half times at most; 64 MiB is good for sustained load. Default: 16 MiB.
	MemTableSize int64 `json:"memtable_size,omitempty"`

	key []byte
}

// CaddyModule returns the Caddy module information.
func (*BadgerStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "callback.stores.badger",
		New: func() caddy.Module { return new(BadgerStore) },
	}
}

// Provision resolves the folder and the key.
func (s *BadgerStore) Provision(caddy.Context) error {
	if s.Dir == "" {
		s.Dir = filepath.Join(caddy.AppDataDir(), "callback")
	}
	dir, err := replaced(s.Dir)
	if err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	if s.Dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	key, err := replaced(s.EncryptionKey)
	if err != nil {
		return fmt.Errorf("encryption_key: %w", err)
	}
	if key != "" {
		if s.key, err = parseStoreKey(key); err != nil {
			return err
		}
	}
	if s.MaxBytes < 0 {
		return errors.New("max_bytes must not be negative")
	}
	if s.MemTableSize != 0 && s.MemTableSize < 1<<20 {
		return errors.New("memtable_size must be at least 1MiB")
	}
	if memTable := cmp.Or(s.MemTableSize, badger.DefaultMemTableSize); s.MaxBytes > 0 && s.MaxBytes < 3*memTable {
		return fmt.Errorf("max_bytes must be at least three times memtable_size, which is %s", humanize.IBytes(uint64(memTable)))
	}
	return nil
}

// parseStoreKey reads an encryption key.
func parseStoreKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("encryption_key is not base64: make one with `openssl rand -base64 32`")
	}
	if n := len(key); n != 16 && n != 24 && n != 32 {
		return nil, fmt.Errorf("encryption_key has %d bytes: want 16, 24 or 32, as `openssl rand -base64 32` makes", n)
	}
	return key, nil
}

// Key is the folder.
func (s *BadgerStore) Key() string { return s.Dir }

// Open opens the folder.
func (s *BadgerStore) Open(log *zap.Logger, onFailure func(error)) (task.Store, error) {
	return badger.Open(s.Dir, badger.Options{
		Logger:        log,
		EncryptionKey: s.key,
		MaxBytes:      s.MaxBytes,
		MinFree:       s.MinFree,
		MemTableSize:  s.MemTableSize,
		OnFailure:     onFailure,
	})
}

// MemoryStore keeps tasks in memory only: they are lost when the process ends.
// It is for tests, and to measure what durability costs.
type MemoryStore struct{}

// CaddyModule returns the Caddy module information.
func (*MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "callback.stores.memory",
		New: func() caddy.Module { return new(MemoryStore) },
	}
}

// Key is the same for all configurations.
func (*MemoryStore) Key() string { return "memory" }

// Open makes an empty store.
func (*MemoryStore) Open(log *zap.Logger, _ func(error)) (task.Store, error) {
	log.Warn("tasks are kept in memory only: they are lost when the process ends")
	return memory.Open()
}

var (
	_ caddy.Provisioner = (*BadgerStore)(nil)
	_ Store             = (*BadgerStore)(nil)
	_ Store             = (*MemoryStore)(nil)
)
