package urlfrom

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// node is a value on the way along the JSON Pointers; the root is the whole
// document. Several pointers make a tree, so that one pass serves them all.
type node struct {
	leaf     bool // a string here is a callback URL
	children []child
}

type child struct {
	key   string
	index int // of an array's element; -1 if key is no index (RFC 6901, section 4)
	*node
}

func (n *node) add(path []string) {
	for _, key := range path {
		next := n.member(func(c child) bool { return c.key == key })
		if next == nil {
			next = &node{}
			n.children = append(n.children, child{key: key, index: arrayIndex(key), node: next})
		}
		n = next
	}
	n.leaf = true
}

func (n *node) member(is func(child) bool) *node {
	for _, c := range n.children {
		if is(c) {
			return c.node
		}
	}
	return nil
}

// arrayIndex is "0" or digits without leading zeros.
func arrayIndex(key string) int {
	i, err := strconv.Atoi(key)
	if err != nil || i < 0 || strconv.Itoa(i) != key {
		return -1
	}
	return i
}

// find looks for strings at the tree's leaves. The error is ErrConflict.
func (n *node) find(body []byte) (Found, error) {
	if !n.mayBeIn(body) {
		return Found{}, nil
	}
	s := scan{body: body}
	document := bytes.TrimPrefix(body, []byte("\ufeff"))
	s.pos = len(body) - len(document)
	s.space()
	if _, ok := s.value(n); !ok || s.found.cuts == nil {
		return Found{}, nil
	}
	// The scan knows only what it needs in order to find its way through a
	// valid document. Now that there is something in it, be sure that it is one.
	if !json.Valid(document) {
		return Found{}, nil
	}
	return s.found, s.err
}

// mayBeIn is false for a body that has none of the node's keys anywhere, which
// is most bodies, and takes a small part of the time of a scan. A key may be
// written with escapes; those of plain letters begin with \u.
func (n *node) mayBeIn(body []byte) bool {
	if n.leaf || bytes.Contains(body, []byte(`\u`)) {
		return true
	}
	for i := 0; i < len(n.children); {
		// Spellings of one name follow each other, and begin alike.
		common := n.children[i].key
		for i++; i < len(n.children); i++ {
			shorter := commonPrefix(common, n.children[i].key)
			if len(shorter) < 4 {
				break
			}
			common = shorter
		}
		if !plainKey(common) || bytes.Contains(body, []byte(common)) {
			return true
		}
	}
	return false
}

func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// plainKey says that a key is written in JSON as it is, or with \u.
func plainKey(key string) bool {
	return arrayIndex(key) < 0 && !strings.ContainsFunc(key, func(r rune) bool {
		return r < 0x20 || r > 0x7e || r == '"' || r == '\\' || r == '/'
	})
}

// scan goes through a JSON document once, without building a tree. It goes as
// deep into itself as the pointers are long, not as the document is nested.
type scan struct {
	body  []byte
	pos   int
	found Found
	err   error // ErrConflict
}

// value passes over a value, and says whether it was taken as a URL. Not ok:
// this is not JSON.
func (s *scan) value(n *node) (taken, ok bool) {
	if n == nil || s.pos == len(s.body) {
		return false, s.skip()
	}
	switch c := s.body[s.pos]; {
	case c == '"' && n.leaf:
		text, ok := s.text()
		if !ok {
			return false, false
		}
		url, ok := unquote(text)
		if !ok {
			return false, false
		}
		var err error
		if s.found.URL, err = One(s.found.URL, url); err != nil {
			s.err = err // for now: the document may turn out not to be JSON
		}
		return true, true
	case c == '{' && n.children != nil:
		return false, s.object(n)
	case c == '[' && n.children != nil:
		return false, s.array(n)
	}
	return false, s.skip()
}

func (s *scan) object(n *node) bool {
	s.pos++
	start := s.pos // of a member: behind the { or the comma
	s.space()
	if s.eat('}') {
		return true
	}
	for kept := false; ; {
		s.space()
		key, ok := s.text()
		if !ok {
			return false
		}
		s.space()
		if !s.eat(':') {
			return false
		}
		s.space()
		taken, ok := s.value(n.key(key))
		if !ok {
			return false
		}
		end := s.pos
		s.space()
		more := s.eat(',')
		switch {
		case !taken:
			kept = true
		case kept: // with the comma before it
			s.cut(cut{from: start - 1, to: end})
		case more: // with the comma behind it
			s.cut(cut{from: start, to: s.pos})
		default:
			s.cut(cut{from: start, to: end})
		}
		if !more {
			return s.eat('}')
		}
		start = s.pos
	}
}

func (s *scan) array(n *node) bool {
	s.pos++
	s.space()
	if s.eat(']') {
		return true
	}
	for i := 0; ; i++ {
		s.space()
		start := s.pos
		taken, ok := s.value(n.member(func(c child) bool { return c.index == i }))
		if !ok {
			return false
		}
		if taken {
			s.cut(cut{from: start, to: s.pos, null: true})
		}
		s.space()
		if !s.eat(',') {
			return s.eat(']')
		}
	}
}

func (s *scan) cut(c cut) { s.found.cuts = append(s.found.cuts, c) }

// skip passes over a value, however deep it is.
func (s *scan) skip() bool {
	start := s.pos
	for depth := 0; s.pos < len(s.body); {
		switch s.body[s.pos] {
		case '"':
			if _, ok := s.text(); !ok {
				return false
			}
			if depth == 0 {
				return true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return s.pos > start // the end of what a number or literal is in
			}
			if depth--; depth == 0 {
				s.pos++
				return true
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return s.pos > start
			}
		}
		s.pos++
	}
	return false // a number alone is a document, too, but holds no URL
}

// text passes over a string, and returns it with its quotes and escapes.
func (s *scan) text() ([]byte, bool) {
	if s.pos == len(s.body) || s.body[s.pos] != '"' {
		return nil, false
	}
	start := s.pos
	for i := start + 1; ; i++ {
		n := bytes.IndexByte(s.body[i:], '"')
		if n < 0 {
			return nil, false
		}
		i += n
		// An odd number of backslashes before it: the quote itself is escaped.
		escapes := i
		for escapes > start+1 && s.body[escapes-1] == '\\' {
			escapes--
		}
		if (i-escapes)%2 == 0 {
			s.pos = i + 1
			return s.body[start:s.pos], true
		}
	}
}

func (s *scan) space() {
	for s.pos < len(s.body) {
		switch s.body[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

func (s *scan) eat(c byte) bool {
	if s.pos == len(s.body) || s.body[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

// key is the child for a member with this key, a string with its quotes.
func (n *node) key(text []byte) *node {
	if bytes.IndexByte(text, '\\') < 0 {
		for _, c := range n.children {
			if c.key == string(text[1:len(text)-1]) {
				return c.node
			}
		}
		return nil
	}
	key, ok := unquote(text)
	if !ok {
		return nil
	}
	return n.member(func(c child) bool { return c.key == key })
}

// unquote is the string that text stands for. What is not UTF-8 stays as it
// is, unless there are escapes.
func unquote(text []byte) (string, bool) {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), true
	}
	var s string
	err := json.Unmarshal(text, &s)
	return s, err == nil
}
