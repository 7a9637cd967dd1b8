package task

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseHeaders(t *testing.T) {
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	o, err := ParseHeaders(http.Header{
		"Callback-Error-Url":            {"https://errors.example/"},
		"Callback-Events":               {"failed, completed"},
		"Callback-Format":               {"Envelope"},
		"Callback-Header-Authorization": {"Bearer x"},
		"Callback-Delay":                {"60"},
		"Callback-Deadline":             {"2026-11-20T09:00:00Z"},
		"Idempotency-Key":               {"k"},
		"Prefer":                        {"handling=lenient, respond-async; foo=bar, wait=10", "wait=99"},
		"Authorization":                 {"Bearer mine"},
	}, now)
	require.NoError(t, err)
	require.Equal(t, ClientOptions{
		ErrorURL:       "https://errors.example/",
		Events:         EventFailed | EventCompleted,
		Format:         FormatEnvelope,
		Header:         http.Header{"Authorization": {"Bearer x"}},
		NotBefore:      now.Add(time.Minute),
		Deadline:       now.Add(time.Hour),
		IdempotencyKey: "k",
		RespondAsync:   true,
		Wait:           10 * time.Second,
	}, o)
}

// Each bad value is refused with words that name the header.
func TestBadHeaders(t *testing.T) {
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for header, value := range map[string]string{
		"Callback-Events":                 "finished",
		"Callback-Format":                 "xml",
		"Callback-Delay":                  "soon",
		"Callback-Deadline":               "2020-01-01T00:00:00Z",
		"Callback-Header-Host":            "evil.example",
		"Callback-Header-Webhook-Id":      "forged",
		"Callback-Header-Callback-Status": "200",
		"Callback-Header-Content-Length":  "0",
		"Callback-Header-Signature":       "forged",
		"Callback-Header-":                "nameless",
		"Callback-Header-X":               "a\r\nb: c",
		"Idempotency-Key":                 strings.Repeat("k", 257),
		"Callback-Erorr-Url":              "https://a.example/",
		"Callback-Whatever":               "x",
	} {
		_, err := ParseHeaders(http.Header{header: {value}}, now)
		var problem *Problem
		require.ErrorAs(t, err, &problem, header)
		require.Equal(t, 400, problem.Status)
		require.Contains(t, problem.Detail, header)
	}
	for _, pair := range [][2]string{{"Callback-Delay", "-1"}, {"Callback-Delay", "99999999999"}, {"Callback-Deadline", "0"}, {"Callback-Events", ""}} {
		_, err := ParseHeaders(http.Header{pair[0]: {pair[1]}}, now)
		require.Error(t, err, pair)
	}
	_, err := ParseHeaders(http.Header{"Callback-Erorr-Url": {"x"}}, now)
	require.ErrorContains(t, err, "Callback-Erorr-Url: there is no such header; did you mean Callback-Error-Url?")
	_, err = ParseHeaders(http.Header{"Callback-Events": {"complete"}}, now)
	require.ErrorContains(t, err, `"complete" is not an event: want one or more of completed, failed, canceled; did you mean completed?`)
	_, err = ParseHeaders(http.Header{"Callback-Events": {"done"}}, now)
	require.NotContains(t, err.Error(), "started", "it would be refused as well")
	_, err = ParseHeaders(http.Header{"Callback-Target": {"https://a.example/"}, "Callback-Task-Id": {"x"}, "Callback-Attempt": {"1"}}, now, "Callback-Target")
	require.NoError(t, err, "a place of the URL, and what another Ringback adds")
	_, err = ParseHeaders(http.Header{"Callback-Error-Url": {"https://a.example/", "https://b.example/"}}, now)
	require.ErrorContains(t, err, "send it once")
	_, err = ParseHeaders(http.Header{"Callback-Delay": {"60"}, "Callback-Deadline": {"60"}}, now)
	require.Error(t, err)
}

func FuzzParseHeaders(f *testing.F) {
	f.Add("Callback-Delay", "60")
	f.Add("Callback-Deadline", "2026-11-20T09:00:00Z")
	f.Add("Callback-Header-X", "y")
	f.Add("Prefer", `respond-async, wait="10"; x=y`)
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, name, value string) {
		o, err := ParseHeaders(http.Header{http.CanonicalHeaderKey(name): {value}}, now)
		if err != nil {
			require.IsType(t, &Problem{}, err)
			return
		}
		for name, values := range o.Header {
			require.False(t, reserved(name))
			require.NotContains(t, values[0], "\n")
		}
		require.False(t, !o.NotBefore.IsZero() && o.NotBefore.Before(now))
		require.GreaterOrEqual(t, o.Wait, time.Duration(0))
	})
}
