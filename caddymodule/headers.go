package caddymodule

import (
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/ringback/ringback/task"
)

// checkResponseHeaders finds names that can't travel with a callback.
func checkResponseHeaders(names []string) error {
	for _, name := range names {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("response_headers: %q is not a header name", name)
		case canonical == "Set-Cookie":
			return fmt.Errorf("response_headers: %s can't be sent with callbacks: it is for the client only", name)
		case task.HopByHop(canonical):
			return fmt.Errorf("response_headers: %s can't be sent with callbacks: it belongs to the connection", name)
		}
	}
	return nil
}

// copyHeader copies the headers of a backend's answer that describe it and
// not the connection it came by.
func copyHeader(to, from http.Header) {
	for name, values := range from {
		if !task.HopByHop(name) {
			to[name] = values
		}
	}
}
