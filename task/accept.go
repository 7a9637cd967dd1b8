package task

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task/lanes"
)

// Acceptance is a request that is to become a task. Its callback URLs were
// checked before.
type Acceptance struct {
	Route   *Route
	Request *Request  // all but its Body and Trailer
	Body    io.Reader // nil: no body
	// Whole is the whole body if it is in memory already, to be kept as it is;
	// Body is not read then.
	Whole []byte
	// ContentLength is the body's size in bytes, -1 if unknown.
	ContentLength int64
	// Trailer returns the request's trailer once Body was read; may be nil.
	Trailer func() http.Header

	CallbackURL string // empty: the client polls
	Client      ClientOptions
	Owner       string // who may see the task; empty: whoever knows its id
	Bound       bool   // only Owner may see the task
	// Credentials tell clients apart that Owner does not: an idempotency key is
	// known again only with the same. It is hashed, and not kept.
	Credentials string
	TraceParent string
	// Hold keeps the callback back when the task is done, until Answered or
	// Unhold is called: the client may get the answer directly.
	Hold bool
}

// Accept stores a request as a task, durably, and queues its backend call.
// When it returns a task, 202 may be answered. With an idempotency key that
// was used before for the same request, that request's task is returned, which
// is not fresh then.
//
// An error is a *Problem, fit for the client; nothing was kept then.
func (e *Engine) Accept(ctx context.Context, a Acceptance) (t *Task, fresh bool, err error) {
	if !e.begin() {
		return nil, false, stopping()
	}
	e.working.Done() // a client that is slow to send its body does not keep Stop waiting
	if e.pending.Add(1) > e.max && e.max > 0 {
		e.pending.Add(-1)
		p := NewProblem(http.StatusTooManyRequests, ProblemQueueFull,
			fmt.Sprintf("%d tasks are pending, which is the limit; try again later", e.max))
		p.RetryAfter = 10 * time.Second
		return nil, false, p
	}
	t, err = e.accept(ctx, a)
	if err != nil {
		e.pending.Add(-1)
	}
	var duplicate *DuplicateError
	if errors.As(err, &duplicate) {
		t, err = e.repeated(ctx, duplicate)
		return t, false, err
	}
	return t, err == nil, err
}

func (e *Engine) accept(ctx context.Context, a Acceptance) (*Task, error) {
	now := e.now().Truncate(time.Microsecond) // as it is stored
	t := &Task{
		ID:          NewID(now),
		Route:       a.Route.Name,
		Owner:       a.Owner,
		Bound:       a.Bound,
		CreatedAt:   now,
		NextCallAt:  a.Client.NotBefore,
		Deadline:    a.Client.Deadline,
		TraceParent: a.TraceParent,
		Callback: Callback{
			URL:      a.CallbackURL,
			ErrorURL: a.Client.ErrorURL,
			Events:   a.Client.Events,
			Format:   a.Client.Format,
			Header:   a.Client.Header,
		},
	}
	var digest hash.Hash
	if a.Client.IdempotencyKey != "" {
		digest = sha256.New()
		for _, s := range []string{a.Request.Method, a.Request.Host, a.Request.RequestURI, a.CallbackURL} {
			writeString(digest, s)
		}
	}
	body, err := e.takeBody(ctx, t.ID, a, digest)
	if err != nil {
		return nil, err
	}
	a.Request.Body = body
	if a.Trailer != nil {
		a.Request.Trailer = a.Trailer()
	}
	var key *IdempotencyKey
	if digest != nil {
		name := sha256.New()
		for _, s := range []string{a.Route.Name, a.Owner, a.Credentials, a.Client.IdempotencyKey} {
			writeString(name, s)
		}
		key = &IdempotencyKey{Name: [32]byte(name.Sum(nil)), Fingerprint: [32]byte(digest.Sum(nil))}
	}
	if !e.begin() {
		e.dropBody(ctx, t.ID, body)
		return nil, stopping()
	}
	defer e.working.Done()
	c := e.create(t, a)
	defer c.end()
	err = e.store.Create(ctx, t, a.Request, key)
	if err != nil {
		return nil, e.refuse(ctx, c, body, key, err)
	}
	accepted := *t
	c.saved, c.keep = true, true
	if !t.Deadline.IsZero() {
		e.deadlines.Put(lanes.Unsorted, t.ID, e.until(t.Deadline))
	}
	e.observer.TaskAccepted(t.Route)
	return &accepted, nil
}

// create claims a task that is about to be stored: who learns its id early, by
// the idempotency key, waits until it is.
func (e *Engine) create(t *Task, a Acceptance) *claim {
	c := &claim{engine: e, id: t.ID, kept: kept{task: t, request: a.Request}, counted: true, creating: true}
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.live(t.ID)
	l.claim, l.held = c, a.Hold
	return c
}

