package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// site is a Caddyfile with one site that has a callback directive with these
// options, and proxies to a backend.
func site(backend string, options ...string) string {
	return global() + `
	http://ADDR {
		callback {
			allow 127.0.0.0/8
			` + strings.Join(options, "\n\t\t\t") + `
		}
		reverse_proxy ` + backend + `
	}`
}

func TestTheFourPlaces(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr))
	const jsonType = "application/json"

	for name, c := range map[string]struct {
		uri, body, contentType string
		header                 []string
		wantURI, wantBody      string
	}{
		"header":           {uri: "/x?b=2&a=1", header: []string{"Callback-Url", hook.url}, wantURI: "/x?b=2&a=1"},
		"x-header":         {uri: "/x", header: []string{"X-Callback-Url", hook.url}, wantURI: "/x"},
		"query":            {uri: "/x?b=2&callback_url=" + url.QueryEscape(hook.url) + "&a=%41", wantURI: "/x?b=2&a=%41"},
		"query, alone":     {uri: "/x?callbackUrl=" + url.QueryEscape(hook.url), wantURI: "/x"},
		"json":             {uri: "/x", contentType: jsonType, body: `{"a": 1.0, "callback_url": "` + hook.url + `", "b":[ ]}`, wantURI: "/x", wantBody: `{"a": 1.0, "b":[ ]}`},
		"json, camel case": {uri: "/x", contentType: "application/vnd.x+json", body: `{"callbackURL":"` + hook.url + `"}`, wantURI: "/x", wantBody: `{}`},
		"form":             {uri: "/x", contentType: "application/x-www-form-urlencoded", body: "a=1&callback-url=" + url.QueryEscape(hook.url) + "&b=2", wantURI: "/x", wantBody: "a=1&b=2"},
		"twice the same":   {uri: "/x?callback_url=" + url.QueryEscape(hook.url), header: []string{"Callback-Url", hook.url}, wantURI: "/x"},
	} {
		t.Run(name, func(t *testing.T) {
			header := append([]string{"X-Mine", "1", "X-Mine", "2", "Callback-Header-Authorization", "Bearer x"}, c.header...)
			if c.contentType != "" {
				header = append(header, "Content-Type", c.contentType)
			}
			got := request(t, "POST", "http://"+addr+c.uri, c.body, header...)
			require.Equal(t, http.StatusAccepted, got.status, got.body)

			saw := backend.next(t)
			require.Equal(t, c.wantURI, saw.URI)
			require.Equal(t, c.wantBody, saw.Body)
			require.EqualValues(t, len(c.wantBody), saw.Length)
			require.Equal(t, addr, saw.Host)
			require.Equal(t, []string{"1", "2"}, saw.Header["X-Mine"])
			require.Empty(t, saw.Header["X-Callback-Url"])
			id := got.header.Get(task.HeaderTaskID)
			for name := range saw.Header {
				if strings.HasPrefix(name, "Callback-") {
					require.Contains(t, []string{task.HeaderTaskID, task.HeaderAttempt}, name)
				}
			}
			require.Equal(t, id, saw.Header.Get(task.HeaderTaskID))
			require.Equal(t, "1", saw.Header.Get(task.HeaderAttempt))
			require.Equal(t, id, saw.Header.Get("Idempotency-Key"))

			callback := hook.next(t)
			require.Equal(t, "answer of b", callback.Body)
			require.Equal(t, "200", callback.Header.Get("Callback-Status"))
			require.Equal(t, id, callback.Header.Get(task.HeaderTaskID))
			require.Equal(t, "Bearer x", callback.Header.Get("Authorization"))
		})
	}
}

