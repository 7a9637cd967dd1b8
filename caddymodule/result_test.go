package caddymodule

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the backend answered is shown at a URL of the site, and can't act as it.
func TestResultIsHarmless(t *testing.T) {
	hook := newReceiver(t)
	backend := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "s=1", "Service-Worker-Allowed": "/", "Clear-Site-Data": `"*"`, "Refresh": "0; url=https://evil.example/",
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "Location": "https://evil.example/",
			"Cache-Control": "public, max-age=9999", "Content-Security-Policy": "default-src *", "X-Content-Type-Options": "x",
			"Link": "<https://evil.example/>; rel=preload", "X-Custom": "1", "X-Report-Id": "7", "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
			"Etag": `"v1"`, "Content-Language": "de", "Content-Disposition": "inline", "Retry-After": "7",
		} {
			w.Header().Set(name, value)
		}
		switch r.URL.Path {
		case "/html":
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<script>alert(1)</script>")
		case "/untyped":
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<script>alert(1)</script>")
		case "/moved":
			w.WriteHeader(http.StatusFound)
		}
	})
	// Headers that rule are not replayed even if they travel with callbacks.
	addr := serve(t, site(backend.addr, "response_headers X-Report-Id location refresh service-worker-allowed access-control-allow-origin"))
	for path, status := range map[string]int{"/html": http.StatusOK, "/untyped": http.StatusOK, "/moved": http.StatusFound} {
		t.Run(path, func(t *testing.T) {
			url := "http://" + addr + request(t, "POST", "http://"+addr+path, "", "Callback-Url", hook.url).header.Get("Location")
			require.Equal(t, "https://evil.example/", hook.next(t).Header.Get("Location"), "the receiver may have it")
			got := request(t, "GET", url+"/result", "")
			require.Equal(t, status, got.status)
			want := map[string]string{
				"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff", "Cache-Control": "private",
				"X-Report-Id": "7", "Etag": `"v1"`, "Content-Language": "de", "Content-Disposition": "inline", "Retry-After": "7",
				"Callback-Task-Id": url[strings.LastIndex(url, "/")+1:],
			}
			if path == "/html" {
				want["Content-Type"] = "text/html"
			}
			for name, values := range got.header {
				switch name {
				case "Server", "Date", "Content-Length", "Accept-Ranges", "Via":
					continue
				}
				require.Equal(t, want[name], strings.Join(values, " "), name)
				delete(want, name)
			}
			require.Empty(t, want, "not replayed")
		})
	}
	url := "http://" + addr + "/.callback/tasks/x"
	require.Equal(t, "nosniff", request(t, "GET", url, "").header.Get("X-Content-Type-Options"))
}

// The result of a task that is bound to its user is kept by nobody.
func TestBoundResultIsNotStored(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, global()+`
	http://ADDR {
		basic_auth {
			bob $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
		}
		callback {
			allow 127.0.0.0/8
			bind_user
		}
		reverse_proxy `+backend.addr+`
	}`)
	const bob = "Basic Ym9iOmhpY2N1cA=="
	url := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url, "Authorization", bob).header.Get("Location")
	hook.next(t)
	got := request(t, "GET", "http://"+addr+url+"/result", "", "Authorization", bob)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
}
