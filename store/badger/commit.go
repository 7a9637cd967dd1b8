package badger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// step is a change on its way to the disk.
type step struct {
	id     task.ID
	need   need   // how much free space it takes
	writes writes // all of them, or none
	// guard may refuse the step, or add as many writes, of short keys, as later
	// says, and so many bytes of values as carried says. It sees the steps before
	// this one, those of its own commit as well. May be nil.
	guard   func(*view) error
	later   int
	carried int64
	// sweep lists the bodies to remove once the step is durable.
	sweep []bodyName
	// failure is what to log when the step fails and nobody waits for it;
	// empty if somebody does.
	failure string
	// isNew says that the task is not there before the step, and gone that it is
	// not there after it.
	isNew, gone bool
	// turn has all that is recent written to Badger.
	turn bool

	state atomic.Int32  // see stepWaiting
	done  chan struct{} // closed when err is final and the bodies are removed
	err   error

	buffer *[]byte  // that the writes refer to; see recycle
	room   [4]write // for writes; most have no more
}

// A step is given up by its caller or taken by the committing goroutine,
// whoever is first.
const (
	stepWaiting = iota
	stepTaken
	stepGivenUp
)

func newStep(id task.ID, need need) *step {
	p := &step{id: id, need: need, done: make(chan struct{})}
	p.writes = p.room[:0]
	return p
}

// size is an upper bound of what the step takes of a record of the journal.
func (p *step) size() int64 { return p.writes.size() + int64(p.later)*128 + p.carried }

// queueLength bounds the steps that wait: the memory they take, and how far
// those that nobody waits for may fall behind.
const queueLength = 1024

// enqueue gives the step its place in the order.
func (s *Store) enqueue(ctx context.Context, p *step) error {
	if size, limit := p.size(), s.maxStep(); size > limit {
		return fmt.Errorf("a step of %d bytes is more than the task store can write at once, which is %d: send smaller headers, or raise the memtable size", size, limit)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.queue <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait returns the outcome of a step that was enqueued. When ctx ends before
// the step was begun it is given up, for certain; later, its outcome is only
// one sync away.
func (p *step) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		if p.state.CompareAndSwap(stepWaiting, stepGivenUp) {
			return ctx.Err()
		}
		<-p.done
		return p.err
	}
}

// do has the step committed.
func (s *Store) do(ctx context.Context, p *step) error {
	if err := s.enqueue(ctx, p); err != nil {
		return err
	}
	return p.wait(ctx)
}

// maxStep is how much one commit takes: as much as one transaction of Badger.
func (s *Store) maxStep() int64 { return s.db.MaxBatchSize() - 4096 }

// commit is the one goroutine that writes. It never lingers: what has come in
// during one commit makes the next, and what those bring who are only waiting
// for a processor, since a larger batch leaves more of it to them.
func (s *Store) commit() {
	var batch []*step
	for first := range s.queue {
		for n := -1; n < len(s.queue) && n < queueLength/2; {
			n = len(s.queue)
			runtime.Gosched()
		}
		batch = append(batch[:0], first)
		size := first.size()
		for more := true; more && size < s.maxStep(); {
			select {
			case p, ok := <-s.queue:
				if more = ok; ok {
					batch = append(batch, p)
					size += p.size()
				}
			default:
				more = false
			}
		}
		for rest := batch; len(rest) > 0; {
			rest = s.commitSome(rest)
		}
		clear(batch)
	}
	if s.space.check(toRemove) == nil && s.turn(func() {}) == nil { // or else the next start does it
		s.catchUp()
	}
}