func TestTheAnswer(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr))
	got := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url)
	require.Equal(t, http.StatusAccepted, got.status)
	id := got.header.Get("Callback-Task-Id")
	_, err := task.ParseID(id)
	require.NoError(t, err)
	require.Equal(t, "/.callback/tasks/"+id, got.header.Get("Location"))
	require.Equal(t, "1", got.header.Get("Retry-After"))
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.Empty(t, got.header.Get("Preference-Applied"))
	body := got.json(t)
	require.NotEmpty(t, body["created_at"])
	delete(body, "created_at")
	require.Equal(t, map[string]any{
		"task_id": id, "status": "queued", "done": false,
		"status_url": "/.callback/tasks/" + id, "result_url": "/.callback/tasks/" + id + "/result",
	}, body)
}

func TestKeepURL(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr, "keep_url"))
	body := `{"callback_url":"` + hook.url + `"}`
	got := request(t, "POST", "http://"+addr+"/x?callback_url="+hook.url, body, "Content-Type", "application/json", "Callback-Url", hook.url)
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	saw := backend.next(t)
	require.Equal(t, "/x?callback_url="+hook.url, saw.URI)
	require.Equal(t, body, saw.Body)
	require.Equal(t, hook.url, saw.Header.Get("Callback-Url"))
	hook.next(t)
}

func TestATaskDoesNotBecomeAnother(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, global()+`
		http://ADDR {
			callback {
				name outer
				allow 127.0.0.0/8
				keep_url
			}
			route {
				callback {
					name inner
					allow 127.0.0.0/8
				}
				reverse_proxy `+backend.addr+`
			}
		}`)
	got := request(t, "POST", "http://"+addr+"/x?callback_url="+hook.url, "")
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	require.Equal(t, "/x?callback_url="+hook.url, backend.next(t).URI)
	require.Equal(t, "answer of b", hook.next(t).Body)
}

func TestExactExpression(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr, `url_from $request.body#/hooks/done $request.query.cb`))
	got := request(t, "POST", "http://"+addr+"/x", `{"hooks":{"done":"`+hook.url+`","x":1}}`, "Content-Type", "application/json")
	require.Equal(t, http.StatusAccepted, got.status, got.body)
	require.Equal(t, `{"hooks":{"x":1}}`, backend.next(t).Body)
	require.Equal(t, "answer of b", hook.next(t).Body)

	got = request(t, "POST", "http://"+addr+"/x?callback_url="+hook.url, "")
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "/x?callback_url="+hook.url, backend.next(t).URI)
}

func TestRefusals(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr, "max_body 1KiB", "scan_limit 100B"))
	for name, c := range map[string]struct {
		method, uri, body string
		header            []string
		status            int
		problem           string
		detail            string
	}{
		"relative":     {header: []string{"Callback-Url", "/hook"}, status: 400, problem: task.ProblemBadCallbackURL},
		"scheme":       {header: []string{"Callback-Url", "ftp://127.0.0.1/"}, status: 400, problem: task.ProblemBadCallbackURL},
		"credentials":  {header: []string{"Callback-Url", "http://u:p@127.0.0.1/"}, status: 400, problem: task.ProblemBadCallbackURL},
		"two":          {uri: "/?callback_url=http://127.0.0.1/a", header: []string{"Callback-Url", "http://127.0.0.1/b"}, status: 400, problem: task.ProblemBadCallbackURL, detail: "two different"},
		"private":      {header: []string{"Callback-Url", "http://10.0.0.1/"}, status: 403, problem: task.ProblemForbiddenURL},
		"itself":       {header: []string{"Callback-Url", "http://" + addr + "/"}, status: 403, problem: task.ProblemForbiddenURL},
		"error url":    {header: []string{"Callback-Url", hook.url, "Callback-Error-Url", "http://10.0.0.1/"}, status: 403, problem: task.ProblemForbiddenURL, detail: "Callback-Error-Url"},
		"bad header":   {header: []string{"Callback-Url", hook.url, "Callback-Format", "xml"}, status: 400, problem: task.ProblemBadHeader},
		"unknown":      {header: []string{"Callback-Url", hook.url, "Callback-Erorr-Url", hook.url}, status: 400, problem: task.ProblemBadHeader, detail: "did you mean Callback-Error-Url?"},
		"upgrade":      {header: []string{"Callback-Url", hook.url, "Connection", "Upgrade", "Upgrade", "websocket"}, status: 501, problem: task.ProblemNotAsync},
		"large":        {method: "POST", body: strings.Repeat("x", 1025), header: []string{"Callback-Url", hook.url}, status: 413, problem: task.ProblemBodyTooLarge},
		"error answer": {header: []string{"Callback-Url", ""}, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(t, strings.ToUpper(or(c.method, "GET")), "http://"+addr+or(c.uri, "/"), c.body, c.header...)
			require.Equal(t, c.status, got.status, got.body)
			if c.problem == "" {
				backend.next(t)
				return
			}
			require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
			problem := got.json(t)
			require.Equal(t, c.problem, problem["type"])
			require.Contains(t, problem["detail"], c.detail)
			backend.idle(t)
		})
	}
	got := request(t, "GET", "http://"+addr+"/", "", "Callback-Url", "http://10.0.0.1/")
	require.NotContains(t, got.body, "allow 10.", "the operator's hint is not for the client")
}

