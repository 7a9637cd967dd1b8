package caddymodule

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where the backend finds out who the user is, one user's key is not another's.
func TestIdempotencyKeyIsTheUsers(t *testing.T) {
	hook := newReceiver(t)
	backend := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get("Authorization") + r.Header.Get("Cookie") + r.Header.Get("X-Api-Key")
		w.Header().Set("Set-Cookie", "session="+user)
		fmt.Fprint(w, "balance of "+user)
	})
	addr := serve(t, site(backend.addr))
	ask := func(name, value string) reply {
		return request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url, "Idempotency-Key", "k1", "Prefer", "wait=10",
			name, value)
	}
	for _, name := range []string{"Authorization", "Cookie", "X-Api-Key"} {
		alice, bob := ask(name, "alice"), ask(name, "bob")
		require.Equal(t, "balance of alice", alice.body)
		require.Equal(t, "session=alice", alice.header.Get("Set-Cookie"), "it is the answer to her own request")
		require.Equal(t, "balance of bob", bob.body)
		require.NotEqual(t, alice.header.Get("Callback-Task-Id"), bob.header.Get("Callback-Task-Id"))
		backend.next(t)
		backend.next(t)

		again := ask(name, "alice")
		require.Equal(t, "balance of alice", again.body)
		require.Equal(t, alice.header.Get("Callback-Task-Id"), again.header.Get("Callback-Task-Id"))
		require.Empty(t, again.header["Set-Cookie"])
		backend.idle(t)
	}
}

func TestCredentials(t *testing.T) {
	with := func(header ...string) *http.Request {
		r := httptest.NewRequest("POST", "/", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		return r
	}
	none := credentials(with())
	require.Equal(t, none, credentials(with("User-Agent", "x", "Idempotency-Key", "k", "Callback-Header-Authorization", "x", "Date", "x", "X-Request-Id", "1")))
	seen := map[string]bool{none: true}
	for _, r := range []*http.Request{
		with("Authorization", "a"), with("Authorization", "b"), with("Proxy-Authorization", "a"), with("Cookie", "a"),
		with("X-Api-Key", "a"), with("X-Auth-Token", "a"), with("Remote-User", "a"), with("X-Forwarded-Client-Cert", "a"),
		with("X-Tenant", "a"), with("Cookie", "a", "Cookie", "b"), with("Cookie", "ab"), with("Cookie", "a", "X-Token", "b"),
	} {
		sum := credentials(r)
		require.False(t, seen[sum], r.Header)
		seen[sum] = true
	}
	r := with()
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("alice")}}}
	require.NotEqual(t, none, credentials(r))
}
