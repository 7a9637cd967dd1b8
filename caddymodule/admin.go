package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/ringback/ringback/task"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI shows the operator all tasks, at Caddy's admin endpoint:
//
//	GET    /callback/tasks                 newest first; ?status= &callback= &name= &after= &limit=
//	GET    /callback/tasks/{id}
//	DELETE /callback/tasks/{id}            cancels the task
//	POST   /callback/tasks/{id}/redeliver  sends the callback again
//	GET    /callback/stats                 how many tasks are at what
//
// The dead list is /callback/tasks?callback=dead.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.callback",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements [caddy.AdminRouter].
func (a adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/callback/", Handler: caddy.AdminHandlerFunc(a.serve)},
	}
}

// currentEngine is the engine of the running configuration. It is looked up for
// each request since Caddy makes admin routes before apps.
func currentEngine(r *http.Request) (*task.Engine, error) {
	ctx := caddy.ActiveContext()
	app, err := ctx.AppIfConfigured("callback")
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("the running configuration has no callback handler")}
	}
	engine, err := app.(*App).running(r.Context())
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	return engine, nil
}

func (adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	engine, err := currentEngine(r)
	if err != nil {
		return err
	}
	path := strings.TrimPrefix(r.URL.Path, "/callback/")
	if path == "stats" {
		if r.Method != http.MethodGet {
			return methodNotAllowed(r)
		}
		stats := engine.Stats()
		return writeJSON(w, http.StatusOK, map[string]int{
			"queued": stats.Queued, "running": stats.Running,
			"undelivered": stats.Undelivered, "delivering": stats.Delivering,
		})
	}
	rest, ok := strings.CutPrefix(path, "tasks")
	if !ok || rest != "" && rest[0] != '/' {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no %s: want /callback/tasks or /callback/stats", r.URL.Path)}
	}
	if rest = strings.Trim(rest, "/"); rest == "" {
		if r.Method != http.MethodGet {
			return methodNotAllowed(r)
		}
		return listTasks(w, r, engine)
	}
	return adminError(oneTask(w, r, engine, rest))
}

// oneTask serves /callback/tasks/{id} and what is below.
func oneTask(w http.ResponseWriter, r *http.Request, engine *task.Engine, path string) error {
	text, what, _ := strings.Cut(path, "/")
	id, err := task.ParseID(text)
	if err != nil {
		return err
	}
	switch {
	case what == "" && r.Method == http.MethodGet:
		return showTask(w, r, engine, id, http.StatusOK)
	case what == "" && r.Method == http.MethodDelete:
		if _, err := engine.CancelByOperator(r.Context(), id); err != nil {
			return err
		}
		return showTask(w, r, engine, id, http.StatusOK)
	case what == "redeliver" && r.Method == http.MethodPost:
		return redeliver(w, r, engine, id)
	case what == "" || what == "redeliver":
		return methodNotAllowed(r)
	}
	return task.ErrNotFound
}

// maxListed bounds a page of the list.
const maxListed = 1000

// listParameters are what a list can be asked for; with their possible values,
// if there are only some.
var listParameters = map[string][]string{
	"status": words(task.Queued, task.Running, task.Completed, task.Failed, task.Canceled, task.Expired),
	"callback": words(task.CallbackNone, task.CallbackPending, task.CallbackRetrying,
		task.CallbackDelivered, task.CallbackDead),
	"name": nil, "after": nil, "limit": nil,
}

func words[S fmt.Stringer](states ...S) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = s.String()
	}
	return out
}

// checkListQuery finds what would otherwise look like an empty list.
func checkListQuery(query url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		possible, ok := listParameters[name]
		if !ok {
			return fmt.Errorf("parameter %q is not possible: want %s", name, strings.Join(slices.Sorted(maps.Keys(listParameters)), ", "))
		}
		if value := query.Get(name); possible != nil && !slices.Contains(possible, value) {
			return fmt.Errorf("%s is %q: want %s", name, value, strings.Join(possible, ", "))
		}
	}
	return nil
}

// listTasks serves a page of tasks.
func listTasks(w http.ResponseWriter, r *http.Request, engine *task.Engine) error {
	query := r.URL.Query()
	if err := checkListQuery(query); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	limit := 100
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxListed {
			return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("limit is %q: want 1 to %d", text, maxListed)}
		}
		limit = n
	}
	var after task.ID
	if text := query.Get("after"); text != "" {
		var err error
		if after, err = task.ParseID(text); err != nil {
			return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("after: %w", err)}
		}
	}
	match := func(t *task.Task) bool {
		is := func(name, value string) bool { return !query.Has(name) || query.Get(name) == value }
		return is("status", t.Status.String()) && is("callback", t.CallbackStatus().String()) && is("name", t.Route)
	}
	tasks, err := engine.List(r.Context(), match, after, limit)
	if err != nil {
		return err
	}
	page := map[string]any{"tasks": tasks}
	if len(tasks) == limit {
		page["next"] = tasks[len(tasks)-1].TaskID
	}
	return writeJSON(w, http.StatusOK, page)
}

// adminError gives errors the status that the admin endpoint answers with.
func adminError(err error) error {
	problem, isProblem := errors.AsType[*task.Problem](err)
	switch {
	case err == nil:
		return nil
	case isProblem:
		return caddy.APIError{HTTPStatus: problem.Status, Err: err, Message: problem.Detail}
	case errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrBadID):
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err, Message: "there is no task with this id"}
	}
	return err
}

func methodNotAllowed(r *http.Request) error {
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not possible here", r.Method)}
}

var _ caddy.AdminRouter = adminAPI{}
