package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/destination"
	"github.com/ringback/ringback/task/urlfrom"
)

// taskIDPlaceholder is the task that a request became, for access logs.
const taskIDPlaceholder = "http.callback.task_id"

// ServeHTTP takes the request, or passes it on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	inHead, conflict := h.finder.InHead(r.Header, r.URL.RawQuery)
	wantsBody := h.finder.WantsBody(r.Header)
	if inHead == "" && conflict == nil && !wantsBody && len(r.Header["Prefer"]) == 0 {
		h.logPassing(r, scanned{})
		return next.ServeHTTP(w, r)
	}
	if inHead == "" && !takeable(r) || r.Context().Value(backgroundKey{}) != nil {
		return next.ServeHTTP(w, r)
	}
	var s scanned

	in := intake{callbackURL: inHead, rest: r.Body}
	if wantsBody && conflict == nil {
		var ok bool
		if s, ok = scan(r, h.ScanLimit); ok {
			in.rest = s.body(r.Body)
			if s.whole {
				in.body, in.whole = s.read, true
				in.found, conflict = h.finder.InBody(r.Header.Get("Content-Type"), s.read)
				if conflict == nil {
					in.callbackURL, conflict = urlfrom.One(inHead, in.found.URL)
				}
			}
		}
	}
	if conflict == nil && in.callbackURL == "" {
		async, _ := task.ParsePrefer(r.Header)
		switch {
		case !async, h.NoPoll && h.DefaultURL == "", strings.HasPrefix(r.URL.Path, h.TasksPath):
			h.logPassing(r, s)
			r.Body = in.rest
			return next.ServeHTTP(w, r)
		}
		in.callbackURL, in.ours = h.DefaultURL, true // or none: the client polls
	}
	if err := h.take(w, r, in, conflict); err != nil {
		h.refuse(w, r, err)
	}
	return nil
}

// backgroundKey is in the context of requests that are made in the background:
// a task does not become another one.
type backgroundKey struct{}

// intake is what the handler has read of a request that it takes.
type intake struct {
	callbackURL string        // empty: the client polls
	ours        bool          // callbackURL is not the client's
	rest        io.ReadCloser // the body, also if part of it was read before
	body        []byte        // the whole body, if whole
	whole       bool
	found       urlfrom.Found // what InBody found in body
}

// takeable says that the request could become a task: it does not ask to turn
// its connection into something else.
func takeable(r *http.Request) bool {
	return r.Method != http.MethodConnect && (r.ProtoMajor > 1 || !upgrades(r.Header))
}

// upgrades says that the client wants another protocol. An offer of HTTP/2 is
// not that: curl --http2 and Java's HttpClient make it with each request, and
// a server is free to ignore it (RFC 9110, section 7.8).
func upgrades(header http.Header) bool {
	for _, line := range header["Upgrade"] {
		for protocol := range strings.SplitSeq(line, ",") {
			if protocol = strings.TrimSpace(protocol); protocol != "" && !strings.EqualFold(protocol, "h2c") {
				return true
			}
		}
	}
	return false
}

// take makes a task of the request and answers it. An error is a refusal:
// nothing was kept, and nothing answered.
func (h *Handler) take(w http.ResponseWriter, r *http.Request, in intake, conflict error) error {
	switch {
	case r.Method == http.MethodConnect:
		return task.NewProblem(http.StatusMethodNotAllowed, task.ProblemNotAsync, "CONNECT asks for a connection, which a callback can't give")
	case !takeable(r):
		return task.NewProblem(http.StatusNotImplemented, task.ProblemNotAsync,
			"the request asks to upgrade its connection, which a callback can't give; leave out the callback URL or the Upgrade header")
	case conflict != nil:
		return task.NewProblem(http.StatusBadRequest, task.ProblemBadCallbackURL, conflict.Error())
	}
	if !in.ours && h.finder.Forgeable(r.Header, in.found) {
		if err := h.checkSite(r); err != nil {
			return err
		}
	}
	now := time.Now()
	client, err := task.ParseHeaders(r.Header, now, h.finder.Headers()...)
	if err != nil {
		return err
	}
	if in.callbackURL, err = h.check(r, in.callbackURL, "callback URL"); err != nil {
		return err
	}
	if client.ErrorURL, err = h.check(r, client.ErrorURL, "Callback-Error-Url"); err != nil {
		return err
	}
	engine, err := h.app.running(r.Context())
	if err != nil {
		return err
	}
	a := task.Acceptance{
		Route:         h.route,
		Body:          in.rest,
		ContentLength: r.ContentLength,
		Trailer:       func() http.Header { return h.trailer(r) },
		CallbackURL:   in.callbackURL,
		Client:        client,
		Owner:         owner(r),
		Bound:         h.BindUser,
		TraceParent:   r.Header.Get("Traceparent"),
		Hold:          client.Wait > 0,
	}
	if client.IdempotencyKey != "" {
		a.Credentials = credentials(r)
	}
	if r.Body == nil {
		a.Body = nil
	}
	a.Request = h.prepare(r, in, &a)
	t, fresh, err := engine.Accept(r.Context(), a)
	if err != nil {
		return err
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(taskIDPlaceholder, t.ID.String())
	}
	base := h.tasksBase(r)
	if a.Hold {
		return h.wait(w, r, engine, t, waiting{
			wait:   min(client.Wait, maxWait),
			fresh:  fresh,
			accept: func(t *task.Task) { accepted(w, t, base, true) },
		})
	}
	accepted(w, t, base, client.RespondAsync)
	return nil
}

