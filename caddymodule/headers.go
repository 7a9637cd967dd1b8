package caddymodule

import (
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// ofConnection holds the headers of one connection (RFC 9110, section 7.6.1)
// and of one message's length, which don't travel on.
var ofConnection = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true,
	"Proxy-Authorization": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Content-Length": true, "Http2-Settings": true,
}

// checkResponseHeaders finds names that can't travel with a callback.
func checkResponseHeaders(names []string) error {
	for _, name := range names {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("response_headers: %q is not a header name", name)
		case canonical == "Set-Cookie":
			return fmt.Errorf("response_headers: %s can't be sent with callbacks: it is for the client only", name)
		case ofConnection[canonical]:
			return fmt.Errorf("response_headers: %s can't be sent with callbacks: it belongs to the connection", name)
		}
	}
	return nil
}

// copyHeader copies the headers of a backend's answer that describe it and
// not the connection it came by.
func copyHeader(to, from http.Header) {
	for name, values := range from {
		if !ofConnection[name] {
			to[name] = values
		}
	}
}
