package caddymodule

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/http"
	"slices"
	"strings"
)

// credentialWords are parts of the names of headers by which servers tell who a
// client is. One word too many means that a request whose header has changed is
// not known again; one too few that one user gets another's task.
var credentialWords = []string{
	"auth", "cookie", "token", "key", "secret", "session", "signature", "user", "account", "tenant", "identity",
	"principal", "credential", "cert", "ssl", "jwt", "oidc", "login", "email",
}

// isCredential says that a header may tell who the client is.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	if name == "user-agent" || name == "idempotency-key" || strings.HasPrefix(name, "callback-") {
		return false
	}
	return slices.ContainsFunc(credentialWords, func(word string) bool { return strings.Contains(name, word) })
}

// credentials is a hash of what tells who made a request, for a backend that
// finds that out itself: two requests with different ones are not the same
// client's, as far as anybody here can know.
func credentials(r *http.Request) string {
	var names []string
	for name := range r.Header {
		if isCredential(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	sum := sha256.New()
	write := func(text string) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		sum.Write(size[:])
		io.WriteString(sum, text)
	}
	for _, name := range names {
		for _, value := range r.Header[name] {
			write(name)
			write(value)
		}
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		write(string(r.TLS.PeerCertificates[0].Raw))
	}
	return string(sum.Sum(nil))
}
