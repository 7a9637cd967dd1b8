package task

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// enveloped is the body of an envelope callback for a backend's answer.
func enveloped(t testing.TB, header http.Header, body []byte) []byte {
	e := New(Options{})
	now := time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)
	tsk := &Task{ID: NewID(now), Status: Completed, FinishedAt: now, Callback: Callback{Format: FormatEnvelope},
		Response: &Summary{Status: 200}}
	m, err := e.message(tsk, &Route{}, &Response{Status: 200, Header: header, Body: Body{Size: int64(len(body)), Inline: body}})
	require.NoError(t, err)
	require.Equal(t, []string{"application/json"}, m.Header["Content-Type"])
	require.Empty(t, m.Header["Content-Encoding"])
	r, err := m.Open()
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, m.Size, int64(len(b)))
	return b
}

func TestEnvelope(t *testing.T) {
	zip := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.String()
	}
	for name, c := range map[string]struct {
		header []string
		body   string
		want   string // what follows http_status
	}{
		"JSON is written as JavaScript does": {
			[]string{"Content-Type", "application/json"},
			`{ "html": "<b>&</b>", "n": 12345678901234567890.10, "e":1E400, "b":1, "a": [ 1, 2 ], "u": "\u00e9 é" }` + "\n",
			`"result":{"html":"<b>&</b>","n":12345678901234567890.10,"e":1E400,"b":1,"a":[1,2],"u":"é é"}`,
		},
		"+json":           {[]string{"Content-Type", "application/problem+json; charset=utf-8"}, ` [ ] `, `"result":[]`},
		"text":            {[]string{"Content-Type", "text/plain; charset=utf-8"}, "a \"b\"\n\\ \u2028 <é>\x01", `"result":"a \"b\"\n\\ ` + "\u2028" + ` <é>\u0001"`},
		"broken JSON":     {[]string{"Content-Type", "application/json"}, `{"a":`, `"result":"{\"a\":"`},
		"empty":           {nil, "", `"result":""`},
		"unknown":         {nil, "abc", `"encoding":"base64","result":"YWJj"`},
		"binary":          {[]string{"Content-Type", "image/png"}, "\x89PNG", `"content_type":"image/png","encoding":"base64","result":"iVBORw=="`},
		"another charset": {[]string{"Content-Type", "text/plain; charset=latin1"}, "\xe9", `"content_type":"text/plain; charset=latin1","encoding":"base64","result":"6Q=="`},
		"text that lies":  {[]string{"Content-Type", "text/plain"}, "\xff", `"content_type":"text/plain","encoding":"base64","result":"/w=="`},
		"gzip":            {[]string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, zip(`{"a": 1}`), `"result":{"a":1}`},
		"br":              {[]string{"Content-Type", "application/json", "Content-Encoding", "br"}, "x", `"content_type":"application/json","content_encoding":"br","encoding":"base64","result":"eA=="`},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			for i := 0; i < len(c.header); i += 2 {
				h.Set(c.header[i], c.header[i+1])
			}
			got := string(enveloped(t, h, []byte(c.body)))
			require.True(t, strings.HasPrefix(got, `{"type":"task.completed","timestamp":"2026-11-20T08:30:00Z","task_id":"`), got)
			_, rest, _ := strings.Cut(got, `"http_status":200,`)
			require.Equal(t, c.want+"}", rest)
		})
	}
}

func TestALargeEnvelopeIsStreamed(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 1<<20)
	var got struct {
		Encoding string `json:"encoding"`
		Result   []byte `json:"result"`
	}
	require.NoError(t, json.Unmarshal(enveloped(t, http.Header{"Content-Type": {"text/plain"}}, body), &got))
	require.Equal(t, "base64", got.Encoding)
	require.Equal(t, body, got.Result)
}

// A receiver that parses the envelope and writes it again with JavaScript
// gets the same bytes, so that signatures over them still verify.
func TestEnvelopeIsWhatJavaScriptWouldWrite(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node")
	}
	for _, body := range []string{
		`{"summary":"<b>Überschrift & mehr</b>","n":[1,2.5,-3,1e21,true,null],"s":"a\"b\\c\n\t\u2028\u0001"}`,
		`"just a string"`,
		`{}`,
		`{"python":"caf\u00e9 \ud83d\ude00","php":"a\/b","go":"\u003ca\u003e","float":1.0,"big":1.7E9,"money":1234.50,"id":{"12":1,"9":2,"x":3}}`,
	} {
		envelope := enveloped(t, http.Header{"Content-Type": {"application/json"}}, []byte(body))
		cmd := exec.Command(node, "-e", `process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0,"utf8"))))`)
		cmd.Stdin = bytes.NewReader(envelope)
		again, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, string(envelope), string(again))
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add("application/json", "", []byte(`{"a":[1,"x"]}`))
	f.Add("text/plain; charset=utf-8", "", []byte("hello"))
	f.Add("image/png", "gzip", []byte{0x1f, 0x8b, 0})
	f.Fuzz(func(t *testing.T, contentType, encoding string, body []byte) {
		h := http.Header{}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		if encoding != "" {
			h.Set("Content-Encoding", encoding)
		}
		envelope := enveloped(t, h, body)
		if !utf8.ValidString(contentType) || !utf8.ValidString(encoding) {
			return // no header has such a value
		}
		var got struct {
			Encoding string          `json:"encoding"`
			Result   json.RawMessage `json:"result"`
		}
		require.NoError(t, json.Unmarshal(envelope, &got), "%s", envelope)
		if got.Encoding == "base64" {
			var b []byte
			require.NoError(t, json.Unmarshal(got.Result, &b))
			require.Equal(t, base64.StdEncoding.EncodeToString(body), base64.StdEncoding.EncodeToString(b))
		}
	})
}
