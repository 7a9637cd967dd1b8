package caddymodule

import (
	"math"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/ringback/ringback/suggest"
)

// unknown is the error for a subdirective that there is not.
func unknown(d *caddyfile.Dispenser, of string, known []string) error {
	return d.Errf("unknown subdirective %q of %s%s", d.Val(), of, suggest.DidYouMean(d.Val(), known))
}

// text parses the one argument of a subdirective.
func text(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.NextArg() {
		return d.Errf("%s wants a value", option)
	}
	*to = d.Val()
	return end(d, option)
}

// end is an error if there is another argument.
func end(d *caddyfile.Dispenser, option string) error {
	if d.NextArg() {
		return d.Errf("%s wants one value only, and %q is another", option, d.Val())
	}
	return nil
}

// list adds the arguments of a subdirective, of which there must be one.
func list(d *caddyfile.Dispenser, to *[]string) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("%s wants one value or more", option)
	}
	*to = append(*to, args...)
	return nil
}

// flag parses a subdirective without arguments.
func flag(d *caddyfile.Dispenser, to *bool) error {
	option := d.Val()
	if d.NextArg() {
		return d.Errf("%s stands alone, without %q", option, d.Val())
	}
	*to = true
	return nil
}

func onOff(d *caddyfile.Dispenser, to *bool) error {
	option, value := d.Val(), ""
	if err := text(d, &value); err != nil {
		return err
	}
	if value != "on" && value != "off" {
		return d.Errf("%s is %q: want on or off", option, value)
	}
	*to = value == "on"
	return nil
}

// number parses a positive number.
func number(d *caddyfile.Dispenser, to *int) error {
	option, value := d.Val(), ""
	if err := text(d, &value); err != nil {
		return err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n <= 0 {
		return d.Errf("%s is %q: want a number above 0", option, value)
	}
	*to = n
	return nil
}

// size parses a size in bytes, such as 10MB or 10MiB.
func size(d *caddyfile.Dispenser, to *int64) error {
	option, value := d.Val(), ""
	if err := text(d, &value); err != nil {
		return err
	}
	n, err := parseSize(value)
	if err != nil {
		return d.Errf("%s is %q: want a size such as 10MiB", option, value)
	}
	*to = n
	return nil
}

// parseSize reads a size in bytes above 0, as Caddy does.
func parseSize(value string) (int64, error) {
	n, err := humanize.ParseBytes(value)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, strconv.ErrRange
	}
	return int64(n), nil
}

// duration parses a duration above 0.
func duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	option, value := d.Val(), ""
	if err := text(d, &value); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(value)
	if err != nil || parsed <= 0 {
		return d.Errf("%s is %q: want a duration above 0 such as 90s, 30m or 2d", option, value)
	}
	*to = caddy.Duration(parsed)
	return nil
}

// isOff says that the one argument is off, which it then consumes.
func isOff(d *caddyfile.Dispenser) bool {
	ahead := *d
	if !ahead.NextArg() || ahead.Val() != "off" || ahead.NextArg() {
		return false
	}
	return d.NextArg()
}

// retention parses a duration, or off.
func retention(d *caddyfile.Dispenser, to *caddy.Duration) error {
	if isOff(d) {
		*to = -1
		return nil
	}
	return duration(d, to)
}

// sizeOrOff parses a size, or off.
func sizeOrOff(d *caddyfile.Dispenser, to *int64) error {
	if isOff(d) {
		*to = -1
		return nil
	}
	return size(d, to)
}

// durations parses a list of durations.
func durations(d *caddyfile.Dispenser, to *[]caddy.Duration) error {
	option := d.Val()
	var values []string
	if err := list(d, &values); err != nil {
		return err
	}
	for _, value := range values {
		parsed, err := caddy.ParseDuration(value)
		if err != nil || parsed < 0 {
			return d.Errf("%s has %q: want durations such as 0s 5s 5m 2h", option, value)
		}
		*to = append(*to, caddy.Duration(parsed))
	}
	return nil
}