func TestIdempotencyKey(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr))
	post := func(body string) reply {
		return request(t, "POST", "http://"+addr+"/x", body, "Callback-Url", hook.url, "Idempotency-Key", "k1")
	}
	first := post("a")
	require.Equal(t, http.StatusAccepted, first.status)
	require.Equal(t, "k1", backend.next(t).Header.Get("Idempotency-Key"))
	hook.next(t)
	again := post("a")
	require.Equal(t, http.StatusAccepted, again.status)
	require.Equal(t, first.header.Get("Callback-Task-Id"), again.header.Get("Callback-Task-Id"))
	require.Equal(t, http.StatusUnprocessableEntity, post("b").status)
	backend.idle(t)
}

func TestPreferRespondAsync(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	t.Run("poll", func(t *testing.T) {
		addr := serve(t, site(backend.addr))
		got := request(t, "GET", "http://"+addr+"/x", "", "Prefer", "respond-async, handling=lenient")
		require.Equal(t, http.StatusAccepted, got.status)
		require.Equal(t, "respond-async", got.header.Get("Preference-Applied"))
		require.Equal(t, []string{"handling=lenient"}, backend.next(t).Header["Prefer"])
		result := request(t, "GET", "http://"+addr+got.header.Get("Location")+"/result", "", "Prefer", "wait=10")
		require.Equal(t, "answer of b", result.body)
	})
	t.Run("default url", func(t *testing.T) {
		addr := serve(t, site(backend.addr, "default_url "+hook.url))
		require.Equal(t, http.StatusAccepted, request(t, "GET", "http://"+addr+"/x", "", "Prefer", "respond-async").status)
		backend.next(t)
		require.Equal(t, "answer of b", hook.next(t).Body)
		require.Equal(t, http.StatusOK, request(t, "GET", "http://"+addr+"/x", "").status)
		backend.next(t)
	})
	t.Run("off", func(t *testing.T) {
		addr := serve(t, site(backend.addr, "poll off"))
		require.Equal(t, http.StatusOK, request(t, "GET", "http://"+addr+"/x", "", "Prefer", "respond-async").status)
		require.Equal(t, []string{"respond-async"}, backend.next(t).Header["Prefer"])
	})
}

