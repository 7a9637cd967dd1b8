package urlfrom

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Expression{
		"$request.header.callback-url":   {in: inHeader, name: "Callback-Url"},
		"$request.header.CALLBACK-URL":   {in: inHeader, name: "Callback-Url"},
		"$request.header.x!#$%&'*+.^_`|": {in: inHeader, name: "X!#$%&'*+.^_`|"},
		"$request.query.callbackURL":     {in: inQuery, name: "callbackURL"},
		"$request.query.a b&c=d.é":       {in: inQuery, name: "a b&c=d.é"},
		`$request.query.\u0063b\"\\`:     {in: inQuery, name: `cb"\`},
		"$request.body#/callback_url":    {in: inBody, name: "/callback_url"},
		"$request.body#/a/0/b~1c~0d":     {in: inBody, name: "/a/0/b~1c~0d"},
		"$request.body#/":                {in: inBody, name: "/"}, // the member ""
	} {
		e, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, text, e.String())
		want.text = text
		require.Equal(t, want, e)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, say := range map[string]string{
		"":                               "want $request.header.NAME",
		"callback_url":                   "want $request.header.NAME",
		"$url":                           "want $request.header.NAME",
		"$method":                        "want $request.header.NAME",
		"$statusCode":                    "want $request.header.NAME",
		"$request.path.id":               "want $request.header.NAME",
		"$response.body#/url":            "want $request.header.NAME",
		"$request.cookie.url":            "want $request.header.NAME",
		" $request.query.url":            "want $request.header.NAME",
		"$request.header.":               "not the name of a header",
		"$request.header.a b":            "not the name of a header",
		"$request.header.é":              "not the name of a header",
		"$request.query.":                "name of the query parameter is missing",
		`$request.query.a"b`:             "must be escaped",
		`$request.query.a\x`:             "must be escaped",
		`$request.query.a\`:              "must be escaped",
		"$request.query.a\nb":            "must be escaped",
		"$request.query.\xff":            "not UTF-8",
		"$request.body":                  "add a JSON Pointer",
		"$request.body#":                 "add a JSON Pointer",
		"$request.body#callback_url":     "begins with /",
		"$request.body/callback_url":     "begins with /",
		"$request.bodyguard":             "begins with /",
		"$request.body#/a~":              "written ~0",
		"$request.body#/a~2b":            "written ~0",
		"{$request.body#/callback_url}":  "leave out the braces",
		"{$request.query.url}/completed": "leave out the braces",
	} {
		_, err := Parse(text)
		require.ErrorIs(t, err, ErrBadExpression, text)
		require.ErrorContains(t, err, say, text)
	}
}

func TestDefaultIsWrittenAsItIsParsed(t *testing.T) {
	for _, e := range Default {
		parsed, err := Parse(e.String())
		require.NoError(t, err)
		parsed.anySpelling = e.anySpelling // the one thing that no text says
		require.Equal(t, e, parsed)
	}
}

func TestPointerPaths(t *testing.T) {
	for text, want := range map[string][]string{
		"$request.body#/a":      {"a"},
		"$request.body#/":       {""},
		"$request.body#/a//b":   {"a", "", "b"},
		"$request.body#/a~1b/c": {"a/b", "c"},
		"$request.body#/~01":    {"~1"}, // RFC 6901, section 4
		"$request.body#/~00/~0": {"~0", "~"},
	} {
		e, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, [][]string{want}, e.paths(), text)
	}
}

// finder makes one for these expressions, or for Default.
func finder(t testing.TB, expressions ...string) *Finder {
	t.Helper()
	var list []Expression
	for _, text := range expressions {
		e, err := Parse(text)
		require.NoError(t, err)
		list = append(list, e)
	}
	return New(list)
}
