package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/destination"
)

func parseDefaultURL(raw string) (*url.URL, error) {
	u, err := destination.ParseURL(raw)
	return u, defaultURLError(err)
}

// checkDefaultURL finds a default URL to which no callback could ever go. What
// only DNS could tell is for each callback to see.
func checkDefaultURL(raw string, rules destination.Rules) error {
	u, err := parseDefaultURL(raw)
	if err != nil {
		return err
	}
	// A policy of its own: where this server listens isn't known yet, and names
	// must not be looked up but in the hosts file.
	policy, err := destination.New(rules, destination.Options{Resolver: offline})
	if err != nil {
		return err
	}
	err = policy.Check(context.Background(), u)
	if refused, ok := errors.AsType[*destination.RefusedError](err); ok {
		return fmt.Errorf("default_url: %w (%s)", refused, refused.Hint)
	}
	if err != nil && u.User != nil && !rules.Credentials {
		return defaultURLError(err)
	}
	if u.Scheme == "http" && len(rules.Allow) == 0 {
		return fmt.Errorf("default_url: plain http is not allowed there: use https, or add `allow %s`", u.Hostname())
	}
	return nil
}

// defaultURLError is what is wrong with a URL, without the problem around it.
func defaultURLError(err error) error {
	if problem, ok := errors.AsType[*task.Problem](err); ok {
		return fmt.Errorf("default_url: %s", problem.Detail)
	}
	return err
}

// offline resolves names without asking anybody.
var offline = &net.Resolver{
	PreferGo: true,
	Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("names are not looked up now")
	},
}
