package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

// Each mistake is found when the Caddyfile is adapted, with its line.
func TestCaddyfileErrors(t *testing.T) {
	for line, want := range map[string]string{
		"nonsense":                                 `unknown subdirective "nonsense" of callback, at Caddyfile:3`,
		"timout 5m":                                `unknown subdirective "timout" of callback; did you mean timeout?, at Caddyfile:3`,
		"sign rfc9421 é":                           `sign: the keyid "é" can't be sent in a header: use printable ASCII only, at Caddyfile:3`,
		"name":                                     `name wants a value, at Caddyfile:3`,
		"name a b":                                 `name wants one value only, and "b" is another, at Caddyfile:3`,
		"url_from":                                 `url_from wants one value or more, at Caddyfile:3`,
		"url_from $response.body":                  `bad runtime expression "$response.body": want $request.header.NAME`,
		"poll maybe":                               `poll is "maybe": want on or off, at Caddyfile:3`,
		"keep_url yes":                             `keep_url stands alone, without "yes", at Caddyfile:3`,
		"scan_limit -1":                            `scan_limit is "-1": want a size such as 10MiB, at Caddyfile:3`,
		"max_body ten":                             `max_body is "ten": want a size such as 10MiB, at Caddyfile:3`,
		"max_response 0":                           `max_response is "0": want a size such as 10MiB, at Caddyfile:3`,
		"concurrency 0":                            `concurrency is "0": want a number above 0, at Caddyfile:3`,
		"attempts many":                            `attempts is "many": want a number above 0, at Caddyfile:3`,
		"timeout 5":                                `timeout is "5": want a duration above 0 such as 90s, 30m or 2d, at Caddyfile:3`,
		"timeout 0s":                               `timeout is "0s": want a duration above 0`,
		"backoff -1s":                              `backoff is "-1s": want a duration above 0`,
		"retention never":                          `retention is "never": want a duration above 0`,
		"retry_schedule 0s x":                      `retry_schedule has "x": want durations such as 0s 5s 5m 2h, at Caddyfile:3`,
		"on_interrupted stop":                      `on_interrupted is "stop": want run or fail, at Caddyfile:3`,
		"sign rfc9999 k":                           `want sign rfc9421 <keyid>, at Caddyfile:3`,
		"secret_for example.com":                   `want secret_for <host> <secret...>, at Caddyfile:3`,
		"allow_origin app.example.com":             `allow_origin is "app.example.com": want an origin such as https://app.example.com, without a path, or *, at Caddyfile:3`,
		"allow 10.0.0.1/8":                         "allow 10.0.0.1/8: the range begins at 10.0.0.0: write 10.0.0.0/8 for it, or 10.0.0.1 for the address, at Caddyfile:3",
		"allow private\nallow x:0":                 `allow x:0: "0" is not a port; want one between 1 and 65535, at Caddyfile:4`,
		"only *":                                   `only *: it would allow everything; name ranges, or hosts as *.example.com, at Caddyfile:3`,
		"only 10.0.0.0/8\npoll on":                 "only 10.0.0.0/8: nothing there is public, so that nothing could be called; add `allow 10.0.0.0/8`, at Caddyfile:3",
		"proxy ftp://u:p@x":                        `proxy: want "environment", or a URL with scheme http, https, socks5 or socks5h, at Caddyfile:3`,
		"default_url /x":                           `default_url: callback URL: it is relative: give an absolute URL, https://..., at Caddyfile:3`,
		"secret {env.X} whsec_%%%%":                `secret: key 2 of 2 is not base64`,
		"secret short":                             `, at Caddyfile:3`,
		"secret_for example.com short":             `secret_for: host "example.com": key 1 of 1`,
		"secret_for http://x {env.X}":              `secret_for: host "http://x" is not a host`,
		"sign rfc9421 k\npoll on":                  `sign needs a secret to sign with: add one with the secret subdirective, at Caddyfile:3`,
		"response_headers X Set-Cookie":            `response_headers: Set-Cookie can't be sent with callbacks: it is for the client only, at Caddyfile:3`,
		"tasks_path jobs":                          `tasks_path is "jobs": want a path that begins with a slash`,
		"tasks_path `/a\"b`":                       `tasks_path is "/a\"b": want a path that begins with a slash`,
		"delivery_timeout {\n}":                    `delivery_timeout wants a value, at Caddyfile:3`,
		"}\ncallback_tasks x {":                    `unexpected "x"`,
		"}\ncallback_tasks {\npaht /x":             `unknown subdirective "paht" of callback_tasks; did you mean path?, at Caddyfile:5`,
		"}\ncallback_tasks {\nnonsense":            `unknown subdirective "nonsense" of callback_tasks, at Caddyfile:5`,
		"}\nhandle /x/* {\ncallback {\nattempts 0": `attempts is "0": want a number above 0, at Caddyfile:6`,
	} {
		t.Run(line, func(t *testing.T) {
			end := "\n}\n}"
			if len(line) > 9 && line[:9] == "}\nhandle " {
				end += "\n}"
			}
			_, err := adapt("http://:8080 {\ncallback {\n" + line + end)
			require.ErrorContains(t, err, want)
			require.Contains(t, err.Error(), ", at Caddyfile:")
		})
	}
	// What depends on a later line, or on the environment, is no error yet.
	for _, line := range []string{"only 10.0.0.0/8\nallow private", "sign rfc9421 k\nsecret {env.X}", "secret_for x {env.X}"} {
		_, err := adapt("http://:8080 {\ncallback {\n" + line + "\n}\n}")
		require.NoError(t, err, line)
	}
	for line, want := range map[string]string{
		"grace_perod 5s":                         `unknown subdirective "grace_perod" of the global option callback; did you mean grace_period?, at Caddyfile:3`,
		"store bager":                            `store is "bager": want badger, memory, other; did you mean badger?, at Caddyfile:3`,
		"store badger {\nmin_fre 1\n}":           `unknown subdirective "min_fre" of store badger; did you mean min_free?, at Caddyfile:4`,
		"store badger {\nencryption_key AAAA\n}": `encryption_key has 3 bytes: want 16, 24 or 32, as ` + "`openssl rand -base64 32`" + ` makes, at Caddyfile:4`,
		"nonsense":                               `unknown subdirective "nonsense" of the global option callback, at Caddyfile:3`,
		"store":                                  `store wants a kind of store: badger, memory, other, at Caddyfile:3`,
		"store nothing":                          `store is "nothing": want badger, memory, other, at Caddyfile:3`,
		"store badger a b":                       `wrong argument count or unexpected line ending after 'b', at Caddyfile:3`,
		"store badger {\nx\n}":                   `unknown subdirective "x" of store badger, at Caddyfile:4`,
		"store badger {\nmax_bytes 1Q\n}":        `max_bytes is "1Q": want a size such as 10MiB, at Caddyfile:4`,
		"store memory {\nx\n}":                   `store memory has no options, at Caddyfile:4`,
		"on_store_failure maybe":                 `on_store_failure is "maybe": want stay or exit, at Caddyfile:3`,
		"max_pending -5":                         `max_pending is "-5": want a number above 0, at Caddyfile:3`,
		"grace_period x":                         `grace_period is "x": want a duration above 0`,
	} {
		t.Run(line, func(t *testing.T) {
			_, err := adapt("{\ncallback {\n" + line + "\n}\n}\nhttp://:8080 {\nrespond x\n}")
			require.ErrorContains(t, err, want)
		})
	}
}

