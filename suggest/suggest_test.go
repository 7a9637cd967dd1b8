package suggest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearest(t *testing.T) {
	known := []string{"timeout", "attempts", "allow", "allow_origin", "max_body", "name", "only", "Callback-Error-Url", "to", "url_from"}
	for word, want := range map[string]string{
		"timout": "timeout", "atempts": "attempts", "alow": "allow", "allow_orign": "allow_origin", "maxbody": "max_body",
		"Callback-Erorr-Url": "Callback-Error-Url", "callback-error-uri": "Callback-Error-Url", "nmae": "name", "too": "to", "url_form": "url_from",
		"nonsense": "", "x": "", "": "", "retention": "",
	} {
		require.Equal(t, want, Nearest(word, known), word)
	}
	require.Equal(t, "; did you mean timeout?", DidYouMean("timout", known))
	require.Empty(t, DidYouMean("nonsense", known))
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "xbc", 1}, {"erorr", "error", 1}, {"kitten", "sitting", 3}} {
		require.Equal(t, c.want, distance(c.a, c.b), c)
		require.Equal(t, c.want, distance(c.b, c.a), c)
	}
}
