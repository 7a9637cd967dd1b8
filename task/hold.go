package task

import "context"

// A client that asked to wait may get the answer itself, and then no callback
// is sent. Until that is known its task is held: whoever ends a claim on it
// keeps the callback back, and whoever ends the hold lets it go.

// unhold ends the hold; false if there is none.
func (e *Engine) unhold(id ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lives[id]
	if l == nil || !l.held {
		return false
	}
	l.held = false
	return true
}

// Unhold lets the callback of a task go that was accepted with Hold: its
// client did not get the answer directly.
func (e *Engine) Unhold(id ID) {
	if !e.unhold(id) {
		return
	}
	e.mu.Lock()
	l := e.lives[id]
	if l == nil || l.claim != nil { // the end of the claim lets the callback go
		e.mu.Unlock()
		return
	}
	c := &claim{engine: e, id: id, kept: e.takeKept(l)}
	c.keep = c.task != nil
	l.claim = c
	e.mu.Unlock()
	c.end()
}

// Answered says that the client of a task accepted with Hold has the whole
// answer: no callback is sent. Until this is recorded, a crash still sends it.
func (e *Engine) Answered(ctx context.Context, id ID) error {
	c := e.claim(ctx, id)
	if c == nil {
		e.Unhold(id)
		return ctx.Err()
	}
	defer c.end()
	err := c.read(ActionRemove) // just the task
	held := e.unhold(id)
	if err != nil {
		return err
	}
	if action, _ := c.task.Next(); action != ActionDeliver || !held {
		return nil
	}
	c.task.Callback.Status = CallbackNone
	c.task.settle(e.routeOr(c.task.Route), e.now())
	return c.save(Step{Task: c.task})
}
