package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// parse is the options of a command line.
func parse(t *testing.T, args ...string) *options {
	t.Helper()
	o := new(options)
	flags := pflag.NewFlagSet("sidecar", pflag.ContinueOnError)
	o.register(flags)
	require.NoError(t, flags.Parse(args))
	require.NoError(t, environment(flags))
	return o
}

func TestFrom(t *testing.T) {
	for from, want := range map[string]origin{
		"http://127.0.0.1:8080":  {listen: "127.0.0.1:8080"},
		"127.0.0.1:8080":         {listen: "127.0.0.1:8080"},
		"[::1]:8080":             {listen: "[::1]:8080"},
		"localhost:8080":         {listen: "localhost:8080"},
		":8080":                  {listen: ":8080"},
		"http://:80":             {listen: ":80"},
		"http://example.com":     {listen: ":80", host: "example.com"},
		"example.com":            {listen: ":443", host: "example.com", https: true},
		"example.com:8443":       {listen: ":8443", host: "example.com", https: true},
		"https://localhost:8443": {listen: "localhost:8443", host: "localhost", https: true},
	} {
		got, err := parseFrom(from)
		require.NoError(t, err, from)
		require.Equal(t, want, got, from)
	}
	for _, from := range []string{"ftp://x", "http://x/path", "https://:443", "http://x:99999", "8080", "http://8080", "8080:80"} {
		_, err := parseFrom(from)
		require.ErrorContains(t, err, "--from", from)
	}
}

func TestTo(t *testing.T) {
	for to, want := range map[string]string{
		"http://127.0.0.1:3000": "127.0.0.1:3000",
		"127.0.0.1:3000":        "127.0.0.1:3000",
		"app":                   "app:80",
		":3000":                 "localhost:3000",
		"http://[::1]:3000/":    "[::1]:3000",
		"unix//run/app.sock":    "unix//run/app.sock",
	} {
		dial, https, err := parseTo([]string{to})
		require.NoError(t, err, to)
		require.False(t, https)
		require.Equal(t, []string{want}, dial)
	}
	dial, https, err := parseTo([]string{"https://app", "https://app:8443"})
	require.NoError(t, err)
	require.True(t, https)
	require.Equal(t, []string{"app:443", "app:8443"}, dial)
	for _, to := range [][]string{{"ftp://x"}, {"http://x/path"}, {"http://u:p@x"}, {"http://a", "https://b"}} {
		_, _, err := parseTo(to)
		require.ErrorContains(t, err, "--to", to)
	}
}

func TestFlagErrors(t *testing.T) {
	for args, want := range map[string]string{
		"--to x":                                "--from is missing",
		"--from 8080 --to x":                    `--from is "8080": a port alone is written :8080`,
		"--from :1 --to 3000":                   `--to is "3000": a port alone is written :3000`,
		"--from :1":                             "--to is missing",
		"--from 127.0.0.1:81 --to localhost:81": `--to is "localhost:81", which is where --from takes requests`,
		"--from :81 --to x:81 --to http://[::1]:81":   `--to is "http://[::1]:81", which is where --from takes requests`,
		"--from localhost:81 --to :81":                `which is where --from takes requests`,
		"--from :1 --to x --max-body ten":             `--max-body is "ten"`,
		"--from :1 --to x --max-response 0":           `--max-response is "0"`,
		"--from :1 --to x --timeout 5":                `--timeout is "5"`,
		"--from :1 --to x --grace-period -1s":         `--grace-period is "-1s"`,
		"--from :1 --to x --concurrency 0":            "--concurrency",
		"--from :1 --to x --on-interrupted maybe":     `--on-interrupted is "maybe"`,
		"--from :1 --to x --match reports":            `--match is "reports"`,
		"--from :1 --to x --url-from callback_url":    "--url-from: bad runtime expression",
		"--from :1 --to x --allow 10.0.0.1/8":         "--allow 10.0.0.1/8",
		"--from :1 --to x --allow-origin example.com": "--allow-origin: allow_origin is",
		"--from :1 --to x --only http":                "--only http",
		"--from :1 --to x --secret short":             "--secret: ",
		"--from :1 --to x --secret {env.RINGBACK_NO}": "--secret: ",
	} {
		_, err := parse(t, strings.Fields(args)...).config()
		require.ErrorContains(t, err, want, args)
		require.NotContains(t, err.Error(), "\n", args)
	}
}

