package task

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// capture is the http.ResponseWriter of a backend call: it keeps the answer.
type capture struct {
	cancel context.CancelCauseFunc
	method string
	header http.Header // what the handler writes to
	sent   http.Header // as it was when the head was written
	status int         // 0 until the head was written
	at     time.Time
	body   spool
	failed error // why the body could not be kept
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
	if c.status != 0 || status < 200 {
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
	c.WriteHeader(http.StatusOK)
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
	c.failed = err
	c.cancel(err)
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
	c.WriteHeader(http.StatusOK) // a handler that writes nothing answers an empty 200
	if c.failed != nil {
		return c.failed
	}
	if n := c.declared(); n >= 0 && n != c.body.size && c.hasBody() {
		return fmt.Errorf("the backend announced %d bytes and sent %d", n, c.body.size)
	}
	return nil
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

func (c *capture) discard() { c.body.discard() }

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
