// Package urlfrom finds the callback URL of a request, and takes it out
// before the request is forwarded.
//
// Where it may be is a list of OpenAPI 3 runtime expressions, see [Parse] and
// [Default]. All places are looked at. A URL may be given in several of them,
// or several times in one, as long as it is the same, byte for byte; two
// different ones are an [ErrConflict].
//
// Only a string is a callback URL: a number, null or object at a place in a
// JSON body, or an uploaded file in a form, is something else of the client's
// and stays where it is. An empty string is no URL, just as if it was absent;
// when the request is taken all the same, it is taken out like a URL.
//
// What is taken out leaves every other byte as it was, see [Found.Cut] and
// [Finder.RemoveQuery].
//
// Whether a URL is a usable one is not decided here: it is handed on as the
// client wrote it, for the callback policy to judge.
package urlfrom

import (
	"errors"
	"slices"
	"strings"
)

// ErrConflict is a request with two different callback URLs.
var ErrConflict = errors.New("the request has two different callback URLs: send one")

// Finder finds callback URLs at the places it was made for, and takes them
// out. It never changes: any number of goroutines may use it at once.
type Finder struct {
	headers []string // in canonical form
	query   names
	fields  names // of forms
	json    *node // nil: nothing in JSON bodies
}

// New makes a Finder for these places; nil is [Default], and an empty list is
// no place at all.
func New(expressions []Expression) *Finder {
	if expressions == nil {
		expressions = Default
	}
	f := &Finder{}
	for _, e := range expressions {
		switch e.in {
		case inHeader:
			f.headers = append(f.headers, e.names()...)
		case inQuery:
			f.query = append(f.query, e.names()...)
		case inBody:
			if f.json == nil {
				f.json = &node{}
			}
			for _, path := range e.paths() {
				f.json.add(path)
				if len(path) == 1 {
					f.fields = append(f.fields, path[0])
				}
			}
		}
	}
	return f
}

// Headers are the headers that a callback URL is looked for in, in canonical form.
func (f *Finder) Headers() []string { return f.headers }

// One is the URL that two places of a request agree on. An empty one is
// none. Two different ones are an ErrConflict.
func One(a, b string) (string, error) {
	switch {
	case b == "" || a == b:
		return a, nil
	case a == "":
		return b, nil
	default:
		return "", ErrConflict
	}
}

// names are names of query parameters or form fields.
type names []string

// value is the value in a pair of a query, not decoded, if the pair's name,
// decoded, is one of the names. An empty pair has no name.
func (ns names) value(pair string) (string, bool) {
	for _, name := range ns {
		// The first byte settles it for nearly all that passes by.
		if pair == "" || name != "" && pair[0] != name[0] && pair[0] != '%' && pair[0] != '+' {
			continue
		}
		raw, value, _ := strings.Cut(pair, "=")
		if decodesTo(raw, name) {
			return value, true
		}
	}
	return "", false
}

// contains says that one of the names is exactly this.
func (ns names) contains(name string) bool { return slices.Contains(ns, name) }

// decodesTo says that raw is name, when + and % are decoded as in a query. It
// exists because url.QueryUnescape allocates for every filter%5Bid%5D that
// passes by.
func decodesTo(raw, name string) bool {
	for raw != "" && name != "" {
		c, n := raw[0], 1
		switch c {
		case '+':
			c = ' '
		case '%':
			if len(raw) < 3 {
				return false
			}
			high, low := hexDigit(raw[1]), hexDigit(raw[2])
			if high < 0 || low < 0 {
				return false
			}
			c, n = byte(high<<4|low), 3
		}
		if c != name[0] {
			return false
		}
		raw, name = raw[n:], name[1:]
	}
	return raw == name // both empty
}

// hexDigit is the value of the digit c, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
