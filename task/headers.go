package task

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/ringback/ringback/suggest"
)

// Names of the headers that clients, backends and receivers see.
const (
	HeaderTaskID         = "Callback-Task-Id"
	HeaderAttempt        = "Callback-Attempt"
	HeaderEvent          = "Callback-Event"
	HeaderStatus         = "Callback-Status"
	HeaderIdempotencyKey = "Idempotency-Key"

	headerURL      = "Callback-Url"
	headerErrorURL = "Callback-Error-Url"
	headerEvents   = "Callback-Events"
	headerFormat   = "Callback-Format"
	headerDelay    = "Callback-Delay"
	headerDeadline = "Callback-Deadline"
	headerForward  = "Callback-Header-"
)

// Bounds of what a client may ask for.
const (
	maxDelay          = 366 * 24 * time.Hour
	maxForwarded      = 32  // Callback-Header-* fields
	maxIdempotencyKey = 256 // bytes
)

// ClientOptions is what a client asks for in its headers, besides the callback URL.
type ClientOptions struct {
	ErrorURL       string      // Callback-Error-Url
	Events         Events      // Callback-Events; zero: the terminal ones
	Format         Format      // Callback-Format
	Header         http.Header // Callback-Header-*, without that prefix; nil if none
	NotBefore      time.Time   // from Callback-Delay; zero: at once
	Deadline       time.Time   // from Callback-Deadline; zero: none
	IdempotencyKey string      // Idempotency-Key

	RespondAsync bool          // Prefer: respond-async (RFC 7240, section 4.1)
	Wait         time.Duration // Prefer: wait=N (RFC 7240, section 4.3)
}

// possibleHeaders are the Callback headers that a request may have: the client's
// own, and what another Ringback in front adds for its backend.
var possibleHeaders = []string{headerURL, headerErrorURL, headerEvents, headerFormat, headerDelay, headerDeadline,
	HeaderTaskID, HeaderAttempt, HeaderEvent, HeaderStatus}

// ParseHeaders reads the client's options. An error is a *Problem, with
// status 400 and a text that says which header to change. The callback URL may
// be in the headers places, in canonical form, beside Callback-Url.
func ParseHeaders(h http.Header, now time.Time, places ...string) (ClientOptions, error) {
	var o ClientOptions
	o.RespondAsync, o.Wait = ParsePrefer(h)
	if key := h.Get(HeaderIdempotencyKey); len(key) > maxIdempotencyKey {
		return o, badHeader(HeaderIdempotencyKey, fmt.Errorf("it has %d bytes, at most %d are possible", len(key), maxIdempotencyKey))
	} else {
		o.IdempotencyKey = key
	}
	for name, values := range h {
		if !strings.HasPrefix(name, "Callback-") || len(values) == 0 {
			continue
		}
		var err error
		switch name {
		case headerErrorURL:
			o.ErrorURL, err = single(values)
		case headerEvents:
			o.Events, err = ParseEvents(strings.Join(values, ","))
			if err == nil && o.Events&^TerminalEvents != 0 {
				err = fmt.Errorf("callbacks can be sent for completed, failed and canceled, not for %s", o.Events&^TerminalEvents)
			}
		case headerFormat:
			var v string
			if v, err = single(values); err == nil {
				o.Format, err = ParseFormat(v)
			}
		case headerDelay:
			o.NotBefore, err = parseWhen(values, now)
		case headerDeadline:
			o.Deadline, err = parseWhen(values, now)
			if err == nil && !o.Deadline.After(now) {
				err = fmt.Errorf("%q has passed", values[0])
			}
		default:
			if forward, ok := strings.CutPrefix(name, headerForward); ok {
				err = o.forward(forward, values)
			} else if !slices.Contains(possibleHeaders, name) && !slices.Contains(places, name) {
				err = fmt.Errorf("there is no such header%s", suggest.DidYouMean(name, possibleHeaders))
			}
		}
		if err != nil {
			return o, badHeader(name, err)
		}
	}
	if !o.Deadline.IsZero() && !o.NotBefore.Before(o.Deadline) {
		return o, badHeader(headerDelay, fmt.Errorf("it is not before %s", headerDeadline))
	}
	return o, nil
}

