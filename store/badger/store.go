package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/ringback/ringback/store/badger/durable"
	"github.com/ringback/ringback/store/badger/journal"
	"github.com/ringback/ringback/task"
)

// What a store's directory has.
const (
	dbDir      = "db"
	journalDir = "journal"
	bodiesDir  = "bodies"
)

// Store is a [task.Store] in a directory. Open makes one.
type Store struct {
	dir   string
	log   *zap.Logger
	db    *badger.DB
	chunk int // see setRecord

	queue     chan *step
	pending   pending
	giants    giants
	expiry    expiryCursor
	bodies    *bodies
	sweeper   *sweeper
	space     *space
	compactor *compactor
	journal   *journal.Journal
	recent    *recent
	batch     map[string][]byte // see view; of the present commit
	written   chan struct{}     // closed when the latest turn is over; nil if there was none

	failure      atomic.Pointer[error] // see failed
	beforeCommit func() error          // for tests: fails a commit
	beforeWrite  func() error          // for tests: fails writing a generation to Badger

	mu        sync.Mutex
	closed    bool
	calls     sync.WaitGroup // that are under way
	running   sync.WaitGroup // goroutines
	committed chan struct{}  // closed when all steps are done
	cancel    context.CancelFunc
}

// Open opens the store in a directory, which is made if it is not there. Only
// one process can have it open. A directory that can't be read, because the
// key is wrong or another version wrote it, gives an error and is left as it is.
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
	db, err := openDB(dir, options)
	if err != nil {
		return nil, err
	}
	s, err := newStore(dir, db, options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("task store %s: %w", dir, err), db.Close())
	}
	s.start()
	return s, nil
}

// makeDirs makes the directories of a store, unless they are there.
func makeDirs(dir string) error {
	for _, name := range []string{dbDir, journalDir, bodiesDir} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func newStore(dir string, db *badger.DB, options Options) (*Store, error) {
	s := &Store{
		dir:       dir,
		log:       options.Logger,
		db:        db,
		chunk:     int(options.valueThreshold() / 2),
		queue:     make(chan *step, queueLength),
		recent:    newRecent(options.segmentSize()),
		batch:     make(map[string][]byte),
		committed: make(chan struct{}),
	}
	bodyKey, err := bodyKeyOf(db, len(options.EncryptionKey) > 0, time.Now())
	if err != nil {
		return nil, err
	}
	// The key of the bodies may have been made just now, and it is the journal's, too.
	if err := errors.Join(db.Sync(), durable.Dir(filepath.Join(dir, dbDir)), durable.Dir(dir), syncParent(dir)); err != nil {
		return nil, err
	}
	if s.journal, err = openJournal(dir, db, bodyKey, s.turn, options); err != nil {
		return nil, err
	}
	if err := s.giants.read(db); err != nil {
		return nil, errors.Join(err, s.journal.Close())
	}
	s.space = newSpace(dir, db, options)
	s.bodies = newBodies(filepath.Join(dir, bodiesDir), bodyKey, s.space)
	s.sweeper = newSweeper(s)
	s.compactor = newCompactor(db, s.space, options.MemTableSize)
	return s, nil
}

// start begins what runs in the background.
func (s *Store) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.committed)
		s.commit()
	}()
	opened := time.Now()
	s.running.Go(func() { s.bodies.scan(ctx, s, opened) })
	s.running.Go(func() { s.compactor.run(ctx, s) })
}

// manyLogs is more than Badger has at a time.
const manyLogs = 16

// openDB opens Badger, and says in better words why it does not.
func openDB(dir string, options Options) (*badger.DB, error) {
	path := filepath.Join(dir, dbDir)
	if err := checkManifest(path); err != nil {
		return nil, err
	}
	db, err := badger.Open(options.badgerOptions(dir))
	for tries := 0; tries < manyLogs && err != nil && strings.Contains(err.Error(), "Create a new file"); tries++ {
		// A log has no content, since the machine crashed when it was made. Badger
		// has given it some in passing, but calls it an error.
		db, err = badger.Open(options.badgerOptions(dir))
	}
	switch {
	case err == nil:
		return db, nil
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return nil, fmt.Errorf("task store %s is in use by another process%s: stop that one first, or give this one a directory of its own", dir, ownerOf(path))
	case errors.Is(err, badger.ErrEncryptionKeyMismatch) && len(options.EncryptionKey) == 0:
		return nil, fmt.Errorf("task store %s is encrypted: set its encryption key", dir)
	case errors.Is(err, badger.ErrEncryptionKeyMismatch):
		return nil, fmt.Errorf("task store %s has a different encryption key, or none: set the key it was made with, or change its key with RotateKey", dir)
	case strings.Contains(err.Error(), "external magic number"), strings.Contains(err.Error(), "unsupported version"):
		return nil, fmt.Errorf("task store %s was written by another version of this program, or is not a task store: use that version, or another directory: %w", dir, err)
	default:
		return nil, noSpace(fmt.Errorf("task store %s can't be opened: %w; nothing was deleted: mend or restore the directory, or use another one", dir, err))
	}
}

// checkManifest keeps Badger from what it does with tables when there is no
// manifest that lists them: it deletes them.
func checkManifest(path string) error {
	if _, err := os.Stat(filepath.Join(path, badger.ManifestFilename)); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	tables, err := filepath.Glob(filepath.Join(path, "*.sst"))
	if err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(path, "*.mem"))
	if err != nil {
		return err
	}
	if len(tables)+len(logs) > 0 {
		return fmt.Errorf("task store: %s has data but no %s: restore the whole directory, or use another one", path, badger.ManifestFilename)
	}
	return nil
}

// ownerOf names the process that holds the lock, if it said so.
func ownerOf(path string) string {
	pid, err := os.ReadFile(filepath.Join(path, "LOCK"))
	if err != nil || len(pid) == 0 {
		return ""
	}
	return " (pid " + strings.TrimSpace(string(pid)) + ")"
}

// enter begins a call, unless the store is closed.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

// leave ends what enter began.
func (s *Store) leave() { s.calls.Done() }

// closePatience is how long Close waits for a compaction, which can't be
// interrupted and may take a minute. Nothing is lost if the process ends.
const closePatience = 10 * time.Second

// Close implements [task.Store]. It waits for the calls that are under way.
// A second Close returns task.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return task.ErrClosed
	}
	s.closed = true
	s.mu.Unlock()

	s.cancel()
	s.calls.Wait()
	close(s.queue)
	<-s.committed
	closed := make(chan error, 1)
	go func() {
		s.running.Wait()
		s.sweeper.close()
		err := s.db.Close()
		if err == nil && s.failed() == nil && s.recent.empty() { // all of it is in tables
			err = s.journal.Remove()
		} else {
			err = errors.Join(err, s.journal.Close())
		}
		closed <- err
	}()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("closing the task store: %w", err)
		}
		return nil
	case <-time.After(closePatience):
		s.log.Info("task store is still tidying up; not waiting for the end of that: all steps are on disk")
		return nil
	}
}

var _ task.Store = (*Store)(nil)