func TestPreferWait(t *testing.T) {
	hook := newReceiver(t)
	release := make(chan struct{})
	backend := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		w.Header().Set("X-Backend", "1")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, "done")
	})
	addr := serve(t, site(backend.addr))

	got := request(t, "POST", "http://"+addr+"/fast", "", "Callback-Url", hook.url, "Prefer", "respond-async, wait=10")
	require.Equal(t, http.StatusCreated, got.status)
	require.Equal(t, "done", got.body)
	require.Equal(t, "1", got.header.Get("X-Backend"))
	require.Equal(t, "respond-async", got.header.Get("Preference-Applied"))
	view := request(t, "GET", "http://"+addr+"/.callback/tasks/"+got.header.Get("Callback-Task-Id"), "").json(t)
	require.Equal(t, "completed", view["status"])
	require.Equal(t, "none", view["callback"].(map[string]any)["status"])

	got = request(t, "POST", "http://"+addr+"/slow", "", "Callback-Url", hook.url, "Prefer", "respond-async, wait=1")
	require.Equal(t, http.StatusAccepted, got.status)
	close(release)
	callback := hook.next(t)
	require.Equal(t, "done", callback.Body)
	require.Equal(t, got.header.Get("Callback-Task-Id"), callback.Header.Get("Callback-Task-Id"))
	require.Empty(t, hook.came, "one callback only")
}

func TestLargeBodies(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB, beyond what is kept inline
	hook := newReceiver(t)
	backend := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, large+"!") })
	addr := serve(t, site(backend.addr))
	for _, length := range []int64{int64(len(large)), -1} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			r, err := http.NewRequest("POST", "http://"+addr+"/x", strings.NewReader(large))
			require.NoError(t, err)
			r.ContentLength = length
			r.Header.Set("Callback-Url", hook.url)
			require.Equal(t, http.StatusAccepted, do(t, r).status)
			saw := backend.next(t)
			require.True(t, saw.Body == large)
			require.EqualValues(t, len(large), saw.Length)
			require.True(t, hook.next(t).Body == large+"!")
		})
	}
}

func TestTrailer(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr))
	r, err := http.NewRequest("POST", "http://"+addr+"/x", strings.NewReader("hello"))
	require.NoError(t, err)
	r.ContentLength = -1
	r.Header.Set("Callback-Url", hook.url)
	r.Trailer = http.Header{"X-Checksum": {"abc"}}
	require.Equal(t, http.StatusAccepted, do(t, r).status)
	saw := backend.next(t)
	require.Equal(t, "hello", saw.Body)
	require.Equal(t, "abc", saw.Trailer.Get("X-Checksum"))
}

// A client can neither have the headers removed that tell the backend about
// the task, nor send its own in their place.
func TestTaskHeadersAreOurs(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	for _, option := range []string{"", "keep_url"} {
		t.Run(option, func(t *testing.T) {
			addr := serve(t, site(backend.addr, option))
			answer := raw(t, addr, "POST /x HTTP/1.1\r\nHost: "+addr+"\r\nCallback-Url: "+hook.url+"\r\n"+
				"Connection: close, Callback-Task-Id,callback-attempt\r\nConnection: Idempotency-Key\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"+
				"Callback-Task-Id: forged\r\nTransfer-Encoding: chunked\r\n"+
				"Trailer: Callback-Task-Id, Callback-Attempt, Idempotency-Key, Callback-Url, X-Checksum\r\n\r\n"+
				"5\r\nhello\r\n0\r\nCallback-Task-Id: forged\r\nCallback-Attempt: 9\r\nIdempotency-Key: forged\r\n"+
				"Callback-Url: http://127.0.0.1/\r\nX-Checksum: abc\r\n\r\n")
			require.Contains(t, answer, "202 Accepted")
			saw := backend.next(t)
			id := saw.Header.Get("Callback-Task-Id")
			_, err := task.ParseID(id)
			require.NoError(t, err)
			require.Equal(t, "1", saw.Header.Get("Callback-Attempt"))
			require.Equal(t, id, saw.Header.Get("Idempotency-Key"))
			require.Empty(t, saw.Header.Get("X-Hop"), "the client's own business")
			for _, name := range taskHeaders {
				require.Empty(t, saw.Trailer[name])
			}
			if option == "" {
				require.Empty(t, saw.Trailer["Callback-Url"])
			}
			require.Equal(t, "abc", saw.Trailer.Get("X-Checksum"))
		})
	}
}
