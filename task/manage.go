package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// Task returns a task as it is at this moment; ErrNotFound.
func (e *Engine) Task(ctx context.Context, id ID) (*Task, error) {
	e.mu.Lock()
	if l := e.lives[id]; l != nil && l.claim != nil && l.claim.shown != nil {
		t := *l.claim.shown
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
// ends or nobody may wait any more (see EndWaits); ErrNotFound.
func (e *Engine) Await(ctx context.Context, id ID) (*Task, error) {
	changed, stop := e.watch(id)
	defer stop()
	for {
		t, err := e.Task(context.WithoutCancel(ctx), id)
		if err != nil || t.Status.Done() {
			return t, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return t, nil
		case <-e.noWaits:
			return t, nil
		}
	}
}

// watch returns a channel that gets a value when the task changes.
func (e *Engine) watch(id ID) (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.live(id)
	l.watchers = append(l.watchers, c)
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		l := e.live(id)
		l.watchers = slices.DeleteFunc(l.watchers, func(other chan struct{}) bool { return other == c })
		e.forgetLive(id, l)
	}
}

// notify wakes who watches the task. Engine.mu is held.
func (e *Engine) notify(id ID) {
	for _, c := range e.live(id).watchers {
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

// Why a call's context ended, or is to end.
var (
	errDraining           = errors.New("the process is stopping")
	errCanceled           = errors.New("the client canceled the task")
	errCanceledByOperator = errors.New("the operator canceled the task")
	errTimeout            = errors.New("the backend did not answer in time")
	errDeadline           = errors.New("the task's deadline passed")
)

// failureOf is the failure of a task that was canceled.
func failureOf(why error) *Failure { return &Failure{CodeCanceled, http.StatusConflict, why.Error()} }

// Cancel ends a task that is not done, for its client: a queued one at once, a
// running one by ending its backend call. It returns the task as it is then. A
// task that was done already is a *Problem with status 409; ErrNotFound.
func (e *Engine) Cancel(ctx context.Context, id ID) (*Task, error) {
	return e.cancelTask(ctx, id, errCanceled)
}

// CancelByOperator is Cancel for the operator: the task's client is told who
// it was.
func (e *Engine) CancelByOperator(ctx context.Context, id ID) (*Task, error) {
	return e.cancelTask(ctx, id, errCanceledByOperator)
}

func (e *Engine) cancelTask(ctx context.Context, id ID, why error) (*Task, error) {
	if !e.begin() {
		return nil, stopping()
	}
	defer e.working.Done()
	// A task that is done is claimed for as long as its receiver takes.
	if t, err := e.Task(ctx, id); err != nil {
		return nil, err
	} else if t.Status.Done() {
		return cancelable(t)
	}
	e.ask(id, why)
	c := e.claim(ctx, id)
	if c == nil {
		return nil, ctx.Err()
	}
	if err := c.read(ActionRemove); err != nil { // just the task
		c.end()
		return nil, err
	}
	t := c.task
	if t.Status.Done() { // the running call has seen to it
		t := *t
		c.keep = true
		c.end()
		return cancelable(&t)
	}
	canceled, err := c.finish(e.routeOr(t.Route), Canceled, nil, failureOf(why))
	if err != nil {
		return nil, err
	}
	return &canceled, nil
}

// cancelable is the task if it was canceled, and a *Problem if it can't be.
func cancelable(t *Task) (*Task, error) {
	if t.Status == Canceled {
		return t, nil
	}
	return nil, NewProblem(http.StatusConflict, ProblemConflict, "the task is already "+t.Status.String())
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
	c := e.claim(ctx, id)
	if c == nil {
		return nil, ctx.Err()
	}
	defer c.end()
	if err := c.read(ActionRemove); err != nil {
		return nil, err
	}
	if err := deliverable(c.task); err != nil {
		return nil, err
	}
	t := *c.task
	t.Callback.Status = CallbackPending
	t.Callback.Round = 0
	t.Callback.NextAt = time.Time{}
	t.ExpiresAt = time.Time{}
	// Not with ctx: a step that may have been done or not is nobody's to run.
	if err := e.store.Save(context.WithoutCancel(ctx), Step{Task: &t}); err != nil {
		return nil, err
	}
	again := t
	c.task, c.saved = &t, true
	return &again, nil
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
