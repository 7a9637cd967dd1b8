package task

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Problem is a refusal as its client sees it: RFC 9457 problem details. It is
// an error, too, so that what refuses need not know HTTP's ResponseWriter.
type Problem struct {
	// Type is a stable name for the kind of problem, see the Problem constants;
	// clients may compare it.
	Type string `json:"type"`
	// Title says the same in words, and is the same for each problem of a type.
	Title string `json:"title"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// Detail says what is wrong this time and what to do about it.
	Detail string `json:"detail,omitempty"`
	// Code is the failure's code, in the problem that tells of one.
	Code string `json:"code,omitempty"`
	// TaskID is the task that the problem is about; empty if there is none.
	TaskID string `json:"task_id,omitempty"`

	// RetryAfter is when to try again; zero says nothing about it.
	RetryAfter time.Duration `json:"-"`
	// Cause is why, for the log and not for the client. May be nil.
	Cause error `json:"-"`
}

// Types of problems. They are part of the wire contract.
const (
	ProblemBadCallbackURL    = "urn:ringback:problem:bad-callback-url"
	ProblemBadHeader         = "urn:ringback:problem:bad-callback-header"
	ProblemBadBody           = "urn:ringback:problem:bad-body"
	ProblemForbiddenURL      = "urn:ringback:problem:callback-url-not-allowed"
	ProblemCrossSite         = "urn:ringback:problem:cross-site-request"
	ProblemNotAsync          = "urn:ringback:problem:method-not-async"
	ProblemBodyTooLarge      = "urn:ringback:problem:body-too-large"
	ProblemIdempotencyReused = "urn:ringback:problem:idempotency-key-reused"
	ProblemQueueFull         = "urn:ringback:problem:queue-full"
	ProblemUnavailable       = "urn:ringback:problem:unavailable"
	ProblemNotFound          = "urn:ringback:problem:task-not-found"
	ProblemNotDone           = "urn:ringback:problem:task-not-done"
	ProblemGone              = "urn:ringback:problem:result-gone"
	ProblemMethod            = "urn:ringback:problem:method-not-allowed"
	ProblemConflict          = "urn:ringback:problem:task-conflict"
	ProblemTaskFailed        = "urn:ringback:problem:task-failed"
)

var problemTitle = map[string]string{
	ProblemBadCallbackURL:    "The callback URL can't be used",
	ProblemBadHeader:         "A Callback header can't be used",
	ProblemBadBody:           "The request body can't be read",
	ProblemForbiddenURL:      "The callback URL is not allowed",
	ProblemCrossSite:         "The request may have been forged by another site",
	ProblemNotAsync:          "This kind of request can't be answered by callback",
	ProblemBodyTooLarge:      "The request body is too large",
	ProblemIdempotencyReused: "The idempotency key was used for a different request",
	ProblemQueueFull:         "Too many tasks are pending",
	ProblemUnavailable:       "Tasks can't be taken at the moment",
	ProblemNotFound:          "No such task",
	ProblemNotDone:           "The task is not done yet",
	ProblemGone:              "The result is gone",
	ProblemMethod:            "This method is not possible here",
	ProblemConflict:          "The task is not in a state for this",
	ProblemTaskFailed:        "The task failed",
}

// NewProblem makes a problem of a type, with its title.
func NewProblem(status int, typ, detail string) *Problem {
	return &Problem{Type: typ, Title: problemTitle[typ], Status: status, Detail: detail}
}

// Because sets the cause, which is only for the log, and returns the problem.
func (p *Problem) Because(cause error) *Problem {
	p.Cause = cause
	return p
}

// Error is the problem for a log: with its cause.
func (p *Problem) Error() string {
	s := p.Title
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if p.Cause != nil {
		s += ": " + p.Cause.Error()
	}
	return s
}

// Unwrap is the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// ServeHTTP answers with the problem.
func (p *Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(p)
	if err != nil { // a struct of strings and an int: can't be
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(p.Status)
	w.Write(body)
}
