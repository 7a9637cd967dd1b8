package task

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Route is what one callback handler asks of the tasks it takes: whom to
// call, how to deliver, within what bounds. It is not stored: a task names its
// route, and whichever Route is registered under that name runs it, so that a
// new configuration holds for old tasks as well.
type Route struct {
	// Name identifies the route over restarts and reloads.
	Name string

	// Backend makes the call.
	Backend Backend
	// Concurrency is how many calls run at once. Zero: 16.
	Concurrency int
	// Timeout bounds one call, until its answer is complete. Zero: 30 minutes.
	Timeout time.Duration
	// Attempts is how many calls a task may have, not counting those that the
	// end of the process cut short. Zero: 8, which with the default backoff
	// bridges two minutes without a backend.
	Attempts int
	// Backoff is the pause before the second call; it doubles before each
	// further one, up to a minute, ±20 %. Zero: 1 second.
	Backoff time.Duration
	// FailInterrupted ends a task whose call was under way when the process
	// died; otherwise the call is made again.
	FailInterrupted bool

	// MaxBody is the largest request body that is accepted, in bytes. Zero: 1 GiB.
	MaxBody int64
	// MaxResponse is the largest response body that is kept, in bytes; more is
	// a final failure. Zero: 1 GiB.
	MaxResponse int64
	// Retention is how long a settled task is kept for its client to look at;
	// one whose callback is dead is kept for 7 days at least. Negative: not at
	// all. Zero: 24 hours.
	Retention time.Duration

	// Transport makes the connections of callbacks, and refuses addresses that
	// callbacks must not go to. Nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Signer signs callbacks. Nil: they are not signed.
	Signer Signer
	// Schedule holds the pause before each delivery attempt, the first one
	// included; after the last the callback is dead. Nil: DefaultSchedule.
	Schedule []time.Duration
	// DeliveryTimeout bounds one delivery attempt. Zero: 30 seconds.
	DeliveryTimeout time.Duration
	// DeliveryConcurrency is how many deliveries to one host run at once.
	// Zero: 16.
	DeliveryConcurrency int
	// ResponseHeaders are names of backend response headers that travel with
	// the callback, besides those that describe the body.
	ResponseHeaders []string
}

// Backend is whatever answers the request: in Caddy, the handlers that
// follow in the route.
type Backend interface {
	// Call makes the call and writes the answer to w. An error is no answer,
	// unless the head was written already, when it is a broken one. Call may
	// panic, as handlers may. It ends soon after ctx does.
	Call(ctx context.Context, call *Call, w http.ResponseWriter) error
}

// BackendFunc is a function as a Backend.
type BackendFunc func(ctx context.Context, call *Call, w http.ResponseWriter) error

// Call calls f.
func (f BackendFunc) Call(ctx context.Context, call *Call, w http.ResponseWriter) error {
	return f(ctx, call, w)
}

// Call is one backend call.
type Call struct {
	TaskID  ID
	Attempt int // 1 for the first
	Request *Request
	// Body is the request's body from its start; never nil. The engine closes it.
	Body io.ReadCloser
	// TraceParent is the trace context of the accepted request; may be empty.
	TraceParent string
}

// Signer signs a callback.
type Signer interface {
	// Sign adds the signature headers for a message to header. The other
	// headers of the message are already there.
	Sign(ctx context.Context, header http.Header, message Message) error
}

// Message is a callback that is to be signed.
type Message struct {
	ID   string // webhook-id
	At   time.Time
	URL  *url.URL
	Size int64
	// Open reads the body from its start, each time it is called.
	Open func() (io.ReadCloser, error)
}