func TestNoLoop(t *testing.T) {
	for _, args := range []string{
		"--from 127.0.0.1:81 --to 127.0.0.1:82", "--from 127.0.0.1:81 --to 127.0.0.2:81", "--from :81 --to app:81",
		"--from 127.0.0.1:81 --to [::1]:81", "--from :81 --to unix//run/app.sock",
	} {
		config, err := parse(t, strings.Fields(args)...).config()
		require.NoError(t, err, args)
		require.Contains(t, string(config.AppsRaw["http"]), `"protocols":["h1","h2c"]`)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("RINGBACK_FROM", ":1")
	t.Setenv("RINGBACK_TO", "a:1,b:2 c:3")
	t.Setenv("RINGBACK_URL_FROM", "$request.header.x\n$request.query.y")
	t.Setenv("RINGBACK_SECRET", "a-secret-of-16-bytes, another-secret-of-16")
	t.Setenv("RINGBACK_CONCURRENCY", "3")
	t.Setenv("RINGBACK_MAX_BODY", "5MiB")
	t.Setenv("RINGBACK_DEBUG", "true")
	o := parse(t, "--from", ":2")
	require.Equal(t, ":2", o.from, "flags go first")
	require.Equal(t, []string{"a:1", "b:2", "c:3"}, o.to)
	require.Equal(t, []string{"$request.header.x", "$request.query.y"}, o.urlFrom)
	require.Equal(t, []string{"a-secret-of-16-bytes", "another-secret-of-16"}, o.secrets)
	require.Equal(t, 3, o.concurrency)
	require.Equal(t, "5MiB", o.maxBody)
	require.True(t, o.debug)

	for name, want := range map[string]string{
		"RINGBACK_TIMOUT": "RINGBACK_TIMOUT is no option; did you mean RINGBACK_TIMEOUT?", "RINGBACK_SECRETS": "did you mean RINGBACK_SECRET?",
		"RINGBACK_MAXBODY": "did you mean RINGBACK_MAX_BODY?", "RINGBACK_FORM": "did you mean RINGBACK_FROM?",
		"RINGBACK_PORT": "", "RINGBACK_PORT_80_TCP_ADDR": "", "RINGBACK_SERVICE_HOST": "", "RINGBACK_OF_MY_OWN": "", "RINGBACKUP": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "1")
			flags := pflag.NewFlagSet("sidecar", pflag.ContinueOnError)
			new(options).register(flags)
			if err := environment(flags); want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, want)
			}
		})
	}

	t.Setenv("RINGBACK_CONCURRENCY", "many")
	flags := pflag.NewFlagSet("sidecar", pflag.ContinueOnError)
	new(options).register(flags)
	require.ErrorContains(t, environment(flags), `RINGBACK_CONCURRENCY is "many"`)
}

// Whatever the flags are, Caddy takes the configuration.
func TestConfigIsValid(t *testing.T) {
	for _, args := range []string{
		"--from :8080 --to 127.0.0.1:3000",
		"--from https://example.com --to https://a --to https://b --match /reports/* --match /x --only *.example.com --admin localhost:2019 --access-log --debug",
		"--from http://127.0.0.1:8080 --to http://app:3000 --allow private,http --allow-origin https://app.example.com --secret a-secret-of-16-bytes --url-from $request.body#/x --on-interrupted fail",
	} {
		config, err := parse(t, append(strings.Fields(args), "--data", t.TempDir())...).config()
		require.NoError(t, err, args)
		// Through JSON, as when it runs.
		text, err := json.Marshal(config)
		require.NoError(t, err)
		var again caddy.Config
		require.NoError(t, json.Unmarshal(text, &again))
		require.NoError(t, caddy.Validate(&again), args)
	}
}

// Only requests for --match become tasks, and any Host will do.
func TestMatch(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "live") }))
	defer backend.Close()
	front, err := freeAddress()
	require.NoError(t, err)
	config, err := parse(t, "--from", front, "--to", backend.URL, "--match", "/reports/*", "--data", t.TempDir(), "--allow", "127.0.0.1:9").config()
	require.NoError(t, err)
	config.Logging = logging("ERROR")
	require.NoError(t, caddy.Run(config))
	defer func() { require.NoError(t, caddy.Stop()) }()
	for path, want := range map[string]int{"/reports/1": http.StatusAccepted, "/other": http.StatusOK} {
		r, err := http.NewRequest("POST", "http://"+front+path, nil)
		require.NoError(t, err)
		r.Host = "app.internal"
		r.Header.Set("Callback-Url", "http://127.0.0.1:9/")
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, want, response.StatusCode, path)
		if want != http.StatusAccepted {
			continue
		}
		status, err := http.Get("http://" + front + response.Header.Get("Location"))
		require.NoError(t, err)
		status.Body.Close()
		require.Equal(t, http.StatusOK, status.StatusCode)
	}
}

func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), demoTimeout)
	defer cancel()
	var out bytes.Buffer
	require.NoError(t, runDemo(ctx, newStory(&out), 50*time.Millisecond))
	for _, want := range []string{"202 Accepted", "POST /reports\n", demoAnswer, "signature verified"} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "\x1b", "no colours but on a terminal")
}

// The demo fails if the callback does not come.
func TestDemoFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, runDemo(ctx, newStory(io.Discard), time.Minute), "no callback came")
}

func TestVerify(t *testing.T) {
	header := http.Header{}
	require.ErrorContains(t, verify(header, nil, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", time.Now()), "webhook-timestamp")
	// The example of Standard Webhooks.
	header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set("webhook-timestamp", "1614265330")
	header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	body := []byte(`{"test": 2432232314}`)
	at := time.Unix(1614265330, 0)
	err := verify(header, body, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", at)
	require.ErrorContains(t, err, "X-Callback-Signature", "the example does not have that one")
	require.ErrorContains(t, verify(header, append(body, ' '), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", at), "webhook-signature")
	require.ErrorContains(t, verify(header, body, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", at.Add(time.Hour)), "too old")
}
