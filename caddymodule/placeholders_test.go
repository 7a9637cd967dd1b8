package caddymodule

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlaceholdersIn(t *testing.T) {
	config := `{"a":"{http.regexp.seg.1}/{http.request.uri} {http.auth.user.email}","b":{"c":"{http.regexp.seg.1}"},
		"d":"{env.HOME} {http.vars.x} {mapped} {http.request.tls.client.subject} {http.reverse_proxy.upstream.host} {}"}`
	require.Equal(t, []string{"http.regexp.seg.1", "http.auth.user.email", "mapped", "http.request.tls.client.subject"},
		placeholdersIn([]byte(config)))
}
