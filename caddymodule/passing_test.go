package caddymodule

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Requests without a callback URL reach the backend with the same bytes with
// the handler as without it.
func TestPassingIsByteExact(t *testing.T) {
	backend := newWire(t)
	without := freeAddr(t)
	with := serve(t, site(backend.addr, "scan_limit 100B")+`
	http://`+without+` {
		reverse_proxy `+backend.addr+`
	}`)

	json := func(size int) string { return `{"a":"` + strings.Repeat("x", size-8) + `"}` }
	chunk := func(body string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(body), body) }
	for name, text := range map[string]string{
		"get":                "GET /a%2Fb?c=1&c=2&&d HTTP/1.1\r\nHost: 127.0.0.1\r\nX-B: 1\r\nX-A: 2\r\nX-B: 3\r\nCallback-Events: nonsense\r\n",
		"two slashes":        "GET //x/../y?callbackurl=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n",
		"json":               "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n",
		"json at the limit":  "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n",
		"json over it":       "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 101\r\n",
		"chunked":            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
		"chunked over it":    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
		"chunked, trailer":   "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n",
		"100-continue":       "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\nExpect: 100-continue\r\n",
		"not json after all": "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 5\r\n",
		"empty json":         "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 0\r\n",
		"other type":         "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n",
		"wait without async": "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nPrefer: wait=5, return=minimal\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			body := ""
			var size int
			switch {
			case name == "not json after all":
				body = "a\x00\xffb{"
			case strings.HasPrefix(name, "chunked"):
				size = 60
				if strings.Contains(name, "over") {
					size = 400
				}
				whole := json(size)
				body = chunk(whole[:20]) + chunk(whole[20:]) + "0\r\n"
				if strings.Contains(name, "trailer") {
					body += "X-T: v\r\n"
				}
				body += "\r\n"
			default:
				if _, after, ok := strings.Cut(text, "Content-Length: "); ok {
					fmt.Sscan(after, &size)
				}
				if size > 0 {
					body = json(size)
				}
			}
			text += "Connection: close\r\n\r\n" + body
			answer := raw(t, without, text)
			require.Contains(t, answer, "200 OK", answer)
			want := backend.next(t)
			answerWith := raw(t, with, text)
			require.Equal(t, dateless(answer), dateless(answerWith))
			// Caddy writes the client's port and its own host.
			require.Equal(t, want, backend.next(t))
		})
	}
}

// dateless is an answer without the header that differs from second to second.
func dateless(answer string) string {
	before, after, _ := strings.Cut(answer, "Date: ")
	_, after, _ = strings.Cut(after, "\r\n")
	return before + after
}

// A body of unknown length and unfinished business passes as it comes.
func TestPassingStreams(t *testing.T) {
	began := make(chan string, 1)
	backend := newStreamBackend(t, began)
	addr := serve(t, site(backend, "scan_limit 10B"))
	reader, writer := io.Pipe()
	r, err := http.NewRequest("POST", "http://"+addr+"/", reader)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answered := make(chan reply, 1)
	go func() { answered <- do(t, r) }()
	_, err = io.WriteString(writer, `{"more than":"ten bytes`)
	require.NoError(t, err)
	select {
	case got := <-began: // the backend has the beginning while the end is still to be written
		require.Equal(t, `{"more than":"ten bytes`, got)
	case <-time.After(patience):
		t.Fatal("the body was held back")
	}
	_, err = io.WriteString(writer, `"}`)
	require.NoError(t, err)
	writer.Close()
	select {
	case got := <-answered:
		require.Equal(t, `{"more than":"ten bytes"}`, got.body)
	case <-time.After(patience):
		t.Fatal("no answer came")
	}
}

func newStreamBackend(t *testing.T, began chan<- string) string {
	t.Helper()
	return newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		const head = len(`{"more than":"ten bytes`)
		first := make([]byte, head)
		io.ReadFull(r.Body, first)
		began <- string(first)
		rest, _ := io.ReadAll(r.Body)
		w.Write(append(first, rest...))
	})
}

