package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// errNoHandler is the answer of a route in which nothing answered. To a live
// request Caddy answers an empty 200 then; for a task that is a failure.
var errNoHandler = errors.New("no handler after callback answered: put reverse_proxy or another responding directive after it")

var noHandler caddyhttp.Handler = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
	return caddyhttp.Error(http.StatusBadGateway, errNoHandler)
})

// step is one turn on the way from a server's routes down to a handler: the
// handler's place in one list of routes.
type step struct {
	routes  caddyhttp.RouteList
	route   int
	handler int
}

// position is the way to a handler, from the outermost list of routes to the
// handler's own.
type position []step

// route is the route that the step is on.
func (s step) on() caddyhttp.Route { return s.routes[s.route] }

// findIn returns the positions of the handlers that is accepts, in routes and
// the subroutes in them.
func findIn(routes caddyhttp.RouteList, is func(caddyhttp.MiddlewareHandler) bool) (found []position) {
	for i, route := range routes {
		for j, mh := range route.Handlers {
			here := step{routes, i, j}
			if is(mh) {
				found = append(found, position{here})
			}
			if sub, ok := mh.(*caddyhttp.Subroute); ok {
				for _, deeper := range findIn(sub.Routes, is) {
					found = append(found, append(position{here}, deeper...))
				}
			}
		}
	}
	return found
}

// find returns the position of a handler in a server's routes. A handler in a
// named route is found through the invoke that leads to it, if there is just
// one, and else as if nothing followed the invoke.
func find(server *caddyhttp.Server, handler caddyhttp.MiddlewareHandler) (position, bool) {
	p, _, ok := findAny(server, func(mh caddyhttp.MiddlewareHandler) bool { return mh == handler }, 0)
	return p, ok
}

// severally is the named route on the way to a handler that is invoked from
// several places, so that what follows the invoke is not in the handler's
// position; empty if there is none.
func severally(server *caddyhttp.Server, handler caddyhttp.MiddlewareHandler) string {
	_, name, _ := findAny(server, func(mh caddyhttp.MiddlewareHandler) bool { return mh == handler }, 0)
	return name
}

// findAny is find and severally. Named routes that invoke each other would be
// without end, so depth counts them.
func findAny(server *caddyhttp.Server, is func(caddyhttp.MiddlewareHandler) bool, depth int) (p position, several string, ok bool) {
	if found := findIn(server.Routes, is); len(found) > 0 {
		return found[0], "", true
	}
	for name, route := range server.NamedRoutes {
		found := findIn(caddyhttp.RouteList{*route}, is)
		if len(found) == 0 {
			continue
		}
		invokes := func(mh caddyhttp.MiddlewareHandler) bool {
			invoke, ok := mh.(*caddyhttp.Invoke)
			return ok && invoke.Name == name
		}
		n := len(findIn(server.Routes, invokes))
		for other, route := range server.NamedRoutes {
			if other != name {
				n += len(findIn(caddyhttp.RouteList{*route}, invokes))
			}
		}
		if n > 1 || depth == len(server.NamedRoutes) {
			return found[0], name, true
		}
		if outer, several, ok := findAny(server, invokes, depth+1); ok {
			return append(outer, found[0]...), several, true
		}
		return found[0], "", true // nothing invokes it
	}
	return nil, "", false
}

// tail returns the handler that a request reaches after the handler at the
// position, had it come down through the routes. Matchers of the routes that
// follow are evaluated when it is called.
func (p position) tail() caddyhttp.Handler {
	nexts := p.nexts()
	return nexts[len(nexts)-1]
}

// nexts are, for each step, what a request reaches after the handler there.
func (p position) nexts() []caddyhttp.Handler {
	nexts := make([]caddyhttp.Handler, 0, len(p))
	next := noHandler
	for _, s := range p {
		route := s.on()
		if route.Terminal {
			next = noHandler
		} else {
			next = s.following().Compile(next)
		}
		for k := len(route.Handlers) - 1; k > s.handler; k-- {
			next = link(route.Handlers[k], next)
		}
		nexts = append(nexts, next)
	}
	return nexts
}

// following are the routes after the one that the step is on. Those of its
// group are left out: it has matched, and of a group only one route does.
func (s step) following() caddyhttp.RouteList {
	group := s.on().Group
	var routes caddyhttp.RouteList
	for _, r := range s.routes[s.route+1:] {
		if group == "" || r.Group != group {
			routes = append(routes, r)
		}
	}
	return routes
}

// groups are the groups of routes in the tail. A route that matched before the
// handler may be in one of them, and then no other route of it must match.
func (p position) groups() map[string]struct{} {
	groups := make(map[string]struct{})
	for _, s := range p {
		for _, r := range s.following() {
			if r.Group != "" {
				groups[r.Group] = struct{}{}
			}
		}
	}
	return groups
}

// link makes a handler that calls mh with next.
func link(mh caddyhttp.MiddlewareHandler, next caddyhttp.Handler) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return mh.ServeHTTP(w, r, next)
	})
}

// routeGroupKey is the key under which Caddy keeps the groups of which a route
// has matched, a map[string]struct{}, in a request's context.
var routeGroupKey = caddy.CtxKey("route_group")

// matchedGroups are the groups of which a route has matched.
func matchedGroups(r *http.Request) map[string]struct{} {
	groups, _ := r.Context().Value(routeGroupKey).(map[string]struct{})
	return groups
}
