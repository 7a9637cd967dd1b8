package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"
)

// What answers errors of a live request answers those of a task: the error
// routes of the subroutes around the handler first, those of the server last.
func TestErrorRoutes(t *testing.T) {
	hook := newReceiver(t)
	addr := freeAddr(t)
	callback := func(name string) string {
		return fmt.Sprintf(`{"handler": "callback", "name": "%s", "destinations": {"allow": ["127.0.0.0/8"]}, "attempts": 1,
			"url_from": ["$request.header.callback-url"]}`, name)
	}
	const (
		fails   = `{"handle": [{"handler": "error", "status_code": "418", "error": "tea"}]}`
		answers = `{"handle": [{"handler": "static_response", "status_code": "{http.error.status_code}", "body": "%s {http.error.message}"}]}`
	)
	site := func(path, name, inner, outer string) string {
		return fmt.Sprintf(`{"match": [{"path": ["%s"]}], "handle": [{"handler": "subroute", %s "routes": [
			{"handle": [{"handler": "subroute", %s "routes": [{"handle": [%s]}, %s]}]}
		]}]}`, path, outer, inner, callback(name), fails)
	}
	scope := func(routes string) string { return `"errors": {"routes": [` + routes + `]},` }
	config := `{"admin": {"disabled": true, "config": {"persist": false}}, "logging": {"logs": {"default": {"level": "ERROR"}}},
		"apps": {"callback": {"store": {"module": "memory"}}, "http": {"servers": {"s": {
			"listen": ["` + addr + `"], "automatic_https": {"disable": true},
			"routes": [` + strings.Join([]string{
		site("/inner", "inner", scope(fmt.Sprintf(answers, "inner")), scope(fmt.Sprintf(answers, "outer"))),
		site("/outer", "outer", "", scope(fmt.Sprintf(answers, "outer"))),
		site("/again", "again", scope(`{"handle": [{"handler": "error", "status_code": "419", "error": "inner"}]}`), scope(fmt.Sprintf(answers, "outer"))),
		site("/server", "server", "", ""),
	}, ",") + `],
			"errors": {"routes": [` + strings.Replace(fmt.Sprintf(answers, "server {http.request.uri}"), "{", `{"match": [{"path": ["/server"]}], `, 1) + `]}
		}}}}}`
	require.NoError(t, caddy.Load([]byte(config), true))
	t.Cleanup(func() { stopCaddy(t) })
	for path, want := range map[string]string{
		"/inner": "inner tea", "/outer": "outer tea", "/again": "outer inner", "/server?x=1": "server /server?x=1 tea",
	} {
		live := request(t, "POST", "http://"+addr+path, "")
		require.Equal(t, want, live.body)
		require.Equal(t, http.StatusAccepted, request(t, "POST", "http://"+addr+path, "", "Callback-Url", hook.url).status)
		callback := hook.next(t)
		require.Equal(t, want, callback.Body)
		require.Equal(t, fmt.Sprint(live.status), callback.Header.Get("Callback-Status"))
	}
}

// An error that may pass is tried again, and answered when the tries are over;
// 429 is such an error, whoever says so.
func TestErrorsAreTriedAgain(t *testing.T) {
	hook := newReceiver(t)
	calls := make(chan int, 100)
	status := http.StatusTooManyRequests
	checked := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		calls <- status
		w.WriteHeader(status)
		io.WriteString(w, "from upstream")
	})
	site := func(errors string) string {
		return global() + `
		http://ADDR {
			callback {
				allow 127.0.0.0/8
				attempts 3
				backoff 1ms
			}
			reverse_proxy ` + checked + ` {
				@busy status 429
				handle_response @busy {
					error "busy" 429
				}
			}
			` + errors + `
		}`
	}
	for errors, want := range map[string]string{
		"": `"code":"BACKEND_ERROR"`,
		"handle_errors {\nrespond \"sorry {err.status_code}\"\n}": "sorry 429",
	} {
		addr := serve(t, site(errors))
		request(t, "PUT", "http://"+addr+"/", "", "Callback-Url", hook.url)
		callback := hook.next(t)
		require.Equal(t, "429", callback.Header.Get("Callback-Status"))
		require.Contains(t, callback.Body, want)
		require.Len(t, calls, 3)
		for range 3 {
			<-calls
		}
	}
}