// What the Caddyfile can't know is found by caddy validate.
func TestValidateErrors(t *testing.T) {
	t.Setenv("RINGBACK_TEST_SHORT", "short")
	for line, want := range map[string]string{
		"secret {env.RINGBACK_TEST_NO}":                        "secret: {env.RINGBACK_TEST_NO} has no value: is the variable set, the file there and not empty?",
		"secret {env.RINGBACK_TEST_SHORT}":                     "bytes",
		"default_url http://example.com/":                      "default_url: plain http is not allowed there: use https, or add `allow example.com`",
		"default_url https://10.0.0.1/":                        "default_url: callbacks to 10.0.0.1 are not allowed: only public addresses may be called",
		"default_url http://9.9.9.9/":                          "plain http is not allowed, use https",
		"default_url https://u:p@example.com/":                 "default_url: callback URL: it must not contain a user name or password",
		"default_url https://example.com/\nonly *.example.com": "it is not one of the hosts that may be called",
	} {
		t.Run(line, func(t *testing.T) {
			err := validate(global() + "http://:8080 {\ncallback {\n" + line + "\n}\nrespond x\n}")
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "short")
		})
	}
	for _, lines := range []string{
		"",
		"default_url https://nowhere.example.com/",
		"default_url http://nowhere.example.com/\nallow 10.0.0.0/8", // it might lead there
		"default_url http://10.1.2.3/\nallow 10.0.0.0/8",
	} {
		require.NoError(t, validate(global()+"http://:8080 {\ncallback {\n"+lines+"\n}\nrespond x\n}"), lines)
	}
}

// Configurations in JSON are checked as well.
func TestCheckResponseHeaders(t *testing.T) {
	require.NoError(t, checkResponseHeaders([]string{"X-A", "etag"}))
	for name, want := range map[string]string{
		"set-cookie":        "is for the client only",
		"transfer-encoding": "belongs to the connection",
		"X A":               "is not a header name",
		"":                  "is not a header name",
	} {
		require.ErrorContains(t, (&Handler{ResponseHeaders: []string{name}}).Validate(), want)
	}
}

