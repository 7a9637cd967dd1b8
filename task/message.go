package task

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// message is a callback: what is POSTed, in the format the client wants.
type message struct {
	Header http.Header
	Size   int64 // of the body
	// inMemory is how many bytes of the body are held in memory until it is sent.
	inMemory int64
	Open     func() (io.ReadCloser, error)
}

// message writes the callback of a task that is done.
func (e *Engine) message(t *Task, r *Route, response *Response) (*message, error) {
	m := &message{Header: make(http.Header, 16)}
	for name, values := range t.Callback.Header {
		m.Header[name] = values
	}
	if response == nil {
		problem, err := json.Marshal(t.problem())
		if err != nil {
			return nil, err
		}
		m.Header["Content-Type"] = []string{"application/problem+json"}
		m.bytes(problem)
	} else {
		m.describe(response.Header, r.ResponseHeaders)
		m.Size = response.Body.Size
		m.Open = func() (io.ReadCloser, error) { return e.openBody(t.ID, ResponsePart, response.Body) }
		if !response.Body.Stored {
			m.bytes(response.Body.Inline)
		}
	}
	m.Header[HeaderTaskID] = []string{t.ID.String()}
	m.Header[HeaderEvent] = []string{t.Event().String()}
	m.Header[HeaderStatus] = []string{t.statusHeader()}
	m.Header[HeaderAttempt] = []string{strconv.Itoa(t.Callback.Attempts + 1)}
	if t.TraceParent != "" {
		m.Header["Traceparent"] = []string{t.TraceParent}
	}
	switch t.Callback.Format {
	case FormatEnvelope:
		return m, m.envelope(t, response)
	case FormatCloudEvents:
		m.cloudEvent(t)
	}
	return m, nil
}

func (m *message) bytes(body []byte) {
	m.Size, m.inMemory = int64(len(body)), int64(len(body))
	// A body that net/http knows to be in memory goes out in one write with its head.
	m.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
}

// describe takes over the headers of a response that say what its body is,
// and those the route lists.
func (m *message) describe(response http.Header, listed []string) {
	for name, values := range response {
		switch {
		case hopByHop[name]:
		case strings.HasPrefix(name, "Content-"), name == "Etag", name == "Last-Modified", name == "Link":
			m.Header[name] = values
		}
	}
	for _, name := range listed {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if values := response[name]; values != nil && name != "Set-Cookie" && !hopByHop[name] {
			m.Header[name] = values
		}
	}
}

// cloudEvent adds the attributes of CloudEvents 1.0, HTTP binary mode.
func (m *message) cloudEvent(t *Task) {
	m.Header["Ce-Specversion"] = []string{"1.0"}
	m.Header["Ce-Id"] = []string{t.messageID()}
	m.Header["Ce-Source"] = []string{"/tasks/" + t.ID.String()}
	m.Header["Ce-Type"] = []string{t.Event().String()}
	m.Header["Ce-Time"] = []string{t.FinishedAt.UTC().Format(time.RFC3339Nano)}
}

// problem tells a failure that has no answer to pass on.
func (t *Task) problem() *Problem {
	p := NewProblem(0, ProblemTaskFailed, "")
	p.TaskID = t.ID.String()
	if f := t.Failure; f != nil {
		p.Status, p.Detail, p.Code = f.Status, f.Message, f.Code
	}
	return p
}

// messageID is the webhook-id: the same over all attempts and redeliveries.
func (t *Task) messageID() string { return "msg_" + t.ID.String() }

// request makes the HTTP request of an attempt at a time, signed.
func (m *message) request(ctx context.Context, t *Task, r *Route, at time.Time) (*http.Request, error) {
	u, err := url.Parse(t.CallbackURL())
	if err != nil {
		return nil, fmt.Errorf("callback URL: %w", err)
	}
	id := t.messageID()
	m.Header["Webhook-Id"] = []string{id}
	m.Header["Webhook-Timestamp"] = []string{strconv.FormatInt(at.Unix(), 10)}
	if r.Signer != nil {
		err := r.Signer.Sign(ctx, m.Header, Message{ID: id, At: at, URL: u, Size: m.Size, Open: m.Open})
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
	}
	if m.Header["User-Agent"] == nil {
		m.Header["User-Agent"] = []string{"Ringback"}
	}
	body, err := m.Open()
	if err != nil {
		return nil, err
	}
	request := &http.Request{
		Method:        http.MethodPost,
		URL:           u,
		Host:          u.Host,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        m.Header,
		Body:          body,
		GetBody:       m.Open,
		ContentLength: m.Size,
	}
	if u.User != nil {
		password, _ := u.User.Password()
		request.SetBasicAuth(u.User.Username(), password)
	}
	if m.Size == 0 {
		body.Close()
		request.Body, request.GetBody = http.NoBody, nil
	}
	return request.WithContext(ctx), nil
}

// readAll reads a body of at most limit bytes.
func (m *message) readAll(limit int64) ([]byte, error) {
	body, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var b bytes.Buffer
	b.Grow(int(min(m.Size, limit)))
	_, err = io.Copy(&b, io.LimitReader(body, limit))
	return b.Bytes(), err
}
