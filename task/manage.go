package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Task returns a task as it is at this moment; ErrNotFound.
func (e *Engine) Task(ctx context.Context, id ID) (*Task, error) {
	e.mu.Lock()
	if w := e.active[id]; w != nil && w.task != nil {
		t := *w.task
		e.mu.Unlock()
		return &t, nil
	}
	e.mu.Unlock()
	return e.store.Load(ctx, id)
}

// View returns a task as its client sees it; ErrNotFound.
func (e *Engine) View(ctx context.Context, id ID) (View, error) {
	t, err := e.Task(ctx, id)
	if err != nil {
		return View{}, err
	}
	return e.view(t), nil
}

func (e *Engine) view(t *Task) View {
	v := t.View()
	if action, _ := t.Next(); action != ActionRemove && t.Status != Running && e.route(t.Route) == nil {
		v.Waiting = fmt.Sprintf("no callback handler named %q is configured", t.Route)
	}
	return v
}

// Await waits until the task is done, and returns it, or as it is when ctx
// ends; ErrNotFound.
func (e *Engine) Await(ctx context.Context, id ID) (*Task, error) {
	for {
		changed, stop := e.watch(id)
		t, err := e.Task(context.WithoutCancel(ctx), id)
		if err != nil || t.Status.Done() {
			stop()
			return t, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			stop()
			return t, nil
		case <-e.context.Done():
			stop()
			return t, nil
		}
		stop()
	}
}

// watch returns a channel that gets a value when the task changes.
func (e *Engine) watch(id ID) (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers[id] = append(e.watchers[id], c)
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		rest := e.watchers[id][:0:0]
		for _, other := range e.watchers[id] {
			if other != c {
				rest = append(rest, other)
			}
		}
		if len(rest) == 0 {
			delete(e.watchers, id)
			return
		}
		e.watchers[id] = rest
	}
}

// notify wakes who watches the task. Engine.mu is held.
func (e *Engine) notify(id ID) {
	for _, c := range e.watchers[id] {
		select {
		case c <- struct{}{}:
		default: // it is awake already
		}
	}
}

