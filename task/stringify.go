package task

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// stringify writes a valid JSON text as JavaScript's JSON.stringify writes what
// JSON.parse makes of it, so that a receiver which has only the parsed object
// comes to the same bytes. A number of which a double would not keep every
// digit stays as it is written.
func stringify(text []byte) []byte {
	s := stringifier{in: text, out: make([]byte, 0, len(text))}
	s.value()
	return s.out
}

// stringifier goes through a text that is known to be valid JSON and UTF-8.
type stringifier struct {
	in  []byte
	at  int
	out []byte
	// moved is how many bytes were put into another order; beyond maxMoved they
	// stay as they are, or a text could be made to cost without end.
	moved int
}

const maxMoved = 8 * maxEnvelope

// next is the first byte of the next token.
func (s *stringifier) next() byte {
	for s.at < len(s.in) {
		switch c := s.in[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

func (s *stringifier) value() {
	switch s.next() {
	case '{':
		s.object()
	case '[':
		s.array()
	case '"':
		s.out = appendQuoted(s.out, s.token())
	case 't', 'f', 'n':
		s.out = append(s.out, s.token()...)
	default:
		s.out = appendNumber(s.out, string(s.token()))
	}
}

// token is the string, number or word that begins here.
func (s *stringifier) token() []byte {
	begin := s.at
	if s.in[s.at] == '"' {
		for s.at++; s.in[s.at] != '"'; s.at++ {
			if s.in[s.at] == '\\' {
				s.at++
			}
		}
		s.at++
		return s.in[begin:s.at]
	}
	if n := bytes.IndexAny(s.in[s.at:], " \t\r\n,]}"); n >= 0 {
		s.at += n
	} else {
		s.at = len(s.in)
	}
	return s.in[begin:s.at]
}

func (s *stringifier) array() {
	s.at++
	s.out = append(s.out, '[')
	for first := true; s.next() != ']'; first = false {
		if !first {
			s.at++ // the comma
			s.out = append(s.out, ',')
		}
		s.value()
	}
	s.at++
	s.out = append(s.out, ']')
}

// member is a member of an object, as it was written to out.
type member struct {
	name     string // with quotes
	from, to int
}

// object writes the members in the order that JavaScript keeps them in: names
// that are array indices first, by their number. Of those with one name the
// last is kept, in the place of the first.
func (s *stringifier) object() {
	s.at++
	s.out = append(s.out, '{')
	begin := len(s.out)
	var members []member
	for first := true; s.next() != '}'; first = false {
		if !first {
			s.at++ // the comma
			s.next()
			s.out = append(s.out, ',')
		}
		from := len(s.out)
		s.out = appendQuoted(s.out, s.token())
		name := string(s.out[from:])
		s.next()
		s.at++ // the colon
		s.out = append(s.out, ':')
		s.value()
		members = append(members, member{name, from, len(s.out)})
	}
	s.at++
	if arranged := arrange(members); !slices.Equal(arranged, members) && s.moved < maxMoved {
		written := bytes.Clone(s.out[begin:])
		s.moved += len(written)
		s.out = s.out[:begin]
		for i, m := range arranged {
			if i > 0 {
				s.out = append(s.out, ',')
			}
			s.out = append(s.out, written[m.from-begin:m.to-begin]...)
		}
	}
	s.out = append(s.out, '}')
}

// arrange returns the members as JavaScript has them.
func arrange(members []member) []member {
	places := make(map[string]int, len(members))
	kept := make([]member, 0, len(members))
	for _, m := range members {
		if place, ok := places[m.name]; ok {
			kept[place] = m
			continue
		}
		places[m.name] = len(kept)
		kept = append(kept, m)
	}
	slices.SortStableFunc(kept, func(a, b member) int {
		i, aIs := arrayIndex(a.name)
		j, bIs := arrayIndex(b.name)
		switch {
		case aIs && bIs:
			return cmp.Compare(i, j)
		case aIs:
			return -1
		case bIs:
			return 1
		}
		return 0
	})
	return kept
}

// arrayIndex is the number that a name, in quotes, is in JavaScript.
func arrayIndex(name string) (uint32, bool) {
	digits := name[1 : len(name)-1]
	if len(digits) == 0 || len(digits) > 10 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n < 1<<32-1
}

// appendQuoted appends a JSON string, given with its quotes.
func appendQuoted(out, token []byte) []byte {
	inner := token[1 : len(token)-1]
	if !bytes.ContainsRune(inner, '\\') {
		return append(out, token...)
	}
	out = append(out, '"')
	for i := 0; i < len(inner); {
		if inner[i] != '\\' {
			out = append(out, inner[i])
			i++
			continue
		}
		if inner[i+1] != 'u' {
			out = appendEscaped(out, unescaped[inner[i+1]])
			i += 2
			continue
		}
		r := hex4(inner[i+2:])
		i += 6
		if utf16.IsSurrogate(r) {
			if i+6 <= len(inner) && inner[i] == '\\' && inner[i+1] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(inner[i+2:])); pair != utf8.RuneError {
					out = utf8.AppendRune(out, pair)
					i += 6
					continue
				}
			}
			// Half a pair is no character: it stays an escape.
			out = append(out, `\u`...)
			out = strconv.AppendInt(out, int64(r), 16)
			continue
		}
		out = appendEscaped(out, r)
	}
	return append(out, '"')
}

var unescaped = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// hex4 is the number in four hexadecimal digits.
func hex4(digits []byte) rune {
	n, _ := strconv.ParseUint(string(digits[:4]), 16, 32)
	return rune(n)
}

// appendNumber appends a number as JavaScript writes it, if that is the same
// number.
func appendNumber(out []byte, text string) []byte {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return append(out, text...) // beyond what a double holds
	}
	if f == 0 {
		f = 0 // not -0
	}
	begin := len(out)
	format := byte('f')
	if abs := max(f, -f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	out = strconv.AppendFloat(out, f, format, -1, 64)
	if format == 'e' { // e-07 is e-7
		if n := len(out); out[n-2] == '0' && (out[n-3] == '-' || out[n-3] == '+') {
			out[n-2] = out[n-1]
			out = out[:n-1]
		}
	}
	if decimalOf(string(out[begin:])) != decimalOf(text) {
		return append(out[:begin], text...)
	}
	return out
}

// decimal is a number as 0.digits × 10^exponent; two are the same number only
// if they are equal.
type decimal struct {
	negative bool
	digits   string // neither begins nor ends with a zero
	exponent int
}

func decimalOf(text string) decimal {
	var d decimal
	text, d.negative = strings.CutPrefix(text, "-")
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	d.exponent, _ = strconv.Atoi(exponent)
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	trimmed := strings.TrimLeft(digits, "0")
	d.exponent += len(whole) - (len(digits) - len(trimmed))
	d.digits = strings.TrimRight(trimmed, "0")
	if d.digits == "" {
		return decimal{}
	}
	return d
}
