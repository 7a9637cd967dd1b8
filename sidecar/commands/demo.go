package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/signature"
)

var demoCommand = caddycmd.Command{
	Name:  "demo",
	Short: "Shows a callback from beginning to end, in three seconds",
	Long: `
Starts a slow backend, a callback receiver and the sidecar on loopback
addresses, sends one request, and prints what happens as it happens. It leaves
nothing behind, and fails if the right callback does not come.
`,
	CobraFunc: func(cmd *cobra.Command) {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), demoTimeout)
			defer cancel()
			return runDemo(ctx, newStory(cmd.OutOrStdout()), backendDelay)
		}
	},
}

const (
	backendDelay = 2 * time.Second
	demoTimeout  = 20 * time.Second

	demoQuestion = `{"month":"may"}`
	demoAnswer   = `{"month":"may","total":1234.50}`
)

// runDemo plays the demo and tells it. An error means that something did not
// go as it must.
func runDemo(ctx context.Context, tell *story, delay time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "ringback-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	secret := signature.GenerateSecret()
	backend, err := startServer(demoBackend(tell, delay))
	if err != nil {
		return err
	}
	defer backend.Close()
	came := make(chan error, 1)
	receiver, err := startServer(demoReceiver(tell, secret, came))
	if err != nil {
		return err
	}
	defer receiver.Close()
	front, err := freeAddress()
	if err != nil {
		return err
	}
	o := &options{
		from:          "http://" + front,
		to:            []string{"http://" + backend.Addr},
		data:          filepath.Join(dir, "data"),
		allow:         []string{receiver.Addr},
		secrets:       []string{secret},
		maxBody:       "1MiB",
		maxResponse:   "1MiB",
		concurrency:   4,
		timeout:       "10s",
		attempts:      1,
		onInterrupted: "run",
		gracePeriod:   "2s",
	}
	config, err := o.config()
	if err != nil {
		return err
	}
	config.Logging = logging("ERROR")
	if err := caddy.Run(config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, caddy.Stop()) }()

	tell.begin(fmt.Sprintf("a backend that takes %s for each answer and knows nothing of callbacks, "+
		"ringback in front of it, and a receiver", delay))
	if err := demoRequest(ctx, tell, "http://"+front+"/reports", "http://"+receiver.Addr+"/hook"); err != nil {
		return err
	}
	select {
	case err = <-came:
	case <-ctx.Done():
		err = errors.New("no callback came")
	}
	if err == nil {
		tell.end()
	}
	return err
}

// demoRequest makes the request, as any client would.
func demoRequest(ctx context.Context, tell *story, to, hook string) error {
	target := to + "?callback_url=" + url.QueryEscape(hook)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader([]byte(demoQuestion)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	tell.line("client", "→ POST "+to+"?callback_url="+hook, demoQuestion)
	began := time.Now()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var accepted struct {
		TaskID string `json:"task_id"`
	}
	if err := json.NewDecoder(response.Body).Decode(&accepted); err != nil || response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the answer is %s, want 202 Accepted", response.Status)
	}
	tell.line("client", "← "+response.Status, fmt.Sprintf("after %s the client is free; task %s is safe on disk",
		time.Since(began).Round(100*time.Microsecond), accepted.TaskID))
	return nil
}

// demoBackend is slow, and knows nothing of callbacks.
func demoBackend(tell *story, delay time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		tell.line("backend", "← "+r.Method+" "+r.RequestURI, string(body)+"  (no callback_url: it is the request as ever)")
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
		tell.line("backend", "→ 200 OK", demoAnswer)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, demoAnswer)
	})
}

// demoReceiver gets the callback, and checks it.
func demoReceiver(tell *story, secret string, came chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verify(r.Header, body, secret, time.Now())
		}
		switch {
		case err != nil:
		case string(body) != demoAnswer:
			err = fmt.Errorf("the callback has the body %q, want %q", body, demoAnswer)
		case r.Header.Get(task.HeaderStatus) != "200":
			err = fmt.Errorf("the callback has the status %q, want 200", r.Header.Get(task.HeaderStatus))
		default:
			tell.line("receiver", "← "+r.Method+" "+r.RequestURI, string(body)+"  Callback-Status: 200, signature verified")
			tell.line("receiver", "→ 200 OK", "delivered; had it failed, it would be tried again for three days")
		}
		select {
		case came <- err:
		default:
		}
	})
}

// startServer serves on a free loopback port.
func startServer(handler http.Handler) (*http.Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Addr: ln.Addr().String(), Handler: handler, ReadHeaderTimeout: demoTimeout}
	go server.Serve(ln)
	return server, nil
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
