package commands

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/ringback/ringback/caddymodule"
	"github.com/ringback/ringback/suggest"
	"github.com/ringback/ringback/task/destination"
	"github.com/ringback/ringback/task/signature"
	"github.com/ringback/ringback/task/urlfrom"
)

// options are the flags of the sidecar command.
type options struct {
	from          string
	to            []string
	data          string
	match         []string
	urlFrom       []string
	allowOrigin   []string
	allow         []string
	only          []string
	secrets       []string
	maxBody       string
	maxResponse   string
	concurrency   int
	timeout       string
	attempts      int
	onInterrupted string
	gracePeriod   string
	admin         string
	accessLog     bool
	debug         bool
}

// register adds the flags to a set.
func (o *options) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.from, "from", "", "address to take requests on: http://127.0.0.1:8080, :8080, or example.com, which gets HTTPS")
	flags.StringSliceVar(&o.to, "to", nil, "backend: http://127.0.0.1:3000, host:port or https://host; several share the load")
	flags.StringVar(&o.data, "data", "ringback-data", "folder that keeps the tasks")
	flags.StringSliceVar(&o.match, "match", nil, "paths whose requests may become tasks, such as /reports/* (default: all)")
	flags.StringSliceVar(&o.urlFrom, "url-from", nil, "where the callback URL is looked for, as OpenAPI runtime expressions "+
		"such as $request.body#/hooks/done (default: the header Callback-Url, and callback_url in query and body)")
	flags.StringSliceVar(&o.allowOrigin, "allow-origin", nil, "origins, such as https://app.example.com, whose pages may send "+
		"a callback URL in the query or in a form, as the site's own may")
	flags.StringSliceVar(&o.allow, "allow", nil, "callback destinations to allow besides https to public addresses: "+
		"private, http, 10.0.0.0/8, hooks.internal:8080, *.example.com")
	flags.StringSliceVar(&o.only, "only", nil, "the only callback destinations there are")
	flags.StringArrayVar(&o.secrets, "secret", nil, "secret that signs callbacks, see ringback secret; several for rotation, the new one first")
	flags.StringVar(&o.maxBody, "max-body", "1GiB", "largest request body")
	flags.StringVar(&o.maxResponse, "max-response", "1GiB", "largest response body of the backend")
	flags.IntVar(&o.concurrency, "concurrency", 16, "backend calls that run at once")
	flags.StringVar(&o.timeout, "timeout", "30m", "how long a backend call may take")
	flags.IntVar(&o.attempts, "attempts", 8, "backend calls that a task may have")
	flags.StringVar(&o.onInterrupted, "on-interrupted", "run", "what becomes of a call that was under way when the process died: run (it again) or fail")
	flags.StringVar(&o.gracePeriod, "grace-period", "10s", "how long backend calls may go on when the process stops")
	flags.StringVar(&o.admin, "admin", "", "address of the admin endpoint with /callback/tasks and /metrics, such as localhost:2019 (default: none)")
	flags.BoolVar(&o.accessLog, "access-log", false, "log each request")
	flags.BoolVar(&o.debug, "debug", false, "log details")
}

// environment sets the flags that were not given from the variables
// RINGBACK_FROM, RINGBACK_URL_FROM and so on. Lists have commas or spaces. A
// variable that looks like one of these, misspelt, is an error.
func environment(flags *pflag.FlagSet) error {
	var err error
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		name := variablePrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		names = append(names, name)
		text := os.Getenv(name)
		if f.Changed || text == "" || err != nil {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			err = list.Replace(strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\t' }))
		} else {
			err = f.Value.Set(text)
		}
		if err != nil {
			err = fmt.Errorf("%s is %q: %w", name, text, err)
		}
	})
	if err != nil {
		return err
	}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		rest, ok := strings.CutPrefix(name, variablePrefix)
		if !ok || slices.Contains(names, name) || kubernetes(rest) {
			continue // others may have a use, in placeholders for example
		}
		if nearest := suggest.Nearest(rest, trimmed(names)); nearest != "" {
			return fmt.Errorf("%s is no option; did you mean %s%s?", name, variablePrefix, nearest)
		}
	}
	return nil
}

const variablePrefix = "RINGBACK_"

// kubernetes says that a variable is one that Kubernetes sets for a service of
// the name ringback.
func kubernetes(rest string) bool {
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_")
}

// trimmed are the names without their prefix, which would make all alike.
func trimmed(names []string) []string {
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = strings.TrimPrefix(name, variablePrefix)
	}
	return short
}

// limits are the options that are written as sizes and durations.
type limits struct {
	maxBody     int64
	maxResponse int64
	timeout     time.Duration
	gracePeriod time.Duration
}

// check finds what is wrong with the options, and says which it is.
func (o *options) check() (l limits, err error) {
	if o.from == "" {
		return l, fmt.Errorf("--from is missing: the address to take requests on, such as http://127.0.0.1:8080")
	}
	if len(o.to) == 0 {
		return l, fmt.Errorf("--to is missing: the address of the backend, such as http://127.0.0.1:3000")
	}
	if err := o.checkLoop(); err != nil {
		return l, err
	}
	if l.maxBody, err = parseSize("max-body", o.maxBody); err != nil {
		return l, err
	}
	if l.maxResponse, err = parseSize("max-response", o.maxResponse); err != nil {
		return l, err
	}
	if l.timeout, err = parseDuration("timeout", o.timeout); err != nil {
		return l, err
	}
	if l.gracePeriod, err = parseDuration("grace-period", o.gracePeriod); err != nil {
		return l, err
	}
	if o.concurrency < 1 || o.attempts < 1 {
		return l, fmt.Errorf("--concurrency and --attempts must be 1 or more")
	}
	if o.onInterrupted != "run" && o.onInterrupted != "fail" {
		return l, fmt.Errorf("--on-interrupted is %q: want run or fail", o.onInterrupted)
	}
	for _, path := range o.match {
		if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "*") {
			return l, fmt.Errorf("--match is %q: want a path such as /reports/*", path)
		}
	}
	for _, text := range o.urlFrom {
		if _, err := urlfrom.Parse(text); err != nil {
			return l, fmt.Errorf("--url-from: %w", err)
		}
	}
	if err := caddymodule.CheckOrigins(o.allowOrigin); err != nil {
		return l, fmt.Errorf("--allow-origin: %w", err)
	}
	if _, err := destination.New(destination.Rules{Allow: o.allow, Only: o.only}, destination.Options{}); err != nil {
		return l, fmt.Errorf("--%w", err) // its text begins with allow or only
	}
	for _, secret := range o.secrets {
		text, err := caddy.NewReplacer().ReplaceOrErr(secret, true, true)
		if err == nil {
			_, err = signature.New(signature.Config{Keys: []signature.Key{signature.Key(text)}})
		}
		if err != nil {
			return l, fmt.Errorf("--secret: %w", err)
		}
	}
	return l, nil
}

func parseSize(flag, text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > 1<<62 {
		return 0, fmt.Errorf("--%s is %q: want a size such as 10MiB", flag, text)
	}
	return int64(n), nil
}

func parseDuration(flag, text string) (time.Duration, error) {
	d, err := caddy.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("--%s is %q: want a duration such as 90s, 30m or 2d", flag, text)
	}
	return d, nil
}
