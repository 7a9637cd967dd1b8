package urlfrom

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWantsBody(t *testing.T) {
	nested, head := finder(t, "$request.body#/a/b"), finder(t, "$request.query.a")
	for contentType, want := range map[string]struct{ byDefault, nested bool }{
		"":                                   {},
		"application/json":                   {true, true},
		"Application/JSON ; charset=utf-8":   {true, true},
		"application/vnd.api+JSON;v=1":       {true, true},
		"application/x-www-form-urlencoded":  {true, false},
		"APPLICATION/X-WWW-FORM-URLENCODED;": {true, false},
		"multipart/form-data; boundary=x":    {true, false},
		"multipart/mixed; boundary=x":        {},
		"application/x-ndjson":               {},
		"text/plain":                         {},
		"+json":                              {},
		";application/json":                  {},
	} {
		h := http.Header{"Content-Type": {contentType}}
		require.Equal(t, want.byDefault, New(nil).WantsBody(h), contentType)
		require.Equal(t, want.nested, nested.WantsBody(h), contentType)
		require.False(t, head.WantsBody(h), contentType)
	}
	require.False(t, New(nil).WantsBody(nil))
	require.False(t, New(nil).WantsBody(http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}))
	require.True(t, New(nil).WantsBody(http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"Identity"}}))
}

const nothing = "nothing found, body untouched"

type bodyCase struct {
	name, body string
	url        string
	left       string // nothing: as it was
	err        error
}

func (c bodyCase) run(t *testing.T, f *Finder, contentType string) {
	t.Run(c.name, func(t *testing.T) {
		body := []byte(c.body)
		found, err := f.InBody(contentType, body)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.url, found.URL)
		if c.err != nil || c.left == nothing {
			c.left = c.body
		}
		require.Equal(t, c.left, string(found.Cut(body)))
		require.Equal(t, c.body, string(body), "the body itself changed")
	})
}

