package caddymodule

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

func TestTasksEndpoint(t *testing.T) {
	hook := newReceiver(t)
	release := make(chan struct{})
	backend := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("X-Backend", "1")
		w.Header().Set("Set-Cookie", "secret=1")
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, "0123456789")
	})
	addr := serve(t, site(backend.addr))
	base := "http://" + addr

	accepted := request(t, "POST", base+"/x", "", "Callback-Url", hook.url+"?token=1")
	url := base + accepted.header.Get("Location")
	backend.next(t)

	running := request(t, "GET", url, "")
	require.Equal(t, http.StatusOK, running.status)
	require.Equal(t, "1", running.header.Get("Retry-After"))
	require.Equal(t, "running", running.json(t)["status"])
	require.Equal(t, http.StatusAccepted, request(t, "GET", url+"/result", "").status)
	require.Equal(t, http.StatusConflict, request(t, "POST", url+"/redeliver", "").status)
	early := request(t, "GET", url, "", "Prefer", "wait=1")
	require.Equal(t, "wait=1", early.header.Get("Preference-Applied"))
	require.Equal(t, false, early.json(t)["done"])

	polled := make(chan reply, 1)
	go func() { polled <- request(t, "GET", url, "", "Prefer", "wait=60") }()
	close(release)
	select {
	case done := <-polled:
		require.Equal(t, "completed", done.json(t)["status"])
		require.Empty(t, done.header.Get("Retry-After"))
	case <-time.After(patience):
		t.Fatal("the long poll did not end with the task")
	}
	hook.next(t)

	result := request(t, "GET", url+"/result", "")
	require.Equal(t, http.StatusOK, result.status)
	require.Equal(t, "0123456789", result.body)
	require.Empty(t, result.header.Get("X-Backend"), "it is not among response_headers")
	require.Equal(t, "text/plain", result.header.Get("Content-Type"))
	require.Empty(t, result.header.Get("Set-Cookie"))
	part := request(t, "GET", url+"/result", "", "Range", "bytes=2-4")
	require.Equal(t, http.StatusPartialContent, part.status)
	require.Equal(t, "234", part.body)
	require.Equal(t, http.StatusNotModified, request(t, "GET", url+"/result", "", "If-None-Match", `"v1"`).status)
	head := request(t, "HEAD", url+"/result", "")
	require.Equal(t, "10", head.header.Get("Content-Length"))
	require.Empty(t, head.body)

	require.Equal(t, http.StatusAccepted, request(t, "POST", url+"/redeliver", "").status)
	require.Equal(t, "0123456789", hook.next(t).Body)
	require.Equal(t, http.StatusConflict, request(t, "DELETE", url, "").status)
	callback := request(t, "GET", url, "").json(t)["callback"].(map[string]any)
	require.Equal(t, hook.url, callback["url"], "without its query")

	missing := request(t, "POST", base+"/missing", "", "Callback-Url", hook.url)
	hook.next(t)
	result = request(t, "GET", base+missing.header.Get("Location")+"/result", "")
	require.Equal(t, http.StatusNotFound, result.status)
	require.Equal(t, "0123456789", result.body)
}

func TestCancel(t *testing.T) {
	hook := newReceiver(t)
	ended := make(chan struct{})
	backend := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	})
	addr := serve(t, site(backend.addr))
	url := "http://" + addr + request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url).header.Get("Location")
	backend.next(t)
	got := request(t, "DELETE", url, "")
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Equal(t, "canceled", got.json(t)["status"])
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the backend call goes on")
	}
	require.Equal(t, "task.canceled", hook.next(t).Header.Get("Callback-Event"))
	require.Equal(t, http.StatusGone, request(t, "GET", url+"/result", "").status)
}

// Whoever asks for a task that is not theirs learns nothing, not even whether
// there is one.
func TestNoSuchTask(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, global()+`
	http://ADDR {
		basic_auth {
			bob $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
			eve $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
		}
		callback {
			allow 127.0.0.0/8
			bind_user
		}
		reverse_proxy `+backend.addr+`
	}`)
	base := "http://" + addr
	const bob, eve = "Basic Ym9iOmhpY2N1cA==", "Basic ZXZlOmhpY2N1cA=="
	url := request(t, "POST", base+"/x", "", "Callback-Url", hook.url, "Authorization", bob).header.Get("Location")
	hook.next(t)
	require.Equal(t, http.StatusOK, request(t, "GET", base+url, "", "Authorization", bob).status)

	unknown := request(t, "GET", base+"/.callback/tasks/"+task.NewID(time.Now()).String(), "", "Authorization", bob)
	require.Equal(t, http.StatusNotFound, unknown.status)
	for name, got := range map[string]reply{
		"foreign":         request(t, "GET", base+url, "", "Authorization", eve),
		"foreign result":  request(t, "GET", base+url+"/result", "", "Authorization", eve),
		"foreign delete":  request(t, "DELETE", base+url, "", "Authorization", eve),
		"foreign, method": request(t, "PATCH", base+url, "", "Authorization", eve),
		"malformed":       request(t, "GET", base+"/.callback/tasks/x", "", "Authorization", bob),
		"empty":           request(t, "GET", base+"/.callback/tasks/", "", "Authorization", bob),
		"no such thing":   request(t, "GET", base+url+"/x", "", "Authorization", bob),
	} {
		require.Equal(t, unknown.status, got.status, name)
		require.Equal(t, unknown.body, got.body, name)
	}
	got := request(t, "PATCH", base+url, "", "Authorization", bob)
	require.Equal(t, http.StatusMethodNotAllowed, got.status)
	require.Equal(t, "GET, HEAD, DELETE", got.header.Get("Allow"))
}

