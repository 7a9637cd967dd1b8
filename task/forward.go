package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
)

// slowCall is when a call that is still running is recorded as started. Most
// calls that are done sooner save a write; a new task that kills the process
// within this time is found out after the restart, when its start is recorded
// before the call.
const slowCall = 100 * time.Millisecond

// forward calls the backend of a task that is due.
func (e *Engine) forward(id ID, free func()) {
	e.work(id, "forwarding a task", func(w *work, h handoff) (func(), error) {
		return e.forwardClaimed(w, h, id, free)
	})
}

// work does something with a task that nobody else may touch meanwhile. What
// do returns is called when they may again.
func (e *Engine) work(id ID, what string, do func(*work, handoff) (then func(), err error)) {
	if !e.begin() {
		return
	}
	defer e.working.Done()
	w, h := e.claim(e.context, id)
	if w == nil {
		return
	}
	then, err := do(w, h)
	e.release(id, w)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, errDraining) {
		e.log.Error(what+"; it goes on after a restart", zap.Stringer("task", id), zap.Error(err))
	}
	if then != nil {
		then()
	}
}

// forwardClaimed does the work of forward. What it returns is to be called
// when the claim is released.
func (e *Engine) forwardClaimed(w *work, h handoff, id ID, free func()) (then func(), err error) {
	h, err = e.read(h, id, ActionCall)
	if h.task == nil {
		return nil, err
	}
	t := h.task
	action, at := t.Next()
	if action != ActionCall {
		return nil, nil // canceled meanwhile
	}
	if time.Until(at) > time.Second {
		return func() { e.enqueue(t) }, nil // put off meanwhile
	}
	r := e.route(t.Route)
	if r == nil {
		return func() { e.enqueue(t) }, nil // its lane waits now
	}
	switch {
	case err != nil:
		e.log.Error("reading the request of a task", zap.Stringer("task", id), zap.Error(err))
		return e.finish(t, r, free, Failed, nil, &Failure{CodeRequestLost, http.StatusInternalServerError, "the stored request can't be read"})
	case !t.Deadline.IsZero() && !time.Now().Before(t.Deadline):
		return e.finish(t, r, free, Expired, nil, deadlineExceeded)
	case t.Status == Running: // the process ended during the call
		t.Interrupted++
		if r.FailInterrupted || t.Interrupted >= maxInterrupted {
			e.observer.CallFinished(t.Route, "interrupted", 0)
			return e.finish(t, r, free, Failed, nil, interrupted)
		}
	}
	return e.call(w, h, r, free)
}

var interrupted = &Failure{CodeInterrupted, http.StatusBadGateway,
	"the server stopped while the request was being processed; it may have been processed or not"}

var deadlineExceeded = &Failure{CodeDeadlineExceeded, http.StatusGatewayTimeout, "the task's deadline passed before it was done"}

