package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// backendCall is one call of a task's backend. It is made by a worker, and
// concluded by the same when it has returned, or without it when it does not
// end although it was told to.
type backendCall struct {
	*claim
	route      *Route
	before     Task // as it was
	began      time.Time
	ctx        context.Context
	cancel     context.CancelCauseFunc
	timeout    *time.Timer // costs less than a context with a deadline
	started    *startMark
	answer     *capture
	repeatable bool
}

// call makes one backend call and records what came of it.
func (e *Engine) call(c *claim, r *Route) {
	t := c.task
	x := &backendCall{claim: c, route: r, before: *t, began: time.Now()}
	x.repeatable = idempotent(c.request.Method) || c.request.Header.Get(HeaderIdempotencyKey) != ""
	t.Attempts++
	t.Status = Running
	t.StartedAt = e.now().Truncate(time.Microsecond)
	t.NextCallAt = time.Time{}

	x.ctx, x.cancel = context.WithCancelCause(e.context)
	x.timeout = time.AfterFunc(r.timeout(), func() { x.cancel(errTimeout) })
	shown := *t
	c.show(&shown, x.cancel)
	x.answer = newCapture(x.ctx, x.cancel, e.store, t.ID, r.maxResponse(), c.request.Method)

	// A task from before a restart may be the reason for it, and one that must
	// not run twice must not be forgotten: their start is recorded first.
	x.started = &startMark{engine: e, task: &shown}
	if r.FailInterrupted || c.turn.Resumed() {
		if err := x.started.now(); err != nil {
			x.stop()
			c.failed("recording the start of a call", err)
			c.end()
			return
		}
	} else {
		x.started.soon()
	}
	// What the backend is given is taken now: the task is not ours any more when
	// the call is left behind.
	call := &Call{TaskID: t.ID, Attempt: t.Attempts, Request: c.request, TraceParent: t.TraceParent}
	ended := leaveBehind(x.ctx, x.leave)
	err := x.attempt(call)
	if ended() {
		x.conclude(err)
		return
	}
	e.returned(r)
}

// stop ends what the call has set up.
func (x *backendCall) stop() {
	x.timeout.Stop()
	x.cancel(nil)
}

// attempt calls the backend, and makes an error of its panic.
func (x *backendCall) attempt(call *Call) (err error) {
	e := x.engine
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	body, err := e.openBody(call.TaskID, RequestPart, call.Request.Body)
	if err != nil {
		return lostBody(err)
	}
	stored := &storedBody{ReadSeekCloser: body}
	defer stored.Close()
	defer func() {
		if lost := stored.err.Load(); lost != nil { // whatever the backend made of it
			err = *lost
		}
	}()
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: // how reverse_proxy says that the backend broke off
			err = errors.New("the backend broke off its answer")
		default:
			e.log.Error("panic in a backend call", zap.Stringer("task", call.TaskID), zap.String("name", x.route.Name),
				zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	call.Body = stored
	return x.route.Backend.Call(x.ctx, call, x.answer)
}

// errRequestLost says that the stored body of a request is not there, or is damaged.
var errRequestLost = errors.New("the stored request body can't be read")

// lostBody makes an error of a body errRequestLost if trying again is in vain.
func lostBody(err error) error {
	if lost(err) {
		return fmt.Errorf("%w: %w", errRequestLost, err)
	}
	return fmt.Errorf("opening the stored request body: %w", err)
}

// storedBody is a request's body that remembers that it could not be read.
type storedBody struct {
	io.ReadSeekCloser
	err atomic.Pointer[error] // a transport may read on when the call is over
}

func (b *storedBody) Read(p []byte) (int, error) {
	n, err := b.ReadSeekCloser.Read(p)
	if err != nil && lost(err) {
		why := lostBody(err)
		b.err.Store(&why)
	}
	return n, err
}

// leave concludes a call that does not end.
func (x *backendCall) leave() {
	e, r := x.engine, x.route
	x.answer.fence()
	e.mu.Lock()
	e.left[r.Name]++
	n := e.left[r.Name]
	e.mu.Unlock()
	// Its place goes to the next task, but not without end: what was left behind
	// most likely keeps the backend busy.
	if n > r.concurrency() {
		x.turn.Keep()
	}
	e.log.Warn("a backend call does not end although it was told to; it is left behind",
		zap.Stringer("task", x.id), zap.String("name", r.Name), zap.Int("left_behind", n), zap.Error(context.Cause(x.ctx)))
	x.conclude(errLeft)
}

// returned follows the end of a call that was left behind.
func (e *Engine) returned(r *Route) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left[r.Name]--; e.left[r.Name] == 0 {
		delete(e.left, r.Name)
	}
}

