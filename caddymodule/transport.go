package caddymodule

import (
	"net/http"
	"sync/atomic"

	"github.com/ringback/ringback/task/destination"
)

// transport makes the connections of a handler's callbacks. Deliveries that
// began under a configuration may still use it when that is gone; it then
// keeps no connections.
type transport struct {
	*destination.Transport
	retired atomic.Bool
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.retired.Load() {
		return t.Transport.RoundTrip(r)
	}
	last := *r
	last.Close = true
	response, err := t.Transport.RoundTrip(&last)
	t.CloseIdleConnections()
	return response, err
}

// retire is called when the configuration is gone.
func (t *transport) retire() {
	t.retired.Store(true)
	t.CloseIdleConnections()
}

var _ http.RoundTripper = (*transport)(nil)
