package signature_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/signature"
)

const (
	id    = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	plain = signature.Key("correct horse battery staple")
	whsec = signature.Key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	// The key pair of the Svix server's tests, the reference for v1a.
	whsk = signature.Key("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")
	whpk = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

func messageOf(body []byte) task.Message {
	return task.Message{
		ID:   id,
		At:   time.Now(),
		URL:  &url.URL{Scheme: "https", Host: "receiver.example", Path: "/hook"},
		Size: int64(len(body)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
}

func newSigner(t testing.TB, config signature.Config) *signature.Signer {
	t.Helper()
	signer, err := signature.New(config)
	require.NoError(t, err)
	return signer
}

func sign(t *testing.T, signer *signature.Signer, message task.Message) http.Header {
	t.Helper()
	header := make(http.Header)
	require.NoError(t, signer.Sign(t.Context(), header, message))
	return header
}

// verifyV1 verifies with the library of Standard Webhooks.
func verifyV1(t *testing.T, key signature.Key, body []byte, header http.Header) error {
	t.Helper()
	var webhook *standardwebhooks.Webhook
	var err error
	if strings.HasPrefix(string(key), "whsec_") {
		webhook, err = standardwebhooks.NewWebhook(string(key))
	} else {
		webhook, err = standardwebhooks.NewWebhookRaw([]byte(key))
	}
	require.NoError(t, err)
	return webhook.Verify(body, header)
}

// verifyV1a says that one of the v1a signatures is of the public key.
func verifyV1a(t *testing.T, public string, body []byte, header http.Header) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(public)
	require.NoError(t, err)
	text := header.Get("webhook-id") + "." + header.Get("webhook-timestamp") + "." + string(body)
	for entry := range strings.SplitSeq(header.Get("webhook-signature"), " ") {
		if encoded, ok := strings.CutPrefix(entry, "v1a,"); ok {
			sig, err := base64.StdEncoding.DecodeString(encoded)
			require.NoError(t, err)
			if ed25519.Verify(key, []byte(text), sig) {
				return true
			}
		}
	}
	return false
}

func plainSignature(key signature.Key, body []byte) string {
	h := hmac.New(sha256.New, []byte(string(key)))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

func TestStandardWebhooksVectors(t *testing.T) {
	message := messageOf([]byte(`{"test": 2432232314}`))
	message.At = time.Unix(1614265330, 999_999_999)
	header := sign(t, newSigner(t, signature.Config{Keys: []signature.Key{whsec, whsk}}), message)
	require.Equal(t, http.Header{
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= " +
			"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="},
		"X-Callback-Signature": {plainSignature(whsec, []byte(`{"test": 2432232314}`))},
	}, header)
}

func TestSign(t *testing.T) {
	private2, public2 := signature.GenerateKeyPair()
	keys := []signature.Key{whsk, plain, signature.Key(private2), whsec, signature.Key(signature.GenerateSecret())}
	signer := newSigner(t, signature.Config{Keys: keys, KeyID: "k"})

	for _, size := range []int{0, 1, 1024, 16 << 10, 16<<10 + 1, 1 << 20, 1<<20 + 1, 5 << 20, 16 << 20} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			body := make([]byte, size)
			rand.Read(body)
			header := sign(t, signer, messageOf(body))
			require.Equal(t, id, header.Get("webhook-id"))
			require.Equal(t, plainSignature(plain, body), header.Get("X-Callback-Signature"))
			require.Len(t, strings.Split(header.Get("webhook-signature"), " "), len(keys))
			for _, key := range []signature.Key{plain, whsec, keys[4]} {
				require.NoError(t, verifyV1(t, key, body, header))
			}
			for _, public := range []string{whpk, strings.TrimPrefix(public2, "whpk_")} {
				require.True(t, verifyV1a(t, public, body, header))
				require.False(t, verifyV1a(t, public, append(body, 'x'), header))
			}
			require.Error(t, verifyV1(t, plain, append(body, 'x'), header))
			require.Error(t, verifyV1(t, signature.Key(signature.GenerateSecret()), body, header))
			digest := sha256.Sum256(body)
			require.Equal(t, "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":", header.Get("Content-Digest"))
		})
	}
}

