package task_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringback/ringback/task"
)

// process is the store as one process sees it: when that is killed, nothing
// it does reaches the store any more. A kill can be set to fall just before
// or just after a write, which are the moments that matter.
type process struct {
	task.Store
	mu     sync.Mutex
	killed bool
	before int // writes until the process is killed before one; 0: never
	after  int // the same, after one
	full   bool
}

var errKilled = fmt.Errorf("killed: %w", task.ErrClosed)

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
}

func (p *process) isKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

func (p *process) write(do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errKilled
	}
	if p.before--; p.before == 0 {
		p.killed = true
		return errKilled
	}
	if p.full {
		return task.ErrNoSpace
	}
	err := do()
	if p.after--; p.after == 0 {
		p.killed = true
		return errKilled
	}
	return err
}

func (p *process) Create(ctx context.Context, t *task.Task, r *task.Request, key *task.IdempotencyKey) error {
	return p.write(func() error { return p.Store.Create(ctx, t, r, key) })
}

func (p *process) Save(ctx context.Context, step task.Step) error {
	return p.write(func() error { return p.Store.Save(ctx, step) })
}

func (p *process) Remove(ctx context.Context, id task.ID) error {
	return p.write(func() error { return p.Store.Remove(ctx, id) })
}
