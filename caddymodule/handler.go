package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/destination"
	"github.com/ringback/ringback/task/urlfrom"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Defaults of a Handler's options that are not those of a [task.Route].
const (
	DefaultScanLimit = 1 << 20
	DefaultTasksPath = "/.callback/tasks/"
)

// Handler takes a request that carries a callback URL: it stores the request,
// answers 202 Accepted at once, has the handlers that follow in the route
// answer it in the background, and POSTs their answer to the callback URL. Any
// other request passes to the next handler as it is.
//
// What precedes the handler in the route is done once, when the request is
// accepted; what follows it is done for each backend call.
type Handler struct {
	// Name is how tasks find their handler after a restart. Default: derived
	// from the host, port, method and path matchers that lead to the handler.
	Name string `json:"name,omitempty"`

	// URLFrom lists where the callback URL is looked for, as OpenAPI 3 runtime
	// expressions. Default: $request.header.callback-url,
	// $request.header.x-callback-url, $request.query.callback_url and
	// $request.body#/callback_url, the latter two in any spelling.
	URLFrom []string `json:"url_from,omitempty"`
	// DefaultURL is the callback URL of requests that have none and say
	// Prefer: respond-async. Empty: these are answered by polling only.
	DefaultURL string `json:"default_url,omitempty"`
	// NoPoll lets requests pass that say Prefer: respond-async, have no
	// callback URL, and get none from DefaultURL.
	NoPoll bool `json:"no_poll,omitempty"`
	// KeepURL leaves the callback URL and all Callback-* headers in the
	// request that the backend gets.
	KeepURL bool `json:"keep_url,omitempty"`
	// ScanLimit is the size in bytes up to which a body is looked into for a
	// callback URL. A larger one passes. Default: 1 MiB. Negative: none is.
	ScanLimit int64 `json:"scan_limit,omitempty"`

	// AllowOrigins lists origins, such as https://app.example.com, whose pages may
	// send a callback URL in the query or in a form as the site's own pages may;
	// * is every one, and every request that does not say where it comes from.
	AllowOrigins []string `json:"allow_origins,omitempty"`
	// Destinations says which callback URLs may be called. Default: https to
	// public addresses.
	Destinations destination.Rules `json:"destinations,omitzero"`
	Signing

	// Concurrency is how many backend calls run at once. Default: 16.
	Concurrency int `json:"concurrency,omitempty"`
	// Timeout bounds one backend call. Default: 30 minutes.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// Attempts is how many backend calls a task may have. Default: 8.
	Attempts int `json:"attempts,omitempty"`
	// Backoff is the pause before the second call; it doubles up to a minute.
	// Default: 1 second.
	Backoff caddy.Duration `json:"backoff,omitempty"`
	// OnInterrupted says what becomes of a call that was under way when the
	// process died: "run" makes it again, "fail" ends the task. Default: run.
	OnInterrupted string `json:"on_interrupted,omitempty"`
	// MaxBody is the largest request body that is accepted, in bytes. Default: 1 GiB.
	MaxBody int64 `json:"max_body,omitempty"`
	// MaxResponse is the largest response body that is kept, in bytes. Default: 1 GiB.
	MaxResponse int64 `json:"max_response,omitempty"`
	// Retention is how long a settled task can be looked at. Negative: not at
	// all. Default: the app's, which is 24 hours.
	Retention caddy.Duration `json:"retention,omitempty"`

	// RetrySchedule holds the pause before each delivery attempt, the first
	// one included. Default: 0s 5s 5m 30m 2h 5h 10h 14h 20h 24h.
	RetrySchedule []caddy.Duration `json:"retry_schedule,omitempty"`
	// DeliveryTimeout bounds one delivery attempt. Default: 30 seconds.
	DeliveryTimeout caddy.Duration `json:"delivery_timeout,omitempty"`
	// DeliveryConcurrency is how many deliveries to one host run at once. Default: 16.
	DeliveryConcurrency int `json:"delivery_concurrency,omitempty"`
	// ResponseHeaders are names of backend response headers that travel with
	// the callback and the result, besides those that describe the body.
	ResponseHeaders []string `json:"response_headers,omitempty"`

	// BindUser shows the tasks of this handler only to the authenticated user
	// whose request it was, at whichever tasks endpoint: those that it takes from
	// now on for good, earlier ones as long as a handler of this name says so.
	// Authentication must precede the handler, and the endpoint, in their routes.
	BindUser bool `json:"bind_user,omitempty"`
	// TasksPath is where the callback_tasks handler of this site is, for the
	// URLs in the 202. Default: /.callback/tasks/.
	TasksPath string `json:"tasks_path,omitempty"`

	app       *App
	http      *caddyhttp.App
	server    *caddyhttp.Server
	serverID  string
	log       *zap.Logger
	finder    *urlfrom.Finder
	policy    *destination.Policy
	origins   []string // AllowOrigins as browsers send them
	transport *transport
	signer    task.Signer

	// Set by resolve, when the app starts.
	name         string
	tail         caddyhttp.Handler
	scopes       []errorScope
	groups       map[string]struct{} // of routes in the tail
	placeholders []string            // that a task keeps
	alike        string              // the same for handlers that do the same
	route        *task.Route
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.callback",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler. It finds every mistake that can be found
// without the handlers that follow.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Logger()
	if err := h.provisionPlace(ctx); err != nil {
		return err
	}
	config, err := json.Marshal(h)
	if err != nil {
		return err
	}
	h.alike = string(config)

	var places []urlfrom.Expression
	for _, text := range h.URLFrom {
		place, err := urlfrom.Parse(text)
		if err != nil {
			return fmt.Errorf("url_from: %w", err)
		}
		places = append(places, place)
	}
	h.finder = urlfrom.New(places)
	if h.policy, err = destination.New(h.Destinations, destination.Options{Own: func() []netip.AddrPort { return h.app.listeners.get(h.http) }}); err != nil {
		return err
	}
	h.transport = &transport{Transport: h.policy.Transport()}
	if h.signer, err = h.newSigner(); err != nil {
		return err
	}
	if h.DefaultURL != "" {
		if err := checkDefaultURL(h.DefaultURL, h.Destinations); err != nil {
			return err
		}
	}
	if err := CheckOrigins(h.AllowOrigins); err != nil {
		return err
	}
	for _, origin := range h.AllowOrigins {
		h.origins = append(h.origins, normalOrigin(origin))
	}
	if h.ScanLimit == 0 {
		h.ScanLimit = DefaultScanLimit
	}
	if h.TasksPath, err = cleanTasksPath(h.TasksPath); err != nil {
		return err
	}
	app, err := ctx.App("callback")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.app.endWaitsOnExit(h.server)
	for _, other := range h.app.handlers {
		if h.Name != "" && h.Name == other.Name && h.alike != other.alike {
			return sameNameError(h.Name)
		}
	}
	h.app.handlers = append(h.app.handlers, h)
	return nil
}

