package task

import (
	"context"
	"errors"
	"io"
	"time"
)

// Store keeps tasks. Every method is safe for concurrent use, and every
// change is one atomic step: after a crash at any moment a task is either as
// it was before the step or as it was after, and has exactly one next action.
//
// The conformance suite in store/storetest says the same in code; each store
// passes it.
type Store interface {
	// Create keeps a new task and its request, durably: when it returns nil, a
	// power loss does not lose the task. A body that request.Body says is
	// Stored was committed before (see CreateBody).
	//
	// With a key, the task is only created if no kept task has the same
	// key.Name; if one has, a *DuplicateError names it.
	//
	// Other errors: ErrNoSpace, ErrClosed, ctx's, or the store's own, after any
	// of which the task was not created, or may have been if the store itself
	// can't tell (it then says so in the error); in no case is half of it there.
	Create(ctx context.Context, t *Task, request *Request, key *IdempotencyKey) error

	// Save records a step. Of two Saves of one task, the one that was called
	// first is done first. It returns when the step is durable, or with NoWait
	// as soon as its place in the order is certain. ErrNotFound: the task is
	// not there (any more).
	Save(ctx context.Context, step Step) error

	// Load returns the task, as it was last saved; ErrNotFound.
	Load(ctx context.Context, id ID) (*Task, error)
	// LoadRequest returns the task's request; ErrNotFound also when it was
	// removed because the task is done.
	LoadRequest(ctx context.Context, id ID) (*Request, error)
	// LoadResponse returns the backend's answer; ErrNotFound when there is none.
	LoadResponse(ctx context.Context, id ID) (*Response, error)

	// CreateBody begins a body too large to be kept inline. It replaces what an
	// earlier, interrupted try may have left. A body that no record refers to
	// (the process died before the record came) is cleaned up by the store.
	CreateBody(ctx context.Context, id ID, part Part) (BodyWriter, error)
	// OpenBody reads a body that was committed; ErrNotFound. One that is damaged
	// is an ErrBadRecord, here or from Read, instead of other bytes.
	OpenBody(ctx context.Context, id ID, part Part) (io.ReadSeekCloser, error)

	// Due calls each for every task whose next action is a call or a delivery,
	// in the order in which they were created, until each returns an error,
	// which Due then returns. It must be quick: it is part of every start.
	Due(ctx context.Context, each func(Due) error) error

	// Remove forgets the task, its request, response, bodies and idempotency
	// key, disk space included (after a while). Removing what is not there is
	// not an error. It need not be durable when it returns.
	Remove(ctx context.Context, id ID) error
	// Expired returns up to limit tasks whose ExpiresAt is not after now, the
	// earliest first. Having been returned does not remove a task.
	Expired(ctx context.Context, now time.Time, limit int) ([]ID, error)

	// List returns up to limit tasks that match, newest first, beginning after
	// the given ID (the zero ID: with the newest). The last one's ID is the
	// next call's after.
	List(ctx context.Context, match func(*Task) bool, after ID, limit int) ([]*Task, error)

	// Close ends the store. Steps that were called before are done first;
	// whatever is called after returns ErrClosed.
	Close() error
}

// Step is one change of a stored task.
type Step struct {
	// Task is the task as it is after the step. The store reads it before Save
	// returns, and does not keep it.
	Task *Task
	// Response, if not nil, is kept with the task from now on. A body that
	// Response.Body says is Stored was committed before.
	Response *Response
	// DropRequest removes the request, which no later step will need.
	DropRequest bool
	// NoWait returns without waiting for the step to be durable.
	NoWait bool
}

// Due is a task that waits for its next action.
type Due struct {
	ID     ID
	Action Action // ActionCall or ActionDeliver
	Lane   uint64 // see [Task.Lane]
	At     time.Time
	// Deadline is the task's, for ActionCall; zero if it has none.
	Deadline time.Time
}

// Due is what the task waits for; its Action is ActionRemove if nothing is
// left to do.
func (t *Task) Due() Due {
	d := Due{ID: t.ID, Lane: t.Lane()}
	d.Action, d.At = t.Next()
	if d.Action == ActionCall {
		d.Deadline = t.Deadline
	}
	return d
}

// IdempotencyKey keeps a client that repeats a request from making two tasks.
type IdempotencyKey struct {
	// Name identifies the key and whoever may share it; a digest, not the
	// client's text.
	Name [32]byte
	// Fingerprint is a digest of the request, to tell a repetition from a
	// different request with the same key.
	Fingerprint [32]byte
}

// DuplicateError is Create's answer when the idempotency key is in use.
type DuplicateError struct {
	ID          ID       // the task that has the key
	Fingerprint [32]byte // that task's
}

func (e *DuplicateError) Error() string {
	return "idempotency key is in use by task " + e.ID.String()
}

// Part says whose body one is.
type Part uint8

// The parts of a task that have a body.
const (
	RequestPart Part = iota + 1
	ResponsePart
)

// String names the part: "request", "response".
func (p Part) String() string {
	if p == RequestPart {
		return "request"
	}
	return "response"
}

// BodyWriter takes a large body. One of Commit and Discard ends it; whatever
// is called after that does nothing.
type BodyWriter interface {
	io.Writer // errors: ErrNoSpace, or the store's own
	// Commit makes the body durable and readable.
	Commit() error
	// Discard drops it.
	Discard() error
}

// Errors of stores.
var (
	ErrNotFound = errors.New("no such task")
	ErrNoSpace  = errors.New("the task store has no space left")
	ErrClosed   = errors.New("the task store is closed")
	// ErrBadRecord is for what is stored but can't be read.
	ErrBadRecord = errors.New("record can't be read")
)
