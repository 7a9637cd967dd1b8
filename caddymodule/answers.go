package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// passing are handlers that never answer a request for the backend: they leave
// that to what follows.
var passing = map[caddy.ModuleID]bool{
	"http.handlers.authentication": true, "http.handlers.callback": true, "http.handlers.callback_tasks": true,
	"http.handlers.encode": true, "http.handlers.headers": true, "http.handlers.intercept": true, "http.handlers.log_append": true,
	"http.handlers.map": true, "http.handlers.push": true, "http.handlers.request_body": true, "http.handlers.rewrite": true,
	"http.handlers.templates": true, "http.handlers.timeouts": true, "http.handlers.tracing": true, "http.handlers.vars": true,
}

// answering are handlers that leave nothing to what follows.
var answering = map[caddy.ModuleID]bool{
	"http.handlers.acme_server": true, "http.handlers.error": true, "http.handlers.file_server": true,
	"http.handlers.metrics": true, "http.handlers.reverse_proxy": true, "http.handlers.static_response": true,
}

func moduleID(handler caddyhttp.MiddlewareHandler) caddy.ModuleID {
	module, ok := handler.(caddy.Module)
	if !ok {
		return ""
	}
	return module.CaddyModule().ID
}

// mayAnswer says that the handler answers some requests, as far as can be told:
// one that is not known may.
func mayAnswer(server *caddyhttp.Server, handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return anyMayAnswer(server, h.Routes)
	case *caddyhttp.Invoke:
		route, ok := server.NamedRoutes[h.Name]
		return ok && anyMayAnswer(server, caddyhttp.RouteList{*route})
	}
	return !passing[moduleID(handler)]
}

func anyMayAnswer(server *caddyhttp.Server, routes caddyhttp.RouteList) bool {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			if mayAnswer(server, handler) {
				return true
			}
		}
	}
	return false
}

// mayAnswer says that something in the tail answers some requests.
func (p position) mayAnswer(server *caddyhttp.Server) bool {
	for _, s := range p {
		if anyMayAnswer(server, caddyhttp.RouteList{{Handlers: s.on().Handlers[s.handler+1:]}}) {
			return true
		}
		if !s.on().Terminal && anyMayAnswer(server, s.following()) {
			return true
		}
	}
	return false
}

// answers returns the handler that surely answers all requests which come to a
// handler; nil if there is none, or none that is known to.
func answers(handler caddyhttp.MiddlewareHandler) caddyhttp.MiddlewareHandler {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return answersAll(h.Routes)
	case *fileserver.FileServer:
		if h.PassThru {
			return nil
		}
	case *reverseproxy.Handler:
		if len(h.HandleResponse) > 0 { // as in forward_auth
			return nil
		}
	}
	if answering[moduleID(handler)] {
		return handler
	}
	return nil
}

// answersAll is answers for the requests that come to a list of routes.
func answersAll(routes caddyhttp.RouteList) caddyhttp.MiddlewareHandler {
	for _, route := range routes {
		if len(route.MatcherSets) > 0 {
			continue
		}
		for _, handler := range route.Handlers {
			if found := answers(handler); found != nil {
				return found
			}
		}
	}
	return nil
}

// preceding calls f with each handler that a request passes, or may pass, on
// the way to the position, until it returns true; always says that every
// request passes it.
func (p position) preceding(f func(handler caddyhttp.MiddlewareHandler, always bool) bool) bool {
	for _, s := range p {
		for i, route := range s.routes[:s.route+1] {
			handlers := route.Handlers
			if i == s.route {
				handlers = handlers[:s.handler]
			}
			for _, handler := range handlers {
				if f(handler, i == s.route || len(route.MatcherSets) == 0) {
					return true
				}
			}
		}
	}
	return false
}
