package badger

import (
	"context"
	"errors"
	"strings"

	"go.uber.org/zap"

	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// Load implements [task.Store].
func (s *Store) Load(ctx context.Context, id task.ID) (*task.Task, error) {
	return load(ctx, s, id, func(v *view) (*task.Task, error) {
		return getRecord[task.Task](v, taskKey, id)
	})
}

// LoadRequest implements [task.Store].
func (s *Store) LoadRequest(ctx context.Context, id task.ID) (*task.Request, error) {
	return load(ctx, s, id, func(v *view) (*task.Request, error) {
		return getPart[task.Request](v, task.RequestPart, requestKey, id)
	})
}

// LoadResponse implements [task.Store].
func (s *Store) LoadResponse(ctx context.Context, id task.ID) (*task.Response, error) {
	return load(ctx, s, id, func(v *view) (*task.Response, error) {
		return getPart[task.Response](v, task.ResponsePart, responseKey, id)
	})
}

func load[R record.Kept](ctx context.Context, s *Store, id task.ID, get func(*view) (*R, error)) (record *R, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.settle(ctx, id); err != nil {
		return nil, err
	}
	err = s.view(id, func(v *view) error {
		record, err = get(v)
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
	from := key(taskKey, after)
	if after.IsZero() {
		from = string(taskKey) + strings.Repeat("\xff", len(after)+1)
	}
	var tasks []*task.Task
	err := s.each(from, true, func(k, value []byte) error {
		if len(tasks) >= limit {
			return errEnough
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		id := idOf(k)
		if id == after {
			return nil
		}
		t, err := s.taskOf(id, value)
		switch {
		case errors.Is(err, task.ErrBadRecord):
			s.log.Error("task left out of a list", zap.Error(err))
			return nil
		case errors.Is(err, task.ErrNotFound): // by now
			return nil
		case err != nil:
			return err
		}
		if match == nil || match(t) {
			tasks = append(tasks, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tasks, nil
}

// taskOf reads the task that has a value.
func (s *Store) taskOf(id task.ID, value []byte) (*task.Task, error) {
	if len(value) > 0 && value[0] == 0 {
		return unmarshal[task.Task](value[1:], taskKey, id)
	}
	return s.task(id) // as the rest of it may have changed
}

// task reads a task as it is now; task.ErrNotFound.
func (s *Store) task(id task.ID) (t *task.Task, err error) {
	err = s.view(id, func(v *view) error {
		t, err = getRecord[task.Task](v, taskKey, id)
		return err
	})
	return t, err
}