// A task that is bound to its user is so at every endpoint of the process, not
// only at that of its own site.
func TestBoundElsewhere(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	other, third := freeAddr(t), freeAddr(t)
	const users = `basic_auth {
			bob $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
			eve $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
		}
		`
	addr := serve(t, global()+`
	http://ADDR {
		`+users+`callback {
			allow 127.0.0.0/8
			bind_user
		}
		reverse_proxy `+backend.addr+`
	}
	http://`+other+` {
		callback {
			allow 127.0.0.0/8
		}
		reverse_proxy `+backend.addr+`
	}
	http://`+third+` {
		`+users+`callback_tasks
	}`)
	const bob, eve = "Basic Ym9iOmhpY2N1cA==", "Basic ZXZlOmhpY2N1cA=="
	url := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url, "Authorization", bob).header.Get("Location")
	hook.next(t)
	for _, what := range []struct{ method, path string }{{"GET", ""}, {"GET", "/result"}, {"DELETE", ""}, {"POST", "/redeliver"}} {
		require.Equal(t, http.StatusNotFound, request(t, what.method, "http://"+other+url+what.path, "").status, what)
		require.Equal(t, http.StatusNotFound, request(t, what.method, "http://"+third+url+what.path, "", "Authorization", eve).status, what)
	}
	require.Equal(t, http.StatusOK, request(t, "GET", "http://"+third+url, "", "Authorization", bob).status)

	free := request(t, "POST", "http://"+other+"/x", "", "Callback-Url", hook.url).header.Get("Location")
	hook.next(t)
	require.Equal(t, http.StatusOK, request(t, "GET", "http://"+other+free, "").status)
	require.Equal(t, http.StatusOK, request(t, "GET", "http://"+third+free, "", "Authorization", eve).status)
	require.Equal(t, http.StatusNotFound, request(t, "GET", "http://"+addr+free, "", "Authorization", bob).status, "the endpoint's own bind_user")
}

func TestTasksPath(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr, "tasks_path /jobs"))
	url := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url).header.Get("Location")
	require.True(t, strings.HasPrefix(url, "/jobs/"), url)
	require.Equal(t, http.StatusOK, request(t, "GET", "http://"+addr+url, "").status)
	hook.next(t)
}

// The warning about tasks that clients can't reach is given when, and only
// when, they can't.
func TestReachable(t *testing.T) {
	const nested = `
		handle /api/* {
			callback
			respond "x"
		}`
	for name, c := range map[string]struct {
		site string
		want bool
	}{
		"site":           {"callback\nrespond x", true},
		"matcher":        {"callback /api/*\nrespond x", true},
		"nested":         {nested, false},
		"nested, fixed":  {nested + "\ncallback_tasks", true},
		"other path":     {nested + "\ncallback_tasks {\npath /jobs\n}", false},
		"handle_path":    {"handle_path /api/* {\ncallback\nrespond x\n}", true},
		"catch-all":      {"handle {\ncallback\nrespond x\n}", true},
		"local port":     {"@m vars {http.request.local.port} PORT\nhandle @m {\ncallback\ncallback_tasks\nrespond x\n}", true},
		"other port":     {"@m vars {http.request.local.port} 1\nhandle @m {\ncallback\ncallback_tasks\nrespond x\n}", false},
		"client":         {"@m client_ip 127.0.0.1\nhandle @m {\ncallback\nrespond x\n}", true},
		"expression":     {"@m `{http.request.local.port} == \"1\"`\nhandle @m {\ncallback\nrespond x\n}", false},
		"site with host": {"callback /api/*\nrespond x", true},
	} {
		t.Run(name, func(t *testing.T) {
			host := "http://"
			if strings.Contains(name, "host") {
				host = "http://example.com"
			}
			addr := freeAddr(t)
			port := addr[strings.LastIndex(addr, ":"):]
			load(t, global()+host+port+" {\n"+strings.ReplaceAll(c.site, "PORT", port[1:])+"\n}")
			defer stopCaddy(t)
			app := currentApp(t)
			require.Equal(t, c.want, app.reachable(app.handlers[0]))
		})
	}
}

