package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// Due implements [task.Store]. It tells of the tasks as they are when it is
// called; each may call the store, but not Close. A task whose record can't be
// read is told of, too: loading it says what is wrong with it.
func (s *Store) Due(ctx context.Context, each func(task.Due) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.settleAll(ctx); err != nil {
		return err
	}
	n := 0
	err := s.each(string(dueKey), false, func(k, value []byte) error {
		if n++; n&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		due, ok := decodeDue(idOf(k), value)
		if !ok {
			due = s.dueOf(idOf(k))
		}
		if due.Action == task.ActionRemove {
			return nil
		}
		return each(due)
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}

// dueOf is what is due of a task whose entry under dueKey can't be read.
func (s *Store) dueOf(id task.ID) task.Due {
	t, err := s.task(id)
	if err != nil {
		s.log.Error("due task can't be read", zap.Stringer("task_id", id), zap.Error(err))
		return task.Due{ID: id, Action: task.ActionCall}
	}
	return t.Due()
}

// Expired implements [task.Store]. A task whose record can't be read is never
// expired: it is logged, and kept.
func (s *Store) Expired(ctx context.Context, now time.Time, limit int) ([]task.ID, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.settleAll(ctx); err != nil {
		return nil, err
	}
	var ids []task.ID
	var outdated []string
	s.expiry.scan.Lock()
	defer s.expiry.scan.Unlock()
	first := "" // that is still there
	err := s.each(s.expiry.begin(), false, func(k, _ []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := string(k)
		early := len(k) == 1+8+len(task.ID{}) && binary.BigEndian.Uint64(k[1:]) <= microseconds(now)
		if early && len(ids) < limit {
			id := idOf(k)
			err := s.view(id, func(v *view) error { return checkExpiry(v, name, id) })
			switch {
			case err == nil:
				ids = append(ids, id)
			case errors.Is(err, errOutdated):
				outdated = append(outdated, name)
				return nil
			case errors.Is(err, task.ErrBadRecord):
				s.log.Error("expired task is kept", zap.Stringer("task_id", id), zap.Error(err))
			default:
				return err
			}
		}
		if first == "" {
			first = name
		}
		if !early || len(ids) >= limit {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if first != "" {
		s.expiry.advance(first)
	}
	s.dropOutdated(ctx, outdated)
	return ids, nil
}

var errOutdated = errors.New("expiry is outdated")

// checkExpiry returns nil if the task is to be removed at the time that is in
// the key, and errOutdated if it is not, since it was removed or is to be
// delivered again.
func checkExpiry(v *view, k string, id task.ID) error {
	t, err := getRecord[task.Task](v, taskKey, id)
	if errors.Is(err, task.ErrNotFound) {
		return errOutdated
	}
	if err != nil {
		return err
	}
	if action, at := t.Next(); action != task.ActionRemove || keyOfExpiry(at, id) != k {
		return errOutdated
	}
	return nil
}

// dropOutdated deletes keys that mean nothing any more. That it may fail does
// not matter: the next Expired finds them again.
func (s *Store) dropOutdated(ctx context.Context, keys []string) {
	for _, k := range keys {
		p := newStep(idOf(k), toRemove)
		p.writes.delete(k)
		p.guard = func(v *view) error {
			if err := checkExpiry(v, k, p.id); !errors.Is(err, errOutdated) {
				return errors.Join(err, errors.New("expiry is in use again"))
			}
			return nil
		}
		if s.enqueue(ctx, p) != nil {
			return
		}
	}
}

// expiryCursor is a key before which no key of expiries is. Seeking from there
// spares Expired the tombstones of all that was ever removed.
type expiryCursor struct {
	scan sync.Mutex // held while keys are looked through

	mu     sync.Mutex
	key    string // or empty
	lowest string // that was written since the scan began, or empty
}

// begin returns the key to seek.
func (c *expiryCursor) begin() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lowest = ""
	if c.key == "" {
		return string(expiryKey)
	}
	return c.key
}

// advance moves the cursor to the first key that the scan found, or to one
// that was written meanwhile, which it may not have seen.
func (c *expiryCursor) advance(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lowest != "" && c.lowest < key {
		key = c.lowest
	}
	c.key = key
}

// note takes notice of keys that were written.
func (c *expiryCursor) note(w writes) {
	for _, one := range w {
		if one.key[0] == expiryKey && one.value != nil {
			c.noteKey(one.key)
		}
	}
}

func (c *expiryCursor) noteKey(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key != "" && key < c.key {
		c.key = key
	}
	if c.lowest == "" || key < c.lowest {
		c.lowest = key
	}
}
