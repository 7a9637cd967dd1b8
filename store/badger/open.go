package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/ringback/ringback/store/badger/durable"
	"github.com/ringback/ringback/store/badger/journal"
)

// Open opens the store in a directory, which is made if it is not there. Only
// one process can have it open. A directory that can't be read, because the key
// is wrong, another version wrote it, or something in it is damaged or missing
// (a [*DamageError]), gives an error and is left as it is.
func Open(dir string, options Options) (*Store, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("task store: %w", err)
	}
	if err := makeDirs(dir); err != nil {
		return nil, fmt.Errorf("task store: %w", err)
	}
	if err := checkRoom(dir, options); err != nil {
		return nil, err
	}
	found, err := look(dir, options.EncryptionKey)
	if err != nil {
		return nil, err
	}
	s, err := found.open(options)
	if err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

// DamageError says that something is damaged or missing that the store had
// for good once. Nothing was changed or deleted.
type DamageError struct {
	Dir string
	Err error // what, and where
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("task store %s: %v. Nothing was changed: restore the directory as a whole, or save what is readable with `ringback store repair`", e.Dir, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// makeDirs makes the directories of a store, unless they are there.
func makeDirs(dir string) error {
	for _, name := range []string{dbDir, journalDir, bodiesDir} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	return errors.Join(durable.Dir(dir), syncParent(dir))
}

// directory is what is known of a store before it is opened.
type directory struct {
	dir      string
	database *inspected
	journal  *journal.Contents
	unlock   func() error
}

// look locks a store's directory, and looks at it; it changes nothing.
func look(dir string, encryptionKey []byte) (d *directory, err error) {
	path := filepath.Join(dir, dbDir)
	unlock, err := lock(path)
	if err != nil {
		return nil, fmt.Errorf("task store %s is in use by another process%s: stop that one first, or give this one a directory of its own", dir, ownerOf(path))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unlock())
		}
	}()
	d = &directory{dir: dir, unlock: unlock}
	if d.database, err = inspect(path, encryptionKey); err != nil {
		return nil, explain(dir, encryptionKey, err)
	}
	d.journal, err = journal.Read(filepath.Join(dir, journalDir))
	var damage *journal.DamageError
	switch {
	case errors.As(err, &damage):
		return nil, &DamageError{dir, err}
	case err != nil:
		return nil, fmt.Errorf("task store %s: %w", dir, err)
	case d.database.checkpoint != nil && !d.journal.Exists:
		return nil, &DamageError{dir, fmt.Errorf("the files of the journal in %s are missing", filepath.Join(dir, journalDir))}
	}
	if err := d.database.sound(path, d.journal); err != nil {
		return nil, &DamageError{dir, err}
	}
	return d, nil
}

