package signature_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ringback/ringback/task/signature"
)

func TestNewRefuses(t *testing.T) {
	mixed := []byte(strings.Repeat("x", 64))
	for name, tc := range map[string]struct {
		key  signature.Key
		want string
	}{
		"empty":                 {"", "is empty"},
		"short":                 {"fifteen bytes !", "has 15 bytes"},
		"newline of a file":     {plain + "\n", "white space"},
		"public key":            {"whpk_" + whpk, "public key"},
		"nothing after whsec_":  {"whsec_", "has 0 bytes"},
		"short whsec_":          {"whsec_MfKQ9r8GKYqr", "has 9 bytes"},
		"whsec_ not base64":     {"whsec_this is not base64 at all!!", "not base64"},
		"whsec_ unpadded":       {"whsec_AAAAAAAAAAAAAAAAAAAAAA", "not base64"},
		"whsec_ broken line":    {"whsec_MfKQ9r8GKYqrTwjUPD8I\nLPZIo2LaLaSw", "not base64"},
		"whsk_ not base64":      {"whsk_????", "not base64"},
		"whsk_ of wrong length": {"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "has 24 bytes"},
		"whsk_ of two pairs":    {signature.Key("whsk_" + base64.StdEncoding.EncodeToString(mixed)), "second half"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signature.New(signature.Config{Keys: []signature.Key{whsec, tc.key}})
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "key 2 of 2 ")
		})
	}
	_, err := signature.New(signature.Config{})
	require.ErrorContains(t, err, "no key")
	_, err = signature.New(signature.Config{Keys: []signature.Key{plain}, KeyID: "schlüssel\n"})
	require.ErrorContains(t, err, "key id")
}

func TestSeedIsPrivateKey(t *testing.T) {
	whole, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(whsk), "whsk_"))
	require.NoError(t, err)
	seed := signature.Key("whsk_" + base64.StdEncoding.EncodeToString(whole[:32]))
	header := sign(t, newSigner(t, signature.Config{Keys: []signature.Key{seed}}), messageOf([]byte("x")))
	require.True(t, verifyV1a(t, whpk, []byte("x"), header))
}

func TestGenerate(t *testing.T) {
	secret := signature.GenerateSecret()
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, secret)
	require.NotEqual(t, secret, signature.GenerateSecret())
	private, public := signature.GenerateKeyPair()
	require.Regexp(t, `^whsk_[A-Za-z0-9+/]{86}==$`, private)
	require.Regexp(t, `^whpk_[A-Za-z0-9+/]{43}=$`, public)

	header := sign(t, newSigner(t, signature.Config{Keys: []signature.Key{signature.Key(private)}}), messageOf([]byte("x")))
	require.True(t, verifyV1a(t, strings.TrimPrefix(public, "whpk_"), []byte("x"), header))
}

func TestKeysDoNotShow(t *testing.T) {
	config := signature.Config{Keys: []signature.Key{plain}, Hosts: map[string][]signature.Key{"example.com": {plain}}}
	signer := newSigner(t, config)
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08.3f"} {
		fmt.Fprintf(&shown, verb+verb+verb+verb+verb, plain, []any{plain}, config, &config, signer)
	}
	text, err := json.Marshal(config)
	require.NoError(t, err)
	shown.Write(text)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "key", plain, "config", config, "signer", signer)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "key", plain, "config", config, "signer", signer)
	for _, encoder := range []zapcore.Encoder{
		zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&shown), zap.DebugLevel)).
			Info("x", zap.Any("key", plain), zap.Any("config", config), zap.Any("signer", signer), zap.Stringer("s", plain))
	}
	require.Contains(t, shown.String(), "REDACTED")
	for _, secret := range []string{
		string(plain), fmt.Sprintf("%x", string(plain)), fmt.Sprintf("%X", string(plain)),
		strings.Trim(fmt.Sprint([]byte(string(plain))), "[]"), base64.StdEncoding.EncodeToString([]byte(string(plain))),
	} {
		require.NotContains(t, shown.String(), secret)
	}

	var read signature.Config
	require.NoError(t, json.Unmarshal([]byte(`{"Keys":["a secret from a file"]}`), &read))
	require.Equal(t, "a secret from a file", string(read.Keys[0]))
}

// Whatever text is accepted as a secret signs what the library of Standard
// Webhooks verifies with it; what is refused is not shown.
func FuzzKey(f *testing.F) {
	for _, key := range []signature.Key{"", plain, whsec, whsk, "whpk_" + whpk, "whsec_MfKQ9r8GKYqr",
		"whsec_AAAAAAAAAAAAAAAAAAAAAA", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "\x00\xff0123456789abcdef", " 0123456789abcdef"} {
		f.Add(string(key))
	}
	body := []byte(`{"hello":"world"}`)
	f.Fuzz(func(t *testing.T, text string) {
		signer, err := signature.New(signature.Config{Keys: []signature.Key{signature.Key(text)}})
		if err != nil {
			if len(text) >= signature.MinSecret && strings.Contains(err.Error(), text) {
				t.Fatalf("the error %q shows the key", err)
			}
			return
		}
		header := make(http.Header)
		if err := signer.Sign(t.Context(), header, messageOf(body)); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(text, "whsk_") {
			if !strings.HasPrefix(header.Get("webhook-signature"), "v1a,") {
				t.Fatalf("a private key made %q", header.Get("webhook-signature"))
			}
			return
		}
		if err := verifyV1(t, signature.Key(text), body, header); err != nil {
			t.Fatal(err)
		}
		if header.Get("X-Callback-Signature") != plainSignature(signature.Key(text), body) {
			t.Fatal("X-Callback-Signature is not of the secret's text")
		}
	})
}
