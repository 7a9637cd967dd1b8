package caddymodule

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/ringback/ringback/task/destination"
	"github.com/ringback/ringback/task/signature"
	"github.com/ringback/ringback/task/urlfrom"
)

// The options here are checked when the Caddyfile is adapted, so that errors
// have its line. Provision checks them again, for configurations in JSON.

func (h *Handler) urlFrom(d *caddyfile.Dispenser) error {
	begin := len(h.URLFrom)
	if err := list(d, &h.URLFrom); err != nil {
		return err
	}
	for _, text := range h.URLFrom[begin:] {
		if _, err := urlfrom.Parse(text); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (h *Handler) defaultURL(d *caddyfile.Dispenser) error {
	if err := text(d, &h.DefaultURL); err != nil {
		return err
	}
	if _, err := parseDefaultURL(h.DefaultURL); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (h *Handler) allowOrigin(d *caddyfile.Dispenser) error {
	if err := list(d, &h.AllowOrigins); err != nil {
		return err
	}
	return wrap(d, CheckOrigins(h.AllowOrigins))
}

func (h *Handler) allow(d *caddyfile.Dispenser) error {
	if err := list(d, &h.Destinations.Allow); err != nil {
		return err
	}
	return wrap(d, checkRules(destination.Rules{Allow: h.Destinations.Allow}))
}

func (h *Handler) only(d *caddyfile.Dispenser) error {
	if err := list(d, &h.Destinations.Only); err != nil {
		return err
	}
	// Whether allow has what is private is for checkTogether to see: it may come
	// later. A name in allow might lead anywhere.
	return wrap(d, checkRules(destination.Rules{Only: h.Destinations.Only, Allow: []string{"localhost"}}))
}

func (h *Handler) proxy(d *caddyfile.Dispenser) error {
	if err := text(d, &h.Destinations.Proxy); err != nil {
		return err
	}
	return wrap(d, checkRules(destination.Rules{Proxy: h.Destinations.Proxy}))
}

func checkRules(rules destination.Rules) error {
	_, err := destination.New(rules, destination.Options{})
	return err
}

func (h *Handler) secret(d *caddyfile.Dispenser) error {
	if err := list(d, &h.Secrets); err != nil {
		return err
	}
	if _, err := signature.New(signature.Config{Keys: writtenKeys(h.Secrets)}); err != nil {
		return d.WrapErr(fmt.Errorf("secret: %w", err))
	}
	return nil
}

func (h *Handler) secretFor(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Err("want secret_for <host> <secret...>")
	}
	host := args[0]
	if h.HostSecrets == nil {
		h.HostSecrets = make(map[string][]string)
	}
	h.HostSecrets[host] = append(h.HostSecrets[host], args[1:]...)
	hosts := map[string][]signature.Key{host: writtenKeys(h.HostSecrets[host])}
	if _, err := signature.New(signature.Config{Hosts: hosts}); err != nil {
		return d.WrapErr(fmt.Errorf("secret_for: %w", err))
	}
	return nil
}

// writtenKeys are the keys that can be checked now. One with a placeholder,
// which is only known when the configuration is loaded, is taken for a good
// one, so that errors count the others as they are written.
func writtenKeys(secrets []string) []signature.Key {
	keys := make([]signature.Key, len(secrets))
	for i, secret := range secrets {
		if strings.Contains(secret, "{") {
			secret = "a secret that is not known yet"
		}
		keys[i] = signature.Key(secret)
	}
	return keys
}

func (h *Handler) responseHeaders(d *caddyfile.Dispenser) error {
	if err := list(d, &h.ResponseHeaders); err != nil {
		return err
	}
	return wrap(d, checkResponseHeaders(h.ResponseHeaders))
}

// checkTogether checks options that depend on each other, in whichever order
// they come. at is where each is.
func (h *Handler) checkTogether(at map[string]caddyfile.Dispenser) error {
	if err := checkRules(h.Destinations); err != nil {
		only := at["only"] // the others were checked
		return only.WrapErr(err)
	}
	if h.KeyID != "" && !h.Signing.any() {
		sign := at["sign"]
		return sign.WrapErr(errSignWithoutSecret)
	}
	return nil
}

// wrap adds file and line to an error, if there is one.
func wrap(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}
