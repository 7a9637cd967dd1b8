package commands

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// load sends requests from several clients until stopped, and keeps the names
// of those that were answered 202.
type load struct {
	mu       sync.Mutex
	promised map[string]string // name to task id
	sent     map[string]bool
	count    atomic.Int64
	large    int // bytes that a body may have
}

func newLoad() *load {
	return &load{promised: make(map[string]string), sent: make(map[string]bool), large: 220_000}
}

func (l *load) run(ctx context.Context, clients int, addr, receiver string) *sync.WaitGroup {
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for ctx.Err() == nil {
				name := fmt.Sprintf("r%d", l.count.Add(1))
				l.mu.Lock()
				l.sent[name] = true
				l.mu.Unlock()
				body := "body"
				if rand.IntN(20) == 0 { // mostly too large to be kept inline
					body = strings.Repeat("large body ", rand.IntN(l.large/len("large body ")))
				}
				a, status, err := submit(ctx, addr, name, "http://"+receiver+"/hook?n="+name, strings.NewReader(body))
				if err != nil || status != http.StatusAccepted {
					time.Sleep(5 * time.Millisecond) // the server is down
					continue
				}
				l.mu.Lock()
				l.promised[name] = a.TaskID
				l.mu.Unlock()
			}
		})
	}
	return &group
}

// delivered waits until the receiver has heard of all that was promised.
func (l *load) delivered(t *testing.T, receiver *recorder) {
	t.Helper()
	for missing := len(l.promised); missing > 0; { // as long as they become fewer
		before := missing
		eventually(t, "all callbacks have come", func() bool {
			got := receiver.names()
			missing = 0
			for name := range l.promised {
				if len(got[name]) == 0 {
					missing++
				}
			}
			return missing < before || missing == 0
		})
	}
}

// The promise: whatever was answered 202 is called and its outcome delivered,
// though the process is killed again and again at random moments. What is
// delivered twice was under way when a kill fell.
func TestNothingIsLostWhenTheProcessIsKilled(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	dir, addr := t.TempDir(), freeAddr(t)
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		fmt.Fprint(w, "answer to ", r.URL.Query().Get("n"))
	})
	receiver := newRecorder(t, nil)
	config := caddyfile(t, dir, addr, backend.addr(), site)

	l := newLoad()
	ctx, cancel := context.WithCancel(t.Context())
	clients := l.run(ctx, 8, addr, receiver.addr())
	var killed []time.Time
	for range kills {
		p := start(t, dir, "run", "--config", config)
		p.listening(addr)
		time.Sleep(time.Duration(100+rand.IntN(600)) * time.Millisecond) // the kill is to fall anywhere
		p.kill()
		killed = append(killed, time.Now())
	}
	p := start(t, dir, "run", "--config", config)
	p.listening(addr)
	cancel()
	clients.Wait()

	require.NotEmpty(t, l.promised)
	l.delivered(t, receiver)
	calls, callbacks, doubled := 0, 0, 0
	for name, times := range receiver.names() {
		require.True(t, l.sent[name], "a callback for a request that was never sent")
		callbacks += len(times)
		for i := 1; i < len(times); i++ {
			doubled++
			require.True(t, between(killed, times[i-1], times[i]), "callback %s doubled without a kill", name)
		}
	}
	for name, times := range backend.names() {
		calls += len(times)
		for i := 1; i < len(times); i++ {
			require.True(t, between(killed, times[i-1], times[i]), "call %s doubled without a kill", name)
		}
	}
	for _, id := range l.promised {
		eventually(t, "the delivery is recorded", func() bool {
			s := status(t, addr, id)
			return s["callback"].(map[string]any)["status"] == "delivered" && s["status"] == "completed"
		})
	}
	t.Logf("%d kills: %d promised, %d sent, %d backend calls, %d callbacks, %d of them doubled",
		kills, len(l.promised), len(l.sent), calls, callbacks, doubled)
	p.stop()
}

var kills = flag.Int("kills", 8, "how often the process is killed while its options change")

