package caddymodule

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2"
)

// logged are the messages of the callback app in a log file.
func logged(t *testing.T, path string) (messages []string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var line struct{ Logger, Level, Msg, Error string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
		if line.Logger == "callback" {
			messages = append(messages, line.Level+": "+strings.TrimSpace(line.Msg+" "+line.Error))
		}
	}
	return messages
}

// What works, but not as intended, is told by caddy validate, and again when
// the configuration starts.
func TestWarnings(t *testing.T) {
	const (
		unsigned = "not signed"
		nothing  = "nothing after callback answers"
		never    = "callback never sees a request"
		nobody   = "nobody can see the tasks that bind_user binds"
		endpoint = "callback_tasks with bind_user shows nobody a task"
		unserved = "clients can't reach their tasks"
		secret   = "secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		users    = "basic_auth {\nbob $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.\n}\n"
		signed   = "callback {\n" + secret + "\n}\n"
		bound    = "callback {\n" + secret + "\nbind_user\n}\n"
	)
	for name, c := range map[string]struct {
		site string
		want []string
	}{
		"fine":                   {signed + "reverse_proxy :1", nil},
		"unsigned":               {"callback\nreverse_proxy :1", []string{unsigned}},
		"nothing":                {signed, []string{nothing}},
		"nothing that answers":   {signed + "encode\nheader X 1\nlog", []string{nothing}},
		"php":                    {signed + "php_fastcgi :1", nil},
		"files":                  {signed + "file_server", nil},
		"matched":                {signed + "respond /x y", nil},
		"in a handle":            {"handle /x/* {\n" + signed + "}\nrespond x", []string{unserved}},
		"in a handle, nothing":   {"handle /x/* {\n" + signed + "}\nhandle {\nrespond x\n}\ncallback_tasks", []string{nothing}},
		"behind a handle":        {signed + "handle /x/* {\nrespond x\n}", nil},
		"after the answer":       {"route {\nreverse_proxy :1\n" + signed + "respond x\n}", []string{never}},
		"after an answer":        {"route {\nreverse_proxy /y :1\n" + signed + "respond x\n}", nil},
		"after files":            {"route {\nfile_server {\npass_thru\n}\n" + signed + "respond x\n}", nil},
		"bound":                  {users + bound + "respond x", nil},
		"bound to nobody":        {bound + "respond x", []string{nobody, endpoint}},
		"bound, wrong order":     {"route {\n" + bound + users + "respond x\n}", []string{nobody, endpoint}},
		"bound, elsewhere":       {"handle /x {\n" + users + bound + "respond x\n}\ncallback_tasks {\nbind_user\n}", []string{endpoint}},
		"bound, forward_auth":    {"forward_auth :1 {\nuri /\n}\n" + bound + "respond x", []string{nobody, endpoint}},
		"bound, by vars":         {"route {\nforward_auth :1 {\nuri /\ncopy_headers Remote-User\n}\nvars http.auth.user.id {header.Remote-User}\n" + bound + "respond x\n}", nil},
		"endpoint, not the task": {signed + "handle /jobs/* {\ncallback_tasks {\npath /jobs/\nbind_user\n}\n}\nrespond x", []string{endpoint}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, addr := t.TempDir(), freeAddr(t)
			config := func(log string) string {
				return strings.Replace(global(), "level ERROR", "level WARN\noutput file "+filepath.Join(dir, log), 1) +
					"http://" + addr + " {\n" + c.site + "\n}"
			}
			check := func(log string) {
				t.Helper()
				got := logged(t, filepath.Join(dir, log))
				require.Len(t, got, len(c.want), "%q", got)
				for _, want := range c.want {
					require.Contains(t, strings.Join(got, "\n"), want)
				}
			}
			require.NoError(t, validate(config("validate")))
			check("validate")
			load(t, config("start"))
			defer stopCaddy(t)
			check("start")
		})
	}
}

// What can't be started is an error in what caddy validate prints.
func TestValidateSaysWhatCannotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	config := strings.Replace(global(), "level ERROR", "level WARN\noutput file "+path, 1) + `
	http://` + freeAddr(t) + ` {
		respond x
		handle_errors {
			callback
		}
	}`
	require.NoError(t, validate(config))
	got := logged(t, path)
	require.Len(t, got, 1)
	require.Contains(t, got[0], "error: this configuration can't be started callback can't be in handle_errors")
}

// A named route that is invoked from two places has two tails, and its handler
// is one: what answers must be in the named route.
func TestNamedRouteInvokedTwice(t *testing.T) {
	b1, b2, hook := newBackend(t, "b1", nil), newBackend(t, "b2", nil), newReceiver(t)
	text := func(named, more string) string {
		return strings.NewReplacer("B1", b1.addr, "B2", b2.addr, "NAMED", named).Replace(global() + `
		&(named) {
			route {
				callback {
					allow 127.0.0.0/8
				}
				NAMED
			}
		}
		&(outer) {
			invoke named
		}
		http://ADDR {
			callback_tasks
			handle /a/* {
				invoke named
				reverse_proxy B1
			}
			` + more + `
		}`)
	}
	const twice = "handle /b/* {\ninvoke named\nreverse_proxy B2\n}"
	for _, again := range []string{twice, "handle /b/* {\ninvoke outer\nreverse_proxy B2\n}"} {
		config, err := adapt(strings.ReplaceAll(text("", again), "ADDR", freeAddr(t)))
		require.NoError(t, err)
		require.ErrorContains(t, caddy.Load(config, true), `the named route "named", in which callback is, is invoked from several places`)
	}
	addr := serve(t, text("reverse_proxy "+b1.addr, strings.ReplaceAll(twice, "B2", b2.addr)))
	for _, path := range []string{"/a/x", "/b/x"} {
		require.Equal(t, 202, request(t, "POST", "http://"+addr+path, "", "Callback-Url", hook.url).status)
		b1.next(t)
		require.Equal(t, "answer of b1", hook.next(t).Body)
	}
	b2.idle(t)

	addr = serve(t, text("", ""))
	require.Equal(t, 202, request(t, "POST", "http://"+addr+"/a/x", "", "Callback-Url", hook.url).status)
	require.Equal(t, "answer of b1", hook.next(t).Body)
}

// What security.md says of forward_auth and bind_user works, and the client's
// own word does not count.
func TestBoundByForwardAuth(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	auth := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Remote-User", r.Header.Get("X-Token"))
	})
	addr := serve(t, global()+`
	http://ADDR {
		route {
			forward_auth `+auth+` {
				uri /verify
				copy_headers Remote-User
			}
			vars http.auth.user.id {header.Remote-User}
			callback {
				allow 127.0.0.0/8
				bind_user
			}
			reverse_proxy `+backend.addr+`
		}
	}`)
	url := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", hook.url, "X-Token", "bob").header.Get("Location")
	hook.next(t)
	require.Equal(t, http.StatusOK, request(t, "GET", "http://"+addr+url, "", "X-Token", "bob").status)
	require.Equal(t, http.StatusNotFound, request(t, "GET", "http://"+addr+url, "", "X-Token", "eve", "Remote-User", "bob").status)
	require.Equal(t, http.StatusNotFound, request(t, "GET", "http://"+addr+url, "", "Remote-User", "bob").status)
}
