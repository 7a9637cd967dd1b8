package badger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

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
	recent    *recent
	flushing  flushing
	writing   sync.Mutex // held while something is written to Badger

	// The committing goroutine's own.
	journal    *journal.Journal
	batch      map[string][]byte // see view; of the present commit
	checkpoint uint64            // the record up to which Badger has everything for good

	failure      atomic.Pointer[error] // see fail
	trouble      atomic.Pointer[error] // see writeFailed
	onFailure    func(error)
	beforeCommit func() error          // for tests: fails a commit
	beforeFlush  func(flushStep) error // for tests: fails a step of a flush

	mu        sync.Mutex
	closed    bool
	calls     sync.WaitGroup // that are under way
	running   sync.WaitGroup // goroutines
	committed chan struct{}  // closed when all steps are done
	unlock    func() error
	context   context.Context
	cancel    context.CancelFunc // ends what runs in the background
	stopTidy  context.CancelFunc // ends what can be left to the next start
}

// start begins what runs in the background.
func (s *Store) start() {
	var ctx context.Context
	ctx, s.stopTidy = context.WithCancel(s.context)
	go func() {
		defer close(s.committed)
		s.commit()
	}()
	opened := time.Now()
	s.running.Go(func() { s.bodies.scan(ctx, s, opened) })
	s.running.Go(func() { s.compactor.run(ctx, s) })
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

// Health returns why the store can't take steps: an error that is a
// task.ErrNoSpace passes when there is space again, any other when the process
// is started again. Nil: it can.
func (s *Store) Health() error {
	if err := s.failed(); err != nil {
		return err
	}
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	if err := s.flushing.problem(); err != nil {
		return err
	}
	return s.space.check(toSave)
}

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

	s.stopTidy()
	s.calls.Wait()
	close(s.queue)
	<-s.committed
	s.cancel()
	closed := make(chan error, 1)
	go func() {
		s.running.Wait()
		s.sweeper.close()
		closed <- errors.Join(s.db.Close(), s.journal.Close(), protect(filepath.Join(s.dir, dbDir)), s.unlock())
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