// refuse takes back what there is of a task that could not be stored, and says
// why it could not.
func (e *Engine) refuse(ctx context.Context, c *claim, body Body, key *IdempotencyKey, err error) error {
	e.unhold(c.id)
	var duplicate *DuplicateError
	switch {
	case errors.As(err, &duplicate):
	case errors.Is(err, ErrNoSpace), errors.Is(err, ErrClosed), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		e.dropBody(ctx, c.id, body)
		return refusal(err)
	default:
		// The store may not know whether it is there. If it is, nobody would run it.
		if err := e.store.Remove(context.WithoutCancel(ctx), c.id); err != nil && !errors.Is(err, ErrClosed) {
			e.log.Warn("removing a task that could not be stored", zap.Stringer("task", c.id), zap.Error(err))
		}
		return refusal(err)
	}
	e.dropBody(ctx, c.id, body)
	if duplicate.Fingerprint != key.Fingerprint {
		return NewProblem(http.StatusUnprocessableEntity, ProblemIdempotencyReused,
			"this Idempotency-Key was sent before with another request; use a new key for a new request")
	}
	return duplicate
}

// takeBody reads the body, inline or into the store, and into digest if not nil.
func (e *Engine) takeBody(ctx context.Context, id ID, a Acceptance, digest hash.Hash) (Body, error) {
	limit := a.Route.maxBody()
	switch n := int64(len(a.Whole)); {
	case n > limit:
		return Body{}, bodyTooLarge(limit)
	case n > InlineLimit:
		a.Body, a.ContentLength = bytes.NewReader(a.Whole), n
	case n > 0:
		if digest != nil {
			digest.Write(a.Whole)
		}
		return Body{Size: n, Inline: a.Whole}, nil
	}
	if a.Body == nil || a.ContentLength == 0 {
		return Body{}, nil
	}
	if a.ContentLength > limit {
		return Body{}, bodyTooLarge(limit)
	}
	s := &spool{ctx: ctx, store: e.store, id: id, part: RequestPart, max: limit}
	if n := a.ContentLength; n > 0 && n <= InlineLimit {
		// One more, so that the read that finds the end has room. What is announced
		// may never come, so memory is taken as it does.
		s.inline = make([]byte, 0, min(n+1, 4<<10))
	}
	from := a.Body
	if digest != nil {
		from = io.TeeReader(from, digest)
	}
	_, err := s.ReadFrom(from)
	var body Body
	if err == nil {
		body, err = s.close()
	}
	if err == nil && a.ContentLength > 0 && body.Size != a.ContentLength {
		err = &readError{io.ErrUnexpectedEOF}
	}
	if err == nil {
		return body, nil
	}
	s.discard()
	var tooLarge *http.MaxBytesError
	var reading *readError
	switch {
	case errors.Is(err, errTooLarge):
		return Body{}, bodyTooLarge(limit)
	case errors.As(err, &tooLarge):
		return Body{}, bodyTooLarge(tooLarge.Limit)
	case errors.As(err, &reading):
		return Body{}, NewProblem(http.StatusBadRequest, ProblemBadBody,
			"the request body ended early or was malformed").Because(reading.err)
	default:
		return Body{}, refusal(err)
	}
}

// dropBody removes the body of a request that was not taken. Should it fail,
// the store cleans up when it is opened again.
func (e *Engine) dropBody(ctx context.Context, id ID, body Body) {
	if !body.Stored {
		return
	}
	if err := e.store.Remove(context.WithoutCancel(ctx), id); err != nil && !errors.Is(err, ErrClosed) {
		e.log.Warn("removing the body of a refused request", zap.Error(err))
	}
}

// repeated is the answer to a request that was made before.
func (e *Engine) repeated(ctx context.Context, duplicate *DuplicateError) (*Task, error) {
	if err := e.awaitCreation(ctx, duplicate.ID); err != nil {
		return nil, refusal(err)
	}
	t, err := e.Task(ctx, duplicate.ID)
	if err != nil {
		return nil, refusal(err)
	}
	return t, nil
}

// awaitCreation waits until it is certain whether a task is stored.
func (e *Engine) awaitCreation(ctx context.Context, id ID) error {
	e.mu.Lock()
	l := e.lives[id]
	if l == nil || l.claim == nil || !l.claim.creating {
		e.mu.Unlock()
		return nil
	}
	done := l.claim.wait()
	e.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func bodyTooLarge(limit int64) *Problem {
	return NewProblem(http.StatusRequestEntityTooLarge, ProblemBodyTooLarge,
		fmt.Sprintf("at most %d bytes are accepted", limit))
}

// refusal is the client's view of a store that did not take a task.
func refusal(err error) *Problem {
	switch {
	case errors.Is(err, ErrNoSpace):
		p := unavailable("the server has no space left for tasks", err)
		p.RetryAfter = 30 * time.Second
		return p
	case errors.Is(err, context.Canceled):
		return NewProblem(499, ProblemUnavailable, "the client went away").Because(err)
	default:
		return unavailable("the task could not be stored", err)
	}
}

func stopping() *Problem { return unavailable("the server is stopping", nil) }

func unavailable(detail string, cause error) *Problem {
	p := NewProblem(http.StatusServiceUnavailable, ProblemUnavailable, detail+"; try again later").Because(cause)
	p.RetryAfter = 5 * time.Second
	return p
}

// writeString writes s so that no two lists of strings give the same bytes.
func writeString(w io.Writer, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	w.Write(n[:])
	io.WriteString(w, s)
}
