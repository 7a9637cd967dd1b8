package caddymodule

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

const browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// A page of another site can make a browser send a callback URL in the query or
// in a form, with the cookies of whoever looks at the page.
func TestCrossSite(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr, "allow_origin https://app.example.com:443"))
	query := "/me?callback_url=" + url.QueryEscape(hook.url)
	const form, json = "application/x-www-form-urlencoded", "application/json"

	for name, c := range map[string]struct {
		method, uri, body string
		header            []string
		refused           bool
	}{
		"image":             {uri: query, header: []string{"Sec-Fetch-Site", "cross-site"}, refused: true},
		"same site":         {uri: query, header: []string{"Sec-Fetch-Site", "same-site"}, refused: true},
		"unknown site":      {uri: query, header: []string{"Sec-Fetch-Site", "elsewhere"}, refused: true},
		"link in a mail":    {uri: query, header: []string{"Sec-Fetch-Site", "none", "Cookie", "s=1"}, refused: true},
		"own page":          {uri: query, header: []string{"Sec-Fetch-Site", "same-origin", "Cookie", "s=1", "User-Agent", browser}},
		"own page, proxied": {uri: query, header: []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://public.example"}},
		"form": {method: "POST", uri: "/me", body: "a=1&callback_url=" + url.QueryEscape(hook.url),
			header: []string{"Content-Type", form, "Origin", "https://evil.example"}, refused: true},
		"multipart": {method: "POST", uri: "/me", body: "--b\r\nContent-Disposition: form-data; name=\"callback_url\"\r\n\r\n" + hook.url + "\r\n--b--\r\n",
			header: []string{"Content-Type", "multipart/form-data; boundary=b", "Origin", "https://evil.example"}, refused: true},
		"opaque origin":       {method: "POST", uri: query, header: []string{"Origin", "null"}, refused: true},
		"own origin":          {method: "POST", uri: query, header: []string{"Origin", "http://" + addr, "Cookie", "s=1", "User-Agent", browser}},
		"own origin, by TLS":  {method: "POST", uri: query, header: []string{"Origin", "https://" + addr}},
		"other port":          {method: "POST", uri: query, header: []string{"Origin", "http://127.0.0.1:1"}, refused: true},
		"allowed origin":      {method: "POST", uri: query, header: []string{"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site", "Cookie", "s=1"}},
		"allowed, but http":   {method: "POST", uri: query, header: []string{"Origin", "http://app.example.com", "Sec-Fetch-Site", "cross-site"}, refused: true},
		"cookies":             {uri: query, header: []string{"Cookie", "s=1"}, refused: true},
		"browser, plain http": {uri: query, header: []string{"User-Agent", browser}, refused: true},
		"program":             {uri: query, header: []string{"Authorization", "Basic Ym9iOmhpY2N1cA=="}},
		"cookies and method":  {method: "PUT", uri: query, header: []string{"Cookie", "s=1"}},
		"cookies and type":    {method: "POST", uri: query, body: "{}", header: []string{"Cookie", "s=1", "Content-Type", json}},
		"cookies and simple":  {method: "POST", uri: query, body: "{}", header: []string{"Cookie", "s=1", "Content-Type", "text/plain; x=application/json"}, refused: true},
		"cookies and header":  {uri: query, header: []string{"Cookie", "s=1", "Callback-Events", "completed"}},
		"cookies and token":   {uri: query, header: []string{"Cookie", "s=1", "Authorization", "Bearer x", "User-Agent", browser}},
		"browser's password":  {uri: query, header: []string{"Authorization", "Basic Ym9iOmhpY2N1cA==", "User-Agent", browser}, refused: true},
		"foreign, with leave": {method: "PUT", uri: query, header: []string{"Origin", "https://evil.example"}, refused: true},
		"header":              {uri: "/me", header: []string{"Callback-Url", hook.url, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example", "Cookie", "s=1"}},
		"json": {method: "POST", uri: "/me", body: `{"callback_url":"` + hook.url + `"}`,
			header: []string{"Content-Type", json, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}},
		"no callback URL": {method: "POST", uri: "/me", header: []string{"Prefer", "respond-async", "Sec-Fetch-Site", "cross-site"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(t, or(c.method, "GET"), "http://"+addr+c.uri, c.body, c.header...)
			if !c.refused {
				require.Equal(t, http.StatusAccepted, got.status, got.body)
				backend.next(t)
				return
			}
			require.Equal(t, http.StatusForbidden, got.status, got.body)
			require.Equal(t, task.ProblemCrossSite, got.json(t)["type"])
			backend.idle(t)
		})
	}
	t.Run("all allowed", func(t *testing.T) {
		addr := serve(t, site(backend.addr, "allow_origin *"))
		got := request(t, "GET", "http://"+addr+query, "", "Sec-Fetch-Site", "cross-site", "Cookie", "s=1")
		require.Equal(t, http.StatusAccepted, got.status, got.body)
		backend.next(t)
	})
}

func TestCheckOrigins(t *testing.T) {
	for _, origin := range []string{"", "null", "example.com", "ftp://example.com", "https://", "https://example.com/", "https://*.example.com",
		"https://u@example.com", "https://example.com?", "https://example.com:", "https://example.com:99999"} {
		require.ErrorContains(t, CheckOrigins([]string{origin}), "allow_origin is", origin)
	}
	require.NoError(t, CheckOrigins([]string{"https://App.Example.com:443", "http://x:80", "http://[::1]:8080", "*"}))
}