// check parses a callback URL and asks the policy; an empty one is none.
func (h *Handler) check(r *http.Request, raw, what string) (string, error) {
	if raw == "" {
		return "", nil
	}
	u, err := destination.ParseURL(raw)
	if err == nil {
		err = h.policy.Check(r.Context(), u)
	}
	if err != nil {
		if problem, ok := errors.AsType[*task.Problem](err); ok {
			problem.Detail = what + ": " + strings.TrimPrefix(problem.Detail, "callback URL: ")
			return "", problem
		}
		return "", task.NewProblem(http.StatusForbidden, task.ProblemForbiddenURL, what+": "+err.Error())
	}
	return u.String(), nil
}

// prepare makes the request that is kept. Unless the handler keeps URLs, what
// was meant for it is taken out.
func (h *Handler) prepare(r *http.Request, in intake, a *task.Acceptance) *task.Request {
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		switch name {
		case "Expect": // the body is here already
		case "Upgrade", "Http2-Settings": // an offer of HTTP/2, see upgrades
		case "Prefer":
			if values = otherPreferences(values); len(values) > 0 {
				header[name] = values
			}
		default:
			header[name] = values
		}
	}
	query := r.URL.RawQuery
	body := in.body
	if !h.KeepURL {
		h.finder.RemoveHeader(header)
		query = h.finder.RemoveQuery(query)
		body = in.found.Cut(body)
	}
	if in.whole {
		a.Body, a.Whole = nil, body
	}
	return h.keep(r, header, query)
}

// trailer is what is kept of the request's trailer.
func (h *Handler) trailer(r *http.Request) http.Header {
	trailer := r.Trailer.Clone()
	if !h.KeepURL {
		h.finder.RemoveHeader(trailer)
	}
	return trailer
}

// otherPreferences are the values of Prefer without respond-async and wait,
// which are this handler's and answered by it.
func otherPreferences(values []string) []string {
	var others []string
	for _, line := range values {
		for preference := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(preference, "=")
			name, _, _ = strings.Cut(name, ";")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "", "respond-async", "wait":
			default:
				others = append(others, strings.TrimSpace(preference))
			}
		}
	}
	return others
}

// owner is the authenticated user of the request; empty if there is none.
func owner(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	user, _ := repl.GetString(userPlaceholder)
	return user
}

// tasksBase is the path under which the client finds its tasks: the tasks
// path, after a prefix that handlers before this one have stripped.
func (h *Handler) tasksBase(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.URL.Path == r.URL.Path {
		return h.TasksPath
	}
	prefix, ok := strings.CutSuffix(original.URL.Path, strings.TrimPrefix(r.URL.Path, "/"))
	if !ok || !strings.HasSuffix(prefix, "/") {
		return h.TasksPath
	}
	return (&url.URL{Path: strings.TrimSuffix(prefix, "/")}).EscapedPath() + h.TasksPath
}

// ruleIn finds a rule that the policy proposes.
var ruleIn = regexp.MustCompile("`(allow|only) ([^`]+)`")

// withFlags says in a refusal which flag of the sidecar each proposed rule is.
func withFlags(cause error) error {
	if _, ok := errors.AsType[*destination.RefusedError](cause); !ok {
		return cause
	}
	return errors.New(ruleIn.ReplaceAllString(cause.Error(), "$0 (sidecar: --$1 $2)"))
}

// refuse answers with a problem, and tells the operator why.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	problem, ok := errors.AsType[*task.Problem](err)
	if !ok {
		problem = task.NewProblem(http.StatusInternalServerError, task.ProblemUnavailable, "the request could not be taken").Because(err)
	}
	log := h.log.Debug
	switch {
	case problem.Status >= 500 && problem.Cause != nil: // not just that the server is stopping
		log = h.log.Error
	case problem.Status == http.StatusForbidden:
		log = h.log.Info
	}
	log("refusing a request with a callback URL", zap.String("host", r.Host), zap.Int("status", problem.Status),
		zap.String("uri_path", r.URL.Path), zap.String("reason", problem.Detail), zap.Error(withFlags(problem.Cause)))
	if r.ProtoMajor == 1 && r.Header["Expect"] != nil {
		// The client waits to be told to send its body. Caddy hides from net/http
		// that it was not, which would wait for the body before it answers.
		w.Header().Set("Connection", "close")
	}
	problem.ServeHTTP(w, r)
}
