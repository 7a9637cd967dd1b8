package caddymodule

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithQuery(t *testing.T) {
	require.Equal(t, "/x", withQuery("/x?a=1", "a=1", ""))
	require.Equal(t, "/x?b=1", withQuery("/x?a=1", "a=1", "b=1"))
	require.Equal(t, "/x", withQuery("/x", "a=1", "b=1"), "a rewritten URL has another query than the request line")
}

func TestParseURL(t *testing.T) {
	for _, s := range []string{"/a/b?c=d", "//x/y", "*", "/a%2Fb", "http://h/p", "/a b"} {
		u, err := url.ParseRequestURI(s)
		if err != nil {
			u = &url.URL{Path: s}
		}
		require.Equal(t, u.Path, parseURL(u.String()).Path, s)
	}
}
