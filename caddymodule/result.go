package caddymodule

import (
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/ringback/ringback/task"
)

// replayed are the headers of a backend's answer that describe it, and are
// replayed with a result.
var replayed = []string{
	"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range",
	"Content-Digest", "Repr-Digest", "Digest", "Content-Md5", "Etag", "Last-Modified", "Retry-After",
}

// ruling are the headers that tell a browser what to do, or what others may do
// on this site. They are for the answer to the request itself, and not for a
// result at a URL of the tasks endpoint, even if response_headers lists them.
func ruling(name string) bool {
	switch name {
	case "Set-Cookie", "Location", "Refresh", "Cache-Control", "Expires", "Clear-Site-Data", "Service-Worker-Allowed", "Www-Authenticate",
		"Strict-Transport-Security", "Public-Key-Pins", "X-Frame-Options", "X-Content-Type-Options", "Permissions-Policy",
		"Referrer-Policy", "Origin-Agent-Cluster", "Alt-Svc", "Link", "Sourcemap", "X-Sourcemap", "Nel", "Report-To",
		"Reporting-Endpoints", "Timing-Allow-Origin", "Speculation-Rules", "Supports-Loading-Mode", "X-Accel-Redirect", "X-Sendfile":
		return true
	}
	for _, prefix := range []string{"Access-Control-", "Content-Security-Policy", "Cross-Origin-", "Sec-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return task.HopByHop(name)
}

// serveResult answers as the backend did. What it answered is shown at a URL of
// this site, to whoever opens that: it must not act there as the site.
func (h *Tasks) serveResult(w http.ResponseWriter, r *http.Request, engine *task.Engine, id task.ID) error {
	if err := longPoll(w, r, engine, id); err != nil {
		return err
	}
	t, response, body, err := engine.Response(r.Context(), id)
	if err != nil {
		return err
	}
	switch {
	case response != nil:
		defer body.Close()
	case !t.Status.Done():
		return showTask(w, r, engine, id, http.StatusAccepted)
	case t.Status == task.Failed:
		return outcome(t)
	default:
		problem := task.NewProblem(http.StatusGone, task.ProblemGone, "the task was "+t.Status.String()+" and has no result")
		problem.TaskID = id.String()
		return problem
	}
	header := w.Header()
	replayHeader(header, response.Header, h.app.listed[t.Route])
	header[task.HeaderTaskID] = []string{id.String()}
	header.Add("Content-Security-Policy", "sandbox")
	header["Cache-Control"] = []string{"private"}
	if h.isBound(t) {
		header["Cache-Control"] = noStore
	}
	if _, ok := header["Content-Type"]; !ok {
		header["Content-Type"] = nil // or it would be guessed
	}
	if response.Status == http.StatusOK {
		modified, _ := http.ParseTime(header.Get("Last-Modified"))
		http.ServeContent(w, r, "", modified, body)
		return nil
	}
	if response.Body.Size > 0 {
		header.Set("Content-Length", strconv.FormatInt(response.Body.Size, 10))
	}
	w.WriteHeader(response.Status)
	if r.Method != http.MethodHead {
		io.Copy(w, body)
	}
	return nil
}

// replayHeader copies what may be replayed: the headers that describe the
// answer, and those that the handler's response_headers list.
func replayHeader(to, from http.Header, listed []string) {
	for name, values := range from {
		is := func(other string) bool { return textproto.CanonicalMIMEHeaderKey(other) == name }
		if slices.Contains(replayed, name) || slices.ContainsFunc(listed, is) && !ruling(name) {
			to[name] = values
		}
	}
}
