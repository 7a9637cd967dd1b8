package commands

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// Whatever go-httpbin answers a client on the line, the callback has: its
// status, its body, and what describes the body.
func TestCallbackIsTheAnswer(t *testing.T) {
	f := newFront(t, newHTTPBin(t))
	for i, test := range []struct {
		method, path string
		status       int
		attempts     int // backend calls, if not one
	}{
		{"GET", "/status/200", 200, 0},
		{"GET", "/status/204", 204, 0},
		{"GET", "/status/304", 304, 0},
		{"GET", "/status/404", 404, 0},
		{"GET", "/status/418", 418, 0},
		{"GET", "/status/500", 500, 0},
		{"GET", "/status/503", 503, 3},
		{"POST", "/status/503", 503, 0},
		{"PUT", "/status/429", 429, 3},
		{"GET", "/no/such/page", 404, 0},
		{"DELETE", "/bytes/50?seed=7", 200, 0},
		{"GET", "/drip?duration=0.3s&numbytes=30&code=201", 201, 0},
		{"GET", "/bytes/0", 200, 0},
		{"GET", "/bytes/1000?seed=7", 200, 0},
		{"GET", "/bytes/100000?seed=7", 200, 0},
		{"GET", "/stream-bytes/90000?seed=7&chunk_size=1000", 200, 0},
		{"GET", "/range/2000", 200, 0},
		{"GET", "/redirect/1", 302, 0},
		{"GET", "/redirect-to?url=%2Fget&status_code=308", 308, 0},
		{"GET", "/cookies/set?session=secret", 302, 0},
		{"GET", "/response-headers?X-Report=1&Content-Language=de", 200, 0},
		{"GET", "/image/png", 200, 0},
		{"GET", "/image/webp", 200, 0},
		{"GET", "/xml", 200, 0},
		{"GET", "/encoding/utf8", 200, 0},
		{"GET", "/deny", 200, 0},
		{"HEAD", "/image/png", 200, 0},
		{"OPTIONS", "/status/200", 200, 0},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			t.Parallel()
			live, liveBody := exchange(t, f.request(t, test.method, test.path, nil))
			require.Equal(t, test.status, live.StatusCode, "without a callback URL: %s", liveBody)

			name := fmt.Sprint("answer", i)
			r := f.request(t, test.method, test.path, nil)
			r.Header.Set("Callback-Url", f.hook(name))
			resp, body := exchange(t, r)
			require.Equal(t, http.StatusAccepted, resp.StatusCode)
			id := resp.Header.Get(task.HeaderTaskID)
			if test.method != http.MethodHead {
				require.Equal(t, acceptedID(t, body), id)
			}

			c := f.callback(t, name)
			c.requireOutcome(t, fmt.Sprint(test.status))
			require.Equal(t, liveBody, c.body)
			for _, header := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Etag", "Last-Modified"} {
				require.Equal(t, live.Header[header], c.header[header], header)
			}
			for _, header := range []string{"Set-Cookie", "Location", "X-Report", "Server"} {
				require.NotContains(t, c.header, header)
			}
			require.EqualValues(t, max(test.attempts, 1), status(t, f.addr, id)["attempts"])

			result, resultBody := exchange(t, f.request(t, http.MethodGet, "/.callback/tasks/"+id+"/result", nil))
			require.Equal(t, test.status, result.StatusCode)
			require.Equal(t, liveBody, resultBody)
			require.Equal(t, live.Header["Content-Type"], result.Header["Content-Type"])
			for _, header := range []string{"Set-Cookie", "Location"} {
				require.NotContains(t, result.Header, header)
			}
		})
	}
}

// What comes late, in pieces and of unknown length is delivered when it is
// complete. These answers tell of the request, so each is another.
func TestStreamedAnswer(t *testing.T) {
	f := newFront(t, newHTTPBin(t))
	for name, path := range map[string]string{
		"delay":  "/delay/0.5",
		"stream": "/stream/5",
		"jsonl":  "/jsonl?count=5&duration=0.3s",
		"sse":    "/sse?count=5&duration=0.3s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.request(t, http.MethodGet, path, nil)
			r.Header.Set("Callback-Url", f.hook(name))
			id := f.take(t, r)
			c := f.callback(t, name)
			c.requireOutcome(t, "200")
			switch name {
			case "delay":
				require.Contains(t, string(c.body), id, "httpbin echoes Callback-Task-Id")
			case "sse":
				require.Equal(t, 5, bytes.Count(c.body, []byte("event: ping\n")))
				require.Equal(t, "text/event-stream; charset=utf-8", c.header.Get("Content-Type"))
			default:
				lines := json.NewDecoder(bytes.NewReader(c.body))
				for n := range 5 {
					var line struct{ ID int }
					require.NoError(t, lines.Decode(&line))
					require.Equal(t, n, line.ID)
				}
				require.False(t, lines.More())
			}
		})
	}
}

