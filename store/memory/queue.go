package memory

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// Due implements [task.Store]. It tells of the tasks as they are when it is
// called; each may call the store.
func (s *Store) Due(ctx context.Context, each func(task.Due) error) error {
	all, err := s.due()
	if err != nil {
		return err
	}
	for _, due := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(due); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *Store) due() ([]task.Due, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, task.ErrClosed
	}
	var all []task.Due
	for _, id := range s.order {
		e := s.tasks[id]
		if e == nil || e.due.Action == task.ActionRemove {
			continue
		}
		all = append(all, e.due)
	}
	return all, nil
}

// Expired implements [task.Store].
func (s *Store) Expired(ctx context.Context, now time.Time, limit int) ([]task.ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, task.ErrClosed
	}
	var found []expiry
	for len(found) < limit && len(s.expiry) > 0 && !s.expiry[0].at.After(now) {
		x := heap.Pop(&s.expiry).(expiry)
		if e := s.tasks[x.id]; e == nil || e.due.Action != task.ActionRemove || !e.due.At.Equal(x.at) {
			continue // removed, or delivered again, since
		}
		if !slices.Contains(found[max(0, len(found)-1):], x) { // two steps with one time
			found = append(found, x)
		}
	}
	var ids []task.ID
	for _, x := range found {
		heap.Push(&s.expiry, x)
		ids = append(ids, x.id)
	}
	return ids, nil
}

// List implements [task.Store].
func (s *Store) List(ctx context.Context, match func(*task.Task) bool, after task.ID, limit int) ([]*task.Task, error) {
	var tasks []*task.Task
	for len(tasks) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id, kept, err := s.before(after)
		if err != nil {
			return nil, err
		}
		if kept == nil {
			break
		}
		after = id
		t, err := record.Unmarshal[task.Task](kept)
		if err != nil {
			return nil, err
		}
		if match == nil || match(t) {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// before is the newest task that is older than id, or the newest of all for
// the zero ID; a nil record if there is none.
func (s *Store) before(id task.ID) (task.ID, []byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return id, nil, task.ErrClosed
	}
	i := len(s.order)
	if !id.IsZero() {
		i, _ = slices.BinarySearchFunc(s.order, id, task.ID.Compare)
	}
	for i--; i >= 0; i-- {
		if e := s.tasks[s.order[i]]; e != nil {
			return s.order[i], e.record, nil
		}
	}
	return id, nil, nil
}

// expire notes when the task is to be removed, if it is.
func (s *Store) expire(id task.ID, e *entry) {
	if e.due.Action == task.ActionRemove && !e.due.At.IsZero() {
		heap.Push(&s.expiry, expiry{e.due.At, id})
	}
}

// expiry is a time at which a task was to be removed when it was noted; the
// entry says whether it still is.
type expiry struct {
	at time.Time
	id task.ID
}

type expiryHeap []expiry

func (h expiryHeap) Len() int { return len(h) }
func (h expiryHeap) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), h[i].id.Compare(h[j].id)) < 0
}
func (h expiryHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)   { *h = append(*h, x.(expiry)) }
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
