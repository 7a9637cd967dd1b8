// Package memory is a task store on maps. It forgets everything when the
// process ends: it is for tests, and to measure what durability costs.
package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// Store is a [task.Store] in memory. Open makes one.
type Store struct {
	mu      sync.RWMutex
	closed  bool
	tasks   map[task.ID]*entry
	keys    map[[32]byte]task.DuplicateError
	bodies  map[bodyName][]byte
	order   []task.ID // of tasks, oldest first; holds removed ones until tidy
	removed int       // how many of order are no longer in tasks
	expiry  expiryHeap
}

// entry is one task. Records are kept as their bytes: that copies them, and a
// step costs here what it costs elsewhere, but for the disk.
type entry struct {
	record   []byte
	request  []byte // nil when dropped
	response []byte // nil when there is none
	due      task.Due
	key      *[32]byte // name of its idempotency key, nil if it has none
}

// Open makes an empty store. The error is always nil.
func Open() (*Store, error) {
	return &Store{
		tasks:  make(map[task.ID]*entry),
		keys:   make(map[[32]byte]task.DuplicateError),
		bodies: make(map[bodyName][]byte),
	}, nil
}

// Create implements [task.Store].
func (s *Store) Create(ctx context.Context, t *task.Task, request *task.Request, key *task.IdempotencyKey) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kept, err := record.Marshal(t)
	if err != nil {
		return err
	}
	e := &entry{record: kept}
	if e.request, err = record.Marshal(request); err != nil {
		return err
	}
	e.due = t.Due()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.ErrClosed
	}
	if key != nil {
		if duplicate, ok := s.keys[key.Name]; ok {
			return &duplicate
		}
		name := key.Name
		e.key = &name
		s.keys[name] = task.DuplicateError{ID: t.ID, Fingerprint: key.Fingerprint}
	}
	s.tasks[t.ID] = e
	s.insert(t.ID)
	s.expire(t.ID, e)
	return nil
}

// Save implements [task.Store]. With or without NoWait, the step is done when
// it returns.
func (s *Store) Save(ctx context.Context, step task.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kept, err := record.Marshal(step.Task)
	if err != nil {
		return err
	}
	var response []byte
	if step.Response != nil {
		if response, err = record.Marshal(step.Response); err != nil {
			return err
		}
	}
	id, due := step.Task.ID, step.Task.Due()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.ErrClosed
	}
	e := s.tasks[id]
	if e == nil {
		return task.ErrNotFound
	}
	e.record, e.due = kept, due
	if response != nil {
		e.response = response
	}
	if step.DropRequest {
		e.request = nil
		delete(s.bodies, bodyName{id, task.RequestPart})
	}
	s.expire(id, e)
	return nil
}

// Load implements [task.Store].
func (s *Store) Load(ctx context.Context, id task.ID) (*task.Task, error) {
	return load[task.Task](ctx, s, id, func(e *entry) []byte { return e.record })
}

// LoadRequest implements [task.Store].
func (s *Store) LoadRequest(ctx context.Context, id task.ID) (*task.Request, error) {
	return load[task.Request](ctx, s, id, func(e *entry) []byte { return e.request })
}

// LoadResponse implements [task.Store].
func (s *Store) LoadResponse(ctx context.Context, id task.ID) (*task.Response, error) {
	return load[task.Response](ctx, s, id, func(e *entry) []byte { return e.response })
}

func load[R record.Kept](ctx context.Context, s *Store, id task.ID, which func(*entry) []byte) (*R, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	kept, err := func() ([]byte, error) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if s.closed {
			return nil, task.ErrClosed
		}
		e := s.tasks[id]
		if e == nil || which(e) == nil {
			return nil, task.ErrNotFound
		}
		return which(e), nil // replaced by a step, never changed
	}()
	if err != nil {
		return nil, err
	}
	return record.Unmarshal[R](kept)
}

// Remove implements [task.Store].
func (s *Store) Remove(ctx context.Context, id task.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.ErrClosed
	}
	delete(s.bodies, bodyName{id, task.RequestPart})
	delete(s.bodies, bodyName{id, task.ResponsePart})
	e := s.tasks[id]
	if e == nil {
		return nil
	}
	if e.key != nil {
		delete(s.keys, *e.key)
	}
	delete(s.tasks, id)
	s.removed++
	s.tidy()
	return nil
}

// Close implements [task.Store]. Everything is forgotten.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.ErrClosed
	}
	s.closed = true
	s.tasks, s.keys, s.bodies, s.order, s.expiry = nil, nil, nil, nil, nil
	return nil
}

// insert puts id in its place, which nearly always is the end.
func (s *Store) insert(id task.ID) {
	if n := len(s.order); n == 0 || s.order[n-1].Compare(id) < 0 {
		s.order = append(s.order, id)
		return
	}
	i, found := slices.BinarySearchFunc(s.order, id, task.ID.Compare)
	if found { // removed, and created again
		s.removed--
		return
	}
	s.order = slices.Insert(s.order, i, id)
}

// tidy drops removed IDs from order when most of it is.
func (s *Store) tidy() {
	if s.removed < 1024 || s.removed < len(s.order)/2 {
		return
	}
	s.order = slices.DeleteFunc(s.order, func(id task.ID) bool { return s.tasks[id] == nil })
	s.removed = 0
}

var _ task.Store = (*Store)(nil)
