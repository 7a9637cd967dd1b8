package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// deliver makes one attempt to POST the outcome of a task that is due.
func (e *Engine) deliver(id ID, free func()) {
	e.work(id, "delivering a callback", func(_ *work, h handoff) (func(), error) {
		return e.deliverClaimed(h, id, free)
	})
}

func (e *Engine) deliverClaimed(h handoff, id ID, free func()) (then func(), err error) {
	h, err = e.read(h, id, ActionDeliver)
	if h.task == nil {
		return nil, err
	}
	t := h.task
	action, at := t.Next()
	if action != ActionDeliver {
		return nil, nil
	}
	if time.Until(plausible(at)) > time.Second {
		return func() { e.enqueue(t) }, nil
	}
	r := e.route(t.Route)
	if r == nil {
		return e.park(t), nil
	}
	var result attempt
	if err != nil {
		result = attempt{err: fmt.Errorf("the stored response can't be read: %w", err), short: "the stored response can't be read"}
	} else {
		result = e.post(t, r, h.response)
	}
	if errors.Is(context.Cause(e.context), errDraining) && result.err != nil {
		return nil, nil // not the receiver's fault: the attempt does not count
	}
	return e.record(t, r, result, free)
}

// park lets a delivery wait for its route to be configured again: without
// it there is no secret to sign with, nor a policy for the address. If the
// route has come meanwhile, what is returned queues the delivery.
func (e *Engine) park(t *Task) (then func()) {
	e.mu.Lock()
	if len(e.routes[t.Route]) > 0 {
		e.mu.Unlock()
		return func() { e.enqueue(t) }
	}
	e.parked[t.Route] = append(e.parked[t.Route], t.ID)
	n := len(e.parked[t.Route])
	e.mu.Unlock()
	e.tellWaiting(t.Route, n)
	return nil
}

// attempt is one attempt to deliver, and what came of it.
type attempt struct {
	at     time.Time
	took   time.Duration
	status int           // the receiver's; 0: no answer
	after  time.Duration // what Retry-After asks for
	err    error         // nil: delivered; for the log
	short  string        // err in words for the client
	final  bool          // no further attempt
	down   bool          // the host itself is in trouble
}

// post makes one attempt.
func (e *Engine) post(t *Task, r *Route, response *Response) (a attempt) {
	a.at = time.Now()
	defer func() { a.took = time.Since(a.at) }()
	m, err := e.message(t, r, response)
	if err != nil {
		return attempt{at: a.at, err: err, short: "the callback could not be written"}
	}
	ctx, stop := context.WithTimeoutCause(e.context, r.deliveryTimeout(m.Size), errReceiverTimeout)
	defer stop()
	request, err := m.request(ctx, t, r, a.at)
	if err != nil {
		return attempt{at: a.at, err: err, short: "the callback could not be signed"}
	}
	transport := r.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	// RoundTrip, not a Client: a redirect is an answer, never followed.
	answer, err := transport.RoundTrip(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		a.err, a.short, a.down = err, short(err), true
		return a
	}
	// A little is read, so that the connection can be used again; never more,
	// whatever the receiver sends.
	io.CopyN(io.Discard, answer.Body, 16<<10)
	answer.Body.Close()
	a.judge(answer)
	return a
}

var errReceiverTimeout = errors.New("the receiver did not answer in time")

// judge is the verdict on a receiver's answer.
func (a *attempt) judge(answer *http.Response) {
	a.status = answer.StatusCode
	switch {
	case a.status/100 == 2:
		return
	case a.status/100 == 3:
		a.short = "redirects are not followed"
	case a.status == http.StatusGone:
		a.final = true
		a.short = "the receiver wants no more callbacks"
	case a.status == http.StatusTooManyRequests, a.status >= 502 && a.status <= 504:
		a.down = true
		a.after = retryAfter(a.status, answer.Header, time.Now(), maxRetryAfter)
	}
	a.err = fmt.Errorf("the receiver answered %d", a.status)
	if a.short == "" {
		a.short = a.err.Error()
	}
}

