package destination

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://example.com":                     "https://example.com",
		"HTTPS://Example.COM:8443/Hook?a=B%20c#f": "https://example.com:8443/Hook?a=B%20c",
		"http://example.com:/":                    "http://example.com/",
		"http://example.com:0080/":                "http://example.com:80/",
		"https://example.com./":                   "https://example.com./",
		"https://bücher.example/ü":                "https://xn--bcher-kva.example/%C3%BC",
		"https://ｅｘａｍｐｌｅ。com/":                    "https://example.com/",
		"https://①②⑦.⓪.⓪.①/":                      "https://127.0.0.1/",
		"https://ｌocalhost/":                      "https://localhost/",
		"https://my_service:8080/":                "https://my_service:8080/",
		"https://[0:0:0:0:0:FFFF:7f00:1]:80/":     "https://[::ffff:127.0.0.1]:80/",
		"https://[fe80::1%25eth0]/":               "https://[fe80::1%25eth0]/",
		"https://user:pass@example.com/":          "https://user:pass@example.com/",
		"https://public@127.0.0.1/":               "https://public@127.0.0.1/",
		"http://127.0.0.1#@public.example/":       "http://127.0.0.1",
		"http://127.0.0.1?@public.example/":       "http://127.0.0.1?@public.example/",
		"http://127.0.0.1%2f@public.example/":     "http://127.0.0.1%2F@public.example/", // the rest is a user
		"https://1e100.net/":                      "https://1e100.net/",
		"https://4.example/":                      "https://4.example/",
		"https://[::127.0.0.1]/":                  "https://[::7f00:1]/",
		"https://a/" + strings.Repeat("b", 8000):  "https://a/" + strings.Repeat("b", 8000),
	} {
		u, err := ParseURL(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, u.String(), raw)
	}
}

func TestBadURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                 "empty",
		"/hook":                            "relative",
		"//example.com/hook":               "relative",
		"hook":                             "relative",
		"?a=b":                             "relative",
		"example.com:443/hook":             "scheme",
		"ftp://example.com/":               "scheme",
		"file:///etc/passwd":               "scheme",
		"gopher://127.0.0.1:6379/_":        "scheme",
		"dict://127.0.0.1:11211/":          "scheme",
		"unix:///run/docker.sock":          "scheme",
		"http+unix://%2Frun%2Fdocker.sock": "can't be parsed",
		"javascript:alert(1)":              "scheme",
		"jar:http://example.com!/":         "scheme",
		"http:example.com":                 "no host",
		"http:/example.com":                "no host",
		"http:///example.com":              "no host",
		"https://":                         "no host",
		"https://:443/":                    "no host",
		"https://user@/":                   "no host",
		"https://example.com:0/":           "port",
		"https://example.com:65536/":       "port",
		"https://example.com:99999999999999999999/": "port",
		"https://example.com:-1/":                   "port",
		"https://example.com:80:80/":                "port",
		"https://example.com:http/":                 "port",
		"https://exa mple.com/":                     "space",
		" https://example.com/":                     "space",
		"https://example.com/\r\nHost: x":           "space",
		"https://example.com/\tx":                   "space",
		"ht\ntp://example.com/":                     "space",
		"https://example.com/\x00":                  "space",
		"https://example.com/\x7f":                  "space",
		`http://public.example\@127.0.0.1/`:         "backslash",
		`http:\\127.0.0.1\`:                         "backslash",
		"http://2130706433/":                        "four decimal",
		"http://0x7f000001/":                        "four decimal",
		"http://0x7f.0x0.0x0.0x1/":                  "four decimal",
		"http://017700000001/":                      "four decimal",
		"http://0177.0.0.1/":                        "four decimal",
		"http://0177.0.0.0x1/":                      "four decimal",
		"http://127.1/":                             "four decimal",
		"http://127.0.1/":                           "four decimal",
		"http://0/":                                 "four decimal",
		"http://0x/":                                "four decimal",
		"http://127.0.0.1./":                        "four decimal",
		"http://127.0.0.01/":                        "four decimal",
		"http://127.0.0.256/":                       "four decimal",
		"http://127.0.0.1.1/":                       "four decimal",
		"http://１２７.１/":                             "four decimal",
		"http://②①③⓪⑦⓪⑥④③③/":                        "four decimal",
		"http://[127.0.0.1]/":                       "",
		"http://::1/":                               "",
		"http://[::1/":                              "can't be parsed",
		"http://[::1]x/":                            "can't be parsed",
		"http://[::g]/":                             "",
		"http://[example.com]/":                     "",
		"http://[2606:4700::1%25eth0]/":             "zone",
		"http://[fe80::1%25..%2f]/":                 "",
		"http://[::ffff:127.0.0.1%25lo]/":           "",
		"http://%31%32%37.0.0.1/":                   "percent",
		"http://exa%00mple.com/":                    "",
		"http://a..b/":                              "not a host name",
		"http://.a/":                                "not a host name",
		"http://./":                                 "not a host name",
		"http://a../":                               "not a host name",
		"http://a,b/":                               "not a host name",
		"http://*/":                                 "not a host name",
		"http://a*.example/":                        "not a host name",
		"http://" + strings.Repeat("a", 64) + "/":   "not a host name",
		"http://" + strings.Repeat("a.", 127) + "a": "not a host name",
		"http://a\u00adb\u200d.example\u2028/":      "not a host name",
		"http://\xff\xfe/":                          "not a host name",
		"http://example.com\u2100.evil.example/":    "not a host name", // ℀ is a/c
		"https://a/" + strings.Repeat("b", 8192):    "longer than 8192",
		"https://a/" + strings.Repeat("\xb8", 4000): "longer than 8192 bytes when percent-encoded",
		"https://example.com/%zz":                   "percent",
		"https://u:p%zz@example.com/":               "",
	} {
		_, err := ParseURL(raw)
		var problem *task.Problem
		require.ErrorAs(t, err, &problem, "%q", raw)
		require.Equal(t, 400, problem.Status)
		require.Equal(t, task.ProblemBadCallbackURL, problem.Type)
		require.Contains(t, problem.Detail, want, "%q", raw)
	}
}

func TestParseErrorsKeepSecrets(t *testing.T) {
	for _, raw := range []string{
		"https://user:hunter2@example.com:port/?token=hunter2",
		"https://user:hun\x01ter2@example.com/",
		"https://user:hunter2%zz@example.com/",
		"https://user:hunter2@[::1/?token=hunter2",
		"https://example.com/%zz?token=hunter2",
		"ftp://user:hunter2@example.com/",
		"https://user:hunter2|@example.com/",
	} {
		_, err := ParseURL(raw)
		require.Error(t, err, raw)
		require.NotContains(t, err.Error(), "hunter2", raw)
	}
}
