package task_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

func TestOneHostIsOneLane(t *testing.T) {
	for _, same := range [][]string{
		{"https://host.example/a", "https://host.example:443/", "https://HOST.example./b", "http://host.example:80", "https://u:p@host.example"},
		{"https://host.example:8443/", "http://host.example.:8443/x"},
		{"https://192.0.2.1/", "https://[::ffff:192.0.2.1]/"},
		{"https://[2001:db8::1]/", "https://[2001:0db8:0:0::1]:443/"},
	} {
		for _, url := range same {
			require.Equal(t, task.HostLane(same[0]), task.HostLane(url), url)
		}
	}
	require.NotEqual(t, task.HostLane("https://host.example/"), task.HostLane("https://www.host.example/"))
	require.NotEqual(t, task.HostLane("https://host.example/"), task.HostLane("https://host.example:80/"))
	require.NotPanics(t, func() { task.HostLane("://") })
}

func TestWhoSharesTheTrials(t *testing.T) {
	group := func(url string) string { return task.RegistrableDomain(task.HostLane(url)) }
	require.Equal(t, group("https://a.example.com/"), group("https://b.c.example.com:8443/"))
	require.NotEqual(t, group("https://a.example.com/"), group("https://a.example.net/"))
	require.NotEqual(t, group("https://a.co.uk/"), group("https://b.co.uk/"))
	require.Equal(t, group("https://192.0.2.1/"), group("https://192.0.2.200/"))
	require.NotEqual(t, group("https://192.0.2.1/"), group("https://192.0.3.1/"))
	require.Equal(t, group("https://[2001:db8:1:2::1]/"), group("https://[2001:db8:1:3::9]/"))
	require.Equal(t, "localhost", group("http://localhost/"))
}

// Thousands of hosts that swallow time, with one domain or with many, do not
// keep a callback from a host that nobody has seen before.
func TestTarpitsDoNotDelayANewHost(t *testing.T) {
	for name, tarpit := range map[string]func(n int) string{
		"of one domain":   func(n int) string { return fmt.Sprintf("h%d.tarpit.example", n) },
		"of many domains": func(n int) string { return fmt.Sprintf("www.tarpit%d.example", n) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(r *task.Route) { r.Concurrency = 1000 })
				w.hears(func(r *http.Request) (*http.Response, error) {
					if strings.Contains(r.URL.Host, "tarpit") {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return answer(200), nil
				})
				for n := range 6016 {
					w.accept(func(a *task.Acceptance) { a.CallbackURL = "https://" + tarpit(n) + "/" })
				}
				time.Sleep(time.Second)
				for n := range 5 {
					id := w.accept(func(a *task.Acceptance) { a.CallbackURL = fmt.Sprintf("https://www.healthy%d.example/", n) })
					start := time.Now()
					for w.task(id).Callback.Status != task.CallbackDelivered {
						time.Sleep(100 * time.Millisecond)
					}
					require.LessOrEqual(t, time.Since(start), 5*time.Second)
				}
			})
		})
	}
}

// After a restart hosts are found in their lanes again, and parked deliveries
// leave the lane of their route.
func TestLanesAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.DeliveryConcurrency = 1 })
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		for n := range 20 {
			w.accept(func(a *task.Acceptance) { a.CallbackURL = fmt.Sprintf("https://host%d.example/", n%2) })
		}
		time.Sleep(time.Second)
		running, most := 0, 0
		w.hears(func(r *http.Request) (*http.Response, error) {
			io.Copy(io.Discard, r.Body)
			w.mu.Lock()
			running++
			most = max(most, running)
			w.mu.Unlock()
			time.Sleep(time.Second)
			w.mu.Lock()
			running--
			w.mu.Unlock()
			return answer(200), nil
		})
		w.restart(ended())
		time.Sleep(time.Minute)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		require.Equal(t, 2, most, "one of each host")
		require.Zero(t, w.engine.Stats())
	})
}

// A route that comes just as its deliveries are found to have none gets them.
func TestARouteThatComesAsADeliveryIsParked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		for range 10 {
			w.accept()
		}
		synctest.Wait()
		w.hears(nil)
		w.engine.Stop(ended())
		w.engine = task.New(task.Options{Store: &slowReads{w.store, time.Second}})
		require.NoError(t, w.engine.Start())
		for range 20 { // at any moment of the attempts
			time.Sleep(time.Second / 2)
			unregister := w.engine.Register(w.route)
			synctest.Wait()
			unregister()
		}
		w.engine.Register(w.route)
		time.Sleep(time.Minute)
		require.Zero(t, w.engine.Stats())
	})
}
