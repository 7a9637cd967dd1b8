package urlfrom

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
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
	s.pos = len(body) - len(bytes.TrimPrefix(body, []byte("\ufeff")))
	s.space()
	if _, ok := s.value(n); !ok || s.found.cuts == nil {
		return Found{}, nil
	}
	if s.space(); s.pos < len(body) {
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

// scan goes through a JSON document once, without building a tree, and takes
// for JSON what encoding/json does (RFC 8259, with bytes that are not UTF-8 in
// strings). It goes as deep into itself as the pointers are long, not as the
// document is nested.
type scan struct {
	body  []byte
	pos   int
	depth int // of the object or array that is being scanned
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
	case (c == '{' || c == '[') && n.children != nil:
		if s.depth == maxDepth {
			return false, false
		}
		s.depth++
		defer func() { s.depth-- }()
		if c == '{' {
			return false, s.object(n)
		}
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
		key, ok := s.key()
		if !ok {
			return false
		}
		taken, ok := s.value(n.child(key))
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

// maxDepth is how deep a document may be nested, which is as deep as
// encoding/json goes.
const maxDepth = 10000

// skip passes over a value, however deep it is.
func (s *scan) skip() bool {
	var few [64]byte
	open := few[:0] // the brackets to be closed
	for {
		if s.pos == len(s.body) {
			return false
		}
		switch c := s.body[s.pos]; c {
		case '"':
			if _, ok := s.text(); !ok {
				return false
			}
		case '{', '[':
			s.pos++
			if s.depth+len(open) == maxDepth {
				return false
			}
			s.space()
			closing := c + 2 // in ASCII
			if s.eat(closing) {
				break
			}
			open = append(open, closing)
			if closing == '}' && !s.skipKey() {
				return false
			}
			continue
		default:
			if !s.plain() {
				return false
			}
		}
		for { // what may follow a value
			if len(open) == 0 {
				return true
			}
			s.space()
			closing := open[len(open)-1]
			if s.eat(',') {
				s.space()
				if closing == '}' && !s.skipKey() {
					return false
				}
				break
			}
			if !s.eat(closing) {
				return false
			}
			open = open[:len(open)-1]
		}
	}
}

// key passes over the key of a member and the colon, and returns the key.
func (s *scan) key() ([]byte, bool) {
	key, ok := s.text()
	if !ok {
		return nil, false
	}
	s.space()
	if !s.eat(':') {
		return nil, false
	}
	s.space()
	return key, true
}

func (s *scan) skipKey() bool {
	_, ok := s.key()
	return ok
}

// plain passes over a number, true, false or null.
func (s *scan) plain() bool {
	for _, word := range []string{"true", "false", "null"} {
		if s.body[s.pos] == word[0] {
			if !bytes.HasPrefix(s.body[s.pos:], []byte(word)) {
				return false
			}
			s.pos += len(word)
			return true
		}
	}
	s.eat('-')
	if !s.eat('0') && !s.digits() {
		return false
	}
	if s.eat('.') && !s.digits() {
		return false
	}
	if s.eat('e') || s.eat('E') {
		if !s.eat('+') {
			s.eat('-')
		}
		return s.digits()
	}
	return true
}

func (s *scan) digits() bool {
	start := s.pos
	for s.pos < len(s.body) && '0' <= s.body[s.pos] && s.body[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// text passes over a string, and returns it with its quotes and escapes.
func (s *scan) text() ([]byte, bool) {
	start := s.pos
	if !s.eat('"') {
		return nil, false
	}
	for s.pos < len(s.body) {
		s.pos += ordinary(s.body[s.pos:])
		switch {
		case s.eat('"'):
			return s.body[start:s.pos], true
		case !s.eat('\\') || !s.escape(): // or a control character, or the end
			return nil, false
		}
	}
	return nil, false
}

// ordinary is how many bytes there are before one that means something in a
// string: a quote, a backslash, or a control character.
func ordinary(b []byte) (n int) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-n >= 8; n += 8 { // eight at a time
		eight := binary.LittleEndian.Uint64(b[n:])
		quote, backslash := eight^'"'*ones, eight^'\\'*ones
		// The top bit of a byte is set in the difference if it was zero, or less
		// than a space; in itself if it is not ASCII. A byte that is found may borrow
		// from those behind it, and have them found wrongly: only the first counts.
		special := (quote-ones)&^quote | (backslash-ones)&^backslash | (eight-' '*ones)&^eight
		if special &= tops; special != 0 {
			return n + bits.TrailingZeros64(special)/8
		}
	}
	for n < len(b) && b[n] != '"' && b[n] != '\\' && b[n] >= ' ' {
		n++
	}
	return n
}

// escape passes over what follows a backslash.
func (s *scan) escape() bool {
	if s.pos == len(s.body) {
		return false
	}
	c := s.body[s.pos]
	s.pos++
	if c != 'u' {
		return strings.IndexByte(`"\/bfnrt`, c) >= 0
	}
	for range 4 {
		if s.pos == len(s.body) || strings.IndexByte("0123456789abcdefABCDEF", s.body[s.pos]) < 0 {
			return false
		}
		s.pos++
	}
	return true
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

// child is the node for a member with this key, a string with its quotes.
func (n *node) child(text []byte) *node {
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