func TestJSON(t *testing.T) {
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	tooDeep := strings.Repeat(`{"a":`, 200_000) + "1" + strings.Repeat("}", 200_000)
	for _, c := range []bodyCase{
		{name: "the only member", body: `{"callback_url":"u"}`, url: "u", left: `{}`},
		{name: "first", body: `{"callback_url":"u","a":1}`, url: "u", left: `{"a":1}`},
		{name: "last", body: `{"a":1,"callback_url":"u"}`, url: "u", left: `{"a":1}`},
		{name: "middle", body: `{"a":1, "callback_url" : "u" , "b":2}`, url: "u", left: `{"a":1 , "b":2}`},
		{name: "indented, first", body: "{\n  \"callback_url\": \"u\",\n  \"a\": 1\n}\n", url: "u", left: "{\n  \"a\": 1\n}\n"},
		{name: "indented, last", body: "{\r\n\t\"a\": 1,\r\n\t\"callback_url\": \"u\"\r\n}", url: "u", left: "{\r\n\t\"a\": 1\r\n}"},
		{name: "indented, alone", body: "{\n  \"callback_url\": \"u\"\n}", url: "u", left: "{\n}"},

		{name: "camel", body: `{"callbackUrl":"u"}`, url: "u", left: `{}`},
		{name: "upper camel", body: `{"callbackURL":"u"}`, url: "u", left: `{}`},
		{name: "kebab", body: `{"callback-url":"u"}`, url: "u", left: `{}`},
		{name: "all spellings, the same", body: `{"callbackUrl":"u","a":1,"callback_url":"u","callback-url":"u"}`, url: "u", left: `{"a":1}`},
		{name: "two spellings, different", body: `{"callbackUrl":"u","callback_url":"v"}`, err: ErrConflict},
		{name: "duplicate, the same", body: `{"callback_url":"u","callback_url":"u","a":1,"callback_url":"u"}`, url: "u", left: `{"a":1}`},
		{name: "duplicate, different", body: `{"callback_url":"u","a":1,"callback_url":"v"}`, err: ErrConflict},
		{name: "first members all go", body: `{ "callback_url":"u" , "callbackUrl":"u" }`, url: "u", left: `{ }`},
		{name: "no other spelling", body: `{"Callback_Url":"u","callback_url ":"u"}`, left: nothing},

		{name: "key escaped", body: `{"callback\u005furl":"u"}`, url: "u", left: `{}`},
		{name: "value escaped", body: `{"callback_url":"http:\/\/c\/?a=1\u0026b=\"\\"}`, url: `http://c/?a=1&b="\`, left: `{}`},
		{name: "value of many backslashes", body: `{"callback_url":"\\\\\\\"\\"}`, url: `\\\"\`, left: `{}`},
		{name: "other keys escaped", body: `{"\"callback_url":"\\","a\\":"b\\\"","callback_url":"u"}`, url: "u", left: `{"\"callback_url":"\\","a\\":"b\\\""}`},

		{name: "number", body: `{"callback_url":17}`, left: nothing},
		{name: "null", body: `{"callback_url":null}`, left: nothing},
		{name: "object", body: `{"callback_url":{"callback_url":"u"}}`, left: nothing},
		{name: "array", body: `{"callback_url":["u"]}`, left: nothing},
		{name: "null and a string", body: `{"callback_url":null,"callback_url":"u"}`, url: "u", left: `{"callback_url":null}`},
		{name: "empty goes when the request is taken", body: `{"callback_url":"","a":1}`, left: `{"a":1}`},
		{name: "empty and not", body: `{"callback_url":"","callbackUrl":"u"}`, url: "u", left: `{}`},

		{name: "not at the top", body: `{"a":{"callback_url":"u"}}`, left: nothing},
		{name: "in an array", body: `[{"callback_url":"u"}]`, left: nothing},
		{name: "only text", body: `{"a":"\"callback_url\":\"u\""}`, left: nothing},
		{name: "a string", body: `"callback_url"`, left: nothing},
		{name: "a number", body: `1`, left: nothing},
		{name: "empty object", body: ` { } `, left: nothing},
		{name: "empty body", body: ``, left: nothing},

		{name: "nothing else is touched",
			body: "{ \"n\":12345678901234567890,\"e\":1e400, \"z\":-0.0 ,\"d\":1,\"d\":2,\"s\":\"\\u00e9\\/\xff<&>\",\"callback_url\":\"u\" ,\"t\":[ ]}\t\n",
			url:  "u", left: "{ \"n\":12345678901234567890,\"e\":1e400, \"z\":-0.0 ,\"d\":1,\"d\":2,\"s\":\"\\u00e9\\/\xff<&>\" ,\"t\":[ ]}\t\n"},
		{name: "byte order mark", body: "\xef\xbb\xbf{\"callback_url\":\"u\"}", url: "u", left: "\xef\xbb\xbf{}"},
		{name: "deep", body: `{"a":` + deep + `,"callback_url":"u"}`, url: "u", left: `{"a":` + deep + `}`},

		{name: "too deep", body: tooDeep, left: nothing},
		{name: "too deep, with a URL", body: `{"callback_url":"u","a":` + tooDeep + `}`, left: nothing},
		{name: "opened only", body: strings.Repeat("[", 1<<20), left: nothing},
		{name: "cut off", body: `{"callback_url":"u"`, left: nothing},
		{name: "cut off in a string", body: `{"callback_url":"u`, left: nothing},
		{name: "cut off in an escape", body: `{"callback_url":"u\"`, left: nothing},
		{name: "two documents", body: `{"callback_url":"u"}{}`, left: nothing},
		{name: "comma too many", body: `{"callback_url":"u",}`, left: nothing},
		{name: "comma missing", body: `{"callback_url":"u" "a":1}`, left: nothing},
		{name: "bad elsewhere", body: `{"callback_url":"u","a":[1,{]}}`, left: nothing},
		{name: "bad number", body: `{"callback_url":"u","a":01}`, left: nothing},
		{name: "bad escape", body: `{"callback_url":"\x"}`, left: nothing},
		{name: "bad escape in a key", body: `{"callback_url":"u","\x":1}`, left: nothing},
		{name: "NUL", body: "{\"callback_url\":\"u\x00\"}", left: nothing},
		{name: "a conflict, but not JSON", body: `{"callback_url":"u","callback_url":"v"`, left: nothing},
		{name: "a form", body: `callback_url=u`, left: nothing},
		{name: "UTF-16", body: "\xff\xfe{\x00}\x00", left: nothing},
	} {
		c.run(t, New(nil), "application/json; charset=utf-8")
	}
}

func TestJSONPointers(t *testing.T) {
	f := finder(t,
		"$request.body#/orderStatusCallbackUrl",
		"$request.body#/hooks/done/url", "$request.body#/hooks/done", "$request.body#/hooks/0",
		"$request.body#/a~1b/~0", "$request.body#/", "$request.body#/01", "$request.body#/1/-")
	for _, c := range []bodyCase{
		{name: "exact", body: `{"orderStatusCallbackUrl":"u","callback_url":"v","orderstatuscallbackurl":"w"}`,
			url: "u", left: `{"callback_url":"v","orderstatuscallbackurl":"w"}`},
		{name: "nested", body: `{"hooks":{"done":{"url":"u","x":1},"y":2}}`, url: "u", left: `{"hooks":{"done":{"x":1},"y":2}}`},
		{name: "the same place may be a string or hold one", body: `{"hooks":{"done":"u"}}`, url: "u", left: `{"hooks":{}}`},
		{name: "in several places", body: `{"hooks":{"done":{"url":"u"}},"orderStatusCallbackUrl":"u","z":{}}`, url: "u", left: `{"hooks":{"done":{}},"z":{}}`},
		{name: "in several places, different", body: `{"hooks":{"done":{"url":"u"}},"orderStatusCallbackUrl":"v"}`, err: ErrConflict},
		{name: "along a duplicate key", body: `{"hooks":{"done":"u"},"hooks":{"done":"u"}}`, url: "u", left: `{"hooks":{},"hooks":{}}`},
		{name: "an array's element becomes null", body: `{"hooks":[ "u" , "v" ]}`, url: "u", left: `{"hooks":[ null , "v" ]}`},
		{name: "an element that is empty, too", body: `{"hooks":[""]}`, left: `{"hooks":[null]}`},
		{name: "index as a key", body: `{"hooks":{"0":"u","1":"v"}}`, url: "u", left: `{"hooks":{"1":"v"}}`},
		{name: "the key is no index of an array", body: `{"hooks":[["u"],{"done":"u"}]}`, left: nothing},
		{name: "at the top of an array", body: `["u","u"]`, left: nothing},
		{name: "no leading zeros, no -", body: `["a",["b"],"c"]`, left: nothing},
		{name: "but as keys", body: `{"01":"u","1":{"-":"u"}}`, url: "u", left: `{"1":{}}`},
		{name: "escapes of the pointer", body: `{"a/b":{"~":"u"}}`, url: "u", left: `{"a/b":{}}`},
		{name: "the empty key", body: `{"":"u"}`, url: "u", left: `{}`},
		{name: "empty array", body: `{"hooks":[ ]}`, left: nothing},
		{name: "bad array", body: `{"orderStatusCallbackUrl":"u","hooks":["u",]}`, left: nothing},
		{name: "bad nested object", body: `{"orderStatusCallbackUrl":"u","hooks":{1:2}}`, left: nothing},
		{name: "colon missing", body: `{"orderStatusCallbackUrl":"u","hooks"}`, left: nothing},
	} {
		c.run(t, f, "application/vnd.order+json")
	}
}

// What is JSON is for encoding/json to say, wherever in the document it is.
func TestValidJSON(t *testing.T) {
	values := []string{
		`0`, `-0`, `12`, `-1.50`, `1e5`, `1E+5`, `0.1e-05`, `123456789012345678901234567890`,
		``, `-`, `+1`, `01`, `1.`, `.1`, `1.e1`, `1e`, `1e+`, `0x1`, `1 2`, `--1`, `Infinity`, `NaN`,
		`true`, `false`, `null`, `tru`, `truee`, `True`, `nul`, `f`, `undefined`,
		`""`, `"a"`, `"12345678"`, `"\u00e9\uD83D\ude00\ud800"`, `"\"\\\/\b\f\n\r\t"`, "\"\xff\x80 \u2028\x7f\"",
		`"`, `"a`, `"\`, `"\"`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u`, `'a'`, `"a""b"`,
		"\"1234567\x1f\"", "\"12345678\n\"", "\"\t\"", "\"\x00\"",
		`{}`, `[]`, ` [ ] `, "\r\n{\t}", `[[],[[]],{"a":[]}]`, `{"a":{"a":{}},"b":[1,{"c":"]"}]}`, `[1 , 2]`,
		`{`, `[`, `]`, `}`, `{]`, `[}`, `[1,]`, `[,1]`, `[1 1]`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{1:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1}}`,
		`[1]]`, "\v1", "\u00a01", `// comment`, `/**/1`,
	}
	for _, depth := range []int{9998, 9999, 10000} {
		values = append(values, strings.Repeat("[", depth)+strings.Repeat("]", depth), strings.Repeat(`{"":`, depth)+"1"+strings.Repeat("}", depth),
			strings.Repeat(`[{"":`, depth/2)+strings.Repeat("}]", depth/2))
	}
	f := finder(t, "$request.body#/callback_url", "$request.body#/hooks/0/url")
	valid := 0
	for _, value := range values {
		for _, document := range []string{
			`{"callback_url":"u","value":VALUE}`, `{"value":VALUE,"callback_url":"u"}`, `{"callback_url":"u"}VALUE`, `VALUE{"callback_url":"u"}`,
			`{"hooks":[{"url":"u"},VALUE]}`, `{"hooks":[{"url":"u","value":[1,VALUE]}]}`, `{"callback_url":"u","key":1,VALUE:2}`,
		} {
			body := []byte(strings.ReplaceAll(document, "VALUE", value))
			found, err := f.InBody("application/json", body)
			require.NoError(t, err)
			require.Equal(t, json.Valid(body), found.URL == "u", "%.100s", body)
			if found.URL == "u" {
				valid++
				require.True(t, json.Valid(found.Cut(body)), "%.100s", body)
			}
		}
	}
	require.Greater(t, valid, 100)
}

