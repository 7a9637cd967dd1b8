package commands

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// curl runs curl, and returns the answer's body, status and HTTP version.
func curl(t *testing.T, stdin string, args ...string) (body []byte, status, version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "curl", append([]string{"--disable", "--silent", "--show-error", "--insecure",
		"--noproxy", "*", "--write-out", "\n%{http_code} %{http_version}"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	require.NoError(t, err, "curl %q: %s", args, log.String())
	last := bytes.LastIndexByte(out, '\n')
	_, err = fmt.Sscan(string(out[last:]), &status, &version)
	require.NoError(t, err)
	return out[:last], status, version
}

// However curl sends a callback URL, it gets a 202, and the backend gets the
// request without it.
func TestCurl(t *testing.T) {
	installed(t, "curl")
	f := newFront(t, newHTTPBin(t))
	file := filepath.Join(t.TempDir(), "large.bin")
	large := make([]byte, 3<<20)
	rand.Read(large)
	require.NoError(t, os.WriteFile(file, large, 0o600))
	header := []string{"-H", "Callback-Url: HOOK"}
	json := []string{"-H", "Content-Type: application/json; charset=utf-8"}
	eventually(t, "there is a certificate", func() bool {
		conn, err := tls.Dial("tcp", f.tls, &tls.Config{InsecureSkipVerify: true})
		return err == nil && conn.Close() == nil
	})
	const form = "application/x-www-form-urlencoded"

	for _, test := range []struct {
		name    string
		args    []string // and URL, if there is none
		stdin   string
		version string // of HTTP, or its beginning; empty: 1.1

		method, query, contentType, body string // of what the backend got
	}{
		{name: "header", args: append(header, "-d", "a=1"), contentType: form, body: "a=1"},
		{name: "header X-Callback-URL", args: []string{"-H", "X-Callback-URL: HOOK", "-d", "a=1"}, contentType: form, body: "a=1"},
		{name: "query", args: []string{"-d", "a=1", "URL?z=%20&callback_url=HOOKESC&a=1"}, query: "?z=%20&a=1", contentType: form, body: "a=1"},
		{name: "query callbackUrl", args: []string{"URL?callbackUrl=HOOK"}, method: "GET"},
		{name: "query encoded by curl", args: []string{"-G", "--data-urlencode", "callback-url=HOOK", "-d", "b=ü"}, method: "GET", query: "?b=ü"},
		{name: "json callback_url", args: append(json, "-d", `{"a":1.0,"callback_url":"HOOK"}`), body: `{"a":1.0}`},
		{name: "json callbackUrl", args: append(json, "-d", `{"callbackUrl":"HOOK", "a":1.0}`), body: `{ "a":1.0}`},
		{name: "json callbackURL", args: append(json, "-d", `{"callbackURL":"HOOK"}`), body: `{}`},
		{name: "json callback-url", args: append(json, "-d", `{"a":1e400,"callback-url":"HOOK","b":"\u00fc"}`), body: `{"a":1e400,"b":"\u00fc"}`},
		{name: "json pretty", args: append(json, "--data-binary", "{\n  \"callback_url\": \"HOOK\",\n  \"a\": [ 1 ]\n}\n"), body: "{\n  \"a\": [ 1 ]\n}\n"},
		{name: "form", args: []string{"-d", "a=1", "-d", "callback_url=HOOK", "-d", "b="}, contentType: form, body: "a=1&b="},
		{name: "form encoded by curl", args: []string{"--data-urlencode", "callback_url=HOOK?x=1&y=2", "--data-urlencode", "a=b&c"}, contentType: form, body: "a=b%26c"},
		{name: "only the url in a form", args: []string{"-d", "callback_url=HOOK"}, contentType: form},
		{name: "chunked", args: append(header, "-H", "Transfer-Encoding: chunked", "-H", "Content-Type: text/x", "--data-binary", "@-"), stdin: "streamed", contentType: "text/x", body: "streamed"},
		{name: "chunked json", args: append(json, "-H", "Transfer-Encoding: chunked", "--data-binary", "@-"), stdin: `{"callback_url":"HOOK"}`, body: `{}`},
		{name: "upload", args: append(header, "-T", "FILE"), method: "PUT", body: string(large)},
		{name: "large with Expect", args: append(header, "-H", "Expect: 100-continue", "-H", "Content-Type: application/json", "--data-binary", "@FILE"), contentType: "application/json", body: string(large)},
		{name: "large chunked", args: append(header, "-H", "Transfer-Encoding: chunked", "-H", "Content-Type:", "-X", "PATCH", "--data-binary", "@FILE"), method: "PATCH", body: string(large)},
		{name: "HTTP/1.0", args: append(header, "-0", "-d", "a=1"), version: "1", contentType: form, body: "a=1"},
		{name: "delete", args: append(header, "-X", "DELETE"), method: "DELETE"},
		{name: "https", args: append(header, "--http1.1", "-d", "a=1", "TLS"), contentType: form, body: "a=1"},
		{name: "https, HTTP/2", args: append(header, "--http2", "-d", "a=1", "TLS"), version: "2", contentType: form, body: "a=1"},
		{name: "https, HTTP/2, stdin", args: append(header, "--http2", "-H", "Content-Type: text/x", "-T", "-", "TLS"), stdin: "streamed", version: "2", method: "PUT", contentType: "text/x", body: "streamed"},
		{name: "h2c offered", args: append(header, "--http2", "-d", "a=1"), contentType: form, body: "a=1"},
		{name: "h2c offered, json", args: append(json, "--http2", "-d", `{"callback_url":"HOOK"}`), body: `{}`},
		{name: "h2c", args: append(header, "--http2-prior-knowledge", "-d", "a=1"), version: "2", contentType: form, body: "a=1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			name := strings.NewReplacer(" ", "-", "/", "-", ",", "", ".", "").Replace(test.name)
			fill := strings.NewReplacer("HOOKESC", query(f.hook(name)), "HOOK", f.hook(name), "FILE", file,
				"URL?", "http://"+f.addr+"/dump/request?", "TLS", "https://"+f.tls+"/dump/request")
			args := make([]string, len(test.args))
			for i, arg := range test.args {
				args[i] = fill.Replace(arg)
			}
			if all := strings.Join(test.args, " "); !strings.Contains(all, "URL?") && !strings.HasSuffix(all, "TLS") {
				args = append(args, "http://"+f.addr+"/dump/request")
			}
			body, status, version := curl(t, fill.Replace(test.stdin), args...)
			require.Equal(t, "202", status, "%s", body)
			require.True(t, strings.HasPrefix(version, or(test.version, "1.1")), version)
			id := acceptedID(t, body)

			c := f.callback(t, name)
			c.requireOutcome(t, "200")
			got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.body)))
			require.NoError(t, err)
			gotBody, err := io.ReadAll(got.Body)
			require.NoError(t, err)
			require.Equal(t, or(test.method, "POST"), got.Method)
			require.Equal(t, "/dump/request"+test.query, got.RequestURI)
			require.True(t, test.body == string(gotBody), "the body is %.200q", gotBody)
			if test.contentType != "" {
				require.Equal(t, test.contentType, got.Header.Get("Content-Type"))
			}
			for _, header := range []string{"Expect", "Connection", "Upgrade", "Http2-Settings"} {
				require.NotContains(t, got.Header, header)
			}
			require.NotContains(t, string(c.body[:bytes.Index(c.body, []byte("\r\n\r\n"))]), f.receiver.Listener.Addr().String())
			for header := range got.Header {
				if strings.HasPrefix(header, "Callback-") {
					require.Contains(t, []string{"Callback-Task-Id", "Callback-Attempt"}, header)
				}
			}
			require.Equal(t, id, got.Header.Get("Callback-Task-Id"))
		})
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// A form with files, as curl and browsers send it, loses one field.
func TestCurlMultipart(t *testing.T) {
	installed(t, "curl")
	f := newFront(t, newHTTPBin(t))
	file := filepath.Join(t.TempDir(), "report.csv")
	require.NoError(t, os.WriteFile(file, []byte("a,b\r\n1,2\r\n"), 0o600))
	body, status, _ := curl(t, "", "-F", "before=1", "-F", "callback_url="+f.hook("form"), "-F", "file=@"+file, "-F", "after=ü", "http://"+f.addr+"/dump/request")
	require.Equal(t, "202", status, "%s", body)

	got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(f.callback(t, "form").body)))
	require.NoError(t, err)
	parts, err := got.MultipartReader()
	require.NoError(t, err)
	var fields []string
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		fields = append(fields, describe(t, part))
	}
	require.Equal(t, []string{"before= 1", "file=report.csv a,b\r\n1,2\r\n", "after= ü"}, fields)
}

