package caddymodule

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// userPlaceholder is who the client is, as authentication handlers say.
const userPlaceholder = "http.auth.user.id"

// placeholder finds the names of placeholders in configuration. Their names
// have no spaces, quotes or braces.
var placeholder = regexp.MustCompile(`\{([a-zA-Z0-9_][^\s{}"'\\]*)\}`)

// placeholdersIn returns the placeholders in a piece of configuration whose
// values a task has to keep, since nothing in a tail finds them out again:
// what authentication, regexp matchers, map and the like had set.
func placeholdersIn(config []byte) []string {
	var names []string
	for _, match := range placeholder.FindAllSubmatch(config, -1) {
		if name := string(match[1]); !computed(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// computed says that a placeholder has its value without anybody setting it,
// or has it only later than now.
func computed(name string) bool {
	if strings.HasPrefix(name, "http.request.tls.client.") || name == "http.request.uuid" {
		return false // of the client's connection, of which only part is kept
	}
	for _, prefix := range []string{
		"http.request.", "http.vars.", "http.response.", "http.reverse_proxy.", "http.error", "http.shutting_down",
		"http.time_until_shutdown", "env.", "file.", "system.", "time.", "http.callback.",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// routesConfig is the configuration of routes as far as it is still to be
// seen: Caddy drops the JSON of modules as soon as it has loaded them, so
// before that it is in the routes, and after that in the modules.
func routesConfig(routes caddyhttp.RouteList) []byte {
	var config []byte
	add := func(v any) {
		// What can't be JSON has no placeholders for us to see.
		if b, err := json.Marshal(v); err == nil {
			config = append(config, b...)
		}
	}
	for _, route := range routes {
		add(route.MatcherSetsRaw)
		add(route.HandlersRaw)
		for _, set := range route.MatcherSets {
			for _, matcher := range set {
				config = append(config, caddy.GetModuleID(matcher)...)
				add(matcher)
			}
		}
		for _, handler := range route.Handlers {
			if sub, ok := handler.(*caddyhttp.Subroute); ok {
				config = append(config, routesConfig(sub.Routes)...)
				continue
			}
			config = append(config, caddy.GetModuleID(handler)...)
			add(handler)
		}
	}
	return config
}

// keepPlaceholders returns those of the handler's placeholders that have a
// value; nil if none has.
func (h *Handler) keepPlaceholders(r *http.Request) map[string]string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	var kept map[string]string
	for _, name := range h.placeholders {
		value, ok := repl.GetString(name)
		if !ok {
			continue
		}
		if kept == nil {
			kept = make(map[string]string)
		}
		kept[name] = value
	}
	return kept
}