func TestForm(t *testing.T) {
	for _, c := range []bodyCase{
		{name: "found", body: "a=1&callback_url=http%3A%2F%2Fc%2F&b=%20+", url: "http://c/", left: "a=1&b=%20+"},
		{name: "alone", body: "callbackUrl=http://c/", url: "http://c/", left: ""},
		{name: "name encoded", body: "callback%2Durl=http://c/&a", url: "http://c/", left: "a"},
		{name: "twice, the same", body: "callback_url=u&callback_url=u", url: "u", left: ""},
		{name: "twice, different", body: "callback_url=u&callback_url=v", err: ErrConflict},
		{name: "empty goes when the request is taken", body: "callback_url=&a=1", left: "a=1"},
		{name: "nothing", body: "\x00\xff&%%&=&a=callback_url", left: nothing},
		{name: "empty body", left: nothing},
	} {
		c.run(t, New(nil), "application/x-www-form-urlencoded; charset=UTF-8")
	}
	bodyCase{name: "the field without a name", body: "a&=u&&b", url: "u", left: "a&&b"}.
		run(t, finder(t, "$request.body#/"), "application/x-www-form-urlencoded")
	found, err := finder(t, "$request.body#/a~1b", "$request.body#/x/y").
		InBody("application/x-www-form-urlencoded", []byte("a/b=u&x/y=v&y=w"))
	require.NoError(t, err)
	require.Equal(t, "u", found.URL)
}