// record stores what an attempt came to, and when the next one is due.
func (e *Engine) record(t *Task, r *Route, a attempt, free func()) (then func(), err error) {
	lane := t.Lane()
	e.deliveries.report(lane, !a.down)
	c := &t.Callback
	last := ""
	if n := len(c.Log); n > 0 {
		last = c.Log[n-1].Error
	}
	c.Attempts++
	c.Round++
	c.Log = append(c.Log, Delivery{At: a.at, Duration: a.took, Status: a.status, Error: a.short})
	if n := len(c.Log) - MaxDeliveryLog; n > 0 {
		c.Log = c.Log[n:]
	}
	c.NextAt = time.Time{}
	switch pause, more := r.nextDelivery(c.Round); {
	case a.err == nil:
		c.Status = CallbackDelivered
	case a.final || !more:
		c.Status = CallbackDead
	default:
		c.Status = CallbackRetrying
		c.NextAt = time.Now().Add(max(pause, a.after))
	}
	t.settle(r, time.Now())
	e.observer.DeliveryFinished(t.Route, c.Status.String(), a.took)
	e.logAttempt(t, a, last)
	if c.Status == CallbackDelivered && r.Retention < 0 {
		err = e.store.Remove(context.WithoutCancel(e.context), t.ID)
	} else {
		err = e.saveOutcome(Step{Task: t}, free)
	}
	if err != nil {
		return nil, err
	}
	if c.Status == CallbackRetrying {
		return func() { e.deliveries.push(lane, t.ID, c.NextAt) }, nil
	}
	e.pending.Add(-1)
	return nil, nil
}

// logAttempt logs an attempt; one that fails just as the one before did is
// worth no second line.
func (e *Engine) logAttempt(t *Task, a attempt, last string) {
	fields := func() []zap.Field {
		var refused refusedDestination
		hint := zap.Skip()
		if errors.As(a.err, &refused) {
			hint = zap.String("hint", refused.OperatorHint())
		}
		return []zap.Field{hint, zap.Stringer("task", t.ID), zap.String("name", t.Route), zap.String("url", RedactURL(t.CallbackURL())),
			zap.Int("attempt", t.Callback.Attempts), zap.Int("status", a.status), zap.Duration("took", a.took)}
	}
	switch {
	case t.Callback.Status == CallbackDead:
		e.log.Warn("callback is dead: it is kept and can be redelivered", append(fields(), zap.Error(redactError(a.err)))...)
	case a.err != nil && a.short != last:
		e.log.Info("callback failed, will be tried again",
			append(fields(), zap.Time("next_attempt", t.Callback.NextAt), zap.Error(redactError(a.err)))...)
	default:
		if log := e.log.Check(zap.DebugLevel, "callback attempted"); log != nil {
			log.Write(fields()...)
		}
	}
}

// refusedDestination is the error of a Route's Transport that does not let
// callbacks go to an address.
type refusedDestination interface {
	error
	ClientMessage() string // for the client: does not tell the address
	OperatorHint() string  // for the log: does, and which option would allow it
}

// short is an error in words that may be shown to the client: it must not
// tell what can be reached from here, nor what answered.
func short(err error) string {
	var dns *net.DNSError
	var refused refusedDestination
	switch {
	case errors.As(err, &refused):
		return refused.ClientMessage()
	case errors.Is(err, errReceiverTimeout):
		return errReceiverTimeout.Error()
	case errors.As(err, &dns):
		return "the receiver's name could not be resolved"
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "x509: "):
		return "no TLS connection could be made to the receiver"
	default:
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return "the receiver could not be connected to"
		}
		return "the connection to the receiver broke"
	}
}

// redactError takes the URL, which may hold credentials, out of an error.
func redactError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// statusHeader is Callback-Status: the backend's status, or what stands for
// an answer that never came.
func (t *Task) statusHeader() string {
	switch {
	case t.Response != nil:
		return strconv.Itoa(t.Response.Status)
	case t.Failure != nil:
		return strconv.Itoa(t.Failure.Status)
	default:
		return "0"
	}
}
