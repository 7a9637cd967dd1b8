// Package verifysignature_test starts each of the receivers in this folder
// and sends it callbacks: rightly signed, and not.
package verifysignature_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/signature"
)

func TestGoPlain(t *testing.T) {
	testReceiver(t, receiver{start: goReceiver(t, "go-plain")})
}

func TestGoStandard(t *testing.T) {
	testReceiver(t, receiver{timed: true, start: goReceiver(t, "go-standard")})
}

func TestNode(t *testing.T) {
	dir := npmInstall(t)
	t.Run("plain", func(t *testing.T) {
		testReceiver(t, receiver{start: command("node", filepath.Join(dir, "plain.js"))})
	})
	t.Run("standard", func(t *testing.T) {
		testReceiver(t, receiver{timed: true, textOnly: true, start: command("node", filepath.Join(dir, "standard.js"))})
	})
}

func TestPython(t *testing.T) {
	need(t, "python3")
	testReceiver(t, receiver{timed: true, start: command("python3", "-B", "python/receiver.py")})
}

func TestPHP(t *testing.T) {
	need(t, "php")
	start := func(ctx context.Context, port string) *exec.Cmd {
		return exec.CommandContext(ctx, "php", "-d", "enable_post_data_reading=0", "-S", "127.0.0.1:"+port, "php/receiver.php")
	}
	testReceiver(t, receiver{timed: true, start: start})

	t.Run("no secret", func(t *testing.T) { // the others don't even start
		response, err := http.Post("http://"+run(t, start, "")+"/", "text/plain", http.NoBody)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusInternalServerError, response.StatusCode)
	})
}

func TestShell(t *testing.T) {
	need(t, "sh", "openssl")
	secret := signature.GenerateSecret()
	for _, body := range bodies {
		header := sign(t, secret, body, time.Now()).Get("X-Callback-Signature")
		verify := func(body, secret string) error {
			file := filepath.Join(t.TempDir(), "body")
			require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
			cmd := exec.CommandContext(t.Context(), "sh", "shell/verify.sh", file, header)
			cmd.Env = append(os.Environ(), "CALLBACK_SECRET="+secret)
			return cmd.Run()
		}
		require.NoError(t, verify(body, secret))
		var exit *exec.ExitError
		require.ErrorAs(t, verify(body+"x", secret), &exit)
		require.Equal(t, 1, exit.ExitCode())
		require.ErrorAs(t, verify(body, signature.GenerateSecret()), &exit)
		require.Equal(t, 1, exit.ExitCode())
	}
}

// The README's list is the list of what is there.
func TestReadmeNamesEveryFile(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var linked []string
	for _, match := range regexp.MustCompile(`\]\(([a-z][^):]*)\)`).FindAllStringSubmatch(string(readme), -1) {
		linked = append(linked, match[1])
	}
	var there []string
	for _, pattern := range []string{"*/*.go", "*/*.js", "*/*.py", "*/*.php", "*/*.sh"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		there = append(there, files...)
	}
	require.ElementsMatch(t, there, linked)
}

// bodies are callbacks that are easy to get wrong: bytes that a JSON library
// would write otherwise, none at all, line breaks at the end.
var bodies = []string{
	`{"summary":"done"}`,
	"{ \"b\": 1.0, \"a\": \"\\u00e9 <ü>\" }\r\n\n",
	"",
	"a=1&b=%20",
}

// receiver is one of those that are tested.
type receiver struct {
	timed    bool // it refuses old callbacks
	textOnly bool // it can't verify bodies that are not UTF-8
	start    starter
}

// starter makes the command of a receiver that listens on a port.
type starter func(ctx context.Context, port string) *exec.Cmd

func command(name string, args ...string) starter {
	return func(ctx context.Context, port string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "PORT="+port)
		return cmd
	}
}

