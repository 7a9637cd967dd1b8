package caddymodule

import (
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// Caddy's FastCGI transport looks at no context: a script runs as long as it
// does. The timeout, a cancel and the grace period hold all the same.
func TestWhatHoldsForFastCGI(t *testing.T) {
	const script = 6 * time.Second
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	begun := make(chan struct{}, 3)
	go fcgi.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		time.Sleep(script)
		io.WriteString(w, "late")
	}))
	site := func(options string) string {
		return global("store memory", "grace_period 1s") + `http://ADDR {
			callback_tasks
			callback {
				allow 127.0.0.0/8
				` + options + `
			}
			reverse_proxy ` + ln.Addr().String() + ` {
				transport fastcgi
			}
		}`
	}
	hook := newReceiver(t)

	t.Run("timeout", func(t *testing.T) {
		addr := serve(t, site("timeout 1s\nattempts 1"))
		began := time.Now()
		request(t, "POST", "http://"+addr+"/", "", "Callback-Url", hook.url)
		<-begun
		callback := hook.next(t)
		require.Less(t, time.Since(began), script)
		require.Equal(t, "task.failed", callback.Header.Get("Callback-Event"))
		require.Contains(t, callback.Body, task.CodeBackendTimeout)
	})
	t.Run("cancel", func(t *testing.T) {
		addr := serve(t, site(""))
		accepted := request(t, "POST", "http://"+addr+"/", "", "Callback-Url", hook.url)
		<-begun
		began := time.Now()
		canceled := request(t, "DELETE", "http://"+addr+accepted.header.Get("Location"), "")
		require.Equal(t, http.StatusOK, canceled.status)
		require.Less(t, time.Since(began), script/2)
		require.Equal(t, "task.canceled", hook.next(t).Header.Get("Callback-Event"))
	})
	t.Run("grace period", func(t *testing.T) {
		var stopping time.Time
		t.Cleanup(func() { require.Less(t, time.Since(stopping), script/2) }) // when it has stopped
		addr := serve(t, site(""))
		request(t, "POST", "http://"+addr+"/", "", "Callback-Url", hook.url)
		<-begun
		stopping = time.Now()
	})
}
