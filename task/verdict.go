package task

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// BackendError is how a Backend says why there is no answer.
type BackendError struct {
	// Status is the HTTP status that a client on the line would have got. Zero: 502.
	Status int
	// NotSent says that the backend has not seen the request: no connection
	// could be made. The call may then be repeated, whatever its method.
	NotSent bool
	// NoHandler says that there is no backend in the configuration.
	NoHandler bool
	// Answered says that there is an answer all the same, from something that
	// answers errors. It counts if the call is not made again.
	Answered bool
	Err      error
}

func (e *BackendError) Error() string { return e.Err.Error() }

// Unwrap is the error beneath.
func (e *BackendError) Unwrap() error { return e.Err }

// verdict is what a backend call came to: an answer, a failure, or neither
// because the process is stopping.
type verdict struct {
	failure *Failure // nil: there is an answer
	answer  int      // its status
	ended   Status   // Canceled or Expired, if the call was ended; else zero
	retry   bool     // the call may be made again
	after   time.Duration
	drained bool
	err     error
}

func (v verdict) status() Status {
	switch {
	case v.ended != 0:
		return v.ended
	case v.failure == nil && v.answer < 400:
		return Completed
	default:
		return Failed
	}
}

func (v verdict) message() string {
	if v.failure != nil {
		return v.failure.Message
	}
	return "the backend answered " + strconv.Itoa(v.answer)
}

var requestLost = &Failure{CodeRequestLost, http.StatusInternalServerError, "the stored request can't be read"}

// judge decides what a call came to. cause is why its context ended, if it
// did. An answer that is complete counts although the process is stopping, but
// not beyond the time that it had, nor when nobody wants it any more.
func judge(cause, err error, answer *capture, repeatable bool) verdict {
	if err == nil {
		err = answer.err()
	}
	var backend *BackendError
	switch {
	case errors.Is(cause, errCanceled), errors.Is(cause, errCanceledByOperator):
		return verdict{ended: Canceled, failure: failureOf(cause)}
	case errors.Is(cause, errDeadline):
		return verdict{ended: Expired, failure: deadlineExceeded}
	case errors.Is(cause, errTimeout):
		return verdict{err: err, retry: repeatable, failure: &Failure{CodeBackendTimeout, http.StatusGatewayTimeout,
			"the backend did not answer in time"}}
	case errors.Is(err, errRequestLost):
		return verdict{err: err, failure: requestLost}
	case err == nil:
		v := verdict{answer: answer.status}
		if retryable(answer.status) {
			v.retry = repeatable
			v.after = answer.retryAfter(answer.status)
		}
		return v
	case errors.Is(cause, errTooLarge):
		return verdict{err: err, failure: &Failure{CodeResponseTooLarge, http.StatusBadGateway,
			fmt.Sprintf("the backend's answer is larger than the %d bytes allowed", answer.body.max)}}
	case errors.Is(cause, errDraining):
		return verdict{drained: true}
	case errors.As(err, &backend) && backend.NoHandler:
		return verdict{err: err, failure: &Failure{CodeNoHandler, http.StatusBadGateway, "nothing is configured to answer this request"}}
	case errors.As(err, &backend) && backend.Answered && answer.err() == nil:
		return verdict{err: err, answer: answer.status, retry: backend.retry(repeatable),
			after: answer.retryAfter(answer.status)}
	case errors.As(err, &backend) && backend.NotSent:
		return verdict{err: err, retry: true, failure: &Failure{CodeBackendUnreachable, status(backend), "the backend could not be reached"}}
	case errors.As(err, &backend):
		return verdict{err: err, retry: backend.retry(repeatable), after: answer.retryAfter(status(backend)),
			failure: &Failure{CodeBackendError, status(backend), "the backend gave no usable answer"}}
	default:
		return verdict{err: err, retry: repeatable, failure: &Failure{CodeBackendError, http.StatusBadGateway, "the backend gave no usable answer"}}
	}
}

// retryable says that a status asks for another try, be it the backend's or
// that of an error of the handlers before it.
func retryable(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retry says that the call may be made again; repeatable, that the request may
// be, even if the backend has seen it.
func (e *BackendError) retry(repeatable bool) bool {
	return e.NotSent || repeatable && retryable(status(e))
}

func status(e *BackendError) int {
	if e.Status == 0 {
		return http.StatusBadGateway
	}
	return e.Status
}
