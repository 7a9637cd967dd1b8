package task

import (
	"net/http"
	"net/url"
	"time"
)

// Task is one HTTP request on its way: accepted, forwarded, delivered. It
// holds what changes along the way; the request and the response themselves
// are kept apart (see [Request] and [Response]) so that a step rewrites little.
//
// Its execution (Status) and the delivery of its outcome (Callback.Status)
// are two facts. What is to be done next follows from the two, see [Task.Next].
type Task struct {
	ID    ID
	Route string // name of the route that took the task, see [Route]
	Owner string
	Bound bool // only Owner may see the task, whatever is configured later

	Status     Status
	CreatedAt  time.Time
	StartedAt  time.Time // begin of the latest backend call; zero before the first
	FinishedAt time.Time // zero until Status.Done
	NextCallAt time.Time // no backend call before this; zero is at once
	Deadline   time.Time // give up at this time; zero is never
	// ExpiresAt is when a settled task is removed; zero while anything is left to do.
	ExpiresAt time.Time

	Attempts    int    // backend calls begun
	Interrupted int    // of these, the ones that the end of the process cut short
	LastError   string // why the latest backend call is to be made again

	// Response sums up the backend's answer; nil while there is none.
	Response *Summary
	// Failure says why there is no answer, or why it was refused; nil otherwise.
	Failure *Failure

	Callback Callback

	// TraceParent is the W3C trace context the task was accepted in; empty if none.
	TraceParent string
}

// Callback is where and how the outcome of a task is sent, and how far that is.
type Callback struct {
	URL      string // empty: the client polls
	ErrorURL string // where a failure goes instead; empty: to URL
	Events   Events // zero: the terminal ones
	Format   Format
	Header   http.Header // the client's Callback-Header-*, without that prefix

	Status   CallbackStatus
	Attempts int // over all redeliveries
	// Round is how many attempts the present round of deliveries has made; a
	// redelivery starts a new one.
	Round  int
	NextAt time.Time // when the next attempt is due; zero is at once
	// Log holds the latest attempts, oldest first, at most [MaxDeliveryLog].
	Log []Delivery
}

// MaxDeliveryLog is how many delivery attempts are kept with a task.
const MaxDeliveryLog = 20

// Delivery is one attempt to deliver a callback, and its answer.
type Delivery struct {
	At       time.Time     `json:"at"`
	Duration time.Duration `json:"-"`
	Status   int           `json:"status,omitempty"` // the receiver's HTTP status; 0 if it gave none
	Error    string        `json:"error,omitempty"`  // short, redacted; empty on success
}

// Summary is what is told about a backend's response without reading it.
type Summary struct {
	Status      int    `json:"status"`
	ContentType string `json:"content_type,omitempty"`
	Bytes       int64  `json:"bytes"`
}

// Failure says why a task has no usable answer of its backend.
type Failure struct {
	Code    string `json:"code"`    // one of the Code constants
	Status  int    `json:"status"`  // the HTTP status it is told as, 502, 504 …
	Message string `json:"message"` // in words for the client: no addresses, no secrets
}

// Codes of failures. They are part of the wire contract.
const (
	CodeBackendUnreachable = "BACKEND_UNREACHABLE" // no connection could be made
	CodeBackendError       = "BACKEND_ERROR"       // the connection broke, or the answer was unusable
	CodeBackendTimeout     = "BACKEND_TIMEOUT"     // no complete answer within the route's timeout
	CodeResponseTooLarge   = "RESPONSE_TOO_LARGE"  // more than the route's max_response
	CodeNoHandler          = "NO_HANDLER"          // nothing after the callback handler answered
	CodeInterrupted        = "INTERRUPTED"         // the process ended during the call, and it must not run again
	CodeDeadlineExceeded   = "DEADLINE_EXCEEDED"   // the client's Callback-Deadline passed
	CodeCanceled           = "CANCELED"            // the client canceled the task
	CodeRequestLost        = "REQUEST_LOST"        // the stored request can't be read
)