func badHeader(name string, err error) *Problem {
	return NewProblem(http.StatusBadRequest, ProblemBadHeader, name+": "+err.Error())
}

// single is the one value of a header that may have only one.
func single(values []string) (string, error) {
	for _, v := range values[1:] {
		if v != values[0] {
			return "", fmt.Errorf("it was sent %d times with different values; send it once", len(values))
		}
	}
	return strings.TrimSpace(values[0]), nil
}

// parseWhen reads seconds from now, or an RFC 3339 time.
func parseWhen(values []string, now time.Time) (time.Time, error) {
	v, err := single(values)
	if err != nil {
		return time.Time{}, err
	}
	if seconds, err := strconv.ParseUint(v, 10, 32); err == nil {
		if d := time.Duration(seconds) * time.Second; d <= maxDelay {
			return now.Add(d), nil
		}
	} else if at, err := time.Parse(time.RFC3339, v); err == nil {
		if at.Before(now.Add(maxDelay)) {
			return at, nil
		}
	} else {
		return time.Time{}, fmt.Errorf("%q is neither a number of seconds nor an RFC 3339 time such as %s", v, now.UTC().Format(time.RFC3339))
	}
	return time.Time{}, fmt.Errorf("%q is more than %d days ahead", v, maxDelay/(24*time.Hour))
}

// forward takes up a Callback-Header-NAME.
func (o *ClientOptions) forward(name string, values []string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%q is not a header name", name)
	}
	if reserved(name) {
		return fmt.Errorf("%s can't be set by the client", name)
	}
	for _, v := range values {
		if !httpguts.ValidHeaderFieldValue(v) {
			return fmt.Errorf("its value has characters that a header can't have")
		}
	}
	if len(o.Header) >= maxForwarded {
		return fmt.Errorf("at most %d headers can be sent along", maxForwarded)
	}
	if o.Header == nil {
		o.Header = make(http.Header)
	}
	o.Header[textproto.CanonicalMIMEHeaderKey(name)] = values
	return nil
}

// reserved says that a header of callbacks is not the client's to set: it
// belongs to the connection, to the body, or to what a receiver trusts.
func reserved(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	if hopByHop[name] {
		return true
	}
	switch name {
	case "Host", "Expect", "X-Callback-Signature", "Signature", "Signature-Input", "Content-Digest",
		"Accept-Encoding", "Traceparent", "Tracestate", "Forwarded":
		return true
	}
	for _, prefix := range []string{"Callback-", "Webhook-", "Content-", "Ce-", "X-Forwarded-", "Proxy-", "Sec-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// HopByHop says that a header, named in its canonical form, belongs to one
// connection (RFC 9110, section 7.6.1) or to the length of one message, and
// does not travel on.
func HopByHop(name string) bool { return hopByHop[name] }

var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Content-Length": true, "Http2-Settings": true,
}

// ParsePrefer reads the respond-async and wait preferences (RFC 7240) of a
// request. What it can't read it ignores, as section 2 asks.
func ParsePrefer(h http.Header) (respondAsync bool, wait time.Duration) {
	for _, line := range h["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			preference, _, _ = strings.Cut(preference, ";") // parameters
			name, value, _ := strings.Cut(preference, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "respond-async":
				respondAsync = true
			case "wait":
				value = strings.Trim(strings.TrimSpace(value), `"`)
				if seconds, err := strconv.ParseUint(value, 10, 31); err == nil && wait == 0 {
					wait = time.Duration(seconds) * time.Second
				}
			}
		}
	}
	return respondAsync, wait
}
