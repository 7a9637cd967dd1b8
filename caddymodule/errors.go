package caddymodule

import (
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// errorScope is error routes that stand around a handler: those of a subroute,
// or the server's handle_errors.
type errorScope struct {
	config *caddyhttp.HTTPErrorConfig
	next   caddyhttp.Handler // what the error routes pass to
	server bool
}

// errNoErrorRoute is the answer of handle_errors in which nothing answered.
var errNoErrorRoute = errors.New("no error route answered")

var noErrorRoute caddyhttp.Handler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return errNoErrorRoute })

// errorScopes are the error routes that an error in the tail comes to, the
// innermost first, as with a live request.
func (p position) errorScopes(server *caddyhttp.Server) (scopes []errorScope) {
	if server.Errors != nil && len(server.Errors.Routes) > 0 {
		scopes = append(scopes, errorScope{server.Errors, noErrorRoute, true})
	}
	for i, next := range p.nexts() {
		sub, ok := p[i].on().Handlers[p[i].handler].(*caddyhttp.Subroute)
		if ok && sub.Errors != nil && len(sub.Errors.Routes) > 0 {
			scopes = append([]errorScope{{sub.Errors, next, false}}, scopes...)
		}
	}
	return scopes
}

// answerError has error routes answer an error of the tail, and says whether
// one did.
func (h *Handler) answerError(w *written, r *http.Request, err error) bool {
	for _, scope := range h.scopes {
		if scope.server { // which sees the request as it came
			if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
				r.Method, r.RequestURI, r.RemoteAddr = original.Method, original.RequestURI, original.RemoteAddr
				u := *original.URL
				r.URL = &u
			}
		}
		failing := scope.config.WithError(r, err)
		failed := scope.config.Routes.Compile(scope.next).ServeHTTP(w, failing)
		if failed == nil {
			h.log.Debug("an error route answered", zap.Error(err))
			return w.head
		}
		if w.head {
			return false // half an answer
		}
		if !errors.Is(failed, errNoErrorRoute) && !errors.Is(failed, errNoHandler) {
			err = failed
		}
	}
	return false
}

// written is a ResponseWriter that knows whether the head was written.
type written struct {
	*caddyhttp.ResponseWriterWrapper
	head bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *written) WriteHeader(status int) {
	w.head = w.head || status >= 200
	w.ResponseWriterWrapper.WriteHeader(status)
}

// ReadFrom implements [io.ReaderFrom].
func (w *written) ReadFrom(r io.Reader) (int64, error) {
	w.head = true
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// Write implements [http.ResponseWriter].
func (w *written) Write(p []byte) (int, error) {
	w.head = true
	return w.ResponseWriterWrapper.Write(p)
}
