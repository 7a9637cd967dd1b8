package commands

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/ringback/ringback/caddymodule"
	"github.com/ringback/ringback/task/destination"
)

// routeName is the name of the sidecar's one callback handler: pending tasks
// find it whatever its flags are.
const routeName = "sidecar"

// idleConns is how many idle connections to the backend are kept: many
// callers at once must not mean many connections that are made and thrown away.
const idleConns = 1024

// config is the Caddy configuration that the options stand for.
func (o *options) config() (*caddy.Config, error) {
	l, err := o.check()
	if err != nil {
		return nil, err
	}
	from, err := parseFrom(o.from)
	if err != nil {
		return nil, err
	}
	proxy, err := o.proxy()
	if err != nil {
		return nil, err
	}
	callback := &caddymodule.Handler{
		Name:          routeName,
		URLFrom:       o.urlFrom,
		AllowOrigins:  o.allowOrigin,
		Destinations:  destination.Rules{Allow: o.allow, Only: o.only},
		Signing:       caddymodule.Signing{Secrets: o.secrets},
		Concurrency:   o.concurrency,
		Timeout:       caddy.Duration(l.timeout),
		Attempts:      o.attempts,
		OnInterrupted: o.onInterrupted,
		MaxBody:       l.maxBody,
		MaxResponse:   l.maxResponse,
	}
	server := &caddyhttp.Server{
		Listen: []string{from.listen},
		Routes: caddyhttp.RouteList{
			from.route([]string{caddymodule.DefaultTasksPath + "*"}, "callback_tasks", new(caddymodule.Tasks)),
			from.route(o.match, "callback", callback),
			from.route(nil, "reverse_proxy", proxy),
		},
	}
	if !from.https {
		server.Protocols = []string{"h1", "h2c"} // the others need TLS, and Caddy warns of them
		server.AutoHTTPS = &caddyhttp.AutoHTTPSConfig{Disabled: true}
	}
	if o.accessLog {
		server.Logs = new(caddyhttp.ServerLogConfig)
	}
	app := &caddymodule.App{
		StoreRaw:    caddyconfig.JSONModuleObject(&caddymodule.BadgerStore{Dir: o.data}, "module", "badger", nil),
		GracePeriod: caddy.Duration(l.gracePeriod),
	}
	config := &caddy.Config{
		Admin: o.adminConfig(),
		AppsRaw: caddy.ModuleMap{
			"http": caddyconfig.JSON(caddyhttp.App{
				Servers:     map[string]*caddyhttp.Server{"sidecar": server},
				GracePeriod: caddy.Duration(l.gracePeriod),
			}, nil),
			"callback": caddyconfig.JSON(app, nil),
		},
	}
	level := zap.InfoLevel
	if o.debug {
		level = zap.DebugLevel
	}
	config.Logging = logging(level.CapitalString())
	return config, nil
}

// route is a route for requests to the origin with one of the paths; nil is all.
func (o origin) route(paths []string, name string, handler any) caddyhttp.Route {
	matchers := make(caddy.ModuleMap)
	if o.host != "" {
		matchers["host"] = caddyconfig.JSON(caddyhttp.MatchHost{o.host}, nil)
	}
	if len(paths) > 0 {
		matchers["path"] = caddyconfig.JSON(caddyhttp.MatchPath(paths), nil)
	}
	route := caddyhttp.Route{
		HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(handler, "handler", name, nil)},
	}
	if len(matchers) > 0 {
		route.MatcherSetsRaw = caddyhttp.RawMatcherSets{matchers}
	}
	return route
}

// proxy is the reverse_proxy to the backend.
func (o *options) proxy() (*reverseproxy.Handler, error) {
	dial, https, err := parseTo(o.to)
	if err != nil {
		return nil, err
	}
	transport := reverseproxy.HTTPTransport{
		KeepAlive: &reverseproxy.KeepAlive{MaxIdleConnsPerHost: idleConns},
	}
	if https {
		transport.TLS = new(reverseproxy.TLSConfig)
	}
	proxy := &reverseproxy.Handler{
		TransportRaw: caddyconfig.JSONModuleObject(transport, "protocol", "http", nil),
	}
	for _, address := range dial {
		proxy.Upstreams = append(proxy.Upstreams, &reverseproxy.Upstream{Dial: address})
	}
	return proxy, nil
}

func (o *options) adminConfig() *caddy.AdminConfig {
	var persist bool
	return &caddy.AdminConfig{
		Disabled: o.admin == "",
		Listen:   o.admin,
		Config:   &caddy.ConfigSettings{Persist: &persist},
	}
}

// logging writes logs from a level on to stderr, without the secrets of requests.
func logging(level string) *caddy.Logging {
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{
			Level:      level,
			EncoderRaw: caddyconfig.JSONModuleObject(struct{}{}, "format", "callback", nil),
		}},
	}}
}
