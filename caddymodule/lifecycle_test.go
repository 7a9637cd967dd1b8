package caddymodule

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"

	"github.com/ringback/ringback/task"
)

// crashSite has pending tasks in badger.
func crashSite(addr, backend, dir string) string {
	return strings.NewReplacer("ADDR", addr).Replace(global("store badger "+dir) + `
	http://ADDR {
		vars tenant acme
		handle_path /hp/* {
			callback {
				name hp
				allow 127.0.0.0/8
			}
			reverse_proxy ` + backend + ` {
				header_up X-Var {vars.tenant}
				header_up X-Orig {http.request.orig_uri}
			}
		}
	}`)
}

// TestMain is also the process that accepts a task and dies.
func TestMain(m *testing.M) {
	if config := os.Getenv("RINGBACK_TEST_CRASH"); config != "" {
		adapted, err := adapt(config)
		if err == nil {
			err = caddy.Load(adapted, true)
		}
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(3)
		}
		r, _ := http.NewRequest("POST", os.Getenv("RINGBACK_TEST_URL"), strings.NewReader(`{"n":1}`))
		r.Header.Set("Callback-Url", os.Getenv("RINGBACK_TEST_HOOK"))
		response, err := http.DefaultClient.Do(r)
		if err != nil || response.StatusCode != http.StatusAccepted {
			os.Exit(4)
		}
		os.Exit(9) // no stop: a crash
	}
	os.Exit(m.Run())
}

// A process that dies after its 202 leaves nothing undone: the next one calls
// the backend, with no request coming in.
func TestTasksSurviveACrash(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr, dir := freeAddr(t), filepath.Join(t.TempDir(), "store")
	crash := exec.Command(os.Args[0])
	crash.Env = append(os.Environ(),
		"RINGBACK_TEST_CRASH="+crashSite(addr, "127.0.0.1:1", dir), // a backend that is down
		"RINGBACK_TEST_URL=http://"+addr+"/hp/x?y=1",
		"RINGBACK_TEST_HOOK="+hook.url)
	out, err := crash.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	require.Equal(t, 9, exit.ExitCode(), string(out))
	backend.idle(t)

	load(t, crashSite(addr, backend.addr, dir))
	t.Cleanup(func() { stopCaddy(t) })
	saw := backend.next(t)
	require.Equal(t, "POST", saw.Method)
	require.Equal(t, "/x?y=1", saw.URI)
	require.Equal(t, `{"n":1}`, saw.Body)
	require.Equal(t, "acme", saw.Header.Get("X-Var"))
	require.Equal(t, "/hp/x?y=1", saw.Header.Get("X-Orig"))
	require.Equal(t, "answer of b", hook.next(t).Body)
}

// A reload doesn't wait for tasks, and what is still to be called goes to the
// new upstream. A reload that fails changes nothing.
func TestReload(t *testing.T) {
	hook := newReceiver(t)
	release := make(chan struct{})
	old := newBackend(t, "old", func(w http.ResponseWriter, r *http.Request) {
		<-release
		io.WriteString(w, "answer of old")
	})
	fresh := newBackend(t, "fresh", nil)
	addr := freeAddr(t)
	config := func(backend string, options ...string) string {
		return strings.ReplaceAll(site(backend, append(options, "concurrency 1", "name main")...), "ADDR", addr)
	}
	load(t, config(old.addr))
	t.Cleanup(func() { stopCaddy(t) })
	post := func() {
		t.Helper()
		require.Equal(t, http.StatusAccepted, request(t, "POST", "http://"+addr+"/", "", "Callback-Url", hook.url).status)
	}
	post()
	old.next(t)
	post() // waits, for there is one call at a time

	began := time.Now()
	load(t, config(fresh.addr))
	require.Less(t, time.Since(began), patience/3, "a reload must not wait for tasks")
	close(release)
	fresh.next(t)
	// In any order: the second call begins while the outcome of the first is stored.
	require.ElementsMatch(t, []string{"answer of old", "answer of fresh"}, []string{hook.next(t).Body, hook.next(t).Body})

	// Nobody can listen there, so the new configuration fails when it starts.
	broken, err := adapt(config(old.addr) + "\nhttp://:1 {\nbind 192.0.2.1\n}")
	require.NoError(t, err)
	require.Error(t, caddy.Load(broken, true))
	settle(t)
	post()
	fresh.next(t)
	require.Equal(t, "answer of fresh", hook.next(t).Body)
	old.idle(t)
}

