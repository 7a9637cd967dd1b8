package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task/lanes"
)

// deliver makes one attempt to POST the outcome of a task whose turn it is.
func (e *Engine) deliver(turn *lanes.Turn[ID]) {
	c := e.claimTurn(turn)
	if c == nil {
		return
	}
	err := c.read(ActionDeliver)
	if c.task == nil {
		c.failed("reading a task", err)
		c.end()
		return
	}
	r := e.route(c.task.Route)
	if action, _ := c.task.Next(); action != ActionDeliver {
		c.saved = true
		c.end()
		return
	}
	lane := c.task.deliveryLane()
	if r == nil {
		lane = parkedLane(c.task.Route)
	}
	if lane != turn.Lane() {
		c.lane, c.keep = lane, true
		c.end()
		if r == nil {
			e.parked(c.task.Route)
		}
		return
	}
	e.attempt(c, r, err)
}

// attempt makes one attempt to deliver, and records what came of it. failed is
// why the stored response can't be read, if so.
func (e *Engine) attempt(c *claim, r *Route, failed error) {
	d := &delivery{engine: e, task: c.task, route: r, response: c.response}
	d.at = time.Now()
	if failed != nil {
		d.err, d.short = fmt.Errorf("the stored response can't be read: %w", failed), "the stored response can't be read"
		c.record(r, d.attempt)
		return
	}
	memory := e.envelopes.take(c.task.envelopeCost(c.response), c.turn.Trial())
	if memory == nil {
		c.keep, c.pause = true, budgetPause
		c.end()
		return
	}
	defer memory.resize(0)
	m, err := e.message(c.task, r, c.response)
	if err != nil {
		d.err, d.short = err, "the callback could not be written"
		c.record(r, d.attempt)
		return
	}
	memory.resize(min(m.inMemory, memory.bytes))
	ctx, cancel := context.WithTimeoutCause(e.context, r.deliveryTimeout(m.Size), errReceiverTimeout)
	defer cancel()
	d.ctx, d.message = ctx, m
	ended := leaveBehind(ctx, func() {
		e.log.Warn("an attempt to deliver does not end although it was told to; it is left behind",
			zap.Stringer("task", c.id), zap.String("name", r.Name), zap.Error(context.Cause(ctx)))
		c.record(r, d.leave())
	})
	a := d.post()
	if ended() {
		c.record(r, a)
	}
}

// parked tells that deliveries wait for a route. If it has come meanwhile they
// wait no more.
func (e *Engine) parked(route string) {
	if e.route(route) != nil {
		e.deliveries.Move(parkedLane(route), lanes.Unsorted)
		return
	}
	e.reportWaiting()
}

// attempt is one attempt to deliver, and what came of it.
type attempt struct {
	at      time.Time
	took    time.Duration
	status  int           // the receiver's; 0: no answer
	after   time.Duration // what Retry-After asks for
	err     error         // nil: delivered; for the log
	short   string        // err in words for the client
	final   bool          // no further attempt
	down    bool          // the host itself is in trouble
	reached bool          // the receiver may have got it
	drained bool          // the end of the process cut it short
}

// delivery is an attempt under way.
type delivery struct {
	engine   *Engine
	ctx      context.Context
	task     *Task
	route    *Route
	response *Response
	message  *message
	sent     atomic.Bool // something of the request
	attempt
}

// post makes the attempt.
func (d *delivery) post() attempt {
	a := attempt{at: d.at}
	defer func() { a.took = time.Since(a.at) }()
	trace := &httptrace.ClientTrace{WroteHeaders: func() { d.sent.Store(true) }}
	request, err := d.message.request(httptrace.WithClientTrace(d.ctx, trace), d.task, d.route, a.at)
	if err != nil {
		return attempt{at: a.at, err: err, short: "the callback could not be signed"}
	}
	transport := d.route.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	// RoundTrip, not a Client: a redirect is an answer, never followed.
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return d.failed(a, err)
	}
	d.sent.Store(true)
	a.reached = true
	readLittle(d.ctx, answer)
	a.judge(answer)
	return a
}

// readLittle reads a little of an answer, so that the connection can be used
// again; never more, whatever the receiver sends, and for no longer than ctx.
func readLittle(ctx context.Context, answer *http.Response) {
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols { // its body is the connection, and has no end
		return
	}
	stop := context.AfterFunc(ctx, func() { answer.Body.Close() })
	defer stop()
	io.CopyN(io.Discard, answer.Body, 16<<10)
}

// leave is what an attempt came to that does not end.
func (d *delivery) leave() attempt {
	a := attempt{at: d.at}
	return d.failed(a, errLeft)
}

// failed is what an attempt came to that has no answer.
func (d *delivery) failed(a attempt, err error) attempt {
	cause := context.Cause(d.ctx)
	if cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	a.took = time.Since(a.at)
	a.reached = d.sent.Load()
	a.drained = errors.Is(cause, errDraining)
	a.err, a.short, a.down = err, short(err), !a.drained
	return a
}

var errReceiverTimeout = errors.New("the receiver did not answer in time")

// judge is the verdict on a receiver's answer.
func (a *attempt) judge(answer *http.Response) {
	a.status = answer.StatusCode
	switch {
	case a.status/100 == 2:
		return
	case a.status == http.StatusSwitchingProtocols:
		a.short = "the receiver answered 101, and nobody asked it to"
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

// record stores what an attempt came to, and when the next one is due, and
// ends the claim.
func (c *claim) record(r *Route, a attempt) {
	defer c.end()
	e, t := c.engine, c.task
	if a.drained && !a.reached {
		return // the receiver knows nothing of it: it does not count
	}
	if !a.drained {
		c.turn.Report(!a.down)
	}
	b := &t.Callback
	last := ""
	if n := len(b.Log); n > 0 {
		last = b.Log[n-1].Error
	}
	b.Attempts++
	b.Round++
	b.Log = append(b.Log, Delivery{At: a.at, Duration: a.took, Status: a.status, Error: a.short})
	if n := len(b.Log) - MaxDeliveryLog; n > 0 {
		b.Log = b.Log[n:]
	}
	b.NextAt = time.Time{}
	switch pause, more := r.nextDelivery(b.Round); {
	case a.err == nil:
		b.Status = CallbackDelivered
	case a.final || !more:
		b.Status = CallbackDead
	default:
		b.Status = CallbackRetrying
		b.NextAt = e.now().Add(max(pause, a.after))
	}
	t.settle(r, e.now())
	e.observer.DeliveryFinished(t.Route, b.Status.String(), a.took)
	e.logAttempt(t, a, last)
	var err error
	if b.Status == CallbackDelivered && r.Retention < 0 {
		if err = e.store.Remove(context.WithoutCancel(e.context), t.ID); err == nil {
			c.gone = true
		}
	} else {
		err = c.saveOutcome(Step{Task: t})
	}
	if err != nil {
		c.failed("recording a delivery", err)
	}
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
	case errors.Is(err, errDraining):
		return "the server stopped before the receiver had answered"
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
