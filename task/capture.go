package task

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// capture is the http.ResponseWriter of a backend call: it keeps the answer.
// A handler that goes on when its call is over does so without effect, once
// the capture is fenced.
type capture struct {
	cancel context.CancelCauseFunc
	method string
	header http.Header // what the handler writes to

	mu     sync.Mutex
	fenced bool
	sent   http.Header // as it was when the head was written
	status int         // 0 until the head was written
	at     time.Time
	body   spool
	failed error // why the answer could not be kept
}

func newCapture(ctx context.Context, cancel context.CancelCauseFunc, store Store, id ID, limit int64, method string) *capture {
	return &capture{
		cancel: cancel,
		method: method,
		header: make(http.Header),
		body:   spool{ctx: ctx, store: store, id: id, part: ResponsePart, max: limit, patient: true},
	}
}

// Header implements [http.ResponseWriter].
func (c *capture) Header() http.Header { return c.header }

// WriteHeader implements [http.ResponseWriter]. Informational responses are
// not the answer.
func (c *capture) WriteHeader(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeHeader(status)
}

func (c *capture) writeHeader(status int) {
	switch {
	case c.status != 0 || c.fenced:
		return
	case status == http.StatusSwitchingProtocols || status < 100 || status > 999:
		c.fail(fmt.Errorf("the backend answered %d, which is no answer to this request", status))
		return
	case status < 200:
		return
	}
	c.status = status
	c.at = time.Now()
	c.sent = maps.Clone(c.header)
	if n := c.declared(); n > c.body.max && c.hasBody() {
		c.fail(errTooLarge)
	}
}

// Write implements [http.ResponseWriter]. An error also ends the call.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeHeader(http.StatusOK)
	if c.fenced {
		return 0, errLeft
	}
	if c.failed != nil {
		return 0, c.failed
	}
	if !c.hasBody() {
		return len(p), nil
	}
	n, err := c.body.Write(p)
	if err != nil {
		c.fail(err)
	}
	return n, err
}

func (c *capture) fail(err error) {
	if c.failed == nil {
		c.failed = err
		c.cancel(err)
	}
}

// fence ends the answer of a handler that has not returned.
func (c *capture) fence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fenced = true
}

// Flush implements [http.Flusher]: a backend that streams must not be refused.
func (c *capture) Flush() {}

// EnableFullDuplex, SetReadDeadline and SetWriteDeadline are what
// [http.ResponseController] offers on a connection; here there is none.
func (c *capture) EnableFullDuplex() error { return nil }

// SetReadDeadline does nothing.
func (c *capture) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *capture) SetWriteDeadline(time.Time) error { return nil }

// hasBody says that an answer of this status to this method has a body (RFC
// 9112, section 6.3).
func (c *capture) hasBody() bool {
	return c.method != http.MethodHead && c.status != http.StatusNoContent && c.status != http.StatusNotModified
}

// declared is the Content-Length of the answer, or -1.
func (c *capture) declared() int64 {
	if n, err := strconv.ParseInt(c.sent.Get("Content-Length"), 10, 64); err == nil {
		return n
	}
	return -1
}

// err says why the answer is not complete, when the handler itself did not.
func (c *capture) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fenced {
		return errLeft
	}
	c.writeHeader(http.StatusOK) // a handler that writes nothing answers an empty 200
	if c.failed != nil {
		return c.failed
	}
	if n := c.declared(); n >= 0 && n != c.body.size && c.hasBody() {
		return fmt.Errorf("the backend announced %d bytes and sent %d", n, c.body.size)
	}
	return nil
}

// retryAfter is what the answer, or the handler's error, asks for.
func (c *capture) retryAfter(status int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fenced { // the handler may still write the header
		return 0
	}
	return retryAfter(status, c.header, time.Now(), maxRetryAfter)
}

// response ends the capture and returns the answer, whose body is durable if
// it is not inline.
func (c *capture) response() (*Response, error) {
	body, err := c.body.close()
	if err != nil {
		return nil, err
	}
	return &Response{Status: c.status, Header: c.sent, Body: body, At: c.at}, nil
}

func (c *capture) discard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.body.discard()
}

// inlineBody is an inline body as a stream.
type inlineBody struct{ *bytes.Reader }

func newInlineBody(b []byte) io.ReadSeekCloser { return inlineBody{bytes.NewReader(b)} }

// Close does nothing.
func (inlineBody) Close() error { return nil }

// Interface guards.
var (
	_ http.ResponseWriter = (*capture)(nil)
	_ http.Flusher        = (*capture)(nil)
)
