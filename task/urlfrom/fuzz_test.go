package urlfrom

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	stdmultipart "mime/multipart"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// What Parse takes is written back as it was, and can be looked for.
func FuzzParse(f *testing.F) {
	for _, e := range Default {
		f.Add(e.String())
	}
	for _, s := range []string{"$request.body#/a~1b/~01", `$request.query.\u00e9\"`, "$request.path.id", "$request.header.!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			require.ErrorIs(t, err, ErrBadExpression)
			require.Zero(t, e)
			return
		}
		require.Equal(t, s, e.String())
		again, err := Parse(e.String())
		require.NoError(t, err)
		require.Equal(t, e, again)

		finder := New([]Expression{e})
		switch e.in {
		case inHeader:
			found, err := finder.InHead(map[string][]string{e.name: {"u"}}, "")
			require.NoError(t, err)
			require.Equal(t, "u", found)
		case inQuery:
			found, err := finder.InHead(nil, url.Values{e.name: {"u"}}.Encode())
			require.NoError(t, err)
			require.Equal(t, "u", found)
		case inBody:
			body := []byte(`"u"`)
			tokens := e.paths()[0]
			for _, token := range slices.Backward(tokens) {
				body, err = json.Marshal(map[string]json.RawMessage{token: body})
				require.NoError(t, err)
			}
			found, err := finder.InBody("application/json", body)
			require.NoError(t, err)
			if len(tokens) < 9000 {
				require.Equal(t, "u", found.URL)
			}
		}
	})
}

// value is a JSON value with all that encoding/json would drop: the order and
// the duplicates of keys, and how numbers are written.
type value struct {
	kind   byte // { [ " 0
	text   string
	keys   []string
	values []*value
}

func readValue(t *testing.T, d *json.Decoder) *value {
	token, err := d.Token()
	require.NoError(t, err)
	switch token := token.(type) {
	case string:
		return &value{kind: '"', text: token}
	case json.Delim:
		v := &value{kind: byte(token)}
		for d.More() {
			if token == '{' {
				key, err := d.Token()
				require.NoError(t, err)
				v.keys = append(v.keys, key.(string))
			}
			v.values = append(v.values, readValue(t, d))
		}
		_, err := d.Token()
		require.NoError(t, err)
		return v
	case json.Number:
		return &value{kind: '0', text: token.String()}
	default:
		text, err := json.Marshal(token)
		require.NoError(t, err)
		return &value{kind: '0', text: string(text)}
	}
}

func readDocument(t *testing.T, body []byte) *value {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return readValue(t, d)
}

// without is what InBody and Cut are to do, done with the tree.
func (v *value) without(paths [][]string, urls *[]string) *value {
	if v.kind != '{' && v.kind != '[' {
		return v
	}
	left := &value{kind: v.kind}
	for i, sub := range v.values {
		key := strconv.Itoa(i)
		if v.kind == '{' {
			key = v.keys[i]
		}
		var below [][]string
		leaf := false
		for _, path := range paths {
			switch {
			case path[0] != key:
			case len(path) == 1:
				leaf = true
			default:
				below = append(below, path[1:])
			}
		}
		if leaf && sub.kind == '"' {
			*urls = append(*urls, sub.text)
			if v.kind == '{' {
				continue
			}
			sub = &value{kind: '0', text: "null"}
		}
		if v.kind == '{' {
			left.keys = append(left.keys, key)
		}
		left.values = append(left.values, sub.without(below, urls))
	}
	return left
}

// asJSON is what a string becomes that encoding/json has decoded: every byte
// that is not UTF-8 is replaced.
func asJSON(s string) string { return string([]rune(s)) }

// different says that there are two different URLs.
func different(urls []string) bool {
	urls = slices.DeleteFunc(slices.Clone(urls), func(s string) bool { return s == "" })
	slices.Sort(urls)
	return len(slices.Compact(urls)) > 1
}

