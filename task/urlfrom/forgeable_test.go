package urlfrom

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForgeable(t *testing.T) {
	const u = "https://a.example/"
	custom, err := Parse("$request.header.referer")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		places []Expression
		header http.Header
		found  Found
		want   bool
	}{
		"query":            {header: http.Header{}, want: true},
		"form":             {header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, found: Found{URL: u}, want: true},
		"json as form":     {header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, found: Found{URL: u}, want: true},
		"multipart":        {header: http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}, found: Found{URL: u}, want: true},
		"json":             {header: http.Header{"Content-Type": {"application/json"}}, found: Found{URL: u}},
		"query, json":      {header: http.Header{"Content-Type": {"application/json"}}, want: true},
		"header":           {header: http.Header{"Callback-Url": {u}}},
		"header and query": {header: http.Header{"X-Callback-Url": {u}}},
		"empty header":     {header: http.Header{"Callback-Url": {""}}, want: true},
		"referer":          {places: []Expression{custom}, header: http.Header{"Referer": {u}}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, New(c.places).Forgeable(c.header, c.found))
		})
	}
}
