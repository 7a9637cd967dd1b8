package task

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// maxEnvelope is the size in bytes up to which a body is looked into, to put
// it into an envelope as JSON or text. A larger one is streamed as base64.
const maxEnvelope = 8 << 20

// envelope puts the callback into a JSON object (contract: Callback-Format:
// envelope), written as JavaScript's JSON.stringify would.
func (m *message) envelope(t *Task, response *Response) error {
	var head bytes.Buffer
	fmt.Fprintf(&head, `{"type":%s,"timestamp":%s,"task_id":%s,"status":%s,"http_status":%s`,
		quote(t.Event().String()), quote(t.FinishedAt.UTC().Format(time.RFC3339Nano)),
		quote(t.ID.String()), quote(t.Status.String()), t.statusHeader())
	original := *m
	for name := range m.Header {
		if strings.HasPrefix(name, "Content-") || name == "Etag" || name == "Last-Modified" {
			delete(m.Header, name)
		}
	}
	m.Header["Content-Type"] = []string{"application/json"}
	if response == nil {
		fmt.Fprintf(&head, `,"error":{"code":%s,"message":%s}}`, quote(t.Failure.Code), quote(t.Failure.Message))
		m.bytes(head.Bytes())
		return nil
	}
	if original.Size <= maxEnvelope {
		body, err := original.readAll(maxEnvelope)
		if err != nil {
			return err
		}
		if result, ok := embed(body, response.Header); ok {
			head.WriteString(`,"result":`)
			head.Write(result)
			head.WriteByte('}')
			m.bytes(head.Bytes())
			return nil
		}
	}
	if ct := response.Header.Get("Content-Type"); ct != "" {
		head.WriteString(`,"content_type":` + quote(ct))
	}
	if ce := response.Header.Get("Content-Encoding"); ce != "" {
		head.WriteString(`,"content_encoding":` + quote(ce))
	}
	head.WriteString(`,"encoding":"base64","result":"`)
	const tail = `"}`
	m.Size = int64(head.Len()) + int64(base64.StdEncoding.EncodedLen(int(original.Size))) + int64(len(tail))
	m.Open = func() (io.ReadCloser, error) {
		body, err := original.Open()
		if err != nil {
			return nil, err
		}
		r, w := io.Pipe()
		go func() {
			defer body.Close()
			encoder := base64.NewEncoder(base64.StdEncoding, w)
			_, err := w.Write(head.Bytes())
			if err == nil {
				_, err = io.Copy(encoder, body)
			}
			if err == nil {
				err = encoder.Close()
			}
			if err == nil {
				_, err = io.WriteString(w, tail)
			}
			w.CloseWithError(err)
		}()
		return r, nil
	}
	return nil
}

// embed makes a JSON value of a body, if it is JSON or text.
func embed(body []byte, header http.Header) (value []byte, ok bool) {
	switch header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, false
		}
		if body, err = io.ReadAll(io.LimitReader(r, maxEnvelope+1)); err != nil || len(body) > maxEnvelope {
			return nil, false
		}
	default:
		return nil, false
	}
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && header.Get("Content-Type") != "" {
		return nil, false
	}
	if mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") {
		if utf8.Valid(body) && json.Valid(body) {
			return stringify(body), true
		}
	}
	charset := strings.ToLower(params["charset"])
	text := strings.HasPrefix(mediaType, "text/") || mediaType == "application/json" || strings.HasSuffix(mediaType, "+xml") ||
		mediaType == "application/xml" || len(body) == 0
	if text && (charset == "" || charset == "utf-8" || charset == "us-ascii") && utf8.Valid(body) {
		return []byte(quote(string(body))), true
	}
	return nil, false
}

// quote writes a string as JSON.stringify does: it escapes what must be, and
// nothing else.
func quote(s string) string {
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for _, r := range s {
		out = appendEscaped(out, r)
	}
	return string(append(out, '"'))
}

// appendEscaped appends a character of a string as JSON.stringify writes it.
func appendEscaped(out []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(out, '\\', byte(r))
	case '\b':
		return append(out, `\b`...)
	case '\f':
		return append(out, `\f`...)
	case '\n':
		return append(out, `\n`...)
	case '\r':
		return append(out, `\r`...)
	case '\t':
		return append(out, `\t`...)
	}
	if r < 0x20 {
		return fmt.Appendf(out, `\u%04x`, r)
	}
	return utf8.AppendRune(out, r)
}
