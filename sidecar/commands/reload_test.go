package commands

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// usage is what a process holds.
type usage struct{ goroutines, files, heapMiB int }

func (p *process) usage(admin string) usage {
	p.Helper()
	get := func(path string) string {
		resp, err := http.Get("http://" + admin + path)
		require.NoError(p, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(p, err)
		return string(b)
	}
	number := func(pattern, text string) int {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		require.NotNil(p, m, pattern)
		n, err := strconv.Atoi(m[1])
		require.NoError(p, err)
		return n
	}
	heap := get("/debug/pprof/heap?gc=1&debug=1")
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	require.NoError(p, err)
	return usage{
		goroutines: number(`goroutine profile: total (\d+)`, get("/debug/pprof/goroutine?debug=1")),
		files:      len(files),
		heapMiB:    number(`# HeapInuse = (\d+)`, heap) >> 20,
	}
}

// A hundred reloads under load, each to another upstream: nothing is lost,
// none waits for the tasks that run, and nothing leaks.
func TestReloadsLoseNothingAndLeakNothing(t *testing.T) {
	reloads := 100
	if testing.Short() {
		reloads = 10
	}
	dir, addr, admin := t.TempDir(), freeAddr(t), freeAddr(t)
	hang := make(chan struct{})
	answer := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Query().Get("n"), "hang") {
				select {
				case <-hang:
				case <-r.Context().Done():
				}
			}
			time.Sleep(5 * time.Millisecond)
			fmt.Fprint(w, name)
		}
	}
	backends := []*recorder{newRecorder(t, answer("a")), newRecorder(t, answer("b"))}
	receiver := newRecorder(t, nil)
	text := strings.Replace(site, "admin off", "admin "+admin, 1)
	// Connections to the upstreams of earlier configurations stay open for the
	// keep-alive time, which is 2 minutes by default: no leak, but a long wait.
	text = strings.Replace(text, "reverse_proxy BACKEND", "reverse_proxy BACKEND {\n\t\ttransport http {\n\t\t\tkeepalive 3s\n\t\t}\n\t}", 1)
	config := caddyfile(t, dir, addr, backends[0].addr(), text)
	p := start(t, dir, "run", "--config", config)
	p.listening(addr)

	l := newLoad()
	ctx, cancel := context.WithCancel(t.Context())
	clients := l.run(ctx, 4, addr, receiver.addr())
	eventually(t, "there is some load", func() bool { return len(receiver.names()) > 50 })
	// A call that goes on through all reloads.
	a, code, err := submit(t.Context(), addr, "hang", "http://"+receiver.addr()+"/?n=hang", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, code)
	eventually(t, "the call hangs", func() bool { return len(backends[0].times("hang")) > 0 })

	reload := func(n int) {
		b, err := os.ReadFile(caddyfile(t, dir, addr, backends[n%2].addr(), text))
		require.NoError(t, err)
		resp, err := http.Post("http://"+admin+"/load", "text/caddyfile", bytes.NewReader(b))
		require.NoError(t, err)
		defer resp.Body.Close()
		msg, _ := io.ReadAll(resp.Body)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", msg)
		// Every reload takes effect: the new upstream is called.
		before := len(backends[n%2].names())
		eventually(t, "the new upstream is called", func() bool { return len(backends[n%2].names()) > before })
	}
	for n := 1; n <= 5; n++ { // what is kept once is no leak
		reload(n)
	}
	before := p.usage(admin)
	for n := 6; n <= reloads; n++ {
		reload(n)
	}
	var after usage
	defer func() { t.Logf("before %+v, after %d reloads %+v", before, reloads, after) }()
	eventually(t, "what the reloads left has ended", func() bool {
		after = p.usage(admin)
		// The load makes these go up and down; a leak in each reload would be more.
		room := max(reloads, 100)
		return after.goroutines < before.goroutines+room && after.files < before.files+room && after.heapMiB < before.heapMiB+25
	})
	require.Equal(t, "running", status(t, addr, a.TaskID)["status"], "it was not ended by a reload")
	close(hang)
	cancel()
	clients.Wait()
	l.promised["hang"] = a.TaskID
	l.delivered(t, receiver)
	for name, times := range receiver.names() {
		require.Len(t, times, 1, "callback %s doubled by a reload", name)
	}
	p.stop()
}

// A reload that takes a handler away keeps its tasks, says so once, and shows
// them as waiting; when the handler is back, they run.
func TestTasksOfARemovedHandlerWait(t *testing.T) {
	dir, addr, admin := t.TempDir(), freeAddr(t), freeAddr(t)
	backend := newRecorder(t, nil)
	receiver := newRecorder(t, nil)
	text := strings.Replace(site, "admin off", "admin "+admin, 1)
	with := strings.Replace(text, "callback {\n\t\tallow", "callback {\n\t\tname reports\n\t\tallow", 1)
	without := strings.Replace(text, "callback {\n\t\tallow", "callback {\n\t\tname other\n\t\tallow", 1)
	load := func(text string) {
		b, err := os.ReadFile(caddyfile(t, dir, addr, backend.addr(), text))
		require.NoError(t, err)
		resp, err := http.Post("http://"+admin+"/load", "text/caddyfile", bytes.NewReader(b))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	p := start(t, dir, "run", "--config", caddyfile(t, dir, addr, backend.addr(), with))
	p.listening(addr)
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/work?n=late&callback_url=http://"+receiver.addr()+"/%3Fn=late", nil)
	require.NoError(t, err)
	req.Header.Set("Callback-Delay", "3")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	id := resp.Header.Get("Callback-Task-Id")
	load(without)
	load(without + "\n# again\n")
	require.Equal(t, `no callback handler named "reports" is configured`, status(t, addr, id)["waiting"])
	p.stop()
	require.Equal(t, 1, strings.Count(p.log.String(), "tasks wait for a callback handler"), p.log)

	p = start(t, dir, "run", "--config", caddyfile(t, dir, addr, backend.addr(), with))
	p.listening(addr)
	eventually(t, "the callback has come", func() bool { return len(receiver.times("late")) == 1 })
	p.stop()
}
