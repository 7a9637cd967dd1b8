package caddymodule

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// Whoever announces a large body and sends nothing takes no memory for it,
// wherever the callback URL is.
func TestStalledBodiesTakeNoMemory(t *testing.T) {
	const stalled, announced = 100, 1 << 20
	reading := make(chan struct{}, stalled)
	addr := serve(t, site(newBackend(t, "b", nil).addr))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, head := range []string{ // the smaller one first: it may still be freed while the other is measured
		fmt.Sprintf("Callback-Url: http://127.0.0.1:9/\r\nContent-Length: %d\r\n", 64<<10),
		fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", announced-1),
	} {
		t.Run(head, func(t *testing.T) {
			before := heap()
			for range stalled {
				conn, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				defer conn.Close()
				// The server says that it reads the body.
				_, err = fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\n%s\r\n", addr, head)
				require.NoError(t, err)
				go func() {
					answer := make([]byte, 25)
					n, _ := io.ReadFull(conn, answer)
					if strings.Contains(string(answer[:n]), "100 Continue") {
						reading <- struct{}{}
					}
				}()
			}
			for range stalled {
				<-reading
			}
			require.Less(t, heap()-before, int64(stalled*48<<10))
		})
	}
}

func TestScan(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 10_000, 1 << 20, 1<<20 + 1} {
		for _, length := range []int64{int64(size), -1} {
			body := bytes.Repeat([]byte("x"), size)
			r := httptest.NewRequest(http.MethodPost, "/", iotest.HalfReader(bytes.NewReader(body)))
			r.ContentLength = length
			s, ok := scan(r, 1<<20)
			if !ok {
				require.True(t, length == 0 || length > 1<<20)
				continue
			}
			require.Equal(t, size <= 1<<20, s.whole)
			require.LessOrEqual(t, cap(s.read), max(firstRead, 2*size))
			again, err := io.ReadAll(s.body(r.Body))
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, again))
		}
	}
}