func TestMultipart(t *testing.T) {
	const (
		a   = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
		url = "--B\r\nContent-Disposition: form-data; name=\"callback_url\"\r\n\r\nhttp://c/\r\n"
		bin = "--B\r\ncontent-disposition: FORM-DATA; filename=\"x\"; name=f\r\nContent-Type: application/octet-stream\r\n\r\n\x00\r\n--\r\n--BB\r\n\xff\r\n"
		end = "--B--\r\n"
	)
	with := func(old, new string) string { return a + strings.Replace(url, old, new, 1) + end }
	for _, c := range []bodyCase{
		{name: "first", body: url + a + bin + end, url: "http://c/", left: a + bin + end},
		{name: "middle", body: a + url + bin + end, url: "http://c/", left: a + bin + end},
		{name: "last", body: a + bin + url + end, url: "http://c/", left: a + bin + end},
		{name: "alone", body: url + end, url: "http://c/", left: end},
		{name: "twice, the same", body: url + a + url + end, url: "http://c/", left: a + end},
		{name: "twice, different", body: url + strings.Replace(url, "c/", "d/", 1) + end, err: ErrConflict},
		{name: "nothing", body: a + bin + end, left: nothing},
		{name: "other spelling", body: with("callback_url", "callbackURL"), url: "http://c/", left: a + end},
		{name: "name is a token", body: with(`"callback_url"`, "callback-url"), url: "http://c/", left: a + end},
		{name: "more headers", body: with("\r\n\r\n", "\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n\r\n"), url: "http://c/", left: a + end},
		{name: "space behind the boundary", body: with("--B\r\n", "--B \t\r\n"), url: "http://c/", left: a + end},
		{name: "no line break at the end", body: a + url + "--B--", url: "http://c/", left: a + "--B--"},
		{name: "before and after", body: "hello\r\n" + url + end + url + "bye", url: "http://c/", left: "hello\r\n" + end + url + "bye"},
		{name: "empty goes when the request is taken", body: with("http://c/", ""), left: a + end},
		{name: "empty without a line break", body: with("\r\nhttp://c/\r\n", "\r\n"), left: a + end},

		{name: "a file of that name", body: with(`name=`, `filename="u.txt"; name=`), left: nothing},
		{name: "not of a form", body: with("form-data", "attachment"), left: nothing},
		{name: "no disposition", body: with("Content-Disposition", "X"), left: nothing},
		{name: "bad disposition", body: with(`"callback_url"`, `"callback_url`), left: nothing},
		{name: "no part", body: end, left: nothing},
		{name: "not closed", body: a + url, left: nothing},
		{name: "not ended", body: url + "--B", left: nothing},
		{name: "something behind the boundary", body: with("--B\r\n", "--B x\r\n"), left: nothing},
		{name: "something behind the closing", body: url + "--B-- x\r\n", left: nothing},
		{name: "line feeds only", body: strings.ReplaceAll(a+url+end, "\r\n", "\n"), left: nothing},
		{name: "bad header", body: url + "--B\r\nx\r\n\r\n1\r\n" + end, left: nothing},
		{name: "header without end", body: url + "--B\r\nX: y\r\n", left: nothing},
		{name: "JSON", body: `{"callback_url":"u"}`, left: nothing},
		{name: "empty body", left: nothing},
	} {
		c.run(t, New(nil), "Multipart/Form-Data; Boundary=B")
	}

	body := []byte(a + url + end)
	for _, contentType := range []string{
		"multipart/form-data",
		"multipart/form-data; boundary=",
		"multipart/form-data; boundary=C",
		"multipart/form-data; boundary=\"B",
		"multipart/form-data; boundary=B; boundary=C",
		"multipart/form-data; boundary=" + strings.Repeat("B", 71),
		"multipart/mixed; boundary=B",
		"application/json",
		"text/plain",
	} {
		found, err := New(nil).InBody(contentType, body)
		require.NoError(t, err)
		require.Empty(t, found, contentType)
	}
	found, err := New(nil).InBody(`multipart/form-data; charset=utf-8; boundary="B"`, body)
	require.NoError(t, err)
	require.Equal(t, "http://c/", found.URL)
}

