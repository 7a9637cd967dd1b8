package caddymodule

import (
	"context"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// validated is the cause that Caddy gives when a configuration was only
// validated.
const validated = "validation complete"

// Cleanup says what Start would have said, if the configuration was only
// validated: before all is loaded it can't be told, and Start is not called.
func (a *App) Cleanup() error {
	if cause := context.Cause(a.ctx); a.started || cause == nil || cause.Error() != validated {
		return nil
	}
	if _, err := a.routes(); err != nil {
		a.log.Error("this configuration can't be started", zap.Error(err))
		return nil
	}
	a.warn()
	return nil
}

// warn tells of what works, but probably not as intended.
func (a *App) warn() {
	a.warnEach("callbacks are not signed, so receivers can't tell who sent them: add `secret {env.CALLBACK_SECRET}` to the callback directive (sidecar: --secret)",
		func(h *Handler, _ position) bool { return h.signer == nil })
	a.warnEach("nothing after callback answers, so that every task fails with NO_HANDLER: put reverse_proxy, php_fastcgi or what else is the backend after it",
		func(h *Handler, at position) bool { return !at.mayAnswer(h.server) })
	a.warnEach("callback never sees a request, since another handler before it answers all: in a route block lines run as they are written, so put callback before that one",
		func(h *Handler, at position) bool {
			return at.preceding(func(handler caddyhttp.MiddlewareHandler, always bool) bool { return always && answers(handler) != nil })
		})
	a.warnEach("nobody can see the tasks that bind_user binds, since nothing before callback says who the user is: put basic_auth or another authentication before it; "+
		"for forward_auth see docs/security.md",
		func(h *Handler, at position) bool { return h.BindUser && !authenticated(at) })
	a.warnBoundEndpoints()
	a.warnUnreachable()
}

// warnEach warns of the handlers that is accepts, by their names.
func (a *App) warnEach(message string, is func(*Handler, position) bool) {
	var names []string
	for _, h := range a.handlers {
		at, ok := find(h.server, h)
		if ok && is(h, at) && !slices.Contains(names, h.name) {
			names = append(names, h.name)
		}
	}
	if len(names) > 0 {
		a.log.Warn(message, zap.Strings("names", names))
	}
}

// warnBoundEndpoints tells of endpoints that show tasks to their users only, but
// don't know who asks.
func (a *App) warnBoundEndpoints() {
	for _, t := range a.tasks {
		if at, ok := find(t.server, t); ok && t.BindUser && !authenticated(at) {
			a.log.Warn("callback_tasks with bind_user shows nobody a task, since nothing before it says who the user is: "+
				"put basic_auth or another authentication before it", zap.String("path", t.Path), zap.Strings("listen", t.server.Listen))
		}
	}
}

// authenticated says that something on the way may have found out who the user
// is, as far as can be told.
func authenticated(p position) bool {
	return p.preceding(func(handler caddyhttp.MiddlewareHandler, _ bool) bool { return mayAuthenticate(handler) })
}

func mayAuthenticate(handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return slices.ContainsFunc(h.Routes, func(route caddyhttp.Route) bool {
			return slices.ContainsFunc(route.Handlers, mayAuthenticate)
		})
	case *caddyhttp.VarsMiddleware:
		_, ok := (*h)[userPlaceholder]
		return ok
	case caddyhttp.VarsMiddleware:
		_, ok := h[userPlaceholder]
		return ok
	case *caddyhttp.Invoke:
		return true
	}
	id := moduleID(handler)
	return id == "http.handlers.authentication" || !passing[id] && !answering[id]
}

var _ caddy.CleanerUpper = (*App)(nil)