// One Signer at once for many messages of all sizes, as an engine uses it.
func TestSignConcurrently(t *testing.T) {
	signer := newSigner(t, signature.Config{Keys: []signature.Key{whsec, whsk}})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 40 {
				body := bytes.Repeat([]byte{byte(worker), byte(i)}, i*i*20)
				header := make(http.Header)
				if err := signer.Sign(t.Context(), header, messageOf(body)); err != nil {
					t.Error(err)
					return
				}
				if err := verifyV1(t, whsec, body, header); err != nil {
					t.Error(err)
				}
				if !verifyV1a(t, whpk, body, header) {
					t.Error("v1a signature is wrong")
				}
			}
		})
	}
	all.Wait()
}

func TestSignAgainReplaces(t *testing.T) {
	signer := newSigner(t, signature.Config{Keys: []signature.Key{plain}})
	header := http.Header{"X-Callback-Signature": {"planted", "twice"}, "Webhook-Signature": {"v1,planted"}}
	message := messageOf([]byte("hello"))
	require.NoError(t, signer.Sign(t.Context(), header, message))
	first := header.Clone()
	message.At = message.At.Add(time.Minute)
	require.NoError(t, signer.Sign(t.Context(), header, message))
	require.NoError(t, verifyV1(t, plain, []byte("hello"), header))
	require.NotEqual(t, first["Webhook-Signature"], header["Webhook-Signature"])
	require.Len(t, header["Webhook-Signature"], 1)
	require.Equal(t, first["X-Callback-Signature"], header["X-Callback-Signature"])

	header = http.Header{"X-Callback-Signature": {"planted"}}
	require.NoError(t, newSigner(t, signature.Config{Keys: []signature.Key{whsk}}).Sign(t.Context(), header, message))
	require.NotContains(t, header, "X-Callback-Signature", "there is no secret")
	require.True(t, verifyV1a(t, whpk, []byte("hello"), header))
}

func TestSignRefuses(t *testing.T) {
	signer := newSigner(t, signature.Config{Keys: []signature.Key{whsec, whsk}, KeyID: "k"})
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	broken := errors.New("disk on fire")

	for name, tc := range map[string]struct {
		ctx    context.Context
		change func(*task.Message)
		want   string
	}{
		"no id":              {nil, func(m *task.Message) { m.ID = "" }, "has no id"},
		"full stop in id":    {nil, func(m *task.Message) { m.ID = "a.b" }, "no full stop"},
		"line break in id":   {nil, func(m *task.Message) { m.ID = "a\r\nSet-Cookie: x" }, "visible ASCII"},
		"no host":            {nil, func(m *task.Message) { m.URL = &url.URL{Path: "/x"} }, "not a host"},
		"body too short":     {nil, func(m *task.Message) { m.Size++ }, "has 5 bytes instead of 6"},
		"body too long":      {nil, func(m *task.Message) { m.Size-- }, "longer than the 4 bytes"},
		"body does not open": {nil, func(m *task.Message) { m.Open = func() (io.ReadCloser, error) { return nil, broken } }, "open body: disk on fire"},
		"body breaks": {nil, func(m *task.Message) {
			m.Open = func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(broken))), nil
			}
		}, "read body: disk on fire"},
		"canceled": {canceled, func(*task.Message) {}, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := tc.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			message := messageOf([]byte("hello"))
			tc.change(&message)
			err := signer.Sign(ctx, make(http.Header), message)
			require.ErrorContains(t, err, tc.want)
			// What went wrong once does not stick to the next message.
			require.NoError(t, verifyV1(t, whsec, []byte("again"), sign(t, signer, messageOf([]byte("again")))))
		})
	}
}

