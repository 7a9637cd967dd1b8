package badger

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringback/ringback/task"
)

// Create implements [task.Store].
func (s *Store) Create(ctx context.Context, t *task.Task, request *task.Request, idempotency *task.IdempotencyKey) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	p := newStep(t.ID, toCreate)
	p.isNew = true
	if err := putTask(s, p, t, requestKey, request, request.Body, maxAttachedRequest); err != nil {
		return err
	}
	putNext(p, t, true)
	if idempotency != nil {
		name := keyOfName(idempotency.Name[:])
		p.guard = func(v *view) error { return checkName(v, name) }
		p.writes.set(name, append(append([]byte{}, t.ID[:]...), idempotency.Fingerprint[:]...))
		p.writes.set(key(ownKey, t.ID), idempotency.Name[:])
	}
	return s.do(ctx, p)
}

// checkName refuses a name that is taken.
func checkName(v *view, name string) error {
	err := v.get(name, func(value []byte) error {
		duplicate := new(task.DuplicateError)
		if len(value) != len(duplicate.ID)+len(duplicate.Fingerprint) {
			return fmt.Errorf("idempotency key: %w: it has %d bytes", task.ErrBadRecord, len(value))
		}
		copy(duplicate.ID[:], value)
		copy(duplicate.Fingerprint[:], value[len(duplicate.ID):])
		return duplicate
	})
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	return err
}

// Save implements [task.Store].
func (s *Store) Save(ctx context.Context, change task.Step) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	t := change.Task
	p := newStep(t.ID, toSave)
	var body task.Body
	if change.Response != nil {
		body = change.Response.Body
	}
	if err := putTask(s, p, t, responseKey, change.Response, body, maxAttachedResponse); err != nil {
		return err
	}
	if change.DropRequest {
		s.giants.drop(p, requestKey)
		p.sweep = s.bodies.kept(t.ID, task.RequestPart)
	}
	putNext(p, t, false)
	p.later, p.carried = 2, maxAttachedRequest+maxAttachedResponse+32
	dropRequest, newResponse := change.DropRequest, change.Response != nil // the rest is the caller's again
	p.guard = func(v *view) error { return carry(v, p, dropRequest, newResponse) }
	if !change.NoWait {
		return s.do(ctx, p)
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
	p.writes.delete(key(taskKey, id))
	for _, letter := range []byte{taskKey, requestKey, responseKey} {
		s.giants.drop(p, letter)
	}
	// Only the record knows the other keys. It is read where the steps before
	// this one are done.
	p.later = 6
	p.guard = func(v *view) error { return putRest(v, p) }
	return s.enqueueNoWait(ctx, p, "task was not removed")
}

// putRest deletes the keys of a task that depend on what it is.
func putRest(v *view, p *step) error {
	err := v.get(key(taskKey, p.id), func(value []byte) error {
		request, response := attachments(value)
		if request == nil {
			p.writes.delete(key(requestKey, p.id))
		}
		if response == nil {
			p.writes.delete(key(responseKey, p.id))
		}
		t, err := readValue[task.Task](v, value, taskKey, p.id)
		if err == nil && !t.ExpiresAt.IsZero() {
			p.writes.delete(keyOfExpiry(t.ExpiresAt, p.id))
		}
		if err != nil || t.Due().Action != task.ActionRemove {
			p.writes.delete(key(dueKey, p.id))
		}
		if errors.Is(err, task.ErrBadRecord) {
			return nil
		}
		return err
	})
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		return err
	}
	err = v.get(key(ownKey, p.id), func(name []byte) error {
		p.writes.delete(key(ownKey, p.id))
		p.writes.delete(keyOfName(name))
		return nil
	})
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	return err
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

// putBytes writes a record, which begins with a byte to spare.
func putBytes(s *Store, p *step, letter byte, b []byte) error {
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