// What is found, and what is left, is what encoding/json finds and leaves;
// and if nothing is found, nothing changes.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"callback_url":"u"}`,
		"\xef\xbb\xbf{\n \"a\" : [1e400, {}],\n \"callbackUrl\" : \"http:\\/\\/c\",\"callbackUrl\":\"\"\n}",
		`{"callback\u005furl":"\ud83d\ude00","hooks":["u",{"url":"u"}],"":1}`,
		`{"hooks":{"0":"","1":{"url":"u","url":"v"}},"a":"\\\"","callback-url":null}`,
		`["u",[[[]]],true,-0.1E+9]`,
		`{"callback_url":"u","a":[0,10.5e-3,null,false,{"b":"\u00e9\/ 12345678\\"},[{}]]} `,
		"{\"callback_url\":\"\xff\",\"callbackURL\":\"u\"}",
	} {
		f.Add([]byte(s))
	}
	expressions := Default
	for _, text := range []string{"$request.body#/hooks/0", "$request.body#/hooks/1/url", "$request.body#/", "$request.body#/0"} {
		e, err := Parse(text)
		require.NoError(f, err)
		expressions = append(expressions[:len(expressions):len(expressions)], e)
	}
	var paths [][]string
	for _, e := range expressions {
		if e.in == inBody {
			paths = append(paths, e.paths()...)
		}
	}
	finder := New(expressions)
	f.Fuzz(func(t *testing.T, body []byte) {
		original := bytes.Clone(body)
		found, err := finder.InBody("application/json", body)
		left := found.Cut(body)
		require.Equal(t, original, body)

		document := bytes.TrimPrefix(body, []byte("\ufeff"))
		if !json.Valid(document) {
			require.NoError(t, err)
			require.Empty(t, found)
			require.Equal(t, original, left)
			return
		}
		var urls []string
		want := readDocument(t, document).without(paths, &urls)
		if err != nil {
			require.ErrorIs(t, err, ErrConflict)
			require.Equal(t, original, left)
			// Two strings that are not UTF-8 may become the same one in the tree.
			require.True(t, different(urls) || !utf8.Valid(body))
			return
		}
		require.False(t, different(urls), "%q", urls)
		if len(urls) == 0 {
			require.Empty(t, found)
			require.Equal(t, original, left)
			return
		}
		require.Contains(t, append(urls, ""), asJSON(found.URL))
		require.Equal(t, strings.Join(urls, "") == "", found.URL == "")
		leftDocument := bytes.TrimPrefix(left, []byte("\ufeff"))
		require.Equal(t, len(body)-len(document), len(left)-len(leftDocument))
		require.True(t, json.Valid(leftDocument), "%q", left)
		require.Equal(t, want, readDocument(t, leftDocument))

		again, err := finder.InBody("application/json", left)
		require.NoError(t, err)
		require.Empty(t, again)
	})
}

// pairsOf splits a query or form into the pairs to keep and the URLs.
func pairsOf(raw string, names []string) (kept, urls []string) {
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || !slices.Contains(names, decoded) {
			kept = append(kept, pair)
			continue
		}
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		urls = append(urls, value)
	}
	return kept, urls
}

func addQueries(f *testing.F) {
	for _, s := range []string{
		"a=1&callback_url=http%3A%2F%2Fc&b=%20", "callbackUrl&callback-url=&callback%55RL=+", "&&callback_url=u&callback_url=u&",
		"callback_url=%zz;callback_url=u", "callback_url=u&callbackURL=v", "callback%5=u",
	} {
		f.Add(s)
	}
}

// A query without its URLs is the other pairs, and net/url sees no difference.
func FuzzQuery(f *testing.F) {
	addQueries(f)
	finder := New(nil)
	f.Fuzz(func(t *testing.T, raw string) {
		kept, urls := pairsOf(raw, spellings)
		found, err := finder.InHead(nil, raw)
		require.Equal(t, different(urls), err != nil)
		if err == nil {
			require.Contains(t, append(urls, ""), found)
			require.Equal(t, strings.Join(urls, "") == "", found == "")
		}
		left := finder.RemoveQuery(raw)
		require.Equal(t, strings.Join(kept, "&"), left)

		before, _ := url.ParseQuery(raw)
		after, _ := url.ParseQuery(left)
		for _, name := range spellings {
			delete(before, name)
			require.NotContains(t, after, name)
		}
		require.Equal(t, before, after)
	})
}

