package caddymodule

import (
	"context"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// warnUnreachable tells of handlers that send clients to a tasks path where
// nothing serves it: most often a callback in a handle block, of which
// requests for that path don't come in.
func (a *App) warnUnreachable() {
	told := make(map[string]bool)
	for _, h := range a.handlers {
		if !told[h.name] && !a.reachable(h) {
			told[h.name] = true
			a.log.Warn("clients can't reach their tasks: put the directive `callback_tasks` into the site, outside of handle and route blocks",
				zap.String("name", h.name), zap.String("path", h.TasksPath))
		}
	}
}

// reachable says that some callback_tasks of the handler's server serves its
// tasks path, as far as matchers tell.
func (a *App) reachable(h *Handler) bool {
	at, _ := find(h.server, h)
	for _, t := range a.tasks {
		if t.server != h.server || t.Path != h.TasksPath {
			continue
		}
		there, ok := find(t.server, t)
		if !ok {
			continue
		}
		// A prefix that is stripped on the way is part of the path that clients
		// are told, and handlers that share the way share the prefix.
		if there.matches(probe(h.server, h.TasksPath+task.ID{}.String(), hostOf(at)), at) {
			return true
		}
	}
	return false
}

// matches says that a request comes by this way. Steps that other shares are
// taken for granted, if a handler on them changes the path.
func (p position) matches(r *http.Request, other position) (matches bool) {
	defer func() {
		// A matcher that can't do with a request without a connection says nothing
		// about it; that is no reason not to start.
		if recover() != nil {
			matches = true
		}
	}()
	for i, s := range p {
		shared := i < len(other) && len(other) > 1 && i < len(other)-1 && sameRoute(s, other[i])
		if shared && s.stripsPath() {
			continue
		}
		if ok, err := s.on().MatcherSets.AnyMatchWithError(r); err != nil || !ok {
			return false
		}
	}
	return true
}

func sameRoute(a, b step) bool {
	return a.route == b.route && len(a.routes) > 0 && len(b.routes) > 0 && &a.routes[0] == &b.routes[0]
}

// stripsPath says that the routes below the step see another path than those
// above, as in handle_path.
func (s step) stripsPath() bool {
	sub, ok := s.on().Handlers[s.handler].(*caddyhttp.Subroute)
	if !ok {
		return false
	}
	for _, route := range sub.Routes {
		for _, handler := range route.Handlers {
			if caddy.GetModuleID(handler) == "http.handlers.rewrite" {
				return true
			}
		}
	}
	return false
}

// hostOf is a host that requests come by this way with.
func hostOf(p position) string {
	for _, s := range p {
		for _, set := range s.on().MatcherSets {
			for _, matcher := range set {
				if hosts, ok := matcher.(*caddyhttp.MatchHost); ok && len(*hosts) > 0 {
					return (*hosts)[0]
				}
			}
		}
	}
	return "localhost"
}

// probe is a request to try matchers with, as the server would have got it.
func probe(server *caddyhttp.Server, path, host string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil { // a path that was checked
		r = &http.Request{Method: http.MethodGet, URL: parseURL(path), Header: make(http.Header)}
	}
	r.Host, r.RequestURI, r.RemoteAddr = host, path, "127.0.0.1:1"
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	for _, listen := range server.Listen {
		if addresses := addrPorts(listen); len(addresses) > 0 {
			local.Port = int(addresses[0].Port())
			break
		}
	}
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server)
}