// Status is how far the execution of a task is.
type Status uint8

// The states of execution. A task moves only forward through them, but for
// running, from which it goes back to queued when its call is to be made again.
const (
	Queued Status = iota
	Running
	Completed // the backend answered, below 400
	Failed    // the backend answered 400 or more, or not at all
	Canceled  // by its client
	Expired   // its deadline passed
)

var statusText = [...]string{"queued", "running", "completed", "failed", "canceled", "expired"}

// String is the word of the wire contract.
func (s Status) String() string { return statusText[s] }

// Done says that no backend call will be made any more.
func (s Status) Done() bool { return s > Running }

// MarshalText implements [encoding.TextMarshaler].
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// CallbackStatus is how far the delivery of a task's outcome is.
type CallbackStatus uint8

// The states of delivery.
const (
	CallbackNone      CallbackStatus = iota // nothing to send, or the client had the answer directly
	CallbackPending                         // no attempt was made yet
	CallbackRetrying                        // at least one attempt failed, another is due
	CallbackDelivered                       // a 2xx came back
	CallbackDead                            // all attempts failed; kept, and can be redelivered
)

var callbackStatusText = [...]string{"none", "pending", "retrying", "delivered", "dead"}

// String is the word of the wire contract.
func (s CallbackStatus) String() string { return callbackStatusText[s] }

// MarshalText implements [encoding.TextMarshaler].
func (s CallbackStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Action is what a task needs next.
type Action uint8

// The actions. At any time a stored task has exactly one.
const (
	ActionCall    Action = iota + 1 // call the backend
	ActionDeliver                   // POST the outcome
	ActionRemove                    // forget the task
)

// Next says what is to be done next with the task, and not before when: the
// zero time is at once, and for ActionRemove it is never (a task is removed
// only at a time that was set).
func (t *Task) Next() (Action, time.Time) {
	switch {
	case !t.Status.Done():
		return ActionCall, t.NextCallAt
	case t.Callback.Status == CallbackPending || t.Callback.Status == CallbackRetrying:
		return ActionDeliver, t.Callback.NextAt
	default:
		return ActionRemove, t.ExpiresAt
	}
}

// Lane is what the task's next action waits for: calls for their route,
// deliveries for their destination host. It is the name's hash, and the same
// after a restart, so that a store can tell without reading the task. Calls
// find their route by it; the lanes of deliveries go by the name itself.
func (t *Task) Lane() uint64 {
	switch action, _ := t.Next(); action {
	case ActionCall:
		return LaneOf(t.Route)
	case ActionDeliver:
		return LaneOf(t.Destination())
	default:
		return 0
	}
}

// LaneOf is the lane of a route's name or a destination host: FNV-1a.
func LaneOf(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}

// Destination is the host, and port if any, that the outcome is sent to.
// A URL that does not parse gives "".
func (t *Task) Destination() string {
	u, err := url.Parse(t.CallbackURL())
	if err != nil {
		return ""
	}
	return u.Host
}

// CallbackURL is where the outcome goes: ErrorURL for a task that did not
// complete, if there is one, else URL. Empty if nothing is to be sent.
func (t *Task) CallbackURL() string {
	if t.Callback.ErrorURL != "" && t.Status.Done() && t.Status != Completed {
		return t.Callback.ErrorURL
	}
	return t.Callback.URL
}

// CallbackStatus is how far the delivery is, as its client sees it: pending,
// too, while the task is not done and has a URL, for one may come.
func (t *Task) CallbackStatus() CallbackStatus {
	if !t.Status.Done() && (t.Callback.URL != "" || t.Callback.ErrorURL != "") {
		return CallbackPending
	}
	return t.Callback.Status
}

// Event is the event that the task's present state stands for.
func (t *Task) Event() Events {
	switch t.Status {
	case Queued:
		return EventAccepted
	case Running:
		return EventStarted
	case Completed:
		return EventCompleted
	case Canceled:
		return EventCanceled
	default:
		return EventFailed
	}
}
