package signature_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task/signature"
)

func TestHosts(t *testing.T) {
	names := []string{"a.example.com", "*.example.com", "*.deep.example.com", "bücher.example", "2001:db8::1", "192.0.2.1"}
	hosts := make(map[string][]signature.Key)
	for _, name := range names {
		hosts[name] = []signature.Key{signature.Key("a secret for the host " + name)}
	}
	signer := newSigner(t, signature.Config{Keys: []signature.Key{plain}, Hosts: hosts})
	body := []byte("hello")

	for callback, name := range map[string]string{
		"https://a.example.com/":             "a.example.com",
		"https://A.EXAMPLE.com.:8443/x":      "a.example.com",
		"https://b.example.com/":             "*.example.com",
		"https://x.b.example.com/":           "*.example.com",
		"https://x.a.example.com/":           "*.example.com",
		"https://x.deep.example.com/":        "*.deep.example.com",
		"https://deep.example.com/":          "*.example.com",
		"https://example.com/":               "",
		"https://notexample.com/":            "",
		"https://a.example.com.evil.example": "",
		"https://xn--bcher-kva.example/":     "bücher.example",
		"https://BÜCHER.example/":            "bücher.example",
		"http://[2001:DB8:0::1]:80/":         "2001:db8::1",
		"http://192.0.2.1:8080/":             "192.0.2.1",
		"http://localhost/":                  "",
	} {
		t.Run(callback, func(t *testing.T) {
			message := messageOf(body)
			var err error
			message.URL, err = url.Parse(callback)
			require.NoError(t, err)
			key := plain
			if name != "" {
				key = hosts[name][0]
			}
			header := sign(t, signer, message)
			require.NoError(t, verifyV1(t, key, body, header))
			require.Equal(t, plainSignature(key, body), header.Get("X-Callback-Signature"))
		})
	}

	t.Run("no key for the rest", func(t *testing.T) {
		signer := newSigner(t, signature.Config{Hosts: hosts})
		require.Empty(t, sign(t, signer, messageOf(body)))
	})
}

func TestHostsRefused(t *testing.T) {
	keys := []signature.Key{plain}
	for want, hosts := range map[string]map[string][]signature.Key{
		`"https://example.com" is not a host`:        {"https://example.com": keys},
		`"example.com:80" is not a host`:             {"example.com:80": keys},
		`"*" is not a host`:                          {"*": keys},
		`"*." is not a host`:                         {"*.": keys},
		`"" is not a host`:                           {"": keys},
		`"a*.example.com" is not a host`:             {"a*.example.com": keys},
		`"example.com" is there twice`:               {"example.com": keys, "EXAMPLE.com": keys},
		`"example.com" has no keys`:                  {"example.com": nil},
		`host "example.com": key 2 of 2 has 5 bytes`: {"example.com": {plain, "short"}},
	} {
		_, err := signature.New(signature.Config{Hosts: hosts})
		require.ErrorContains(t, err, want)
	}
}
