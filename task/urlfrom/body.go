package urlfrom

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// WantsBody says whether a callback URL may be in the body of a request with
// this header: it is JSON (application/json or +json) and one of the
// expressions is for bodies, or a form (application/x-www-form-urlencoded or
// multipart/form-data) and one of them has a pointer of one segment. A body
// with a Content-Encoding is never looked into.
func (f *Finder) WantsBody(h http.Header) bool {
	contentType := h["Content-Type"]
	if len(contentType) == 0 || f.kind(contentType[0]) == unreadable {
		return false
	}
	for _, coding := range h["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return false
		}
	}
	return true
}

// InBody finds the callback URL in a complete body of this Content-Type. The
// URL is empty if there is none. The one error is ErrConflict.
//
// A body that is not what its Content-Type says has no URL: it is for the
// backend to complain about. That includes JSON that is nested more than 10,000
// deep, and a multipart body without its closing delimiter. A byte order mark
// before JSON is skipped. A URL-encoded form that is JSON is taken for that.
func (f *Finder) InBody(contentType string, body []byte) (Found, error) {
	var found Found
	var err error
	switch f.kind(contentType) {
	case jsonBody:
		found, err = f.json.find(body)
	case formBody:
		if isJSON(body) {
			found, err = f.json.find(body)
		} else {
			err = f.fields.cutPairs(string(body), &found)
		}
	case multipartBody:
		found, err = f.fields.findPart(contentType, body)
	}
	if err != nil {
		return Found{}, err
	}
	return found, nil
}

// isJSON says that what claims to be a URL-encoded form is JSON, and can be
// nothing else, since forms have neither braces nor quotes: curl -d says form,
// whatever it sends.
func isJSON(body []byte) bool {
	begin := bytes.TrimLeft(body, " \t\r\n")
	return len(begin) > 0 && (begin[0] == '{' || begin[0] == '[') && json.Valid(begin)
}

// Found is what InBody found.
type Found struct {
	URL  string // empty: no callback URL
	cuts []cut  // ascending, and none overlaps
}

// cut is a range of bytes to leave out, or to replace by null.
type cut struct {
	from, to int
	null     bool
}

// Cut is the body, which must be the one InBody was given, without what was
// found in it. Nothing else of it changes, not even where it is invalid UTF-8
// or a number too large for a float:
//
//   - The member of a JSON object goes with one adjoining comma and the
//     whitespace before it; if the key is there several times, each goes.
//   - The element of a JSON array becomes null, since removing it would move
//     the others.
//   - The pair of a URL-encoded form goes as in [Finder.RemoveQuery].
//   - The part of a multipart form goes with its headers and delimiter.
//
// The body itself stays as it is. When there is nothing to cut, it is
// returned; otherwise the result shares no memory with it.
func (f Found) Cut(body []byte) []byte {
	if len(f.cuts) == 0 {
		return body
	}
	out := make([]byte, 0, len(body))
	at := 0
	for _, c := range f.cuts {
		out = append(out, body[at:c.from]...)
		if c.null {
			out = append(out, "null"...)
		}
		at = c.to
	}
	return append(out, body[at:]...)
}

// kind is how a body is read.
type kind uint8

const (
	unreadable kind = iota
	jsonBody
	formBody
	multipartBody
)

// kind is how a body of this Content-Type is read for the expressions.
func (f *Finder) kind(contentType string) kind {
	if f.json == nil {
		return unreadable
	}
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.Trim(media, " \t")
	const suffix = "+json"
	switch {
	case strings.EqualFold(media, "application/json"),
		len(media) > len(suffix) && strings.EqualFold(media[len(media)-len(suffix):], suffix):
		return jsonBody
	case len(f.fields) == 0:
		return unreadable
	case strings.EqualFold(media, "application/x-www-form-urlencoded"):
		return formBody
	case strings.EqualFold(media, "multipart/form-data"):
		return multipartBody
	}
	return unreadable
}
