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
	// rotate begins another generation.
	rotate bool

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

// maxStep is how much one step may take of the journal, and maxBatch how much
// one commit does, unless it is of one step.
func (s *Store) maxStep() int64  { return int64(s.journal.Capacity()) }
func (s *Store) maxBatch() int64 { return s.maxStep() / 4 }

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
		for more := true; more && size < s.maxBatch(); {
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
	s.settleJournal()
}

// settleJournal has Badger get all there is, so that the journal is empty. If
// that can't be done, the next start does it.
func (s *Store) settleJournal() {
	err := s.rotate()
	if err == nil {
		err = s.flushing.await()
	}
	if err == nil {
		err = s.journal.Rotate(s.checkpoint)
	}
	if err != nil {
		s.log.Warn("task store was not closed as a whole; the next start sees to it", zap.Error(err))
	}
}

// commitSome commits as many steps as fit into one record of the journal, and
// returns the others. It finishes each step with its own outcome.
func (s *Store) commitSome(steps []*step) (rest []*step) {
	var size int64
	var admitted, refused []*step
	v := &view{batch: s.batch, recent: s.recent, db: s.db}
	room := s.space.room()
	s.recent.mu.RLock()
	for len(steps) > 0 {
		p := steps[0]
		n := p.size()
		if size > 0 && size+n > s.maxBatch() {
			break
		}
		steps = steps[1:]
		if !p.state.CompareAndSwap(stepWaiting, stepTaken) {
			s.end(p, context.Canceled) // nobody is there to see it
			continue
		}
		if p.err = s.admit(v, p, room); p.err != nil {
			refused = append(refused, p)
			continue
		}
		size += n
		admitted = append(admitted, p)
	}
	s.recent.mu.RUnlock()
	v.close()
	clear(s.batch)
	var err error
	if size > 0 { // or they only wait for what was before
		err = s.keep(admitted, size)
	}
	for _, p := range admitted {
		if err == nil {
			s.expiry.note(p.writes)
		}
		if p.rotate && err == nil {
			s.finish(p, errors.Join(s.tryAgain(), s.rotate()))
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

// admit takes one step into the commit, whole or not at all.
func (s *Store) admit(v *view, p *step, room need) error {
	if p.need > room {
		s.compactor.wanted() // there may be something to give back
		return task.ErrNoSpace
	}
	if err := s.failed(); err != nil && len(p.writes) > 0 {
		return err
	}
	size := p.size()
	if p.guard != nil {
		if err := p.guard(v); err != nil {
			return err
		}
	}
	if got := p.writes.size(); got > size {
		return fmt.Errorf("a step takes %d bytes and was to take %d at most: this is a bug", got, size)
	}
	for _, w := range p.writes {
		if letter := w.key[0]; letter != dueKey && letter != expiryKey { // which no guard reads
			v.batch[w.key] = w.value
		}
	}
	return nil
}

// keep makes steps durable, and seen by readers.
func (s *Store) keep(steps []*step, size int64) error {
	if s.beforeCommit != nil {
		if err := s.beforeCommit(); err != nil {
			return err
		}
	}
	if !s.journal.Fits(int(size)) {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	record := s.recent.encode(steps, s.journal.Capacity())
	if err := s.journal.Append(record); err != nil {
		s.recent.forget(record)
		return s.writeFailed(err)
	}
	s.writes()
	s.recent.add(steps)
	s.space.wrote(size)
	s.compactor.wrote(size)
	for _, p := range steps {
		p.recycle()
	}
	return nil
}

// writes says that the journal can be written to.
func (s *Store) writes() {
	if s.trouble.Swap(nil) != nil {
		s.log.Info("task store can write again")
	}
}

// tryAgain finds out whether the journal can be written to, after it could not.
func (s *Store) tryAgain() error {
	if s.trouble.Load() == nil {
		return nil
	}
	if err := s.journal.Try(); err != nil {
		return s.writeFailed(err)
	}
	s.writes()
	return nil
}

// writeFailed is for a write to the journal that failed. Where there was no
// space, for whatever reason, the next one may succeed. Else the disk itself
// failed, and nothing more is written.
func (s *Store) writeFailed(err error) error {
	err = noSpace(fmt.Errorf("write to the task store failed, the step may or may not be kept: %w", err))
	if !errors.Is(err, task.ErrNoSpace) {
		return s.fail(err)
	}
	s.compactor.wanted() // which tries again, even if nobody else does
	if s.trouble.Swap(&err) == nil {
		s.log.Error("task store can't write for now; trying again with each step", zap.Error(err))
	}
	return err
}

// fail stops the store.
func (s *Store) fail(err error) error {
	if !s.failure.CompareAndSwap(nil, &err) {
		return err
	}
	s.log.Error("task store stops writing: look at the disk, and start again", zap.Error(err))
	if s.onFailure != nil {
		s.onFailure(err)
	}
	return err
}

// failed is why nothing can be written any more; nil as long as it can.
func (s *Store) failed() error {
	if err := s.failure.Load(); err != nil {
		return fmt.Errorf("task store stopped writing, start again: %w", *err)
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

// noSpace makes an error that means a full disk, quota or file a
// task.ErrNoSpace as well.
func noSpace(err error) error {
	if err == nil || errors.Is(err, task.ErrNoSpace) {
		return err
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// Badger passes on the texts of errors, not the errors.
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return fmt.Errorf("%w: %w", task.ErrNoSpace, err)
		}
	}
	return err
}
