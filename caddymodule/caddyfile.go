package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterDirective("callback", parseCallback)
	httpcaddyfile.RegisterDirectiveOrder("callback", httpcaddyfile.Before, "invoke")
	httpcaddyfile.RegisterHandlerDirective("callback_tasks", parseTasks)
	httpcaddyfile.RegisterDirectiveOrder("callback_tasks", httpcaddyfile.Before, "invoke")
	httpcaddyfile.RegisterGlobalOption("callback", parseApp)
}

// parseCallback parses the callback directive into two routes: the handler,
// and the endpoint where clients find their tasks.
//
//	callback [<matcher>] {
//		name                 <name>
//		url_from             <expression...>
//		default_url          <url>
//		poll                 on|off
//		keep_url
//		scan_limit           <size>|off
//		allow_origin         <origin...>
//		allow                <rule...>
//		only                 <rule...>
//		credentials
//		proxy                environment|<url>
//		secret               <secret...>
//		secret_for           <host> <secret...>
//		sign                 rfc9421 <keyid>
//		concurrency          <n>
//		timeout              <duration>
//		attempts             <n>
//		backoff              <duration>
//		on_interrupted       run|fail
//		max_body             <size>
//		max_response         <size>
//		retention            <duration>|off
//		retry_schedule       <duration...>
//		delivery_timeout     <duration>
//		delivery_concurrency <n>
//		response_headers     <name...>
//		tasks_path           <path>
//		bind_user
//	}
func parseCallback(helper httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	helper.Next() // the directive's name
	matcher, err := helper.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	tasks := &Tasks{Path: h.TasksPath, BindUser: h.BindUser}
	path, err := cleanTasksPath(h.TasksPath)
	if err != nil {
		return nil, helper.WrapErr(err)
	}
	serving := helper.NewRoute(caddy.ModuleMap{
		"path": helper.JSON(caddyhttp.MatchPath{path + "*"}),
	}, tasks)
	return append(serving, helper.NewRoute(matcher, h)...), nil
}

// UnmarshalCaddyfile sets up the handler from its directive.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("unexpected %q: options go into a block; a matcher, if any, comes right after callback", d.Val())
	}
	at := make(map[string]caddyfile.Dispenser) // where each option is
	for d.NextBlock(0) {
		at[d.Val()] = *d
		if err := h.option(d); err != nil {
			return err
		}
	}
	return h.checkTogether(at)
}

// handlerOptions are the subdirectives of callback.
var handlerOptions = []string{
	"name", "url_from", "default_url", "poll", "keep_url", "scan_limit", "allow_origin", "allow", "only", "credentials", "proxy",
	"secret", "secret_for", "sign", "concurrency", "timeout", "attempts", "backoff", "on_interrupted", "max_body", "max_response",
	"retention", "retry_schedule", "delivery_timeout", "delivery_concurrency", "response_headers", "tasks_path", "bind_user",
}

// option parses one subdirective.
func (h *Handler) option(d *caddyfile.Dispenser) (err error) {
	switch d.Val() {
	case "name":
		return text(d, &h.Name)
	case "url_from":
		return h.urlFrom(d)
	case "default_url":
		return h.defaultURL(d)
	case "poll":
		var poll bool
		err = onOff(d, &poll)
		h.NoPoll = !poll
		return err
	case "keep_url":
		return flag(d, &h.KeepURL)
	case "scan_limit":
		return sizeOrOff(d, &h.ScanLimit)
	case "allow_origin":
		return h.allowOrigin(d)
	case "allow":
		return h.allow(d)
	case "only":
		return h.only(d)
	case "credentials":
		return flag(d, &h.Destinations.Credentials)
	case "proxy":
		return h.proxy(d)
	case "secret":
		return h.secret(d)
	case "secret_for":
		return h.secretFor(d)
	case "sign":
		var kind string
		if !d.Args(&kind, &h.KeyID) || d.NextArg() || kind != "rfc9421" {
			return d.Err("want sign rfc9421 <keyid>")
		}
		return wrap(d, checkKeyID(h.KeyID))
	case "concurrency":
		return number(d, &h.Concurrency)
	case "timeout":
		return duration(d, &h.Timeout)
	case "attempts":
		return number(d, &h.Attempts)
	case "backoff":
		return duration(d, &h.Backoff)
	case "on_interrupted":
		if err := text(d, &h.OnInterrupted); err != nil {
			return err
		}
		if h.OnInterrupted != "run" && h.OnInterrupted != "fail" {
			return d.Errf("on_interrupted is %q: want run or fail", h.OnInterrupted)
		}
		return nil
	case "max_body":
		return size(d, &h.MaxBody)
	case "max_response":
		return size(d, &h.MaxResponse)
	case "retention":
		return retention(d, &h.Retention)
	case "retry_schedule":
		return durations(d, &h.RetrySchedule)
	case "delivery_timeout":
		return duration(d, &h.DeliveryTimeout)
	case "delivery_concurrency":
		return number(d, &h.DeliveryConcurrency)
	case "response_headers":
		return h.responseHeaders(d)
	case "tasks_path":
		if err := text(d, &h.TasksPath); err != nil {
			return err
		}
		if _, err := cleanTasksPath(h.TasksPath); err != nil {
			return d.WrapErr(err)
		}
		return nil
	case "bind_user":
		return flag(d, &h.BindUser)
	}
	return unknown(d, "callback", handlerOptions)
}

// parseTasks parses
//
//	callback_tasks [<matcher>] {
//		path <path>
//		bind_user
//	}
func parseTasks(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Tasks)
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	return h, nil
}

// UnmarshalCaddyfile sets up the handler from its directive.
func (h *Tasks) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("unexpected %q: the path goes into a block, as path %s", d.Val(), d.Val())
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "path":
			if err := text(d, &h.Path); err != nil {
				return err
			}
			if _, err := cleanTasksPath(h.Path); err != nil {
				return d.WrapErr(err)
			}
		case "bind_user":
			if err := flag(d, &h.BindUser); err != nil {
				return err
			}
		default:
			return unknown(d, "callback_tasks", []string{"path", "bind_user"})
		}
	}
	return nil
}

var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*Tasks)(nil)
)
