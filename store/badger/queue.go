package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
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
	return s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{dueKey}})
		defer it.Close()
		var id task.ID
		told := func(v []byte) error {
			due, ok := decodeDue(id, v)
			if !ok {
				due = s.dueOf(txn, id)
			}
			if due.Action == task.ActionRemove {
				return nil
			}
			return each(due)
		}
		n := 0
		for it.Rewind(); it.Valid(); it.Next() {
			if n++; n&1023 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			item := it.Item()
			id = idOf(item.Key())
			if err := item.Value(told); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// dueOf is what is due of a task whose entry under dueKey can't be read.
func (s *Store) dueOf(txn *badger.Txn, id task.ID) task.Due {
	t, err := getRecord[task.Task](txn, taskKey, id)
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
	var outdated [][]byte
	s.expiry.scan.Lock()
	defer s.expiry.scan.Unlock()
	from := s.expiry.begin()
	err := s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{expiryKey}})
		defer it.Close()
		var first []byte // that is still there
		for it.Seek(from); it.Valid() && len(ids) < limit; it.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			k := it.Item().KeyCopy(nil)
			if len(k) < 1+8+len(task.ID{}) || binary.BigEndian.Uint64(k[1:]) > microseconds(now) {
				if first == nil {
					first = k
				}
				break
			}
			id := idOf(k)
			err := checkExpiry(txn, k, id)
			switch {
			case err == nil:
				ids = append(ids, id)
			case errors.Is(err, errOutdated):
				outdated = append(outdated, k)
				continue
			case errors.Is(err, task.ErrBadRecord):
				s.log.Error("expired task is kept", zap.Stringer("task_id", id), zap.Error(err))
			default:
				return err
			}
			if first == nil {
				first = k
			}
		}
		if first != nil {
			s.expiry.advance(first)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.dropOutdated(ctx, outdated)
	return ids, nil
}

var errOutdated = errors.New("expiry is outdated")

// checkExpiry returns nil if the task is to be removed at the time that is in
// the key, and errOutdated if it is not, since it was removed or is to be
// delivered again.
func checkExpiry(txn *badger.Txn, k []byte, id task.ID) error {
	t, err := getRecord[task.Task](txn, taskKey, id)
	if errors.Is(err, task.ErrNotFound) {
		return errOutdated
	}
	if err != nil {
		return err
	}
	if action, at := t.Next(); action != task.ActionRemove || !bytes.Equal(keyOfExpiry(at, id), k) {
		return errOutdated
	}
	return nil
}

// dropOutdated deletes keys that mean nothing any more. That it may fail does
// not matter: the next Expired finds them again.
func (s *Store) dropOutdated(ctx context.Context, keys [][]byte) {
	for _, k := range keys {
		p := newStep(idOf(k), toRemove)
		p.writes.delete(k)
		p.guard = func(txn *badger.Txn) error {
			if err := checkExpiry(txn, k, p.id); !errors.Is(err, errOutdated) {
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
	key    []byte
	lowest []byte // that was written since the scan began
}

// begin returns the key to seek.
func (c *expiryCursor) begin() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lowest = nil
	if c.key == nil {
		return []byte{expiryKey}
	}
	return c.key
}

// advance moves the cursor to the first key that the scan found, or to one
// that was written meanwhile, which it may not have seen.
func (c *expiryCursor) advance(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lowest != nil && bytes.Compare(c.lowest, key) < 0 {
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

func (c *expiryCursor) noteKey(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key != nil && bytes.Compare(key, c.key) < 0 {
		c.key = key
	}
	if c.lowest == nil || bytes.Compare(key, c.lowest) < 0 {
		c.lowest = key
	}
}
