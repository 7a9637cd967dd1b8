package caddymodule

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ringback/ringback/task"
)

func init() {
	caddy.RegisterModule(new(LogEncoder))
}

// LogEncoder writes logs without what requests for callbacks hold that must
// not be known: user name, password, query and fragment of each URL in the
// query or in a header, the values of Callback-Header-* headers, and all but
// the beginning of task ids, as knowing an id is enough to see the task.
//
// It is Caddy's filter encoder with these filters in it, and takes what that
// takes: an encoder to wrap, and further fields to filter.
type LogEncoder struct {
	logging.FilterEncoder
}

// CaddyModule returns the Caddy module information.
func (*LogEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.encoders.callback",
		New: func() caddy.Module { return new(LogEncoder) },
	}
}

// Provision sets up the encoder.
func (e *LogEncoder) Provision(ctx caddy.Context) error {
	for _, parent := range ctx.Modules() {
		if _, ok := parent.(*logging.FilterEncoder); ok { // which would not show it the headers as such
			return errors.New("the format callback can't be wrapped in the format filter: put the fields into its own block")
		}
	}
	if err := e.FilterEncoder.Provision(ctx); err != nil {
		return err
	}
	further := maps.Clone(e.Fields)
	for _, path := range []string{"uri", "request>uri", "headers", "request>headers", "resp_headers"} {
		e.Fields[path] = redaction{path, further}
	}
	return nil
}

// UnmarshalCaddyfile sets up the encoder, as that of Caddy's filter encoder:
//
//	callback {
//		wrap    <encoder>
//		<field> <filter>
//	}
func (e *LogEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return e.FilterEncoder.UnmarshalCaddyfile(d)
}

// redaction filters a request's URI, or headers, and then as further filters
// say, by the path of the field.
type redaction struct {
	path    string
	further map[string]logging.LogFieldFilter
}

// Filter implements [logging.LogFieldFilter].
func (r redaction) Filter(field zapcore.Field) zapcore.Field {
	if header, ok := field.Interface.(zapcore.ObjectMarshaler); ok {
		field = zap.Object(field.Key, zapcore.ObjectMarshalerFunc(func(to zapcore.ObjectEncoder) error {
			return header.MarshalLogObject(headerEncoder{to, r})
		}))
	} else if field.Type == zapcore.StringType {
		field.String = redactURI(field.String)
	}
	if filter, ok := r.further[r.path]; ok {
		return filter.Filter(field)
	}
	return field
}

// headerEncoder writes a header as it may be logged.
type headerEncoder struct {
	zapcore.ObjectEncoder
	redaction
}

// AddArray adds the values of a header field.
func (e headerEncoder) AddArray(name string, values zapcore.ArrayMarshaler) error {
	redacted := make(caddyhttp.LoggableStringArray, 0, 1)
	if err := values.MarshalLogArray(valueEncoder{name: name, values: &redacted}); err != nil {
		return err
	}
	field := zap.Array(name, redacted)
	if filter, ok := e.further[e.path+">"+name]; ok {
		field = filter.Filter(field)
	}
	field.AddTo(e.ObjectEncoder)
	return nil
}

// valueEncoder collects the values of one header field.
type valueEncoder struct {
	zapcore.ArrayEncoder // of nothing: the values are strings
	name                 string
	values               *caddyhttp.LoggableStringArray
}

// AppendString adds a value.
func (e valueEncoder) AppendString(value string) {
	*e.values = append(*e.values, redactValue(e.name, value))
}

const redactedText = "REDACTED"

// redactURI is the target of a request as it may be logged.
func redactURI(uri string) string {
	path, query, ok := strings.Cut(uri, "?")
	path = redactIDs(path)
	if !ok {
		return path
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		decoded, err := url.QueryUnescape(value)
		switch {
		case err != nil:
			pairs[i] = name + "=" + redactedText
		case hasURL(decoded):
			pairs[i] = name + "=" + url.QueryEscape(redactURL(decoded))
		default:
			pairs[i] = name + "=" + redactIDs(value)
		}
	}
	return path + "?" + strings.Join(pairs, "&")
}

// redactValue is the value of a header as it may be logged.
func redactValue(name, value string) string {
	switch name = http.CanonicalHeaderKey(name); {
	case strings.HasPrefix(name, "Callback-Header-"):
		return redactedText
	case hasURL(value):
		return redactURL(value)
	case name == "Callback-Url", name == "X-Callback-Url", name == "Callback-Error-Url":
		return redactedText // no URL, whatever else it is
	}
	return redactIDs(value)
}

// hasURL says that there is a URL in a value.
func hasURL(value string) bool { return strings.Contains(value, "://") }

// redactURL is a value with a URL in it, if it is nothing but that.
func redactURL(value string) string {
	u, err := url.Parse(strings.TrimSpace(value))
	if err != nil || u.Host == "" {
		return redactedText
	}
	return redactIDs(task.RedactURL(u.String()))
}

// shownOfID is how much of a task's id is shown: its time, and no random bits
// to speak of.
const shownOfID = 10

// redactIDs shortens the task ids in a text.
func redactIDs(text string) string {
	var out strings.Builder
	for text != "" {
		n := strings.IndexFunc(text, func(c rune) bool { return !isIDDigit(c) })
		switch n {
		case 0:
			n = strings.IndexFunc(text, isIDDigit)
			if n < 0 {
				n = len(text)
			}
		case -1:
			n = len(text)
		}
		word := text[:n]
		if _, err := task.ParseID(word); err == nil {
			word = word[:shownOfID] + "…"
		}
		out.WriteString(word)
		text = text[n:]
	}
	return out.String()
}

func isIDDigit(c rune) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'v' }

var (
	_ caddy.Provisioner                = (*LogEncoder)(nil)
	_ caddyfile.Unmarshaler            = (*LogEncoder)(nil)
	_ zapcore.Encoder                  = (*LogEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*LogEncoder)(nil)
)
