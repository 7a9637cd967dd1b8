package task_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// Envelopes hold their bodies in memory while they are sent. However many are
// on their way to receivers that read slowly, together they are bounded, and a
// receiver that is known to work is not held up.
func TestTheMemoryOfEnvelopesIsBounded(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	fmt.Fprintf(z, `{"text":"%s"}`, strings.Repeat("x", 7<<20))
	z.Close()
	limit := debug.SetMemoryLimit(256 << 20) // an eighth is 32 MiB
	defer debug.SetMemoryLimit(limit)
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Concurrency = 4 })
		w.answers(func(_ context.Context, call *task.Call, rw http.ResponseWriter) error {
			rw.Header().Set("Content-Type", "application/json")
			if call.Request.URL == "/small" {
				_, err := io.WriteString(rw, `{"a":1}`)
				return err
			}
			rw.Header().Set("Content-Encoding", "gzip")
			_, err := rw.Write(zipped.Bytes())
			return err
		})
		sending, most := 0, 0
		w.route.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			defer w.enter()()
			if strings.HasPrefix(r.URL.Host, "tarpit") {
				w.mu.Lock()
				sending++
				most = max(most, sending)
				w.mu.Unlock()
				<-r.Context().Done()
				w.mu.Lock()
				sending--
				w.mu.Unlock()
				return nil, r.Context().Err()
			}
			io.Copy(io.Discard, r.Body)
			return answer(200), nil
		})
		envelope := func(url, host string) task.ID {
			return w.accept(func(a *task.Acceptance) {
				a.Request.URL, a.CallbackURL, a.Client.Format = url, "https://"+host+"/", task.FormatEnvelope
			})
		}
		known := envelope("/small", "healthy.example")
		synctest.Wait()
		require.Equal(t, task.CallbackDelivered, w.task(known).Callback.Status)
		for n := range 40 {
			envelope("/large", fmt.Sprintf("tarpit%d.example", n))
		}
		time.Sleep(10 * time.Second)
		small, large := envelope("/small", "new.example"), envelope("/large", "healthy.example")
		time.Sleep(10 * time.Second)
		require.Equal(t, task.CallbackDelivered, w.task(small).Callback.Status, "what is small needs no share")
		require.Equal(t, task.CallbackDelivered, w.task(large).Callback.Status)
		w.mu.Lock()
		require.LessOrEqual(t, most, 4)
		w.mu.Unlock()
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		require.Less(t, m.HeapAlloc, uint64(128<<20))
		w.engine.Stop(ended())
	})
}