// A form is read like a query.
func FuzzForm(f *testing.F) {
	addQueries(f)
	finder := New(nil)
	f.Fuzz(func(t *testing.T, raw string) {
		kept, urls := pairsOf(raw, spellings)
		found, err := finder.InBody("application/x-www-form-urlencoded", []byte(raw))
		if err != nil {
			require.ErrorIs(t, err, ErrConflict)
			require.True(t, different(urls))
			return
		}
		require.False(t, different(urls))
		require.Contains(t, append(urls, ""), found.URL)
		require.Equal(t, strings.Join(urls, "") == "", found.URL == "")
		require.Equal(t, strings.Join(kept, "&"), string(found.Cut([]byte(raw))))
	})
}

type part struct {
	field   string
	header  map[string][]string
	content string
}

// readParts reads with mime/multipart.
func readParts(contentType string, body []byte) (kept []part, urls []string, err error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, nil, err
	}
	r := stdmultipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return kept, urls, nil
		}
		if err != nil {
			return nil, nil, err
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return nil, nil, err
		}
		_, params, _ := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if _, file := params["filename"]; !file && slices.Contains(spellings, p.FormName()) {
			urls = append(urls, string(content))
			continue
		}
		kept = append(kept, part{p.FormName(), p.Header, string(content)})
	}
}

// What is found, and what is left, is what mime/multipart finds and leaves.
func FuzzMultipart(f *testing.F) {
	const field = "--B\r\nContent-Disposition: form-data; name=\"callback_url\"\r\n\r\nhttp://c/\r\n"
	for _, s := range []string{
		field + "--B\r\nX: y\r\n\r\n1\r\n--BB\r\n--B--\r\n" + field,
		"x\n" + field + field + "--B--",
		"--B \r\nContent-Disposition: form-data; filename=a; name=callbackUrl\r\n\r\n--B-- \r\n",
		"--B\nContent-Disposition: form-data; name=callbackUrl\n\n--B--\n",
		"--B\n--B\r\nContent-Disposition: form-data; name=callback_url\n\n--B--",
		"--B 0\n--B\r\nContent-Disposition: form-data; name=callback_url\n\n--B--",
		"--B\r\n\r\n\r\n--B\r\nContent-Disposition:\r\n form-data; name*=us-ascii''callback%2durl\n\nu\r\n--B--",
	} {
		f.Add("B", []byte(s))
	}
	f.Add(`"a b"`, []byte("--a b\r\n\r\n--a b--"))
	finder := New(nil)
	f.Fuzz(func(t *testing.T, boundary string, body []byte) {
		contentType := "multipart/form-data; boundary=" + boundary
		original := bytes.Clone(body)
		found, err := finder.InBody(contentType, body)
		left := found.Cut(body)
		require.Equal(t, original, body)

		kept, urls, badBody := readParts(contentType, body)
		if err != nil {
			require.ErrorIs(t, err, ErrConflict)
			require.NoError(t, badBody)
			require.True(t, different(urls))
			return
		}
		if len(found.cuts) == 0 {
			require.Equal(t, original, left)
			// mime/multipart also reads lines that end in a line feed only, boundaries
			// that RFC 2046 does not allow, and a body that ends before a part does;
			// the last is told from a closed one by what is behind it.
			_, _, open := readParts(contentType, append(original, "\r\n\r\nX"...))
			if open == nil && len(urls) > 0 && len(boundary) <= 70 {
				require.NotContains(t, string(body), "--"+strings.Trim(boundary, `"`)+"\r\n", "overlooked %q", urls)
			}
			return
		}
		require.NoError(t, badBody)
		require.Contains(t, append(urls, ""), found.URL)
		require.Equal(t, strings.Join(urls, "") == "", found.URL == "")
		keptLeft, urlsLeft, err := readParts(contentType, left)
		require.NoError(t, err)
		require.Empty(t, urlsLeft)
		require.Equal(t, kept, keptLeft)
	})
}