// commitSome commits as many steps as fit into one record of the journal, and
// returns the others. It finishes each step with its own outcome.
func (s *Store) commitSome(steps []*step) (rest []*step) {
	var size int64
	var taken, refused []*step
	v := &view{batch: s.batch, recent: s.recent, db: s.db}
	room := s.space.room()
	s.recent.mu.RLock()
	for len(steps) > 0 {
		p := steps[0]
		n := p.size()
		if size > 0 && size+n > s.maxStep() {
			break
		}
		steps = steps[1:]
		if !p.state.CompareAndSwap(stepWaiting, stepTaken) {
			s.end(p, context.Canceled) // nobody is there to see it
			continue
		}
		if p.err = s.take(v, p, room); p.err != nil {
			refused = append(refused, p)
			continue
		}
		size += n
		taken = append(taken, p)
	}
	s.recent.mu.RUnlock()
	v.close()
	clear(s.batch)
	var err error
	if size > 0 { // or they only wait for what was before
		err = s.keep(taken, size)
	}
	for _, p := range taken {
		if err == nil {
			s.expiry.note(p.writes)
		}
		if p.turn {
			s.finish(p, s.turn(func() {}))
			continue
		}
		s.finish(p, err)
	}
	for _, p := range refused { // now, as what refuses one may be another of this commit
		if err != nil && p.guard != nil {
			p.err = err
		}
		s.finish(p, p.err)
	}
	return steps
}

// take takes one step into the commit, whole or not at all.
func (s *Store) take(v *view, p *step, room need) error {
	if p.need > room {
		return task.ErrNoSpace
	}
	if err := s.failed(); err != nil && len(p.writes) > 0 {
		return err
	}
	if p.guard != nil {
		if err := p.guard(v); err != nil {
			return err
		}
	}
	for _, w := range p.writes {
		if letter := w.key[0]; letter != dueKey && letter != expiryKey { // which no guard reads
			v.batch[w.key] = w.value
		}
	}
	return nil
}

// keep makes steps durable, and seen by readers. After a failure nothing more
// is written: a later sync may claim success for pages that the kernel gave up
// on.
func (s *Store) keep(steps []*step, size int64) error {
	if s.beforeCommit != nil {
		if err := s.beforeCommit(); err != nil {
			return err
		}
	}
	if err := s.journal.Reserve(int(size)); err != nil {
		// Nothing was written. It may work the next time.
		return noSpace(fmt.Errorf("task store can't begin another file of its journal: %w", err))
	}
	record := s.recent.record(steps)
	if err := s.journal.Append(record); err != nil {
		s.recent.forget(record)
		return s.fail(err)
	}
	s.recent.add(steps)
	s.space.wrote(size)
	s.compactor.wrote(size)
	for _, p := range steps {
		p.recycle()
	}
	return nil
}

// fail stops the store.
func (s *Store) fail(err error) error {
	err = noSpace(fmt.Errorf("write to the task store failed, the step may or may not be kept: %w", err))
	s.failure.CompareAndSwap(nil, &err)
	s.log.Error("task store stops writing; restart when the cause is mended", zap.Error(err))
	return err
}

// failed is why nothing can be written any more; nil as long as it can.
func (s *Store) failed() error {
	if err := s.failure.Load(); err != nil {
		return fmt.Errorf("task store stopped writing, restart it: %w", *err)
	}
	return nil
}

// finish ends a step that was committed or failed.
func (s *Store) finish(p *step, err error) {
	if err == nil && p.gone {
		s.giants.forget(p.id)
	}
	if err == nil && len(p.sweep) > 0 {
		s.sweeper.add(p) // which ends it
		return
	}
	s.end(p, err)
}

// end tells those who wait for the step.
func (s *Store) end(p *step, err error) {
	p.err = err
	close(p.done)
	if p.failure == "" {
		return
	}
	s.pending.remove(p)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		s.log.Error(p.failure, zap.Stringer("task_id", p.id), zap.Error(err))
	}
}

// noSpace makes an error that means a full disk a task.ErrNoSpace as well.
func noSpace(err error) error {
	if err == nil {
		return nil
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		// Badger passes on the texts of errors, not the errors.
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return fmt.Errorf("%w: %w", task.ErrNoSpace, err)
		}
	}
	return err
}
