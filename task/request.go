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
	Method             string `cbor:"1,keyasint"`
	URL                string `cbor:"2,keyasint"`
	RequestURI         string `cbor:"3,keyasint"`
	OriginalMethod     string `cbor:"4,keyasint,omitempty"` // empty: as Method
	OriginalURL        string `cbor:"5,keyasint,omitempty"` // empty: as URL
	OriginalRequestURI string `cbor:"6,keyasint,omitempty"` // empty: as RequestURI

	Proto      string `cbor:"7,keyasint"` // "HTTP/1.1"
	Host       string `cbor:"8,keyasint"`
	RemoteAddr string `cbor:"9,keyasint"`
	LocalAddr  string `cbor:"10,keyasint,omitempty"`
	TLS        *TLS   `cbor:"11,keyasint,omitempty"` // nil: plain http

	Header  http.Header `cbor:"12,keyasint,omitempty"`
	Trailer http.Header `cbor:"13,keyasint,omitempty"`
	Body    Body        `cbor:"14,keyasint"`

	// Server is the address of the server that took the request, to find the
	// same one again.
	Server string `cbor:"15,keyasint,omitempty"`
	// Vars are the variables that handlers before had set: strings, booleans
	// and numbers.
	Vars map[string]any `cbor:"16,keyasint,omitempty"`
	// Placeholders are replacer values worth keeping, such as http.auth.user.id.
	Placeholders map[string]string `cbor:"17,keyasint,omitempty"`
}

// TLS is what is kept of a request's TLS connection.
type TLS struct {
	ServerName         string `cbor:"1,keyasint,omitempty"`
	Version            uint16 `cbor:"2,keyasint,omitempty"`
	CipherSuite        uint16 `cbor:"3,keyasint,omitempty"`
	NegotiatedProtocol string `cbor:"4,keyasint,omitempty"`
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
	Status int         `cbor:"1,keyasint"`
	Header http.Header `cbor:"2,keyasint,omitempty"`
	Body   Body        `cbor:"3,keyasint"`
	At     time.Time   `cbor:"4,keyasint"` // when its head came
}

// InlineLimit is the size in bytes up to which a body is kept in the record
// of its request or response; a larger one is streamed to the store, so that
// no large body is ever held whole in memory.
const InlineLimit = 64 << 10

// Body is where the bytes of a request or response are: inline, or in the
// store (see [Store.OpenBody]). The zero value is an empty body.
type Body struct {
	Size   int64  `cbor:"1,keyasint,omitempty"`
	Inline []byte `cbor:"2,keyasint,omitempty"`
	Stored bool   `cbor:"3,keyasint,omitempty"`
}
