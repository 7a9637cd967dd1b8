package urlfrom

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"unicode/utf8"
)

// Expression is an OpenAPI 3.1 runtime expression that names a place in a
// request where a callback URL may be. Its zero value names no place.
// Expressions may be compared with ==.
type Expression struct {
	text string
	in   place
	// name is the header's, in canonical form, the query parameter's, or the
	// JSON Pointer, with its escapes.
	name string
	// anySpelling also takes the other spellings of callback_url.
	anySpelling bool
}

type place uint8

const (
	inHeader place = iota + 1
	inQuery
	inBody
)

// Default is where a callback URL is looked for unless a route says
// otherwise. In the query and in bodies all of callback_url, callbackUrl,
// callbackURL and callback-url count; an expression that Parse made from the
// same text is exact.
var Default = []Expression{
	{text: "$request.header.callback-url", in: inHeader, name: "Callback-Url"},
	{text: "$request.header.x-callback-url", in: inHeader, name: "X-Callback-Url"},
	{text: "$request.query.callback_url", in: inQuery, name: "callback_url", anySpelling: true},
	{text: "$request.body#/callback_url", in: inBody, name: "/callback_url", anySpelling: true},
}

var spellings = []string{"callback_url", "callbackUrl", "callbackURL", "callback-url"}

// ErrBadExpression is what every error of Parse is.
var ErrBadExpression = errors.New("bad runtime expression")

const possible = "want $request.header.NAME, $request.query.NAME or $request.body#/JSON/POINTER"

// Parse reads a runtime expression by the grammar of OpenAPI 3.1, section
// 4.8.20.4. Of what the grammar allows, only places of a request that a client
// can put a URL in are taken:
//
//	$request.header.NAME            any case
//	$request.query.NAME             the decoded name, in exactly this case
//	$request.body#/JSON/POINTER     RFC 6901, with ~0 for "~" and ~1 for "/"
//
// A query name may have the escapes of a JSON string, as in the grammar.
// Everything else is an ErrBadExpression, which says what is possible.
func Parse(s string) (Expression, error) {
	e, err := parse(s)
	if err != nil {
		return Expression{}, fmt.Errorf("%w %q: %w", ErrBadExpression, s, err)
	}
	return e, nil
}

func parse(s string) (Expression, error) {
	if !utf8.ValidString(s) {
		return Expression{}, errors.New("it is not UTF-8")
	}
	if strings.HasPrefix(s, "{") {
		return Expression{}, errors.New("leave out the braces")
	}
	source, ok := strings.CutPrefix(s, "$request.")
	if !ok {
		return Expression{}, errors.New(possible)
	}
	if token, ok := strings.CutPrefix(source, "header."); ok {
		if token == "" || strings.ContainsFunc(token, notTchar) {
			return Expression{}, fmt.Errorf("%q is not the name of a header", token)
		}
		return Expression{text: s, in: inHeader, name: textproto.CanonicalMIMEHeaderKey(token)}, nil
	}
	if chars, ok := strings.CutPrefix(source, "query."); ok {
		// The grammar's CHAR is that of RFC 8259, so that its rules are those of
		// a JSON string. It allows no name at all, which would be of no use.
		var name string
		if err := json.Unmarshal([]byte(`"`+chars+`"`), &name); err != nil {
			return Expression{}, errors.New(`in the name of a query parameter ", \ and control characters must be escaped as in JSON`)
		}
		if name == "" {
			return Expression{}, errors.New("the name of the query parameter is missing")
		}
		return Expression{text: s, in: inQuery, name: name}, nil
	}
	if fragment, ok := strings.CutPrefix(source, "body"); ok {
		pointer, ok := strings.CutPrefix(fragment, "#")
		if fragment == "" || ok && pointer == "" {
			return Expression{}, errors.New("the whole body can't be a callback URL, add a JSON Pointer such as #/callback_url")
		}
		if !ok || pointer[0] != '/' {
			return Expression{}, errors.New("after body, want # and a JSON Pointer that begins with /")
		}
		for i, c := range pointer {
			if c == '~' && !strings.HasPrefix(pointer[i+1:], "0") && !strings.HasPrefix(pointer[i+1:], "1") {
				return Expression{}, errors.New("in a JSON Pointer ~ is written ~0, and / in a name ~1")
			}
		}
		return Expression{text: s, in: inBody, name: pointer}, nil
	}
	return Expression{}, errors.New(possible)
}

// String is the text that Parse was given, or that Default stands for.
func (e Expression) String() string { return e.text }

// names are what the expression's query parameter or header may be called.
func (e Expression) names() []string {
	if e.anySpelling {
		return spellings
	}
	return []string{e.name}
}

// paths are the pointer's reference tokens, unescaped, once per spelling.
func (e Expression) paths() [][]string {
	if e.anySpelling {
		var paths [][]string
		for _, name := range spellings {
			paths = append(paths, []string{name})
		}
		return paths
	}
	tokens := strings.Split(e.name[1:], "/")
	for i, token := range tokens {
		tokens[i] = unescapePointer.Replace(token)
	}
	return [][]string{tokens}
}

// unescapePointer goes once from left to right, so that ~01 is ~1 and not /.
var unescapePointer = strings.NewReplacer("~1", "/", "~0", "~")

// notTchar is RFC 9110, section 5.6.2.
func notTchar(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}