// A packed answer stays packed for who asked for that, and is plain for others.
func TestCompressedAnswer(t *testing.T) {
	f := newFront(t, newHTTPBin(t))
	for _, encoding := range []string{"gzip", ""} {
		name := "packed" + encoding
		r := f.request(t, http.MethodGet, "/gzip", nil)
		r.Header.Set("Callback-Url", f.hook(name))
		if encoding != "" {
			r.Header.Set("Accept-Encoding", encoding)
		}
		f.take(t, r)
		c := f.callback(t, name)
		require.Equal(t, encoding, c.header.Get("Content-Encoding"))
		body := io.Reader(bytes.NewReader(c.body))
		if encoding != "" {
			unpacked, err := gzip.NewReader(body)
			require.NoError(t, err)
			body = unpacked
		}
		var answer struct{ Gzipped bool }
		require.NoError(t, json.NewDecoder(body).Decode(&answer))
		require.True(t, answer.Gzipped)
	}
}

// The backend gets the request as the client made it, without what was meant
// for Ringback.
func TestBackendGetsTheRequest(t *testing.T) {
	f := newFront(t, newHTTPBin(t))
	send := func(path, name string) *http.Request {
		r := f.request(t, http.MethodPut, path+"?z=1&callback_url="+query(f.hook(name))+"&a=%20b&z=3&empty=&flag", []byte("the\x00body\r\n"))
		r.Host = "app.example:" + f.addr[strings.LastIndex(f.addr, ":")+1:]
		r.Header = http.Header{
			"Content-Type":                  {"text/plain"},
			"X-Repeat":                      {"one", "two, three"},
			"Cookie":                        {"session=secret"},
			"Authorization":                 {"Bearer token"},
			"Accept-Encoding":               {"identity"},
			"User-Agent":                    {"client/1"},
			"X-Forwarded-For":               {"192.0.2.1"},
			"Prefer":                        {"respond-async, return=minimal"},
			"Callback-Events":               {"completed"},
			"Callback-Header-Authorization": {"Basic receiver"},
			"Callback-Task-Id":              {"of another"},
		}
		return r
	}
	id := f.take(t, send("/anything/a%2Fb/%C3%BC", "echo"))
	c := f.callback(t, "echo")
	c.requireOutcome(t, "200")
	require.Equal(t, "Basic receiver", c.header.Get("Authorization"))
	require.NotContains(t, c.header, "Cookie")

	var echo struct {
		Method, URL, Data, Origin string
		Headers                   http.Header
		Args                      map[string][]string
	}
	require.NoError(t, json.Unmarshal(c.body, &echo))
	host := send("", "").Host
	require.Equal(t, http.MethodPut, echo.Method)
	require.Equal(t, "http://"+host+"/anything/a%2Fb/%C3%BC?z=1&a=%20b&z=3&empty=&flag", echo.URL)
	require.Equal(t, "the\x00body\r\n", echo.Data)
	require.Equal(t, "127.0.0.1", echo.Origin, "by X-Forwarded-For, which clients can't set")
	require.Equal(t, http.Header{
		"Host":              {host},
		"Content-Type":      {"text/plain"},
		"Content-Length":    {"10"},
		"X-Repeat":          {"one", "two, three"},
		"Cookie":            {"session=secret"},
		"Authorization":     {"Bearer token"},
		"Accept-Encoding":   {"identity"},
		"User-Agent":        {"client/1"},
		"Prefer":            {"return=minimal"},
		"Via":               {"1.1 Caddy"},
		"X-Forwarded-For":   {"127.0.0.1"},
		"X-Forwarded-Host":  {host},
		"X-Forwarded-Proto": {"http"},
		"Callback-Task-Id":  {id},
		"Callback-Attempt":  {"1"},
		"Idempotency-Key":   {id},
	}, echo.Headers)
}

// Python's http.server speaks HTTP/1.0: the end of the connection ends the body.
func TestPythonBackend(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "report.json"), []byte(`{"total":1}`), 0o600))
	program(t, addr, "python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", dir, addr[strings.LastIndex(addr, ":")+1:])
	f := newFront(t, addr)
	for _, test := range []struct{ method, path, status, contentType, body string }{
		{"GET", "/report.json", "200", "application/json", `{"total":1}`},
		{"HEAD", "/report.json", "200", "application/json", ""},
		{"GET", "/none", "404", "text/html;charset=utf-8", "Error code: 404"},
		{"POST", "/report.json", "501", "text/html;charset=utf-8", "Unsupported method"},
	} {
		name := test.method + test.status
		r := f.request(t, test.method, test.path, []byte(strings.Repeat("x", len(test.method)-3)))
		r.Header.Set("Callback-Url", f.hook(name))
		resp, _ := exchange(t, r)
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		c := f.callback(t, name)
		c.requireOutcome(t, test.status)
		require.Equal(t, test.contentType, c.header.Get("Content-Type"))
		require.Contains(t, string(c.body), test.body)
		if test.body == "" {
			require.Empty(t, c.body)
		}
	}
}