// A task whose handler is gone waits for it, and says so.
func TestHandlerIsGone(t *testing.T) {
	hook := newReceiver(t)
	release := make(chan struct{})
	slow := newBackend(t, "slow", func(http.ResponseWriter, *http.Request) { <-release })
	fresh := newBackend(t, "fresh", nil)
	addr := freeAddr(t)
	config := func(name, backend string) string {
		return strings.ReplaceAll(site(backend, "concurrency 1", "name "+name), "ADDR", addr)
	}
	load(t, config("a", slow.addr))
	t.Cleanup(func() { stopCaddy(t) })
	request(t, "POST", "http://"+addr+"/1", "", "Callback-Url", hook.url)
	slow.next(t)
	second := request(t, "POST", "http://"+addr+"/2", "", "Callback-Url", hook.url)

	load(t, config("b", fresh.addr))
	close(release)
	view := request(t, "GET", "http://"+addr+second.header.Get("Location"), "").json(t)
	require.Equal(t, "queued", view["status"])
	require.Contains(t, view["waiting"], `"a"`)
	fresh.idle(t)

	load(t, config("a", fresh.addr))
	require.Equal(t, "/2", fresh.next(t).URI)
	bodies := hook.next(t).Body + hook.next(t).Body
	require.Contains(t, bodies, "answer of fresh")
}

// When the process stops, a call that takes longer than the grace period is
// ended, and made again after the next start without an attempt being spent.
func TestDrain(t *testing.T) {
	hook := newReceiver(t)
	hang := newBackend(t, "hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	fresh := newBackend(t, "fresh", nil)
	addr, dir := freeAddr(t), t.TempDir()
	config := func(backend string) string {
		return strings.NewReplacer("store memory", "store badger "+dir+"\ngrace_period 50ms", "ADDR", addr).Replace(site(backend, "attempts 1"))
	}
	load(t, config(hang.addr))
	got := request(t, "POST", "http://"+addr+"/", "", "Callback-Url", hook.url)
	hang.next(t)
	stopCaddy(t)

	load(t, config(fresh.addr))
	t.Cleanup(func() { stopCaddy(t) })
	require.Equal(t, "1", fresh.next(t).Header.Get(task.HeaderAttempt))
	require.Equal(t, "answer of fresh", hook.next(t).Body)
	require.NotEmpty(t, got.header.Get("Location"))
}

// caddy validate must not open the store, which a running process has locked.
func TestValidateLeavesTheStoreAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	config := crashSite(freeAddr(t), "127.0.0.1:1", dir)
	require.NoError(t, validate(config))
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist)

	load(t, config)
	t.Cleanup(func() { stopCaddy(t) })
	require.NoError(t, validate(config))
}

func TestSameNameIsAnError(t *testing.T) {
	backend := newBackend(t, "b", nil)
	config, err := adapt(strings.ReplaceAll(global()+`
	http://ADDR {
		@a header X-A *
		callback @a
		@b header X-B *
		callback @b {
			attempts 7
		}
		reverse_proxy `+backend.addr+`
	}`, "ADDR", freeAddr(t)))
	require.NoError(t, err)
	err = caddy.Load(config, true)
	require.ErrorContains(t, err, "two different callback handlers have the name")
	require.ErrorContains(t, err, "name subdirective")

	// Names that are given and options that differ are seen by caddy validate.
	require.ErrorContains(t, validate(global()+`
	http://:8080 {
		callback /a {
			name x
		}
		callback /b {
			name x
			attempts 7
		}
		respond x
	}`), `the name "x"`)
}

func TestErrorRoutesAreNoPlace(t *testing.T) {
	config, err := adapt(strings.ReplaceAll(global()+`
	http://ADDR {
		respond "x"
		handle_errors {
			callback
		}
	}`, "ADDR", freeAddr(t)))
	require.NoError(t, err)
	require.ErrorContains(t, caddy.Load(config, true), "handle_errors")
}