func TestPassingUpgrade(t *testing.T) {
	backend := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		rw.WriteString(line)
		rw.Flush()
	})
	addr := serve(t, site(backend))
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\nPrefer: respond-async\r\n\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	fmt.Fprint(conn, "hello\n")
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
}

// The client hears 100 Continue only when somebody wants the body, which for
// a task is before the 202.
func TestExpectContinue(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := serve(t, site(backend.addr, "max_body 100B"))
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	reader := bufio.NewReader(conn)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\nCallback-Url: %s\r\n\r\n", hook.url)
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	reader.ReadString('\n')
	fmt.Fprint(conn, "hello")
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, response.StatusCode)
	saw := backend.next(t)
	require.Equal(t, "hello", saw.Body)
	require.Empty(t, saw.Header["Expect"])

	refused, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer refused.Close()
	require.NoError(t, refused.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(refused, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 5000\r\nCallback-Url: %s\r\n\r\n", hook.url)
	response, err = http.ReadResponse(bufio.NewReader(refused), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode, "refused before the body is asked for")
}

func TestHTTP2(t *testing.T) {
	backend, hook := newBackend(t, "b", nil), newReceiver(t)
	addr := freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	serve(t, strings.Replace(global(), "auto_https off", "auto_https disable_redirects\n\t\tlocal_certs\n\t\tstorage file_system "+t.TempDir(), 1)+`
	https://localhost:`+port+` {
		tls internal
		callback {
			allow 127.0.0.0/8
		}
		reverse_proxy `+backend.addr+` {
			header_up X-Local {http.request.local}
			header_up X-Sni {http.request.tls.server_name}
		}
	}`)
	require.Eventually(t, func() bool { // the certificate is made in the background
		conn, err := tls.Dial("tcp", "localhost:"+port, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, patience, 10*time.Millisecond)
	h2 := &http.Client{Timeout: patience, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	defer h2.CloseIdleConnections()
	post := func(header ...string) *http.Response {
		r, err := http.NewRequest("POST", "https://localhost:"+port+"/x", strings.NewReader(`{"a":1}`))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		response, err := h2.Do(r)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, 2, response.ProtoMajor)
		return response
	}
	require.Equal(t, http.StatusOK, post().StatusCode)
	live := backend.next(t)
	require.Equal(t, http.StatusAccepted, post("Callback-Url", hook.url).StatusCode)
	saw := backend.next(t)
	require.Equal(t, live.Body, saw.Body)
	for _, name := range []string{"X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-For", "X-Sni", "X-Local"} {
		require.NotEmpty(t, saw.Header[name], name)
		require.Equal(t, live.Header[name], saw.Header[name], name)
	}
	require.Equal(t, http.StatusMethodNotAllowed, connect(t, "localhost:"+port, hook.url))
}

// connect makes an HTTP/2 CONNECT request with a callback URL and returns the
// status of the answer.
func connect(t *testing.T, addr, hook string) int {
	t.Helper()
	h2 := &http.Client{Timeout: patience, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	defer h2.CloseIdleConnections()
	r, err := http.NewRequest("CONNECT", "https://"+addr, nil)
	require.NoError(t, err)
	r.Header.Set("Callback-Url", hook)
	response, err := h2.Do(r)
	require.NoError(t, err)
	response.Body.Close()
	return response.StatusCode
}

// wire is a backend that shows each request's bytes as they came.
type wire struct {
	addr string
	came chan string
}

func newWire(t *testing.T) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	w := &wire{ln.Addr().String(), make(chan string, 10)}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return w
}

func (w *wire) next(t *testing.T) string {
	t.Helper()
	select {
	case bytes := <-w.came:
		return bytes
	case <-time.After(patience):
		t.Fatal("the backend was not called")
		return ""
	}
}

func (w *wire) serve(conn net.Conn) {
	defer conn.Close()
	var bytes strings.Builder
	reader := bufio.NewReader(io.TeeReader(conn, &bytes))
	r, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	body, err := io.ReadAll(r.Body)
	head, _, _ := strings.Cut(bytes.String(), "\r\n\r\n")
	// Where one chunk ends and another begins is nobody's business.
	w.came <- fmt.Sprintf("%s\n\n%s\n%v %v", head, body, r.Trailer, err)
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}