// Response returns the task and the backend's answer, whose body the caller
// closes. The answer is nil while there is none, or if there never will be.
// ErrNotFound: no such task.
func (e *Engine) Response(ctx context.Context, id ID) (*Task, *Response, io.ReadSeekCloser, error) {
	t, err := e.Task(ctx, id)
	if err != nil || t.Response == nil {
		return t, nil, nil, err
	}
	response, err := e.store.LoadResponse(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	body, err := e.openBody(id, ResponsePart, response.Body)
	if err != nil {
		return nil, nil, nil, err
	}
	return t, response, body, nil
}

// Cancel ends a task that is not done: a queued one at once, a running one by
// ending its backend call. It returns the task as it is then. A task that was
// done already is a *Problem with status 409; ErrNotFound.
func (e *Engine) Cancel(ctx context.Context, id ID) (*Task, error) {
	if !e.begin() {
		return nil, stopping()
	}
	defer e.working.Done()
	e.mu.Lock()
	if w := e.active[id]; w != nil && w.cancel != nil {
		w.cancel(errCanceled)
	}
	e.mu.Unlock()
	w, _ := e.claim(ctx, id)
	if w == nil {
		return nil, ctx.Err()
	}
	t, then, err := e.cancelClaimed(ctx, id)
	e.release(id, w)
	if then != nil {
		then()
	}
	return t, err
}

var canceledByClient = &Failure{CodeCanceled, http.StatusConflict, "the client canceled the task"}

func (e *Engine) cancelClaimed(ctx context.Context, id ID) (*Task, func(), error) {
	t, err := e.store.Load(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case t.Status == Canceled: // the running call has seen to it, or someone did before
		return t, nil, nil
	case t.Status.Done():
		return nil, nil, NewProblem(http.StatusConflict, ProblemConflict, "the task is already "+t.Status.String())
	}
	r := e.route(t.Route)
	if r == nil {
		r = &Route{Name: t.Route} // it can be canceled all the same
	}
	then, err := e.finish(t, r, func() {}, Canceled, nil, canceledByClient)
	if err != nil {
		return nil, func() { e.next(id) }, err
	}
	canceled := *t
	return &canceled, then, nil
}

// Redeliver sends the callback of a task that is done again: at once, and with
// the full schedule of attempts before it. It returns the task as it is then.
// A task that is not done, or has no callback, is a *Problem with status 409;
// ErrNotFound.
func (e *Engine) Redeliver(ctx context.Context, id ID) (*Task, error) {
	if !e.begin() {
		return nil, stopping()
	}
	defer e.working.Done()
	// A task that runs is claimed for as long as its backend takes.
	if t, err := e.Task(ctx, id); err != nil {
		return nil, err
	} else if err := deliverable(t); err != nil {
		return nil, err
	}
	w, _ := e.claim(ctx, id)
	if w == nil {
		return nil, ctx.Err()
	}
	t, err := e.redeliverClaimed(ctx, id)
	e.release(id, w)
	if t == nil {
		return nil, err
	}
	e.deliveries.push(t.Lane(), id, time.Time{})
	return t, err
}

// deliverable is a *Problem for a task that has nothing to deliver.
func deliverable(t *Task) error {
	switch {
	case !t.Status.Done():
		return NewProblem(http.StatusConflict, ProblemNotDone, "there is nothing to deliver yet: the task is "+t.Status.String())
	case t.CallbackURL() == "":
		return NewProblem(http.StatusConflict, ProblemConflict, "the task has no callback URL")
	}
	return nil
}

func (e *Engine) redeliverClaimed(ctx context.Context, id ID) (*Task, error) {
	t, err := e.store.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := deliverable(t); err != nil {
		return nil, err
	}
	settled, _ := t.Next()
	t.Callback.Status = CallbackPending
	t.Callback.Round = 0
	t.Callback.NextAt = time.Time{}
	t.ExpiresAt = time.Time{}
	if err := e.store.Save(ctx, Step{Task: t}); err != nil {
		return nil, err
	}
	if settled == ActionRemove {
		e.pending.Add(1)
	}
	return t, nil
}

// List returns tasks as their clients see them, newest first; see [Store.List].
func (e *Engine) List(ctx context.Context, match func(*Task) bool, after ID, limit int) ([]View, error) {
	tasks, err := e.store.List(ctx, match, after, limit)
	if err != nil {
		return nil, err
	}
	views := make([]View, len(tasks))
	for i, t := range tasks {
		if live, err := e.Task(ctx, t.ID); err == nil {
			t = live
		} else if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		views[i] = e.view(t)
	}
	return views, nil
}

// hold keeps the callback of a task back when it is done.
func (e *Engine) hold(id ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[id] = struct{}{}
}

func (e *Engine) unhold(id ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, held := e.held[id]
	delete(e.held, id)
	return held
}

func (e *Engine) isHeld(id ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, held := e.held[id]
	return held
}

// Unhold lets the callback of a task go that was accepted with Hold: its
// client did not get the answer directly.
func (e *Engine) Unhold(id ID) {
	if !e.unhold(id) {
		return
	}
	t, err := e.Task(e.context, id)
	if err == nil && t.Status.Done() {
		e.next(id)
	}
}

// Answered says that the client of a task accepted with Hold has the whole
// answer: no callback is sent. Until this is recorded, a crash still sends it.
func (e *Engine) Answered(ctx context.Context, id ID) error {
	w, _ := e.claim(ctx, id)
	if w == nil {
		e.Unhold(id)
		return ctx.Err()
	}
	defer e.release(id, w)
	e.unhold(id)
	t, err := e.store.Load(ctx, id)
	if err != nil {
		return err
	}
	if action, _ := t.Next(); action != ActionDeliver {
		return nil
	}
	r := e.route(t.Route)
	if r == nil {
		r = &Route{Name: t.Route}
	}
	t.Callback.Status = CallbackNone
	t.settle(r, time.Now())
	if err := e.save(Step{Task: t}); err != nil {
		return err
	}
	e.pending.Add(-1)
	return nil
}