// explain says in better words why a database can't be opened.
func explain(dir string, encryptionKey []byte, err error) error {
	switch {
	case errors.Is(err, badger.ErrEncryptionKeyMismatch) && len(encryptionKey) == 0:
		return fmt.Errorf("task store %s is encrypted: set its encryption key", dir)
	case errors.Is(err, badger.ErrEncryptionKeyMismatch):
		return fmt.Errorf("task store %s has a different encryption key, or none: set the key it was made with, or change its key with RotateKey", dir)
	case strings.Contains(err.Error(), "external magic number"), strings.Contains(err.Error(), "unsupported version"):
		return fmt.Errorf("task store %s was written by another version of this program, or is not a task store: use that version, or another directory: %w", dir, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("task store %s: %w", dir, err)
	default:
		return noSpace(&DamageError{dir, err})
	}
}

// open opens the store of a directory that is sound.
func (d *directory) open(options Options) (s *Store, err error) {
	// What a process with larger memtables has left behind when it was killed
	// does not fit into smaller ones; those can be had after a clean end.
	if d.database.memTable > 0 || !d.journal.Empty() {
		options.MemTableSize = max(options.MemTableSize, d.database.memTable, 4*d.journal.FileSize)
	}
	db, err := openBadger(d.dir, options)
	if err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	if s, err = newStore(d, db, options); err != nil {
		return nil, errors.Join(noSpace(fmt.Errorf("task store %s: %w", d.dir, err)), db.Close(), d.unlock())
	}
	return s, nil
}

// manyLogs is more than Badger has at a time.
const manyLogs = 16

func openBadger(dir string, options Options) (*badger.DB, error) {
	db, err := badger.Open(options.badgerOptions(dir))
	for tries := 0; tries < manyLogs && err != nil && strings.Contains(err.Error(), "Create a new file"); tries++ {
		// A log has no content, since the machine crashed when it was made. Badger
		// has given it some in passing, but calls it an error.
		db, err = badger.Open(options.badgerOptions(dir))
	}
	if err != nil {
		return nil, explain(dir, options.EncryptionKey, err)
	}
	return db, nil
}

// newStore makes the store of an open database, and has Badger get what was
// in the journal, so that both are as sound as after a clean end.
func newStore(d *directory, db *badger.DB, options Options) (*Store, error) {
	s := &Store{
		dir:       d.dir,
		log:       options.Logger,
		db:        db,
		chunk:     int(options.valueThreshold() / 2),
		queue:     make(chan *step, queueLength),
		recent:    newRecent(),
		batch:     make(map[string][]byte),
		committed: make(chan struct{}),
		onFailure: options.OnFailure,
		unlock:    d.unlock,
	}
	s.flushing.changed.L = &s.flushing.mu
	s.context, s.cancel = context.WithCancel(context.Background())
	s.space = newSpace(d.dir, db, options)
	s.compactor = newCompactor(db, s.space, options.MemTableSize)
	key, err := bodyKeyOf(db, len(options.EncryptionKey) > 0, time.Now())
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.dir, dbDir)
	journalOptions := journal.Options{FileSize: options.journalFileSize(), Wrap: options.wrapJournal}
	if key != nil { // from then on, whether the database is encrypted now or not
		journalOptions.Secret = key.secret[:]
		// It may have been made just now.
		if err := errors.Join(db.Sync(), durable.Dir(path)); err != nil {
			return nil, err
		}
	}
	onlySealed := len(options.EncryptionKey) > 0 && d.database.checkpoint != nil
	if d.journal.Gap != "" {
		s.log.Warn("the journal of the task store has a gap; if the machine did not crash, something was lost", zap.String("missing", d.journal.Gap))
	}
	if err := d.journal.Sync(); err != nil { // or the database would have what the journal may lose
		return nil, err
	}
	err = d.journal.Replay(journalOptions.Secret, onlySealed, func(records [][]byte) error {
		g := newGeneration()
		for _, record := range records {
			if err := g.replay(record); err != nil {
				return err
			}
		}
		return s.write(g)
	})
	if err != nil {
		return nil, err
	}
	s.checkpoint = d.journal.Last
	if !d.journal.Empty() {
		if err := s.makeDurable(s.context, s.checkpoint); err != nil {
			return nil, err
		}
	}
	if s.journal, err = journal.Open(d.journal, journalOptions); err != nil {
		return nil, err
	}
	if d.database.checkpoint == nil && d.journal.Empty() { // from now on there is a journal
		err = s.makeDurable(s.context, s.checkpoint)
	}
	if err = errors.Join(err, s.giants.read(db)); err != nil {
		return nil, errors.Join(err, s.journal.Close())
	}
	s.bodies = newBodies(filepath.Join(d.dir, bodiesDir), key, s.space)
	s.sweeper = newSweeper(s)
	return s, nil
}

const lockFile = "LOCK"

// ownerOf names the process that holds the lock, if it said so.
func ownerOf(path string) string {
	pid, err := os.ReadFile(filepath.Join(path, lockFile))
	if err != nil || len(pid) == 0 {
		return ""
	}
	return " (pid " + strings.TrimSpace(string(pid)) + ")"
}