func TestAdmin(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	admin := freeAddr(t)
	addr := serve(t, strings.Replace(site(backend.addr, "name main"), "admin off", "admin "+admin, 1))
	id := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url).header.Get("Callback-Task-Id")
	hook.next(t)
	dead := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", "http://127.0.0.1:1/", "Callback-Events", "failed").header.Get("Callback-Task-Id")
	request(t, "GET", "http://"+addr+"/.callback/tasks/"+dead, "", "Prefer", "wait=10")

	base := "http://" + admin + "/callback/"
	ids := func(query string) (ids []string) {
		t.Helper()
		got := request(t, "GET", base+"tasks"+query, "")
		require.Equal(t, http.StatusOK, got.status, got.body)
		for _, v := range got.json(t)["tasks"].([]any) {
			ids = append(ids, v.(map[string]any)["task_id"].(string))
		}
		return ids
	}
	all := ids("") // newest first, to the millisecond
	require.ElementsMatch(t, []string{dead, id}, all)
	require.Equal(t, all[:1], ids("?limit=1"))
	require.Equal(t, all[1:], ids("?limit=1&after="+all[0]))
	require.Equal(t, []string{dead}, ids("?callback=none"))
	require.Empty(t, ids("?name=other"))
	require.Equal(t, "completed", request(t, "GET", base+"tasks/"+id, "").json(t)["status"])
	require.Equal(t, http.StatusAccepted, request(t, "POST", base+"tasks/"+id+"/redeliver", "", "Origin", "http://"+admin).status)
	hook.next(t)
	require.Equal(t, http.StatusConflict, request(t, "DELETE", base+"tasks/"+id, "", "Origin", "http://"+admin).status)
	require.Equal(t, http.StatusNotFound, request(t, "GET", base+"tasks/x", "").status)
	require.Equal(t, http.StatusBadRequest, request(t, "GET", base+"tasks?limit=0", "").status)
	for query, want := range map[string]string{
		"?status=done":    `status is \"done\": want queued, running, completed, failed, canceled, expired`,
		"?callback=lost":  `callback is \"lost\": want none, pending, retrying, delivered, dead`,
		"?state=finished": `parameter \"state\" is not possible: want after, callback, limit, name, status`,
	} {
		got := request(t, "GET", base+"tasks"+query, "")
		require.Equal(t, http.StatusBadRequest, got.status)
		require.Contains(t, got.body, want)
	}
	require.EqualValues(t, 0, request(t, "GET", base+"stats", "").json(t)["running"])

	metrics := request(t, "GET", "http://"+admin+"/metrics", "").body
	require.Contains(t, metrics, `ringback_tasks_accepted_total{route="main"} 2`)
	require.Contains(t, metrics, `ringback_backend_call_seconds_count{outcome="completed",route="main"} 2`)
	require.Contains(t, metrics, `ringback_delivery_seconds_count{outcome="delivered",route="main"} 2`)
	require.Contains(t, metrics, `ringback_tasks{state="queued"} 0`)

	// Counters go on after a reload, in the new configuration's registry.
	load(t, strings.ReplaceAll(strings.Replace(site(backend.addr, "name main"), "admin off", "admin "+admin, 1), "ADDR", addr))
	require.Contains(t, request(t, "GET", "http://"+admin+"/metrics", "").body, `ringback_tasks_accepted_total{route="main"} 2`)
}

// That a task is bound to its user is a fact of the task: it stays so when its
// handler has another name, or is gone. And one that came before bind_user is
// bound by it.
func TestBoundForGood(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	const bob, eve = "Basic Ym9iOmhpY2N1cA==", "Basic ZXZlOmhpY2N1cA=="
	config := func(callback string) string {
		return global() + `
		http://ADDR {
			basic_auth {
				bob $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
				eve $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
			}
			callback_tasks
			` + callback + `
			reverse_proxy ` + backend.addr + `
		}`
	}
	addr := serve(t, config("callback {\nname a\nallow 127.0.0.0/8\nbind_user\n}"))
	get := func(url, user string) int {
		return request(t, "GET", "http://"+addr+url, "", "Authorization", user).status
	}
	post := func() string {
		url := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url, "Authorization", bob).header.Get("Location")
		hook.next(t)
		return url
	}
	bound := post()
	require.Equal(t, http.StatusNotFound, get(bound, eve))

	load(t, strings.ReplaceAll(config("callback {\nname b\nallow 127.0.0.0/8\n}"), "ADDR", addr))
	require.Equal(t, http.StatusNotFound, get(bound, eve), "its handler was renamed")
	require.Equal(t, http.StatusOK, get(bound, bob))
	free := post()
	require.Equal(t, http.StatusOK, get(free, eve))

	load(t, strings.ReplaceAll(config("callback {\nname b\nallow 127.0.0.0/8\nbind_user\n}"), "ADDR", addr))
	require.Equal(t, http.StatusNotFound, get(free, eve), "its handler binds now")
	require.Equal(t, http.StatusOK, get(free, bob))

	load(t, strings.ReplaceAll(config(""), "ADDR", addr))
	require.Equal(t, http.StatusNotFound, get(bound, eve), "there is no handler")
}