// testReceiver starts a receiver and sends it callbacks.
func testReceiver(t *testing.T, r receiver) {
	secret := signature.GenerateSecret()
	address := run(t, r.start, secret)
	post := func(t *testing.T, header http.Header, body string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/", strings.NewReader(body))
		require.NoError(t, err)
		for name, values := range header {
			request.Header[name] = values
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		return response.StatusCode
	}
	refused := func(t *testing.T, header http.Header, body string) {
		t.Helper()
		require.Equal(t, http.StatusUnauthorized, post(t, header, body))
	}

	for i, body := range bodies {
		t.Run(fmt.Sprint("body ", i), func(t *testing.T) {
			good := sign(t, secret, body, time.Now())
			require.Equal(t, http.StatusNoContent, post(t, good, body))
			refused(t, good, body+" ")
			refused(t, sign(t, signature.GenerateSecret(), body, time.Now()), body)
			unsigned := http.Header{"Content-Type": {"application/json"}}
			refused(t, unsigned, body)
		})
	}
	t.Run("form", func(t *testing.T) {
		header := sign(t, secret, bodies[3], time.Now())
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, http.StatusNoContent, post(t, header, bodies[3]))
	})
	t.Run("compressed", func(t *testing.T) {
		if r.textOnly {
			t.Skip("its library takes bodies for text")
		}
		var body strings.Builder
		writer := gzip.NewWriter(&body)
		_, err := io.WriteString(writer, bodies[0])
		require.NoError(t, err)
		require.NoError(t, writer.Close())
		header := sign(t, secret, body.String(), time.Now())
		header.Set("Content-Encoding", "gzip")
		require.Equal(t, http.StatusNoContent, post(t, header, body.String()))
	})
	t.Run("garbled signatures", func(t *testing.T) {
		for _, garbled := range []string{"v1", "v1,", "v1,é", ",", "sha256=", "sha256=00"} {
			header := sign(t, secret, bodies[0], time.Now())
			header.Set("webhook-signature", garbled)
			header.Set("X-Callback-Signature", garbled)
			refused(t, header, bodies[0])
		}
	})
	if !r.timed {
		return
	}
	t.Run("rotation", func(t *testing.T) {
		header := signWith(t, []signature.Key{signature.Key(signature.GenerateSecret()), signature.Key(secret)}, bodies[0], time.Now())
		require.Equal(t, http.StatusNoContent, post(t, header, bodies[0]))
	})
	t.Run("time", func(t *testing.T) {
		refused(t, sign(t, secret, bodies[0], time.Now().Add(-10*time.Minute)), bodies[0])
		refused(t, sign(t, secret, bodies[0], time.Now().Add(10*time.Minute)), bodies[0])
		require.Equal(t, http.StatusNoContent, post(t, sign(t, secret, bodies[0], time.Now().Add(-4*time.Minute)), bodies[0]))

		header := sign(t, secret, bodies[0], time.Now().Add(-10*time.Minute))
		header.Set("webhook-timestamp", strconv.FormatInt(time.Now().Unix(), 10))
		refused(t, header, bodies[0]) // an old one with a new time
		header.Set("webhook-timestamp", "now")
		refused(t, header, bodies[0])
		header = sign(t, secret, bodies[0], time.Now())
		header.Set("webhook-id", "another")
		refused(t, header, bodies[0])
	})
}

// run starts a receiver, waits until it listens and returns its address. It
// ends with the test.
func run(t *testing.T, start starter, secret string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	var output bytes.Buffer
	cmd := start(ctx, port)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "CALLBACK_SECRET="+secret)
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	exited := false
	t.Cleanup(func() {
		cancel()
		if !exited {
			<-ended
		}
		if t.Failed() {
			t.Logf("the receiver wrote:\n%s", &output)
		}
	})

	deadline := time.After(30 * time.Second)
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			require.NoError(t, connection.Close())
			return address
		}
		select {
		case err := <-ended:
			exited = true
			require.FailNow(t, "the receiver ended", "%v", err)
		case <-deadline:
			require.FailNow(t, "the receiver does not listen", "%v", err)
		case <-retry.C:
		}
	}
}

func sign(t *testing.T, secret, body string, at time.Time) http.Header {
	t.Helper()
	return signWith(t, []signature.Key{signature.Key(secret)}, body, at)
}

func signWith(t *testing.T, keys []signature.Key, body string, at time.Time) http.Header {
	t.Helper()
	signer, err := signature.New(signature.Config{Keys: keys})
	require.NoError(t, err)
	header := http.Header{"Content-Type": {"application/json"}, "Callback-Task-Id": {"test"}}
	require.NoError(t, signer.Sign(t.Context(), header, task.Message{
		ID: "msg_test", At: at, URL: &url.URL{Scheme: "https", Host: "receiver.example"}, Size: int64(len(body)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil },
	}))
	return header
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
}

// goReceiver builds, so that ending the process ends the receiver and not "go run".
func goReceiver(t *testing.T, folder string) starter {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "receiver")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+folder).CombinedOutput()
	require.NoError(t, err, "%s", output)
	return command(binary)
}

// npmInstall returns a copy of the node folder with its packages installed.
func npmInstall(t *testing.T) string {
	t.Helper()
	need(t, "node", "npm")
	if testing.Short() {
		t.Skip("installs npm packages")
	}
	dir := t.TempDir()
	for _, file := range []string{"package.json", "plain.js", "standard.js"} {
		content, err := os.ReadFile(filepath.Join("node", file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), content, 0o600))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--fetch-retries=1")
	install.Dir = dir
	output, err := install.CombinedOutput()
	if err != nil && (ctx.Err() != nil || offline.Match(output)) {
		t.Skipf("the npm registry can't be reached: %s", output)
	}
	require.NoError(t, err, "%s", output)
	return dir
}

var offline = regexp.MustCompile(`ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT`)
