package commands

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

// plainSignature is all that it takes to verify X-Callback-Signature.
func plainSignature(header http.Header, body []byte, secret string) bool {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	want := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(want), []byte(header.Get("X-Callback-Signature")))
}

// Callbacks of the running process verify with the library of Standard
// Webhooks and with the plain signature, whatever their body, and a changed
// one does not.
func TestReceiversVerify(t *testing.T) {
	f := newFront(t, newHTTPBin(t))
	for name, test := range map[string]struct{ path, format, status string }{
		"json":         {"/json", "raw", "200"},
		"empty":        {"/bytes/0", "raw", "200"},
		"binary":       {"/bytes/10000?seed=1", "raw", "200"},
		"large":        {"/bytes/100000?seed=1", "raw", "200"},
		"failed":       {"/status/500", "raw", "500"},
		"envelope":     {"/encoding/utf8", "envelope", "200"},
		"envelope-bin": {"/image/png", "envelope", "200"},
		"cloudevents":  {"/xml", "cloudevents", "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.request(t, http.MethodGet, test.path, nil)
			r.Header.Set("Callback-Url", f.hook(name))
			r.Header.Set("Callback-Format", test.format)
			f.take(t, r)
			c := f.callback(t, name)
			c.requireOutcome(t, test.status)

			webhook, err := standardwebhooks.NewWebhook(softwareSecret)
			require.NoError(t, err)
			other, err := standardwebhooks.NewWebhook("whsec_" + strings.Repeat("bm90IGl0", 4))
			require.NoError(t, err)
			changed := append(bytes.Clone(c.body), ' ')
			require.NoError(t, webhook.Verify(c.body, c.header))
			require.Error(t, webhook.Verify(changed, c.header))
			require.Error(t, other.Verify(c.body, c.header))
			require.True(t, plainSignature(c.header, c.body, softwareSecret))
			require.False(t, plainSignature(c.header, changed, softwareSecret))
			require.False(t, plainSignature(c.header, c.body, "another secret"))
		})
	}
}