// conclude records what the call came to, and ends the claim.
func (x *backendCall) conclude(err error) {
	e, t, r := x.engine, x.task, x.route
	defer x.stop()
	marked := x.started.stop()
	took := time.Since(x.began)
	verdict := judge(context.Cause(x.ctx), err, x.answer, x.repeatable)
	switch {
	case verdict.drained:
		x.answer.discard()
		x.drained(marked, took)
	case verdict.retry && t.Attempts-t.Interrupted < r.attempts():
		x.answer.discard()
		e.observer.CallFinished(t.Route, "retry", took)
		x.again(verdict)
	default:
		x.done(verdict, took)
	}
}

// drained puts a call back that the end of the process has cut short.
func (x *backendCall) drained(marked bool, took time.Duration) {
	e, t, r := x.engine, x.task, x.route
	if r.FailInterrupted { // an orderly end cuts a call short just as a crash does
		e.observer.CallFinished(t.Route, "interrupted", took)
		x.finish(r, Failed, nil, interrupted)
		return
	}
	defer x.end()
	x.before.Interrupted = t.Interrupted
	*t = x.before
	if marked {
		t.Status = Queued
		if err := x.save(Step{Task: t}); err != nil {
			x.failed("putting a task back", err)
		}
	}
}

// again has the call made once more, after a pause.
func (x *backendCall) again(v verdict) {
	defer x.end()
	e, t, r := x.engine, x.task, x.route
	if v.message() != t.LastError {
		e.log.Info("backend call failed, will be tried again", zap.Stringer("task", t.ID), zap.String("name", t.Route),
			zap.Int("attempt", t.Attempts), zap.String("reason", v.message()), zap.Error(v.err))
	}
	t.Status = Queued
	t.LastError = v.message()
	t.NextCallAt = e.now().Add(max(v.after, r.nextCall(t.Attempts-t.Interrupted)))
	if err := x.saveOutcome(Step{Task: t}); err != nil {
		x.failed("recording that a call is to be made again", err)
	}
}

// done ends the task: there is an answer, or there will be none.
func (x *backendCall) done(v verdict, took time.Duration) {
	e, t, r := x.engine, x.task, x.route
	var response *Response
	if v.failure == nil {
		var err error
		if response, err = x.answer.response(); err != nil {
			v.failure, v.err = &Failure{CodeBackendError, http.StatusBadGateway, "the backend's answer could not be stored"}, err
			response = nil
		}
	}
	if response == nil {
		x.answer.discard()
	}
	e.observer.CallFinished(t.Route, v.status().String(), took)
	if v.failure != nil {
		e.log.Info("backend call failed", zap.Stringer("task", t.ID), zap.String("name", t.Route),
			zap.Int("attempt", t.Attempts), zap.String("code", v.failure.Code),
			zap.String("reason", v.failure.Message), zap.Error(v.err))
	} else if log := e.log.Check(zap.DebugLevel, "backend call done"); log != nil {
		log.Write(zap.Stringer("task", t.ID), zap.String("name", t.Route), zap.Int("status", response.Status),
			zap.Duration("took", took), zap.Int64("bytes", response.Body.Size))
	}
	x.finish(r, v.status(), response, v.failure)
}

// openBody reads a body from wherever it is.
func (e *Engine) openBody(id ID, part Part, body Body) (io.ReadSeekCloser, error) {
	if body.Stored {
		return e.store.OpenBody(e.context, id, part)
	}
	return newInlineBody(body.Inline), nil
}

// slowCall is when a call that is still running is recorded as started. Most
// calls that are done sooner save a write; a new task that kills the process
// within this time is found out after the restart, when its start is recorded
// before the call.
const slowCall = 100 * time.Millisecond

// startMark records that a call has begun: now, or when it turns out slow.
type startMark struct {
	engine *Engine
	task   *Task // as it was at the start, unchanged
	timer  *time.Timer

	mu     sync.Mutex
	marked bool
	ended  bool
}

func (m *startMark) now() error {
	m.marked = true
	return m.engine.save(Step{Task: m.task})
}

func (m *startMark) soon() {
	m.timer = time.AfterFunc(slowCall, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.ended {
			return
		}
		m.marked = true
		// Should it fail, the call goes on all the same: its outcome counts.
		if err := m.engine.store.Save(m.engine.context, Step{Task: m.task, NoWait: true}); err != nil {
			m.engine.log.Warn("recording the start of a call", zap.Stringer("task", m.task.ID), zap.Error(err))
		}
	})
}

// stop says whether the start was recorded; from now on it will not be.
func (m *startMark) stop() bool {
	if m.timer != nil {
		m.timer.Stop()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	return m.marked
}
