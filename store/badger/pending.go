package badger

import (
	"context"
	"sync"

	"github.com/ringback/ringback/task"
)

// pending holds the latest step of each task that nobody waits for, so that
// who reads the task afterwards sees what it says. The zero value is empty.
type pending struct {
	mu    sync.Mutex
	steps map[task.ID]*step
}

func (l *pending) add(p *step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps == nil {
		l.steps = make(map[task.ID]*step)
	}
	l.steps[p.id] = p
}

func (l *pending) remove(p *step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps[p.id] == p {
		delete(l.steps, p.id)
	}
}

func (l *pending) of(id task.ID) *step {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steps[id]
}

func (l *pending) some() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.steps) > 0
}

// settle waits until the steps of a task that were called before are done.
func (s *Store) settle(ctx context.Context, id task.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := s.pending.of(id)
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settleAll waits until all steps that were called before are done.
func (s *Store) settleAll(ctx context.Context) error {
	if !s.pending.some() {
		return ctx.Err()
	}
	p := newStep(task.ID{}, toRead)
	if err := s.enqueue(ctx, p); err != nil {
		return err
	}
	return p.wait(ctx)
}
