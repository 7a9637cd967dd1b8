package badger

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/task"
)

// Create implements [task.Store].
func (s *Store) Create(ctx context.Context, t *task.Task, request *task.Request, idempotency *task.IdempotencyKey) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	p := newStep(t.ID, toCreate)
	if err := putRecord(s, p, taskKey, t); err != nil {
		return err
	}
	if err := putRecord(s, p, requestKey, request); err != nil {
		return err
	}
	putNext(p, t, true)
	if idempotency != nil {
		name := keyOfName(idempotency.Name)
		p.guard = func(txn *badger.Txn) error { return checkName(txn, name) }
		p.writes.set(name, append(append([]byte{}, t.ID[:]...), idempotency.Fingerprint[:]...))
		p.writes.set(key(ownKey, t.ID), idempotency.Name[:])
	}
	if err := s.enqueue(ctx, p); err != nil {
		return err
	}
	return p.wait(ctx)
}

// checkName refuses a name that is taken.
func checkName(txn *badger.Txn, name []byte) error {
	item, err := txn.Get(name)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return item.Value(func(v []byte) error {
		duplicate := new(task.DuplicateError)
		if len(v) != len(duplicate.ID)+len(duplicate.Fingerprint) {
			return fmt.Errorf("idempotency key: %w: it has %d bytes", task.ErrBadRecord, len(v))
		}
		copy(duplicate.ID[:], v)
		copy(duplicate.Fingerprint[:], v[len(duplicate.ID):])
		return duplicate
	})
}

// Save implements [task.Store].
func (s *Store) Save(ctx context.Context, change task.Step) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	t := change.Task
	p := newStep(t.ID, toSave)
	if err := putRecord(s, p, taskKey, t); err != nil {
		return err
	}
	if change.Response != nil {
		if err := putRecord(s, p, responseKey, change.Response); err != nil {
			return err
		}
	}
	if change.DropRequest {
		p.writes.delete(key(requestKey, t.ID))
		s.giants.drop(p, requestKey)
		p.sweep = s.bodies.kept(t.ID, task.RequestPart)
	}
	putNext(p, t, false)
	// A task that was removed must not come back as half of one.
	name := key(taskKey, t.ID) // t is the caller's again before the guard runs
	p.guard = func(txn *badger.Txn) error {
		_, err := txn.Get(name)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return task.ErrNotFound
		}
		return err
	}
	if !change.NoWait {
		if err := s.enqueue(ctx, p); err != nil {
			return err
		}
		return p.wait(ctx)
	}
	return s.enqueueNoWait(ctx, p, "step of a task was not stored")
}

// Remove implements [task.Store].
func (s *Store) Remove(ctx context.Context, id task.ID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	p := newStep(id, toRemove)
	p.gone = true
	p.sweep = s.bodies.kept(id, task.RequestPart, task.ResponsePart)
	for _, letter := range []byte{taskKey, requestKey, responseKey} {
		p.writes.delete(key(letter, id))
		s.giants.drop(p, letter)
	}
	p.writes.delete(key(dueKey, id))
	// Only the record knows the other keys. It is read where the steps before
	// this one are done, and where reading does not wait for them: in Badger a
	// reading transaction begins when the writing one before has been synced.
	p.later = 3
	p.guard = func(txn *badger.Txn) error { return putRest(txn, p) }
	s.compactor.removed()
	return s.enqueueNoWait(ctx, p, "task was not removed")
}

// putRest deletes the keys of a task whose names depend on what it is.
func putRest(txn *badger.Txn, p *step) error {
	t, err := getRecord[task.Task](txn, taskKey, p.id)
	switch {
	case errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrBadRecord):
	case err != nil:
		return err
	case !t.ExpiresAt.IsZero():
		p.writes.delete(keyOfExpiry(t.ExpiresAt, p.id))
	}
	item, err := txn.Get(key(ownKey, p.id))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p.writes.delete(key(ownKey, p.id))
	return item.Value(func(v []byte) error {
		p.writes.delete(append([]byte{nameKey}, v...))
		return nil
	})
}

// enqueueNoWait enqueues a step that nobody waits for: readers of the same
// task do, and a failure is logged.
func (s *Store) enqueueNoWait(ctx context.Context, p *step, failure string) error {
	p.failure = failure
	s.pending.add(p)
	err := s.enqueue(ctx, p)
	if err != nil {
		p.failure = "" // it is told to the caller
		s.end(p, err)
		s.pending.remove(p)
	}
	return err
}

func putRecord[R task.Record](s *Store, p *step, letter byte, record *R) error {
	b, err := task.Append([]byte{0}, record)
	if err != nil {
		return err
	}
	if int64(len(b)) > s.maxStep() {
		return fmt.Errorf("%s of task %s has %d bytes, and a record of this task store at most %d: send smaller headers, or raise the memtable size",
			nameOf(letter), p.id, len(b), s.maxStep())
	}
	if chunks := p.writes.setRecord(letter, p.id, b, s.chunk); chunks > 0 {
		s.giants.note(p.id, letter, chunks)
	}
	return nil
}

// putNext indexes the task by its next action, so that one key, and only one,
// is that of what is next.
func putNext(p *step, t *task.Task, isNew bool) {
	due := t.Due()
	if due.Action != task.ActionRemove {
		p.writes.set(key(dueKey, t.ID), encodeDue(due))
		return
	}
	if !isNew {
		p.writes.delete(key(dueKey, t.ID))
	}
	if !due.At.IsZero() {
		p.writes.set(keyOfExpiry(due.At, t.ID), []byte{})
	}
}
