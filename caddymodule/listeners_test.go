package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// Whoever may call private addresses may not call this process itself: neither
// the admin endpoint, which could replace the configuration, nor anything else
// that listens, however its address is written.
func TestOwnAddresses(t *testing.T) {
	backend := newBackend(t, "b", nil)
	port := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		return port
	}
	adminPort, plainPort := port(freeAddr(t)), port(freeAddr(t))
	hosts := []string{"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"}
	for _, listen := range []string{"localhost:", "127.0.0.1:", ":", "0.0.0.0:", "[::]:", "tcp4/localhost:", "tcp/127.0.0.1:"} {
		t.Run("admin "+listen, func(t *testing.T) {
			text := strings.Replace(site(backend.addr, "allow private"), "admin off", "admin "+listen+adminPort, 1)
			addr := serve(t, text)
			for _, host := range hosts {
				if strings.Contains(host, "::1") && !strings.HasPrefix(listen, ":") && listen != "[::]:" {
					continue // nobody listens there
				}
				for _, path := range []string{"/load", "/stop"} {
					got := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", "http://"+host+":"+adminPort+path)
					require.Equal(t, http.StatusForbidden, got.status, "%s: %s", host, got.body)
					require.Equal(t, task.ProblemForbiddenURL, got.json(t)["type"])
				}
			}
		})
	}
	t.Run("another app's listener", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:"+plainPort)
		require.NoError(t, err)
		defer listener.Close()
		addr := serve(t, site(backend.addr))
		got := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", "http://127.0.0.1:"+plainPort)
		require.Equal(t, http.StatusForbidden, got.status, got.body)
		got = request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", "http://127.0.0.2:"+plainPort)
		require.Equal(t, http.StatusAccepted, got.status, "nobody listens there: %s", got.body)
	})
	t.Run("allowed", func(t *testing.T) {
		addr := serve(t, strings.Replace(site(backend.addr, "allow 127.0.0.1:"+adminPort), "admin off", "admin localhost:"+adminPort, 1))
		got := request(t, "POST", "http://"+addr+"/x", "", "Callback-Url", "http://127.0.0.1:"+adminPort+"/nothing")
		require.Equal(t, http.StatusAccepted, got.status, got.body)
	})
}

func TestListeningSockets(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		listener, err := net.Listen("tcp", listen)
		if err != nil {
			t.Skip("no such address here")
		}
		defer listener.Close()
		require.Contains(t, listeningSockets(), netip.MustParseAddrPort(listener.Addr().String()))
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NotContains(t, listeningSockets(), netip.MustParseAddrPort(conn.LocalAddr().String()), "a connection does not listen")
	}
}

func TestAddrPorts(t *testing.T) {
	for listen, want := range map[string]string{
		":80": "[::]:80", "127.0.0.1:80-81": "127.0.0.1:80 127.0.0.1:81", "localhost:80": "127.0.0.1:80 [::1]:80",
		"tcp6/[::1]:80": "[::1]:80", "unix//run/x": "", "fd/3": "", "name.example:80": "",
	} {
		var got []string
		for _, address := range addrPorts(listen) {
			got = append(got, address.String())
		}
		require.Equal(t, want, strings.Join(got, " "), listen)
	}
}
