package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

func init() {
	caddy.RegisterModule(new(Tasks))
}

// Tasks shows clients their tasks, by id:
//
//	GET    {path}{id}            the task as JSON; Prefer: wait=N waits until it is done
//	GET    {path}{id}/result     the backend's response; 202 while there is none
//	DELETE {path}{id}            cancels the task
//	POST   {path}{id}/redeliver  sends the callback again
//
// Requests for other paths pass.
type Tasks struct {
	// Path is where tasks are. Default: /.callback/tasks/.
	Path string `json:"path,omitempty"`
	// BindUser shows a task only to the authenticated user whose request it
	// was, as the handler's own BindUser does for its tasks wherever they are
	// asked for. Authentication must precede both handlers in their routes.
	// Otherwise knowing a task's id, which can't be guessed, is enough.
	BindUser bool `json:"bind_user,omitempty"`

	app    *App
	server *caddyhttp.Server
	log    *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Tasks) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.callback_tasks",
		New: func() caddy.Module { return new(Tasks) },
	}
}

// Provision sets up the handler.
func (h *Tasks) Provision(ctx caddy.Context) (err error) {
	h.log = ctx.Logger()
	if h.Path, err = cleanTasksPath(h.Path); err != nil {
		return err
	}
	h.server, _ = ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	app, err := ctx.App("callback")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	if h.server != nil {
		h.app.endWaitsOnExit(h.server)
	}
	h.app.tasks = append(h.app.tasks, h)
	return nil
}

// ServeHTTP answers for a task.
func (h *Tasks) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	path, ok := strings.CutPrefix(r.URL.Path, h.Path)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := h.serve(w, r, path); err != nil {
		problem, ok := errors.AsType[*task.Problem](err)
		switch {
		case ok:
		case r.Context().Err() != nil:
			return nil // the client went away
		case errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrBadID):
			problem = noSuchTask
		default:
			problem = task.NewProblem(http.StatusServiceUnavailable, task.ProblemUnavailable, "the task can't be read at the moment; try again later").Because(err)
			h.log.Error("serving a task", zap.Error(err))
		}
		problem.ServeHTTP(w, r)
	}
	return nil
}

// noSuchTask is the answer for ids of no task, of somebody else's task, and
// for what is no id, so that nobody learns which it is.
var noSuchTask = task.NewProblem(http.StatusNotFound, task.ProblemNotFound, "there is no task with this id")

func (h *Tasks) serve(w http.ResponseWriter, r *http.Request, path string) error {
	text, what, _ := strings.Cut(path, "/")
	var serve func(http.ResponseWriter, *http.Request, *task.Engine, task.ID) error
	var allow []string
	switch what {
	case "":
		allow, serve = []string{"GET", "HEAD", "DELETE"}, h.serveTask
	case "result":
		allow, serve = []string{"GET", "HEAD"}, h.serveResult
	case "redeliver":
		allow, serve = []string{"POST"}, h.serveRedeliver
	default:
		return noSuchTask
	}
	engine, err := h.app.running(r.Context())
	if err != nil {
		return err
	}
	id, err := task.ParseID(text)
	if err != nil {
		return err
	}
	t, err := engine.Task(r.Context(), id)
	if err != nil {
		return err
	}
	if h.isBound(t) {
		if user := owner(r); user == "" || user != t.Owner {
			return noSuchTask
		}
	}
	if !slices.Contains(allow, r.Method) {
		possible := strings.Join(allow, ", ")
		w.Header().Set("Allow", possible)
		return task.NewProblem(http.StatusMethodNotAllowed, task.ProblemMethod, "possible here: "+possible)
	}
	return serve(w, r, engine, id)
}

// isBound says that the task is for the user only whose request it was: since
// it was accepted so, or since the endpoint or the handler now wants it.
func (h *Tasks) isBound(t *task.Task) bool { return h.BindUser || t.Bound || h.app.bound[t.Route] }

// serveTask shows the task, or cancels it.
func (h *Tasks) serveTask(w http.ResponseWriter, r *http.Request, engine *task.Engine, id task.ID) error {
	if r.Method == http.MethodDelete {
		if _, err := engine.Cancel(r.Context(), id); err != nil {
			return err
		}
	} else if err := longPoll(w, r, engine, id); err != nil {
		return err
	}
	return showTask(w, r, engine, id, http.StatusOK)
}

func (h *Tasks) serveRedeliver(w http.ResponseWriter, r *http.Request, engine *task.Engine, id task.ID) error {
	return redeliver(w, r, engine, id)
}

// redeliver sends the callback of a task again, and shows the task.
func redeliver(w http.ResponseWriter, r *http.Request, engine *task.Engine, id task.ID) error {
	if _, err := engine.Redeliver(r.Context(), id); err != nil {
		return err
	}
	return showTask(w, r, engine, id, http.StatusAccepted)
}

// longPoll waits until the task is done, if the client prefers that.
func longPoll(w http.ResponseWriter, r *http.Request, engine *task.Engine, id task.ID) error {
	_, wait := task.ParsePrefer(r.Header)
	if wait == 0 {
		return nil
	}
	wait = min(wait, maxWait)
	w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	_, err := engine.Await(ctx, id)
	return err
}

// showTask answers with the task as JSON.
func showTask(w http.ResponseWriter, r *http.Request, engine *task.Engine, id task.ID, status int) error {
	view, err := engine.View(r.Context(), id)
	if err != nil {
		return err
	}
	header := w.Header()
	if !view.Done {
		header["Retry-After"] = retryAfterOne
	}
	return writeJSON(w, status, view)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Cache-Control"] = noStore
	header["Content-Length"] = []string{strconv.Itoa(body.Len())}
	w.WriteHeader(status)
	w.Write(body.Bytes())
	return nil
}

var (
	_ caddy.Provisioner           = (*Tasks)(nil)
	_ caddyhttp.MiddlewareHandler = (*Tasks)(nil)
)