// A body that is too large for Ed25519 is signed with secrets only, and not
// held; without one it is refused.
func TestLargeBody(t *testing.T) {
	const size = 16<<20 + 1
	signer := newSigner(t, signature.Config{Keys: []signature.Key{plain, whsk}, KeyID: "k"})
	message := messageOf(nil)
	message.Size = size
	opened, closed := 0, 0
	message.Open = func() (io.ReadCloser, error) {
		opened++
		return &countedBody{io.LimitReader(zeros{}, size), &closed}, nil
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	header := sign(t, signer, message)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	require.Contains(t, header.Get("webhook-signature"), "v1,")
	require.NotContains(t, header.Get("webhook-signature"), "v1a,")
	require.NotEmpty(t, header.Get("Signature"), "it covers the digest")
	require.Equal(t, 1, opened)
	require.Equal(t, opened, closed)

	err := newSigner(t, signature.Config{Keys: []signature.Key{whsk}}).Sign(t.Context(), make(http.Header), message)
	require.ErrorContains(t, err, "Ed25519 signs at most 16777216: add a secret")

	body := make([]byte, size-1)
	require.True(t, verifyV1a(t, whpk, body, sign(t, signer, messageOf(body))))
}

// However many large bodies are to be signed with Ed25519, few are held at once.
func TestFewLargeBodiesAreHeld(t *testing.T) {
	signer := newSigner(t, signature.Config{Keys: []signature.Key{whsk}})
	const size, messages = 1 << 20, 40
	var open, most atomic.Int32
	begin := make(chan struct{})
	var all sync.WaitGroup
	for range messages {
		message := messageOf(nil)
		message.Size = size
		message.Open = func() (io.ReadCloser, error) {
			now := open.Add(1)
			for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
			}
			return leaving{io.LimitReader(zeros{}, size), &open}, nil
		}
		all.Go(func() {
			<-begin
			if err := signer.Sign(t.Context(), make(http.Header), message); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	all.Wait()
	require.LessOrEqual(t, most.Load(), int32(4))

	// Whoever waits for a place does not do so for longer than the delivery may take.
	gate := make(chan struct{})
	held := messageOf(nil)
	held.Size = size
	held.Open = func() (io.ReadCloser, error) {
		open.Add(1)
		<-gate
		return leaving{io.LimitReader(zeros{}, size), &open}, nil
	}
	for range 4 {
		all.Go(func() {
			if err := signer.Sign(t.Context(), make(http.Header), held); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return open.Load() == 4 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, signer.Sign(ctx, make(http.Header), held), context.Canceled)
	close(gate)
	all.Wait()
}

// leaving is a body that says when it is closed.
type leaving struct {
	io.Reader
	open *atomic.Int32
}

func (b leaving) Close() error { b.open.Add(-1); return nil }

type countedBody struct {
	io.Reader
	closed *int
}

func (b *countedBody) Close() error { *b.closed++; return nil }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func BenchmarkSign(b *testing.B) {
	for _, bench := range []struct {
		name   string
		size   int64
		config signature.Config
	}{
		{"secret/1KiB", 1 << 10, signature.Config{Keys: []signature.Key{whsec}}},
		{"secret/1MiB", 1 << 20, signature.Config{Keys: []signature.Key{whsec}}},
		{"two_secrets/1KiB", 1 << 10, signature.Config{Keys: []signature.Key{whsec, plain}}},
		{"secret+ed25519/1KiB", 1 << 10, signature.Config{Keys: []signature.Key{whsec, whsk}}},
		{"secret+ed25519/8MiB", 8 << 20, signature.Config{Keys: []signature.Key{whsec, whsk}}},
		{"secret+RFC9421/1KiB", 1 << 10, signature.Config{Keys: []signature.Key{whsec}, KeyID: "k"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			signer := newSigner(b, bench.config)
			reader := bytes.NewReader(make([]byte, bench.size))
			body := io.NopCloser(reader)
			message := messageOf(nil)
			message.Size = bench.size
			message.Open = func() (io.ReadCloser, error) { reader.Seek(0, io.SeekStart); return body, nil }
			header := make(http.Header)
			b.SetBytes(bench.size)
			b.ReportAllocs()
			for b.Loop() {
				if err := signer.Sign(b.Context(), header, message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
