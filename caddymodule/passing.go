package caddymodule

import (
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/ringback/ringback/suggest"
	"github.com/ringback/ringback/task"
)

// logPassing says, for debugging, why a request is not taken.
func (h *Handler) logPassing(r *http.Request, body scanned) {
	if r.Context().Value(backgroundKey{}) != nil {
		return
	}
	if log := h.log.Check(zap.DebugLevel, "passing a request on, which has no callback URL"); log != nil {
		log.Write(zap.String("host", r.Host), zap.String("uri_path", r.URL.Path), zap.String("reason", h.whyPassing(r, body)))
	}
}

// whyPassing is where somebody may have meant a callback URL to be; body is
// what was read of it.
func (h *Handler) whyPassing(r *http.Request, body scanned) string {
	if async, _ := task.ParsePrefer(r.Header); async {
		return "Prefer: respond-async alone is not enough with poll off, nor for the tasks path"
	}
	for name := range r.Header {
		if near := suggest.Nearest(name, h.finder.Headers()); near != "" {
			return "it has the header " + name + ", but none of " + strings.Join(h.finder.Headers(), ", ") + "; did you mean " + near + "?"
		}
	}
	if query, err := url.ParseQuery(r.URL.RawQuery); err == nil {
		for name := range query {
			if suggest.Nearest(name, []string{"callback_url"}) != "" {
				return "its query has " + name + suggest.DidYouMean(name, []string{"callback_url"})
			}
		}
	}
	contentType := r.Header.Get("Content-Type")
	switch {
	case r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody:
		return "there is none in header and query, and it has no body"
	case contentType == "":
		return "there is none in header and query, and its body was not looked into, as it has no Content-Type"
	case !h.finder.WantsBody(r.Header) && r.Header.Get("Content-Encoding") != "":
		return "there is none in header and query, and its body was not looked into, as it has a Content-Encoding"
	case !h.finder.WantsBody(r.Header):
		return "there is none in header and query, and its body was not looked into, as its Content-Type is " + contentType
	case !body.whole:
		return "there is none in header and query, and its body was not looked into, as it is larger than scan_limit"
	}
	return "there is none in header, query and body, or the body is not what its Content-Type " + contentType + " says"
}