// A handler that can't see what follows it says so to caddy validate.
func TestValidatePlace(t *testing.T) {
	err := validate(global() + `
	http://:8080 {
		reverse_proxy 127.0.0.1:1 {
			@ok status 200
			handle_response @ok {
				callback
			}
		}
	}`)
	require.ErrorContains(t, err, "callback can't be inside http.handlers.reverse_proxy")
}

// All options arrive where they belong.
func TestCaddyfile(t *testing.T) {
	config, err := adapt(`
	{
		callback {
			store badger /var/lib/x {
				max_bytes 10GB
				min_free 1GiB
				memtable_size 64MiB
				encryption_key {env.K}
			}
			grace_period 5s
			max_pending 7
			retention 2d
			on_store_failure exit
		}
	}
	http://:8080 {
		callback /a/* {
			name n
			url_from $request.header.x $request.query.y
			default_url https://example.com/
			poll off
			keep_url
			scan_limit off
			allow_origin https://app.example.com *
			allow private http
			allow 10.1.2.3:80
			only *.example.com
			credentials
			proxy environment
			secret {env.S} {file./s}
			secret_for example.com a-secret-of-their-own
			sign rfc9421 k
			concurrency 1
			timeout 2m
			attempts 3
			backoff 4s
			on_interrupted fail
			max_body 5KiB
			max_response 6KB
			retention off
			retry_schedule 0s 1m
			delivery_timeout 7s
			delivery_concurrency 8
			response_headers X-A X-B
			tasks_path /jobs/
			bind_user
		}
	}`)
	require.NoError(t, err)
	var parsed struct {
		Apps struct {
			Callback json.RawMessage
			HTTP     struct {
				Servers map[string]struct{ Routes json.RawMessage }
			}
		}
	}
	require.NoError(t, json.Unmarshal(config, &parsed))
	require.JSONEq(t, `{
		"store": {"module": "badger", "dir": "/var/lib/x", "max_bytes": 10000000000, "min_free": 1073741824,
			"memtable_size": 67108864, "encryption_key": "{env.K}"},
		"grace_period": 5000000000, "max_pending": 7, "retention": 172800000000000,
		"on_store_failure": "exit"
	}`, string(parsed.Apps.Callback))
	require.JSONEq(t, `[
		{"match": [{"path": ["/jobs/*"]}], "handle": [{"handler": "callback_tasks", "path": "/jobs/", "bind_user": true}]},
		{"match": [{"path": ["/a/*"]}], "handle": [{
			"handler": "callback", "name": "n", "url_from": ["$request.header.x", "$request.query.y"],
			"default_url": "https://example.com/", "no_poll": true, "keep_url": true, "scan_limit": -1,
			"allow_origins": ["https://app.example.com", "*"],
			"destinations": {"allow": ["private", "http", "10.1.2.3:80"], "only": ["*.example.com"],
				"credentials": true, "proxy": "environment"},
			"secrets": ["{env.S}", "{file./s}"], "host_secrets": {"example.com": ["a-secret-of-their-own"]}, "key_id": "k",
			"concurrency": 1, "timeout": 120000000000, "attempts": 3, "backoff": 4000000000, "on_interrupted": "fail",
			"max_body": 5120, "max_response": 6000, "retention": -1, "retry_schedule": [0, 60000000000],
			"delivery_timeout": 7000000000, "delivery_concurrency": 8, "response_headers": ["X-A", "X-B"],
			"tasks_path": "/jobs/", "bind_user": true
		}]}
	]`, string(parsed.Apps.HTTP.Servers["srv0"].Routes))
}

// The example in the repository works.
func TestExample(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "Caddyfile.example"))
	require.NoError(t, err)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("CALLBACK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, validate(string(example)))
}

// otherStore is a store that somebody else made.
type otherStore struct{ MemoryStore }

// CaddyModule returns the Caddy module information.
func (*otherStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "callback.stores.other", New: func() caddy.Module { return new(otherStore) }}
}

func init() { caddy.RegisterModule(new(otherStore)) }

// Any store that is in the binary can be used in a Caddyfile.
func TestOtherStores(t *testing.T) {
	require.NoError(t, validate(global("store other")+"http://:8080 {\ncallback\nrespond x\n}"))
}

// The list of subdirectives, which suggestions are made from, has all of them.
func TestHandlerOptions(t *testing.T) {
	for _, option := range handlerOptions {
		_, err := adapt("http://:8080 {\ncallback {\n" + option + " a b c d\n}\n}")
		if err != nil {
			require.NotContains(t, err.Error(), "unknown subdirective")
		}
	}
	source, err := os.ReadFile("caddyfile.go")
	require.NoError(t, err)
	body := string(source)[strings.Index(string(source), "func (h *Handler) option("):]
	body = body[:strings.Index(body, "\n}\n")]
	require.Equal(t, len(handlerOptions), strings.Count(body, "\tcase \""))
}