// call makes one backend call and records what came of it.
func (e *Engine) call(w *work, h handoff, r *Route, free func()) (then func(), err error) {
	t := h.task
	before := *t
	t.Attempts++
	t.Status = Running
	began := time.Now()
	t.StartedAt = began.Truncate(time.Microsecond)
	t.NextCallAt = time.Time{}

	ctx, cancel := context.WithCancelCause(e.context)
	defer cancel(nil)
	// A timer costs less than a context with a deadline of its own.
	limit, cause := r.timeout(), errTimeout
	if !t.Deadline.IsZero() && time.Until(t.Deadline) < limit {
		limit, cause = time.Until(t.Deadline), errDeadline
	}
	defer time.AfterFunc(limit, func() { cancel(cause) }).Stop()
	shown := *t
	e.show(w, &shown, cancel)

	// A task from before a restart may be the reason for it, and one that must
	// not run twice must not be forgotten: their start is recorded first.
	started := &startMark{engine: e, task: &shown}
	if r.FailInterrupted || t.ID.Time().Before(e.born) {
		err = started.now()
	} else {
		started.soon()
	}
	if err != nil {
		return nil, err
	}
	answer := newCapture(ctx, cancel, e.store, t.ID, r.maxResponse(), h.request.Method)
	err = e.attempt(ctx, t, h.request, r, answer)
	marked := started.stop()
	took := time.Since(began)

	verdict := judge(context.Cause(ctx), err, answer, h.request)
	if verdict.drained {
		answer.discard()
		if r.FailInterrupted { // an orderly end cuts a call short just as a crash does
			e.observer.CallFinished(t.Route, "interrupted", took)
			return e.finish(t, r, free, Failed, nil, interrupted)
		}
		before.Interrupted = t.Interrupted
		if marked {
			before.Status = Queued
			return nil, e.save(Step{Task: &before})
		}
		return nil, nil
	}
	if verdict.retry && t.Attempts-t.Interrupted < r.attempts() {
		answer.discard()
		e.observer.CallFinished(t.Route, "retry", took)
		if verdict.message() != t.LastError {
			e.log.Info("backend call failed, will be tried again", zap.Stringer("task", t.ID), zap.String("name", t.Route),
				zap.Int("attempt", t.Attempts), zap.String("reason", verdict.message()), zap.Error(verdict.err))
		}
		t.Status = Queued
		t.LastError = verdict.message()
		t.NextCallAt = time.Now().Add(max(verdict.after, r.nextCall(t.Attempts-t.Interrupted)))
		err := e.saveOutcome(Step{Task: t}, free)
		return func() { e.enqueue(t) }, err
	}
	var response *Response
	if verdict.failure == nil {
		if response, err = answer.response(); err != nil {
			verdict.failure, verdict.err = &Failure{CodeBackendError, http.StatusBadGateway, "the backend's answer could not be stored"}, err
			response = nil
		}
	}
	if response == nil {
		answer.discard()
	}
	e.observer.CallFinished(t.Route, verdict.status().String(), took)
	if verdict.failure != nil {
		e.log.Info("backend call failed", zap.Stringer("task", t.ID), zap.String("name", t.Route),
			zap.Int("attempt", t.Attempts), zap.String("code", verdict.failure.Code),
			zap.String("reason", verdict.failure.Message), zap.Error(verdict.err))
	} else if log := e.log.Check(zap.DebugLevel, "backend call done"); log != nil {
		log.Write(zap.Stringer("task", t.ID), zap.String("name", t.Route), zap.Int("status", response.Status),
			zap.Duration("took", took), zap.Int64("bytes", response.Body.Size))
	}
	return e.finish(t, r, free, verdict.status(), response, verdict.failure)
}

// attempt calls the backend, and makes an error of its panic.
func (e *Engine) attempt(ctx context.Context, t *Task, request *Request, r *Route, answer *capture) (err error) {
	body, err := e.openBody(t.ID, RequestPart, request.Body)
	if err != nil {
		return fmt.Errorf("opening the stored request body: %w", err)
	}
	defer body.Close()
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: // how reverse_proxy says that the backend broke off
			err = errors.New("the backend broke off its answer")
		default:
			e.log.Error("panic in a backend call", zap.Stringer("task", t.ID), zap.String("name", t.Route),
				zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return r.Backend.Call(ctx, &Call{
		TaskID:      t.ID,
		Attempt:     t.Attempts,
		Request:     request,
		Body:        body,
		TraceParent: t.TraceParent,
	}, answer)
}

// finish records the outcome of a task, and what is to be done next.
func (e *Engine) finish(t *Task, r *Route, free func(), status Status, response *Response, failure *Failure) (then func(), err error) {
	now := time.Now().Truncate(time.Microsecond)
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
	if err := e.saveOutcome(Step{Task: t, Response: response, DropRequest: true}, free); err != nil {
		return nil, err
	}
	if t.Callback.Status == CallbackNone {
		e.pending.Add(-1)
		return nil, nil
	}
	if e.isHeld(t.ID) {
		return nil, nil // Answered or Unhold sees to it
	}
	lane := t.Lane()
	e.hand(t, nil, response)
	return func() { e.deliveries.push(lane, t.ID, time.Time{}) }, nil
}

// expire ends a task whose deadline passed before its call began.
func (e *Engine) expire(id ID, free func()) {
	e.mu.Lock()
	running := e.active[id] != nil
	e.mu.Unlock()
	if running {
		return // the call keeps the deadline itself
	}
	e.work(id, "ending a task at its deadline", func(w *work, h handoff) (func(), error) {
		h, err := e.read(h, id, ActionRemove) // just the task
		if h.task == nil || h.task.Status.Done() || time.Now().Before(h.task.Deadline) {
			return nil, err
		}
		r := e.route(h.task.Route)
		if r == nil {
			r = &Route{Name: h.task.Route}
		}
		return e.finish(h.task, r, free, Expired, nil, deadlineExceeded)
	})
}

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

// openBody reads a body from wherever it is.
func (e *Engine) openBody(id ID, part Part, body Body) (io.ReadSeekCloser, error) {
	if body.Stored {
		return e.store.OpenBody(e.context, id, part)
	}
	return newInlineBody(body.Inline), nil
}
