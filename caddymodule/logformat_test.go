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

// What must stay secret of a request is in no log: neither in the access log,
// nor where a handler logs the request for debugging.
func TestLogFormat(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	dir := t.TempDir()
	access, debug := filepath.Join(dir, "access.log"), filepath.Join(dir, "debug.log")
	text := strings.Replace(site(backend.addr, "url_from $request.query.hook $request.header.x-hook"), "level ERROR",
		"level DEBUG\n output file "+debug+"\n format callback", 1)
	text = strings.Replace(text, "http://ADDR {", `http://ADDR {
		log {
			output file `+access+`
			format callback {
				wrap json
				request>headers>X-More delete
			}
		}`, 1)
	addr := freeAddr(t)
	load(t, strings.ReplaceAll(text, "ADDR", addr))
	stop := func() { stopCaddy(t) }
	defer func() { stop() }()

	secretURL := hook.url + "?key=HIDDEN1&u=http://HIDDEN2@h/"
	by := request(t, "POST", "http://"+addr+"/by-query?a=1&hook="+url.QueryEscape(secretURL)+"&bad=%zzHIDDEN3&b=2", "",
		"Callback-Header-Authorization", "Bearer HIDDEN4", "Referer", "http://x.example/?HIDDEN5", "Callback-Events", "completed", "X-More", "more")
	require.Equal(t, http.StatusAccepted, by.status, by.body)
	backend.next(t)
	hook.next(t)
	location := by.header.Get("Location")
	request(t, "GET", "http://"+addr+location, "")
	by = request(t, "POST", "http://"+addr+"/by-header", "", "X-Hook", secretURL, "X-Callback-Url", "HIDDEN6", "Callback-Error-Url", secretURL)
	require.Equal(t, http.StatusAccepted, by.status, by.body)
	backend.next(t)
	hook.next(t)
	stopCaddy(t)
	stop = func() {}

	for _, path := range []string{access, debug} {
		written, err := os.ReadFile(path)
		require.NoError(t, err)
		log := string(written)
		require.NotContains(t, log, "HIDDEN", path)
	}
	written, err := os.ReadFile(access)
	require.NoError(t, err)
	log := string(written)
	id := location[strings.LastIndex(location, "/")+1:]
	require.NotContains(t, log, "X-More", "a filter of the operator's own")
	require.NotContains(t, log, id, "who knows the id may see the task")
	require.Contains(t, log, `"uri":"/.callback/tasks/`+id[:10]+`…"`)
	require.Contains(t, log, `"uri":"/by-query?a=1&hook=`+url.QueryEscape(hook.url)+`&bad=REDACTED&b=2"`)
	require.Contains(t, log, `"X-Hook":["`+hook.url+`"]`)
	require.Contains(t, log, `"Callback-Events":["completed"]`)
}

func TestLogFormatIsNotWrapped(t *testing.T) {
	require.ErrorContains(t, validate(global()+"http://:8080 {\nlog {\nformat filter {\nwrap callback\n}\n}\nrespond x\n}"),
		"can't be wrapped in the format filter")
}

func TestRedactURI(t *testing.T) {
	for uri, want := range map[string]string{
		"/a?b=c&d":                             "/a?b=c&d",
		"/a?x=https%3A%2F%2Fu%3Ap%40h%2Fp%3Fq": "/a?x=https%3A%2F%2Fh%2Fp",
		"/a?x=see https://h/?q":                "/a?x=REDACTED",
		"*":                                    "*",
		"/06ed3kkmdnsadb6fqm7e8dhdhuqgvl9pi8/result": "/06ed3kkmdn…/result",
		"/msg_06ed3kkmdnsadb6fqm7e8dhdhuqgvl9pi8":    "/msg_06ed3kkmdn…",
		"/0123456789abcdef0123456789abcdef01234567":  "/0123456789abcdef0123456789abcdef01234567",
		"/ä%20": "/ä%20",
	} {
		require.Equal(t, want, redactURI(uri))
	}
}
