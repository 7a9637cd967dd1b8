package badger

import (
	"bytes"
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// Load implements [task.Store].
func (s *Store) Load(ctx context.Context, id task.ID) (*task.Task, error) {
	return load(ctx, s, id, func(txn *badger.Txn) (*task.Task, error) {
		return getRecord[task.Task](txn, taskKey, id)
	})
}

// LoadRequest implements [task.Store].
func (s *Store) LoadRequest(ctx context.Context, id task.ID) (*task.Request, error) {
	return load(ctx, s, id, func(txn *badger.Txn) (*task.Request, error) {
		return getPart[task.Request](txn, task.RequestPart, requestKey, id)
	})
}

// LoadResponse implements [task.Store].
func (s *Store) LoadResponse(ctx context.Context, id task.ID) (*task.Response, error) {
	return load(ctx, s, id, func(txn *badger.Txn) (*task.Response, error) {
		return getPart[task.Response](txn, task.ResponsePart, responseKey, id)
	})
}

func load[R task.Record](ctx context.Context, s *Store, id task.ID, get func(*badger.Txn) (*R, error)) (record *R, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.settle(ctx, id); err != nil {
		return nil, err
	}
	err = s.db.View(func(txn *badger.Txn) error {
		record, err = get(txn)
		return err
	})
	return record, err
}

// List implements [task.Store]. A record that can't be read is left out, and
// logged.
func (s *Store) List(ctx context.Context, match func(*task.Task) bool, after task.ID, limit int) ([]*task.Task, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.settleAll(ctx); err != nil {
		return nil, err
	}
	var tasks []*task.Task
	err := s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{taskKey}, Reverse: true})
		defer it.Close()
		start := key(taskKey, after)
		if after.IsZero() {
			start = append([]byte{taskKey}, bytes.Repeat([]byte{0xff}, len(after)+1)...)
		}
		for it.Seek(start); it.Valid() && len(tasks) < limit; it.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			id := idOf(it.Item().Key())
			if id == after {
				continue
			}
			t, err := readRecord[task.Task](txn, it.Item(), taskKey, id)
			if errors.Is(err, task.ErrBadRecord) {
				s.log.Error("task left out of a list", zap.Error(err))
				continue
			}
			if err != nil {
				return err
			}
			if match == nil || match(t) {
				tasks = append(tasks, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tasks, nil
}