// provisionPlace learns where the handler is.
func (h *Handler) provisionPlace(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return errors.New("callback only works in the routes of an http server")
	}
	h.server = server
	h.serverID = strings.Join(server.Listen, " ")
	modules := ctx.Modules()
	at := slices.IndexFunc(modules, func(m caddy.Module) bool {
		_, ok := m.(*caddyhttp.App)
		return ok
	})
	if at < 0 {
		return errors.New("callback only works in the routes of an http server")
	}
	h.http = modules[at].(*caddyhttp.App)
	for _, m := range modules[at+1:] {
		if _, ok := m.(*caddyhttp.Subroute); !ok && m != caddy.Module(h) {
			return fmt.Errorf("callback can't be inside %s, where it can't see what answers the request: "+
				"put it into the site, or into a handle, handle_path, route or named route of it", caddy.GetModuleID(m))
		}
	}
	// Much of the configuration is gone once it is loaded, so the placeholders
	// in it are looked for now, and again in what was loaded, when all is.
	h.placeholders = []string{userPlaceholder}
	h.addPlaceholders()
	return nil
}

// addPlaceholders adds the placeholders that the server's routes have.
func (h *Handler) addPlaceholders() {
	config := routesConfig(h.server.Routes)
	for _, route := range h.server.NamedRoutes {
		config = append(config, routesConfig(caddyhttp.RouteList{*route})...)
	}
	for _, name := range placeholdersIn(config) {
		if !slices.Contains(h.placeholders, name) {
			h.placeholders = append(h.placeholders, name)
		}
	}
}

// Validate checks what has bounds.
func (h *Handler) Validate() error {
	for _, option := range []struct {
		name  string
		value int64
	}{
		{"concurrency", int64(h.Concurrency)},
		{"timeout", int64(h.Timeout)},
		{"attempts", int64(h.Attempts)},
		{"backoff", int64(h.Backoff)},
		{"max_body", h.MaxBody},
		{"max_response", h.MaxResponse},
		{"delivery_timeout", int64(h.DeliveryTimeout)},
		{"delivery_concurrency", int64(h.DeliveryConcurrency)},
	} {
		if option.value < 0 {
			return fmt.Errorf("%s must not be negative", option.name)
		}
	}
	for _, pause := range h.RetrySchedule {
		if pause < 0 {
			return errors.New("retry_schedule must not have negative pauses")
		}
	}
	if err := checkResponseHeaders(h.ResponseHeaders); err != nil {
		return err
	}
	switch h.OnInterrupted {
	case "", "run", "fail":
		return nil
	}
	return fmt.Errorf("on_interrupted is %q: want run or fail", h.OnInterrupted)
}

// Cleanup closes connections to receivers.
func (h *Handler) Cleanup() error {
	if h.transport != nil {
		h.transport.retire()
	}
	return nil
}

// resolve finds out what only is known when all routes are loaded: what
// follows the handler, and how it is named.
func (h *Handler) resolve() error {
	at, ok := find(h.server, h)
	if !ok {
		return errors.New("callback can't be in handle_errors or another place that is not a route of the site: " +
			"it would not see what answers the request")
	}
	if name := severally(h.server, h); name != "" && !at.mayAnswer(h.server) {
		return fmt.Errorf("the named route %q, in which callback is, is invoked from several places, and nothing in it answers: "+
			"put what answers into the named route, after callback, or a callback into each of these places", name)
	}
	h.tail, h.scopes = at.tail(), at.errorScopes(h.server)
	h.groups = at.groups()
	h.addPlaceholders()
	h.name = h.Name
	if h.name == "" {
		h.name = derivedName(h.http, h.server, at)
	}
	for _, s := range at {
		h.alike += string(routesConfig(s.following()))
		for _, mh := range s.on().Handlers[s.handler+1:] {
			h.alike += string(routesConfig(caddyhttp.RouteList{{Handlers: []caddyhttp.MiddlewareHandler{mh}}}))
		}
	}
	return nil
}

// cleanTasksPath is the path of the tasks endpoint with its default and a
// slash at both ends.
func cleanTasksPath(path string) (string, error) {
	if path == "" {
		return DefaultTasksPath, nil
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "*?#{}\"\\<> ") {
		return "", fmt.Errorf("tasks_path is %q: want a path that begins with a slash, such as %s", path, DefaultTasksPath)
	}
	return strings.TrimRight(path, "/") + "/", nil
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
