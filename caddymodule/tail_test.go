package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// What a backend sees of a task is what it sees of the same request live.
func TestTail(t *testing.T) {
	b1, b2, hook := newBackend(t, "b1", nil), newBackend(t, "b2", nil), newReceiver(t)
	const user = "Basic Ym9iOmhpY2N1cA==" // bob:hiccup
	upstream := `{
		header_up X-Orig {http.request.orig_uri}
		header_up X-Var {vars.tenant}
		header_up X-Client {client_ip}
		header_up X-Local {http.request.local}
		header_up X-User {http.auth.user.id}
		header_up X-Re {re.seg.1}
		header_up X-Map {mapped}
		header_up X-Remote {http.request.remote.host}
	}`
	config := strings.NewReplacer("B1", b1.addr, "B2", b2.addr, "UP", upstream, "CALLBACK", "callback {\nallow 127.0.0.0/8\nname ").Replace(
		strings.Replace(global(), "auto_https off", "auto_https off\n\t\tservers {\n\t\t\ttrusted_proxies static 127.0.0.1/32\n\t\t}", 1) + `
	&(shared) {
		route {
			CALLBACK named
			}
			reverse_proxy B1 UP
		}
	}
	&(only) {
		CALLBACK only
		}
	}
	&(inner) {
		CALLBACK inner
		}
	}
	&(outer) {
		route {
			invoke inner
			reverse_proxy B2
		}
	}
	http://ADDR {
		vars tenant acme
		map {path} {mapped} {
			~^/slow/(.*)$ "was-${1}"
			default none
		}
		encode gzip
		@slow path /slow/*
		basic_auth /auth/* {
			bob $2a$04$f4apu7kmmt8peJWLqa.YReu7Qlh3//dcpyjs1oRNBGN.dV.QfuVS.
		}
		@upper path /Upper/*
		uri @upper replace /Upper /upper

		callback @slow {
			allow 127.0.0.0/8
			name top
		}
		handle_path /hp/* {
			CALLBACK hp
			}
			rewrite * /v2{uri}
			reverse_proxy B1 UP
		}
		handle_path /inner/* {
			handle_path /more/* {
				CALLBACK stripped
				}
				reverse_proxy B1 UP
			}
		}
		handle /auth/* {
			route {
				request_header +X-Add one
				request_header -X-Gone
				CALLBACK auth
				}
				handle_path /auth/a/* {
					reverse_proxy B1 UP
				}
				handle {
					reverse_proxy B2 UP
				}
			}
		}
		handle /rewritten/* {
			rewrite * /new{uri}?added=1&{query}
			CALLBACK rewritten
			}
			reverse_proxy B1 UP
		}
		handle /method/* {
			method PUT
			CALLBACK method
			}
			reverse_proxy B1
		}
		handle /named/* {
			invoke shared
		}
		handle /only/* {
			route {
				invoke only
				reverse_proxy B2
			}
		}
		handle /nested/* {
			invoke outer
		}
		@re path_regexp seg ^/re/(\w+)
		handle @re {
			CALLBACK re
			}
			reverse_proxy B1 UP
		}
		handle /groups/* {
			route {
				rewrite /groups/one /groups/changed
				CALLBACK groups
				}
				@one path /groups/changed
				handle @one {
					reverse_proxy B1
				}
				handle {
					reverse_proxy B2
				}
			}
		}
		handle /query/* {
			CALLBACK query
			}
			@q query x=1
			reverse_proxy @q B1
			reverse_proxy B2
		}
		handle /upper/* {
			CALLBACK upper
			}
			reverse_proxy B1 UP
		}
		handle /slow/* {
			reverse_proxy B1 UP
		}
		handle {
			reverse_proxy B2
		}
	}`)
	addr := serve(t, config)

	for _, c := range []struct {
		method, uri string
		header      []string
	}{
		{"POST", "/slow/a", nil},
		{"POST", "/hp/x%2Fy?b=2&a=1&a=%41", nil},
		{"POST", "/inner/more/x?c", nil},
		{"POST", "/auth/a/x", nil},
		{"POST", "/auth/b/x", nil},
		{"PUT", "/rewritten/x?y=2", nil},
		{"POST", "/method/x", nil},
		{"POST", "/named/x", nil},
		{"POST", "/only/x", nil},
		{"POST", "/nested/x", nil},
		{"DELETE", "/re/word/x", nil},
		{"POST", "/groups/one", nil},
		{"POST", "/groups/two", nil},
		{"POST", "/query/x?x=1&y=2", nil},
		{"POST", "/query/x?x=2", nil},
		{"POST", "/Upper/x", nil},
		{"POST", "/slow/../slow/b//c", nil},
		{"POST", "/slow/x", []string{"Connection", "X-Hop", "X-Hop", "1", "Te", "trailers"}},
	} {
		t.Run(c.method+" "+c.uri, func(t *testing.T) {
			backends := []*backendServer{b1, b2}
			header := append([]string{"Authorization", user, "X-Forwarded-For", "203.0.113.9", "Accept-Encoding", "gzip",
				"X-Many", "1", "X-Many", "2", "X-Gone", "1", "Host", "127.0.0.1"}, c.header...)
			live := request(t, c.method, "http://"+addr+c.uri, "hello", header...)
			require.Equal(t, http.StatusOK, live.status, live.body)
			want := which(t, backends)

			got := request(t, c.method, "http://"+addr+c.uri, "hello", append(header, "Callback-Url", hook.url)...)
			require.Equal(t, http.StatusAccepted, got.status, got.body)
			saw := which(t, backends)
			for _, name := range []string{task.HeaderTaskID, task.HeaderAttempt, "Idempotency-Key"} {
				require.NotEmpty(t, saw.Header[name], name)
				saw.Header.Del(name)
			}
			require.Equal(t, want, saw)
			require.Equal(t, "answer of "+want.Name, hook.next(t).Body)
		})
	}
	got := request(t, "POST", "http://"+addr+"/inner/more/x", "", "Callback-Url", hook.url)
	b1.next(t)
	require.True(t, strings.HasPrefix(got.header.Get("Location"), "/inner/more/.callback/tasks/"), got.header.Get("Location"))
	require.Equal(t, http.StatusOK, request(t, "GET", "http://"+addr+got.header.Get("Location"), "").status)
}