// The same with other options at each start, an encrypted store or not, and
// kills that fall into a start as well. In the end the store is sound.
func TestKillsWhileOptionsChange(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		fmt.Fprint(w, strings.Repeat("answer ", 1+rand.IntN(2)*rand.IntN(20_000)))
	})
	receiver := newRecorder(t, nil)
	secret, check := "", []string{"store", "check", "--data", filepath.Join(dir, "tasks")}
	if rand.IntN(2) == 0 {
		const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
		path := filepath.Join(dir, "key")
		require.NoError(t, os.WriteFile(path, []byte(key), 0o600))
		secret = "encryption_key " + key
		check = append(check, "--key", "{file."+path+"}")
	}
	configure := func() string {
		store := fmt.Sprintf("store badger DIR {\n%s\nmemtable_size %dMiB\n}\n", secret, 1<<(2*rand.IntN(4)))
		if rand.IntN(3) == 0 {
			store += "retention off\n"
		}
		return caddyfile(t, dir, addr, backend.addr(), strings.Replace(site, "store badger DIR", store, 1))
	}
	l := newLoad()
	l.large = 2 << 20
	ctx, cancel := context.WithCancel(t.Context())
	clients := l.run(ctx, 8, addr, receiver.addr())
	var slowest time.Duration
	for n := range *kills {
		p := start(t, dir, "run", "--config", configure())
		if rand.IntN(4) == 0 {
			time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // into its start
			p.kill()
			continue
		}
		began := time.Now()
		p.listening(addr)
		slowest = max(slowest, time.Since(began))
		time.Sleep(time.Duration(rand.IntN(600)) * time.Millisecond)
		p.kill()
		if n%25 == 0 {
			requireSound(t, dir, check)
		}
	}
	requireSound(t, dir, check)
	p := start(t, dir, "run", "--config", configure())
	p.listening(addr)
	cancel()
	clients.Wait()
	require.NotEmpty(t, l.promised)
	l.delivered(t, receiver)
	p.stop()
	requireSound(t, dir, check)
	t.Logf("%d kills: %d promised, %d sent; the slowest start took %v", *kills, len(l.promised), len(l.sent), slowest)
}

// requireSound has a command look at a store that nothing runs on.
func requireSound(t *testing.T, dir string, check []string) {
	t.Helper()
	p := start(t, dir, check...)
	<-p.exited
	require.Zero(t, p.cmd.ProcessState.ExitCode(), p.log.String())
	require.Contains(t, p.log.String(), "nothing is damaged")
}

// between says that one of the moments lies between two others, give or take
// the time that a dying process's last bytes are on their way.
func between(moments []time.Time, from, to time.Time) bool {
	for _, m := range moments {
		if m.After(from.Add(-100*time.Millisecond)) && m.Before(to) {
			return true
		}
	}
	return false
}

// SIGTERM lets calls finish that can within the grace period, puts the others
// back, and loses nothing.
func TestSIGTERMLosesNothing(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	slow := make(chan struct{})
	backend := newRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Query().Get("n"), "slow") {
			select {
			case <-slow:
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprint(w, r.Header.Get("Callback-Attempt"))
	})
	receiver := newRecorder(t, nil)
	config := caddyfile(t, dir, addr, backend.addr(), strings.Replace(site, "grace_period 5s", "grace_period 1s", 1))

	p := start(t, dir, "run", "--config", config)
	p.listening(addr)
	l := newLoad()
	ctx, cancel := context.WithCancel(t.Context())
	clients := l.run(ctx, 4, addr, receiver.addr())
	eventually(t, "there is some load", func() bool { return len(receiver.names()) > 20 })
	a, code, err := submit(ctx, addr, "slow1", "http://"+receiver.addr()+"/?n=slow1", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, code)
	eventually(t, "the slow call runs", func() bool { return len(backend.times("slow1")) > 0 })
	p.stop()
	cancel()
	clients.Wait()

	close(slow)
	p = start(t, dir, "run", "--config", config)
	p.listening(addr)
	l.promised["slow1"] = a.TaskID
	l.delivered(t, receiver)
	require.EqualValues(t, 1, status(t, addr, a.TaskID)["attempts"], "being put back costs no attempt")
	for name, times := range receiver.names() {
		require.Len(t, times, 1, "callback %s doubled by an orderly stop", name)
	}
	p.stop()
}
