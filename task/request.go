package task

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Request is what is kept of an HTTP request so that it can be made again
// with no client there: after a restart, or for the third time. It is
// written once, when the task is accepted, and removed when the task is done.
type Request struct {
	// Method, URL and RequestURI are those the callback handler saw, which
	// handlers before it may have rewritten; the Original ones are those the
	// client sent.
	Method             string
	URL                string
	RequestURI         string
	OriginalMethod     string // empty: as Method
	OriginalURL        string // empty: as URL
	OriginalRequestURI string // empty: as RequestURI

	Proto      string // "HTTP/1.1"
	Host       string
	RemoteAddr string
	LocalAddr  string
	TLS        *TLS // nil: plain http

	Header  http.Header
	Trailer http.Header
	Body    Body

	// Server is the address of the server that took the request, to find the
	// same one again.
	Server string
	// Vars are the variables that handlers before had set: strings, booleans
	// and numbers.
	Vars map[string]any
	// Placeholders are replacer values worth keeping, such as http.auth.user.id.
	Placeholders map[string]string
}

// TLS is what is kept of a request's TLS connection.
type TLS struct {
	ServerName         string
	Version            uint16
	CipherSuite        uint16
	NegotiatedProtocol string
}

// TLSOf keeps what matters of a connection's state; nil for nil.
func TLSOf(state *tls.ConnectionState) *TLS {
	if state == nil {
		return nil
	}
	return &TLS{state.ServerName, state.Version, state.CipherSuite, state.NegotiatedProtocol}
}

// ConnectionState is the state of a TLS connection like the kept one; nil for nil.
func (t *TLS) ConnectionState() *tls.ConnectionState {
	if t == nil {
		return nil
	}
	return &tls.ConnectionState{
		HandshakeComplete:  true,
		ServerName:         t.ServerName,
		Version:            t.Version,
		CipherSuite:        t.CipherSuite,
		NegotiatedProtocol: t.NegotiatedProtocol,
	}
}

// Response is a backend's answer, kept until its task is removed.
type Response struct {
	Status int
	Header http.Header
	Body   Body
	At     time.Time // when its head came
}

// InlineLimit is the size in bytes up to which a body is kept in the record
// of its request or response; a larger one is streamed to the store, so that
// no large body is ever held whole in memory.
const InlineLimit = 64 << 10

// Body is where the bytes of a request or response are: inline, or in the
// store (see [Store.OpenBody]). The zero value is an empty body.
type Body struct {
	Size   int64
	Inline []byte
	Stored bool
}
