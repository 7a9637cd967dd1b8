package urlfrom

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func BenchmarkInHead(b *testing.B) {
	h := http.Header{}
	for _, name := range []string{"Accept", "Accept-Encoding", "User-Agent", "Authorization", "Content-Type", "Content-Length", "X-Forwarded-For", "Traceparent"} {
		h.Set(name, "value")
	}
	hit := h.Clone()
	hit.Set("Callback-Url", "https://client.example/hook")
	for _, c := range []struct {
		name  string
		h     http.Header
		query string
		want  string
	}{
		{"nothing", h, "", ""},
		{"nothing in 4 pairs", h, "page=2&filter%5Bid%5D=17&sort=name&q=a+b", ""},
		{"header", hit, "", "https://client.example/hook"},
		{"query", h, "page=2&callback_url=https://client.example/hook", "https://client.example/hook"},
		{"query encoded", h, "page=2&callback_url=https%3A%2F%2Fclient.example%2Fhook", "https://client.example/hook"},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := New(nil)
			b.ReportAllocs()
			for b.Loop() {
				if got, err := f.InHead(c.h, c.query); err != nil || got != c.want {
					b.Fatal(got, err)
				}
			}
		})
	}
}

func BenchmarkInBody(b *testing.B) {
	const item = `{"id":123456,"name":"A longer piece of text, with \"quotes\"","tags":["x","y"],"price":12.50},`
	items := func(size int) string { return `"items":[` + strings.Repeat(item, size/len(item)) + `{}]` }
	const field = "--B\r\nContent-Disposition: form-data; name=\"NAME\"\r\n\r\nhttps://client.example/hook\r\n"
	for _, c := range []struct{ name, contentType, body, want string }{
		{"JSON 16 KiB nothing", "application/json", `{` + items(16<<10) + `}`, ""},
		{"JSON 16 KiB cut", "application/json", `{` + items(16<<10) + `,"callback_url":"u"}`, "u"},
		{"JSON 1 KiB cut", "application/json", `{` + items(1<<10) + `,"callback_url":"u"}`, "u"},
		{"form 1 KiB cut", "application/x-www-form-urlencoded", strings.Repeat("name=a+value&", 1<<10/13) + "callback_url=u", "u"},
		{"multipart 1 KiB cut", "multipart/form-data; boundary=B",
			strings.Repeat(field, 1<<10/len(field)) + strings.Replace(field, "NAME", "callback_url", 1) + "--B--\r\n", "https://client.example/hook"},
		{"multipart 1 MiB file cut", "multipart/form-data; boundary=B",
			strings.Replace(field, "https", strings.Repeat("\r\n-\x00", 1<<18), 1) + strings.Replace(field, "NAME", "callback_url", 1) + "--B--\r\n", "https://client.example/hook"},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, body := New(nil), []byte(c.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				found, err := f.InBody(c.contentType, body)
				require.NoError(b, err)
				if left := found.Cut(body); found.URL != c.want || (len(left) < len(body)) != (c.want != "") {
					b.Fatal(found.URL)
				}
			}
		})
	}
}
