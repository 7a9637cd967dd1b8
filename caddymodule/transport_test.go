package caddymodule

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task/destination"
)

// A transport whose configuration is gone still works, and leaves no
// connection open.
func TestRetiredTransport(t *testing.T) {
	var open atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	policy, err := destination.New(destination.Rules{Allow: []string{"127.0.0.1"}}, destination.Options{})
	require.NoError(t, err)
	transport := &transport{Transport: policy.Transport()}
	get := func() {
		t.Helper()
		r, err := http.NewRequest("GET", server.URL, nil)
		require.NoError(t, err)
		response, err := transport.RoundTrip(r)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, "ok", string(body))
	}
	get()
	require.EqualValues(t, 1, open.Load())
	transport.retire()
	get()
	require.Eventually(t, func() bool { return open.Load() == 0 }, patience, time.Millisecond)
}