func TestOne(t *testing.T) {
	for _, c := range []struct {
		a, b, want string
		err        error
	}{
		{"", "", "", nil}, {"u", "", "u", nil}, {"", "u", "u", nil}, {"u", "u", "u", nil},
		{"u", "v", "", ErrConflict}, {"http://c", "http://c/", "", ErrConflict},
	} {
		got, err := One(c.a, c.b)
		require.Equal(t, c.want, got)
		require.ErrorIs(t, err, c.err)
	}
}

// Whatever the size, the time is in proportion to it: these take milliseconds.
func TestLargeBodies(t *testing.T) {
	f := finder(t, "$request.body#/u", "$request.body#/a/0/b")
	const size = 1 << 20
	for _, c := range []struct{ name, contentType, body string }{
		{"keys", "application/json", `{"u":"x"` + strings.Repeat(`,"u":"x"`, size/8) + `}`},
		{"escaped keys", "application/json", `{"u":"x"` + strings.Repeat(`,"\u0075":"x"`, size/13) + `}`},
		{"backslashes", "application/json", `{"u":"x","v":"` + strings.Repeat(`\\`, size/2) + `"}`},
		{"quotes", "application/json", `{"u":"x","v":"` + strings.Repeat(`\"`, size/2) + `"}`},
		{"elements", "application/json", `{"u":"x","a":[0` + strings.Repeat(`,0`, size/2) + `]}`},
		{"pairs", "application/x-www-form-urlencoded", "u=x" + strings.Repeat("&&u=x&%75=x", size/11)},
		{"parts", "multipart/form-data; boundary=B",
			strings.Repeat("--B\r\nContent-Disposition: form-data; name=u\r\n\r\nx\r\n", size/55) + "--B--"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := f.InBody(c.contentType, []byte(c.body))
			require.NoError(t, err)
			require.Equal(t, "x", found.URL)
			require.Less(t, len(found.Cut([]byte(c.body))), len(c.body))
		})
	}
}