func describe(t *testing.T, part *multipart.Part) string {
	t.Helper()
	content, err := io.ReadAll(part)
	require.NoError(t, err)
	return part.FormName() + "=" + part.FileName() + " " + string(content)
}

// Who waits for 100 Continue learns of a refusal before sending the body.
func TestCurlIsRefusedBeforeTheBody(t *testing.T) {
	installed(t, "curl")
	f := newFront(t, newHTTPBin(t))
	file := filepath.Join(t.TempDir(), "large.bin")
	require.NoError(t, os.WriteFile(file, make([]byte, 3<<20), 0o600))
	body, status, uploaded := curl(t, "", "--write-out", "\n%{http_code} %{size_upload}", "-T", file,
		"-H", "Expect: 100-continue", "--expect100-timeout", "30", "-H", "Callback-Url: http://10.0.0.1/", "http://"+f.addr+"/")
	require.Equal(t, "403", status)
	require.Equal(t, "0", uploaded)
	require.Contains(t, string(body), "urn:ringback:problem:callback-url-not-allowed")
}

// A WebSocket passes, and one with a callback URL is refused.
func TestWebSocketPasses(t *testing.T) {
	f := newFront(t, newHTTPBin(t))
	dial := func(header string) (net.Conn, *bufio.Reader, *http.Response) {
		conn, err := net.Dial("tcp", f.addr)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = fmt.Fprintf(conn, "GET /websocket/echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", f.addr, header)
		require.NoError(t, err)
		from := bufio.NewReader(conn)
		resp, err := http.ReadResponse(from, nil)
		require.NoError(t, err)
		return conn, from, resp
	}
	conn, from, resp := dial("")
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", resp.Header.Get("Sec-WebSocket-Accept"), "the example of RFC 6455")
	// A text frame with "Hello", masked, and the same unmasked: RFC 6455, section 5.7.
	_, err := conn.Write([]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58})
	require.NoError(t, err)
	frame := make([]byte, 7)
	_, err = io.ReadFull(from, frame)
	require.NoError(t, err)
	require.Equal(t, []byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'}, frame)

	_, _, resp = dial("Callback-Url: " + f.hook("websocket") + "\r\n")
	require.Equal(t, http.StatusNotImplemented, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
}

// What passes is not held up: the backend reads a body while the client still
// writes it, and the client reads the answer while the backend still writes it.
func TestStreamsPass(t *testing.T) {
	arrived, finish := make(chan string, 1), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 5)
		io.ReadFull(r.Body, first)
		arrived <- string(first)
		rest, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %s;", rest)
		http.NewResponseController(w).Flush()
		<-finish
		io.WriteString(w, "done")
	}))
	t.Cleanup(backend.Close)
	f := newFront(t, backend.Listener.Addr().String())

	body, write := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, "http://"+f.addr+"/", body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/octet-stream")
	go func() {
		io.WriteString(write, "first")
		if got := <-arrived; got != "first" {
			write.CloseWithError(fmt.Errorf("the backend got %q", got))
			return
		}
		io.WriteString(write, "second")
		write.Close()
	}()
	resp, err := plainClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	first := make([]byte, len("got second;"))
	_, err = io.ReadFull(resp.Body, first)
	close(finish)
	require.NoError(t, err)
	require.Equal(t, "got second;", string(first))
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "done", string(rest))
}
