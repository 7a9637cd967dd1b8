package urlfrom

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
	"strings"
)

// findPart looks for the fields of a multipart/form-data body (RFC 7578) that
// have one of the names. mime/multipart reads the same, but does not say where
// in the body a part was. The error is ErrConflict.
func (ns names) findPart(contentType string, body []byte) (Found, error) {
	_, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	if err != nil || boundary == "" || len(boundary) > 70 || strings.ContainsAny(boundary, "\r\n") {
		return Found{}, nil
	}
	line := []byte("\r\n--" + boundary)
	m := multipart{body: body, line: line, dashes: line[len("\r\n"):]}

	var found Found
	var conflict error
	at, ok := m.first()
	for ok && !at.last {
		var field string
		var value []byte
		var next delimiter
		if field, value, next, ok = m.part(at.to); !ok {
			break
		}
		if ns.contains(field) {
			found.cuts = append(found.cuts, cut{from: at.from, to: next.from})
			if found.URL, err = One(found.URL, string(value)); err != nil {
				conflict = err
			}
		}
		at = next
	}
	if !ok {
		return Found{}, nil // not multipart, so what looked like fields may be anything
	}
	return found, conflict
}

type multipart struct {
	body   []byte
	line   []byte // a line break, "--" and the boundary
	dashes []byte // without the line break
	header bufio.Reader
}

// delimiter is a line between parts: where its dashes begin, and where the
// line behind it does.
type delimiter struct {
	from, to int
	last     bool // it closes the body
}

// first is the first delimiter, which may have other lines before it.
func (m *multipart) first() (delimiter, bool) {
	for at := 0; ; {
		d, begun, ok := m.delimiter(at)
		if ok {
			return d, true
		}
		if begun && bytes.HasPrefix(m.body[d.to-2:], []byte("\n")) {
			return delimiter{}, false // for mime/multipart, the lines of this body end so
		}
		n := bytes.IndexByte(m.body[at:], '\n')
		if n < 0 {
			return delimiter{}, false
		}
		at += n + 1
	}
}

// part reads the part whose header begins at. The field has no name if it is
// a file, or not of a form.
func (m *multipart) part(at int) (field string, value []byte, next delimiter, ok bool) {
	unread := bytes.NewReader(m.body[at:])
	m.header.Reset(unread)
	header, err := textproto.NewReader(&m.header).ReadMIMEHeader()
	if err != nil {
		return "", nil, delimiter{}, false
	}
	start := len(m.body) - unread.Len() - m.header.Buffered()

	disposition, params, err := mime.ParseMediaType(header.Get("Content-Disposition"))
	if _, file := params["filename"]; err == nil && disposition == "form-data" && !file {
		field = params["name"]
	}

	// An empty part may do without the line break before the delimiter.
	if next, begun, ok := m.delimiter(start); begun {
		return field, nil, next, ok
	}
	for at := start; ; {
		n := bytes.Index(m.body[at:], m.line)
		if n < 0 {
			return "", nil, delimiter{}, false
		}
		end := at + n
		if next, begun, ok := m.delimiter(end + 2); begun {
			return field, m.body[start:end], next, ok
		}
		at = end + len(m.line) // of another, longer boundary
	}
}

// delimiter reads the delimiter at, which is begun if the boundary ends where
// this one does, and ok if the rest of the line is as it has to be.
func (m *multipart) delimiter(at int) (d delimiter, begun, ok bool) {
	rest, begun := bytes.CutPrefix(m.body[at:], m.dashes)
	if !begun {
		return delimiter{}, false, false
	}
	d.from = at
	rest, d.last = bytes.CutPrefix(rest, []byte("--"))
	if !d.last && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) < 0) {
		return delimiter{}, false, false
	}
	rest = bytes.TrimLeft(rest, " \t")
	d.to = len(m.body) - len(rest) + 2
	if d.last && len(rest) == 0 {
		d.to = len(m.body)
		return d, true, true
	}
	return d, true, bytes.HasPrefix(rest, []byte("\r\n"))
}
