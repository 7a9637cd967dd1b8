package task

import (
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task/lanes"
)

// forward calls the backend of a task whose turn it is.
func (e *Engine) forward(turn *lanes.Turn[ID]) {
	c := e.claimTurn(turn)
	if c == nil {
		return
	}
	err := c.read(ActionCall)
	if c.task == nil {
		c.failed("reading a task", err)
		c.end()
		return
	}
	t := c.task
	r := e.route(t.Route)
	switch action, _ := t.Next(); {
	case action != ActionCall:
		c.saved = true
		c.end()
	case r == nil: // its lane waits now
		c.keep = true
		c.end()
	case err != nil && lost(err):
		e.log.Error("reading the request of a task", zap.Stringer("task", c.id), zap.Error(err))
		c.finish(r, Failed, nil, requestLost)
	case err != nil:
		c.failed("reading the request of a task", err)
		c.end()
	case turn.Resumed() && !t.Deadline.IsZero() && !e.now().Before(t.Deadline):
		c.finish(r, Expired, nil, deadlineExceeded)
	default:
		e.callSuspect(c, r)
	}
}

// callSuspect makes the call, unless the task was cut short too often before,
// or is to be called in smaller company.
func (e *Engine) callSuspect(c *claim, r *Route) {
	t := c.task
	cuts := t.Interrupted
	cut := t.Status == Running // the process ended during the call
	if cut {
		cuts++
	}
	switch {
	case cut && (r.FailInterrupted || cuts >= maxInterrupted):
		t.Interrupted = cuts
		e.observer.CallFinished(t.Route, "interrupted", 0)
		c.finish(r, Failed, nil, interrupted)
	case !c.admit(cuts):
		c.keep, c.pause = true, suspectPause
		c.end()
	default:
		t.Interrupted = cuts
		e.call(c, r)
	}
}

var interrupted = &Failure{CodeInterrupted, http.StatusBadGateway,
	"the server stopped while the request was being processed; it may have been processed or not"}

var deadlineExceeded = &Failure{CodeDeadlineExceeded, http.StatusGatewayTimeout, "the task's deadline passed before it was done"}

// finish records the outcome of a task, and ends the claim. It returns the
// task as it is then.
func (c *claim) finish(r *Route, status Status, response *Response, failure *Failure) (done Task, err error) {
	defer c.end()
	e, t := c.engine, c.task
	now := e.now().Truncate(time.Microsecond)
	wasDue := !t.Status.Done() && !t.Deadline.IsZero() && !c.expires
	t.Status = status
	t.FinishedAt = now
	t.LastError = ""
	t.Failure = failure
	if response != nil {
		t.Response = &Summary{response.Status, response.Header.Get("Content-Type"), response.Body.Size}
	}
	events := t.Callback.Events
	if events == 0 {
		events = TerminalEvents
	}
	t.Callback.Status, t.Callback.NextAt = CallbackNone, time.Time{}
	if t.CallbackURL() != "" && events.Has(t.Event()) {
		t.Callback.Status = CallbackPending
	}
	t.settle(r, now)
	if err := c.saveOutcome(Step{Task: t, Response: response, DropRequest: true}); err != nil {
		c.failed("recording the outcome of a task", err)
		return *t, err
	}
	c.response, c.keep = response, true
	if wasDue {
		e.deadlines.Remove(c.id)
	}
	return *t, nil
}

// expire ends a task whose deadline has passed.
func (e *Engine) expire(turn *lanes.Turn[ID]) {
	e.ask(turn.Key(), errDeadline)
	c := e.claimTurn(turn)
	if c == nil {
		return
	}
	c.expires, c.counted = true, false
	err := c.read(ActionRemove) // just the task
	if c.task == nil || c.task.Status.Done() {
		if c.task == nil && !errors.Is(err, ErrNotFound) {
			c.failed("ending a task at its deadline", err)
		}
		c.end()
		return
	}
	c.finish(e.routeOr(c.task.Route), Expired, nil, deadlineExceeded)
}

// routeOr is the route that counts under a name, or one that is good enough to
// end a task with.
func (e *Engine) routeOr(name string) *Route {
	if r := e.route(name); r != nil {
		return r
	}
	return &Route{Name: name}
}
