package caddymodule

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// curl -d says that what it sends is a form. What can only be JSON is JSON.
func TestJSONThatSaysItIsAForm(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr))
	const form = "application/x-www-form-urlencoded"
	got := request(t, "POST", "http://"+addr+"/x", ` {"callback_url": "`+hook.url+`", "a": 1}`, "Content-Type", form)
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	saw := backend.next(t)
	require.Equal(t, ` { "a": 1}`, saw.Body)
	require.Equal(t, form, saw.Header.Get("Content-Type"), "as the client said")
	hook.next(t)

	// It can be sent by a page of another site, as a form can.
	got = request(t, "POST", "http://"+addr+"/x", `{"callback_url": "`+hook.url+`"}`, "Content-Type", form, "Origin", "https://evil.example")
	require.Equal(t, http.StatusForbidden, got.status, got.body)

	// What is in a string of it is no field of a form.
	body := `{"a": "&callback_url=` + url.QueryEscape(hook.url) + `"}`
	require.Equal(t, http.StatusOK, request(t, "POST", "http://"+addr+"/x", body, "Content-Type", form).status)
	require.Equal(t, body, backend.next(t).Body)

	// And what is no JSON is a form.
	got = request(t, "POST", "http://"+addr+"/x", `{"a=1&callback_url=`+url.QueryEscape(hook.url), "Content-Type", form)
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	require.Equal(t, `{"a=1`, backend.next(t).Body)
}

// The debug log says why a request was not taken.
func TestWhyPassing(t *testing.T) {
	backend := newBackend(t, "b", nil)
	path := filepath.Join(t.TempDir(), "log")
	addr := freeAddr(t)
	text := strings.Replace(site(backend.addr, "scan_limit 10B", "poll off"), "level ERROR", "level DEBUG\noutput file "+path+"\ninclude http.handlers.callback", 1)
	load(t, strings.ReplaceAll(text, "ADDR", addr))
	t.Cleanup(func() { stopCaddy(t) })
	for _, c := range []struct {
		uri, body string
		header    []string
		want      string
	}{
		{"/", "", nil, "none in header and query, and it has no body"},
		{"/", "", []string{"Callback-Uri", "https://x.example/"}, "did you mean Callback-Url?"},
		{"/?callbackurl=x", "", nil, "its query has callbackurl; did you mean callback_url?"},
		{"/", `{}`, nil, "as it has no Content-Type"},
		{"/", `{}`, []string{"Content-Type", "text/plain"}, "as its Content-Type is text/plain"},
		{"/", `{}`, []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, "as it has a Content-Encoding"},
		{"/", `{"a":"0123456789"}`, []string{"Content-Type", "application/json"}, "as it is larger than scan_limit"},
		{"/", `{"a":1}`, []string{"Content-Type", "application/json"}, "none in header, query and body"},
		{"/", "", []string{"Prefer", "respond-async"}, "Prefer: respond-async alone"},
	} {
		require.NoError(t, os.Truncate(path, 0))
		require.Equal(t, http.StatusOK, request(t, "POST", "http://"+addr+c.uri, c.body, c.header...).status)
		backend.next(t)
		log, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(log), "passing a request on, which has no callback URL")
		require.Contains(t, string(log), c.want)
	}
}
