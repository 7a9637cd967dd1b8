package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// The signatures of RFC 9421, appendix B.2.5 and B.2.6, with the keys of B.1.
func TestMessageSignatureVectors(t *testing.T) {
	const date = "Tue, 20 Apr 2021 02:07:55 GMT"
	secret, err := base64.StdEncoding.DecodeString(
		"uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
	require.NoError(t, err)
	seed, err := base64.RawURLEncoding.DecodeString("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU")
	require.NoError(t, err)

	for _, tc := range []struct {
		name       string
		keys       *keyring
		keyID      string
		components []component
		base, want string
	}{
		{
			name: "B.2.5 hmac-sha256", keys: &keyring{secrets: [][]byte{secret}}, keyID: "test-shared-secret",
			components: []component{{"date", date}, {"@authority", "example.com"}, {"content-type", "application/json"}},
			base: `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
			want: "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
		},
		{
			name: "B.2.6 ed25519", keys: &keyring{privates: []ed25519.PrivateKey{ed25519.NewKeyFromSeed(seed)}}, keyID: "test-key-ed25519",
			components: []component{
				{"date", date}, {"@method", "POST"}, {"@path", "/foo"}, {"@authority", "example.com"},
				{"content-type", "application/json"}, {"content-length", "18"},
			},
			base: `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			want: "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base, err := signatureBase(tc.components, signatureInput(tc.components, 1618884473, tc.keyID))
			require.NoError(t, err)
			require.Equal(t, tc.base, base)
			require.Equal(t, tc.want, base64.StdEncoding.EncodeToString(tc.keys.signMessage(base)))
		})
	}
}

func TestTargetURI(t *testing.T) {
	for callback, want := range map[string]string{
		"https://example.com":                  "https://example.com/",
		"https://example.com?a=b":              "https://example.com/?a=b",
		"HTTPS://user:pass@example.com/x#top":  "https://example.com/x",
		"http://example.com:8080/a%2Fb?q=1%20": "http://example.com:8080/a%2Fb?q=1%20",
		"http://[2001:db8::1]:8080/":           "http://[2001:db8::1]:8080/",
		"https://bücher.example:444/ü":         "https://xn--bcher-kva.example:444/%C3%BC",
	} {
		u, err := url.Parse(callback)
		require.NoError(t, err)
		got, err := targetURI(u)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := targetURI(&url.URL{Path: "/relative"})
	require.ErrorContains(t, err, "not a host")
}
