package urlfrom

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInHead(t *testing.T) {
	header := func(lines ...string) http.Header {
		h := http.Header{"Accept": {"*/*"}}
		for i := 0; i < len(lines); i += 2 {
			h.Add(lines[i], lines[i+1])
		}
		return h
	}
	for _, c := range []struct {
		name  string
		where *Finder
		h     http.Header
		query string
		want  string
		err   error
	}{
		{name: "nothing at all"},
		{name: "nothing to see", h: header(), query: "a=1&url=http://c/&callback=http://c/"},

		{name: "header", h: header("Callback-Url", "http://c/"), want: "http://c/"},
		{name: "header in other case", h: header("CALLBACK-URL", "http://c/"), want: "http://c/"},
		{name: "header with X", h: header("X-Callback-Url", "http://c/"), want: "http://c/"},
		{name: "both, the same", h: header("Callback-Url", "http://c/", "X-Callback-Url", "http://c/"), want: "http://c/"},
		{name: "both, different", h: header("Callback-Url", "http://c/", "X-Callback-Url", "http://d/"), err: ErrConflict},
		{name: "twice, the same", h: header("Callback-Url", "http://c/", "Callback-Url", "http://c/"), want: "http://c/"},
		{name: "twice, different", h: header("Callback-Url", "http://c/", "Callback-Url", "http://d/"), err: ErrConflict},
		{name: "a comma may be part of a URL", h: header("Callback-Url", "http://c/a,http://d/"), want: "http://c/a,http://d/"},
		{name: "empty header is none", h: header("Callback-Url", ""), query: "callback_url=http://c/", want: "http://c/"},

		{name: "query", query: "callback_url=http://c/", want: "http://c/"},
		{name: "query among others", query: "a=1&callback_url=http://c/&b=2", want: "http://c/"},
		{name: "camel", query: "callbackUrl=http://c/", want: "http://c/"},
		{name: "upper camel", query: "callbackURL=http://c/", want: "http://c/"},
		{name: "kebab", query: "callback-url=http://c/", want: "http://c/"},
		{name: "no other spelling", query: "CALLBACK_URL=http://c/&callbackurl=http://c/&xcallback_url=http://c/&callback_url_=http://c/"},
		{name: "name percent-encoded", query: "callback%5furl=http://c/", want: "http://c/"},
		{name: "every byte of it", query: "%63%61%6C%6c%62%61%63%6B%5F%75%72%6C=http://c/", want: "http://c/"},
		{name: "name badly encoded", query: "callback%5url=http://c/&callback%=http://c/&callback%5=x&callback%zzurl=x"},
		{name: "value decoded", query: "callback_url=http%3A%2F%2Fc%2F%3Fa%3D1%26b%3D%252F+x", want: "http://c/?a=1&b=%2F x"},
		{name: "value has =", query: "callback_url=http://c/?a=b", want: "http://c/?a=b"},
		{name: "value badly encoded is given as it is", query: "callback_url=http://c/%zz", want: "http://c/%zz"},
		{name: "; does not separate", query: "a=1;callback_url=http://c/", want: ""},
		{name: "; is part of a value", query: "callback_url=http://c/;a=1", want: "http://c/;a=1"},
		{name: "empty is none", query: "callback_url=&callback_url&callbackUrl=http://c/", want: "http://c/"},
		{name: "query twice, the same", query: "callback_url=http://c/&callbackUrl=http%3a//c/", want: "http://c/"},
		{name: "query twice, different", query: "callback_url=http://c/&callback_url=http://d/", err: ErrConflict},
		{name: "header and query, the same", h: header("Callback-Url", "http://c/"), query: "callback_url=http://c/", want: "http://c/"},
		{name: "header and query, different", h: header("Callback-Url", "http://c/"), query: "callback_url=http://c", err: ErrConflict},

		{name: "a user's expression is exact", where: finder(t, "$request.query.callback_url"),
			h: header("Callback-Url", "http://d/"), query: "callbackUrl=http://d/&callback_url=http://c/", want: "http://c/"},
		{name: "a user's header", where: finder(t, "$request.header.x_hook"), h: header("X_Hook", "http://c/"), want: "http://c/"},
		{name: "a name with anything in it", where: finder(t, "$request.query.a b&=+é"),
			query: "a+b%26%3D%2b%C3%A9=http://c/", want: "http://c/"},
		{name: "no place", where: New([]Expression{}), h: header("Callback-Url", "http://c/"), query: "callback_url=http://c/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.where == nil {
				c.where = New(nil)
			}
			got, err := c.where.InHead(c.h, c.query)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestRemoveHeader(t *testing.T) {
	h := http.Header{
		"Accept":                        {"*/*"},
		"Callback":                      {"kept: not of the family"},
		"Callback-Url":                  {"http://c/"},
		"Callback-Header-Authorization": {"Bearer x"},
		"Callback-":                     {""},
		"callback-events":               {"a header set without its canonical form"},
		"x-callback-URL":                {"http://c/"},
		"X-Callback-Urls":               {"kept"},
	}
	New(nil).RemoveHeader(h)
	require.Equal(t, http.Header{
		"Accept":          {"*/*"},
		"Callback":        {"kept: not of the family"},
		"X-Callback-Urls": {"kept"},
	}, h)

	h = http.Header{"X-Hook": {"http://c/"}, "X-Callback-Url": {"kept: not a place here"}}
	finder(t, "$request.header.x-hook").RemoveHeader(h)
	require.Equal(t, http.Header{"X-Callback-Url": {"kept: not a place here"}}, h)

	New(nil).RemoveHeader(nil)
}

func TestRemoveQuery(t *testing.T) {
	f := New(nil)
	for raw, want := range map[string]string{
		"":                               "",
		"&":                              "&",
		"a=1&b=%20":                      "a=1&b=%20",
		"callback_url=x":                 "",
		"callback_url":                   "",
		"callback_url=":                  "",
		"a=1&callback_url=x&b=%20":       "a=1&b=%20",
		"callback_url=x&a=1":             "a=1",
		"a=1&callback_url=x":             "a=1",
		"callback_url=x&callbackUrl=y":   "",
		"callback_url=x&a&callback-url":  "a",
		"a&callback_url=x&callbackUrl=y": "a",
		"a&callback_url=x&callbackURL&b": "a&b",
		"callback%5Furl=x&a=%2":          "a=%2",
		"a=1&&callback_url=x":            "a=1&",
		"&callback_url=x":                "",
		"callback_url=x&&a=1":            "&a=1",
		"callback_url=x&":                "",
		"b=2;callback_url=x":             "b=2;callback_url=x",
		"callback_url=x;b=2&c":           "c",
		"z=\x00\xff+&callback_url=x&=&a": "z=\x00\xff+&=&a",
		"callback_URL=x&Callback_url=x":  "callback_URL=x&Callback_url=x",
	} {
		require.Equal(t, want, f.RemoveQuery(raw), "%q", raw)
	}
	require.Equal(t, "callbackUrl=x", finder(t, "$request.query.callback_url").RemoveQuery("callback_url=x&callbackUrl=x"))
}

// A pair is found under exactly the names it has for net/url.
func TestNamesDecodeAsInNetURL(t *testing.T) {
	for _, raw := range []string{"a", "%61", "%6a", "%6A", "+", "%2B", "%20", "%", "%6", "%g1", "%1g", "%-1", "%0x", "%@A", "%\x106", "a%00", "é", ""} {
		name, err := url.QueryUnescape(raw)
		if err != nil {
			for _, maybe := range []string{raw, "a", "\x06", "\x10", "j"} {
				require.False(t, decodesTo(raw, maybe), "%q %q", raw, maybe)
			}
			continue
		}
		require.True(t, decodesTo(raw, name), "%q", raw)
		require.False(t, decodesTo(raw, name+"x"), "%q", raw)
	}
}

func TestPassingOnDoesNotAllocate(t *testing.T) {
	h := http.Header{"Accept": {"*/*"}, "Content-Type": {"application/json; charset=utf-8"}}
	for i := range 10_000 {
		h.Set(fmt.Sprintf("X-%d", i), "v")
	}
	query := "filter%5Bname%5D=a+b&callback%5f=1&page=2&" + strings.Repeat("x=%zz&", 100)
	f := New(nil)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if url, err := f.InHead(h, query); url != "" || err != nil {
			panic("found something")
		}
		if !f.WantsBody(h) {
			panic("JSON not wanted")
		}
	}))
}