// nginx refuses a body while it is still being sent, packs answers, and
// names versions of files.
func TestNginxBackend(t *testing.T) {
	installed(t, "nginx")
	dir, addr := t.TempDir(), freeAddr(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "report.txt"), []byte(strings.Repeat("report ", 1000)), 0o644))
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, []byte(strings.ReplaceAll(`
daemon off;
master_process off;
pid DIR/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	types { text/plain txt; }
	gzip on;
	server {
		listen `+addr+`;
		root DIR;
		client_max_body_size 1k;
		location /old { return 301 /new; }
		location /busy { add_header Retry-After 0 always; return 503; }
		location /drop { return 444; }
	}
}`, "DIR", dir)), 0o600))
	program(t, addr, "nginx", "-p", dir, "-c", config)
	f := newFront(t, addr)
	for _, test := range []struct {
		name, method, path string
		size               int // of the request's body
		status             string
	}{
		{"file", "GET", "/report.txt", 0, "200"},
		{"redirect", "GET", "/old", 0, "301"},
		{"method", "POST", "/report.txt", 100, "405"},
		{"large", "POST", "/report.txt", 2000, "413"},
		{"huge", "POST", "/report.txt", 5 << 20, "413"},
		{"busy", "GET", "/busy", 0, "503"},
		{"drop", "GET", "/drop", 0, "502"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := f.request(t, test.method, test.path, make([]byte, test.size))
			r.Header.Set("Callback-Url", f.hook(test.name))
			f.take(t, r)
			c := f.callback(t, test.name)
			c.requireOutcome(t, test.status)
			switch test.name {
			case "file":
				require.Len(t, c.body, 7000)
				require.NotEmpty(t, c.header.Get("Last-Modified"))
			case "drop":
				require.Contains(t, string(c.body), task.CodeBackendError)
			default:
				require.Contains(t, string(c.body), test.status)
			}
		})
	}
}

// phpEcho tells all that PHP makes of a request.
const phpEcho = `<?php
header('Content-Type: application/json');
http_response_code(201);
$files = [];
foreach ($_FILES as $name => $f) $files[$name] = [$f['name'], file_get_contents($f['tmp_name'])];
$callback = array_filter(array_keys($_SERVER), fn($k) => str_contains($k, 'CALLBACK'));
echo json_encode([
	'method' => $_SERVER['REQUEST_METHOD'], 'uri' => $_SERVER['REQUEST_URI'], 'get' => (object)$_GET,
	'post' => (object)$_POST, 'files' => (object)$files, 'input' => file_get_contents('php://input'),
	'length' => $_SERVER['CONTENT_LENGTH'] ?? '', 'callback' => array_values($callback),
]);
`

// What is left of a form when the callback URL is cut out is a form to PHP.
func TestPHPBackend(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.php"), []byte(phpEcho), 0o600))
	program(t, addr, "php", "-S", addr, "-t", dir)
	f := newFront(t, addr)
	part := func(name, value string) string {
		return "--B\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	for name, test := range map[string]struct {
		contentType, body string
		post, files       string
		input             string
	}{
		"form":      {"application/x-www-form-urlencoded", "a=1&callback_url=HOOKESC&b%5B%5D=2&b[]=%C3%BC", `{"a":"1","b":["2","ü"]}`, `{}`, "a=1&b%5B%5D=2&b[]=%C3%BC"},
		"multipart": {"multipart/form-data; boundary=B", part("a", "1") + part("callbackUrl", "HOOK") + part(`f"; filename="r.txt`, "file\r\n--C") + "--B--\r\n", `{"a":"1"}`, `{"f":["r.txt","file\r\n--C"]}`, ""},
		"json":      {"application/json", `{ "a": 1.50, "callback_url" : "HOOK" ,"b":"\u00fc" }`, `{}`, `{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.NewReplacer("HOOKESC", query(f.hook(name)), "HOOK", f.hook(name)).Replace(test.body)
			r := f.request(t, http.MethodPost, "/index.php/path?q=1&q[x]=2", []byte(body))
			r.Header.Set("Content-Type", test.contentType)
			f.take(t, r)
			c := f.callback(t, name)
			c.requireOutcome(t, "201")
			var echo struct {
				Method, URI, Input, Length string
				Get, Post, Files           json.RawMessage
				Callback                   []string
			}
			require.NoError(t, json.Unmarshal(c.body, &echo), "%s", c.body)
			require.Equal(t, http.MethodPost, echo.Method)
			require.Equal(t, "/index.php/path?q=1&q[x]=2", echo.URI)
			require.JSONEq(t, test.post, string(echo.Post))
			require.JSONEq(t, test.files, string(echo.Files))
			require.ElementsMatch(t, []string{"HTTP_CALLBACK_TASK_ID", "HTTP_CALLBACK_ATTEMPT"}, echo.Callback)
			if test.input != "" {
				require.Equal(t, test.input, echo.Input)
			}
			if name == "json" {
				require.JSONEq(t, `{"a":1.50,"b":"ü"}`, echo.Input)
				require.Contains(t, echo.Input, `1.50`)
				require.Contains(t, echo.Input, `"\u00fc" }`)
			}
			if name != "multipart" {
				require.Equal(t, fmt.Sprint(len(echo.Input)), echo.Length)
			}
		})
	}
}