// which returns what the one backend saw that was called.
func which(t *testing.T, backends []*backendServer) seen {
	t.Helper()
	select {
	case s := <-backends[0].saw:
		backends[1].idle(t)
		return s
	case s := <-backends[1].saw:
		backends[0].idle(t)
		return s
	case <-t.Context().Done():
		return seen{}
	}
}

// What answers need not be a reverse_proxy; and if nothing does, or it fails,
// the callback says so.
func TestTailAnswers(t *testing.T) {
	hook := newReceiver(t)
	down := freeAddr(t)
	breaks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Write([]byte("hello"))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(breaks.Close)
	up := newBackend(t, "up", nil)
	addr := serve(t, strings.NewReplacer("DOWN", down, "BREAKS", breaks.Listener.Addr().String(), "UP", up.addr).Replace(global()+`
	(cb) {
		callback {
			name {args[0]}
			allow 127.0.0.0/8
			attempts 1
			url_from $request.header.callback-url
		}
	}
	http://ADDR {
		handle /respond {
			import cb respond
			respond "hi {path}" 418
		}
		handle /nothing {
			import cb nothing
		}
		handle /sibling {
			import cb sibling
			@never path /other
			respond @never "not this"
		}
		handle /down {
			import cb down
			reverse_proxy DOWN
		}
		handle /failover {
			import cb failover
			reverse_proxy DOWN UP {
				lb_policy round_robin
				lb_try_duration 2s
			}
		}
		handle /breaks {
			import cb breaks
			reverse_proxy BREAKS
		}
		handle /error {
			import cb error
			error "no" 503
		}
		handle /quiet {
			import cb quiet
			error "no" 504
		}
		handle /response {
			import cb response
			reverse_proxy UP {
				@ok status 2xx
				handle_response @ok {
					respond "was {rp.status_code}" 201
				}
			}
		}
		handle /php {
			import cb php
			php_fastcgi DOWN {
				try_files index.php
			}
		}
		handle {
			respond "fallback"
		}
		handle_errors {
			@quiet path /quiet
			handle @quiet {
				header X 1
			}
			handle {
				respond "custom {err.status_code}"
			}
		}
	}`))
	for path, want := range map[string]struct{ status, body, code string }{
		"/respond":  {"418", "hi /respond", ""},
		"/nothing":  {"502", "", "nothing is configured"},
		"/sibling":  {"502", "", "nothing is configured"},
		"/down":     {"502", "custom 502", ""},
		"/failover": {"200", "answer of up", ""},
		"/breaks":   {"502", "", "no usable answer"},
		"/error":    {"503", "custom 503", ""},
		"/quiet":    {"504", "", ""}, // as a live request
		"/response": {"201", "was 200", ""},
		"/php":      {"502", "custom 502", ""},
	} {
		t.Run(path, func(t *testing.T) {
			got := request(t, "POST", "http://"+addr+path, "hello", "Callback-Url", hook.url)
			require.Equal(t, http.StatusAccepted, got.status, got.body)
			callback := hook.next(t)
			require.Equal(t, want.status, callback.Header.Get("Callback-Status"), callback.Body)
			if want.code != "" {
				require.Contains(t, callback.Body, want.code)
			} else {
				require.Equal(t, want.body, callback.Body)
			}
		})
	}
}

func TestSeveralUpstreams(t *testing.T) {
	b1, b2, hook := newBackend(t, "b1", nil), newBackend(t, "b2", nil), newReceiver(t)
	addr := serve(t, site(b1.addr+" "+b2.addr+" {\n lb_policy round_robin\n }"))
	for range 4 {
		request(t, "POST", "http://"+addr+"/", "", "Callback-Url", hook.url)
		hook.next(t)
	}
	require.Len(t, b1.saw, 2)
	require.Len(t, b2.saw, 2)
}

func TestDerivedNames(t *testing.T) {
	addr, other := freeAddr(t), freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	_, otherPort, err := net.SplitHostPort(other)
	require.NoError(t, err)
	load(t, fmt.Sprintf(global()+`
	http://localhost:%[1]s, http://localhost:%[2]s {
		callback /top/*
		handle /api/* {
			callback
			respond "x"
		}
		handle_path /a/* {
			handle /b/* {
				@post method POST
				callback @post
				respond "x"
			}
		}
		respond "x"
	}
	http://:%[1]s {
		callback
		respond "x"
	}`, port, otherPort))
	t.Cleanup(func() { stopCaddy(t) })
	app := currentApp(t)
	names := make(map[string]int)
	for _, h := range app.handlers {
		names[h.name]++
	}
	require.Equal(t, map[string]int{
		"localhost:" + port + "/top/*": 1, "localhost:" + otherPort + "/top/*": 1,
		"localhost:" + port + "/api/*": 1, "localhost:" + otherPort + "/api/*": 1,
		"localhost:" + port + "/a/* /b/* POST": 1, "localhost:" + otherPort + "/a/* /b/* POST": 1,
		":" + port: 1,
	}, names)
}
