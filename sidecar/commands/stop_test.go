package commands

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Clients that wait for their tasks don't hold up a process that stops, though
// Caddy waits for requests without end if there is no grace period.
func TestLongPollsDoNotHoldUpTheExit(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	begun := make(chan struct{}, 2)
	backend := newRecorder(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	})
	text := strings.ReplaceAll(site, "\tgrace_period 5s\n", "")
	text = strings.ReplaceAll(text, "store badger DIR\n", "store badger DIR\n\t\tgrace_period 1s\n")
	p := start(t, dir, "run", "--config", caddyfile(t, dir, addr, backend.addr(), text))
	p.listening(addr)

	answers, sent := make(chan int, 2), make(chan struct{}, 2)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // an idle connection may be closed any time
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent <- struct{}{} }}
	get := func(method, path string, header ...string) {
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, "http://"+addr+path, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			answers <- 0
			return
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		answers <- resp.StatusCode
	}
	task, _, err := submit(t.Context(), addr, "a", "http://"+backend.addr()+"/hook?n=hook", nil)
	require.NoError(t, err)
	go get("GET", "/work?n=b", "Callback-Url", "http://"+backend.addr()+"/hook?n=hook", "Prefer", "respond-async, wait=300")
	go get("GET", task.StatusURL, "Prefer", "wait=300")
	for range 2 {
		<-begun
		<-sent
	}
	began := time.Now()
	p.stop()
	require.Less(t, time.Since(began), 15*time.Second)
	require.ElementsMatch(t, []int{200, 202}, []int{<-answers, <-answers})
}
