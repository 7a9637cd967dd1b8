package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

func init() {
	caddy.RegisterModule(new(App))
}

// defaultGracePeriod is how long tasks may go on when the process stops and
// neither the app nor Caddy's http app says so.
const defaultGracePeriod = 10 * time.Second

// App is the store of tasks and the engine that runs them, which all callback
// handlers share. When the configuration is reloaded, tasks go on.
type App struct {
	// StoreRaw is where tasks are kept. Default: badger, in the folder callback
	// of Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=callback.stores inline_key=module"`
	// GracePeriod is how long, when the process stops, backend calls and
	// deliveries may go on before they are ended and put back. Default: that of
	// the http app, or 10 seconds if it has none.
	GracePeriod caddy.Duration `json:"grace_period,omitempty"`
	// MaxPending is how many tasks may wait or run; more are refused with 429.
	// Default: 1,000,000. Negative: no bound.
	MaxPending int `json:"max_pending,omitempty"`
	// Retention is how long a settled task can be looked at, where its handler
	// does not say so. Negative: not at all. Default: 24 hours.
	Retention caddy.Duration `json:"retention,omitempty"`
	// OnStoreFailure says what becomes of the process when the disk that tasks are
	// kept on fails, so that nothing more can be kept: "stay" refuses requests
	// with 503 and says so in metrics and logs; "exit" ends the process, so that
	// who watches over it starts it again, perhaps elsewhere. That a disk is full
	// is no such failure: it passes. Default: stay.
	OnStoreFailure string `json:"on_store_failure,omitempty"`

	ctx       caddy.Context
	log       *zap.Logger
	store     Store
	config    string // of the store and its engine, to see whether it changed
	listeners listeners
	handlers  []*Handler
	tasks     []*Tasks
	bound     map[string]bool     // names of handlers that show tasks to their user only; set before ready
	listed    map[string][]string // response_headers by the handler's name; set before ready

	started    bool          // Start was called
	ready      chan struct{} // closed when engine is set
	engine     atomic.Pointer[task.Engine]
	shared     *shared
	unregister func()
	stop       sync.Once
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "callback",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision sets up the app. It does not touch the store: that is for Start,
// since a configuration that is only validated must not.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.log = ctx.Logger()
	a.ready = make(chan struct{})
	if a.GracePeriod < 0 {
		return errors.New("grace_period must not be negative")
	}
	switch a.OnStoreFailure {
	case "", "stay", "exit":
	default:
		return fmt.Errorf("on_store_failure is %q: want stay or exit", a.OnStoreFailure)
	}
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"module": "badger"}`)
	}
	a.config = fmt.Sprintf("%s %d", a.StoreRaw, a.MaxPending)
	store, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading the task store: %w", err)
	}
	a.store = store.(Store)
	return nil
}

// Start resolves what follows each handler, opens the store unless the
// configuration before has, and lets its tasks run.
func (a *App) Start() error {
	a.started = true
	routes, err := a.routes()
	if err != nil {
		return err
	}
	a.warn()
	if a.shared, err = acquire(a); err != nil {
		return err
	}
	if err := a.shared.metrics.register(a.ctx); err != nil {
		a.log.Warn("registering metrics", zap.Error(err))
	}
	a.unregister = a.shared.engine.Register(routes...)
	a.engine.Store(a.shared.engine)
	close(a.ready)
	return nil
}

// Stop takes back what Start did. If no other configuration uses the store,
// its tasks are stopped, within the grace period, and it is closed.
func (a *App) Stop() error {
	var err error
	a.stop.Do(func() {
		if a.shared != nil {
			err = a.shared.release(a)
		}
	})
	return err
}

// endWaitsOnExit lets clients go that wait for tasks when the process exits:
// the server would wait for them, for as long as they want to, before anything
// else is stopped.
func (a *App) endWaitsOnExit(server *caddyhttp.Server) {
	server.RegisterOnShutdown(func() {
		if engine := a.engine.Load(); engine != nil && caddy.Exiting() {
			engine.EndWaits()
		}
	})
}

// running is the engine; a problem if it is not there. Caddy starts apps in no
// certain order, so that requests may come before the store is open.
func (a *App) running(ctx context.Context) (*task.Engine, error) {
	if engine := a.engine.Load(); engine != nil {
		return engine, nil
	}
	select {
	case <-a.ready:
		return a.engine.Load(), nil
	case <-ctx.Done():
	case <-a.ctx.Done():
	}
	problem := task.NewProblem(http.StatusServiceUnavailable, task.ProblemUnavailable, "the server is starting or stopping; try again")
	problem.RetryAfter = time.Second
	return nil, problem
}

// routes resolves all handlers and makes one route of those with one name:
// a site's http and https servers, for example, each have their own.
func (a *App) routes() ([]*task.Route, error) {
	named := make(map[string]backend)
	a.bound, a.listed = make(map[string]bool), make(map[string][]string)
	for _, h := range a.handlers {
		if err := h.resolve(); err != nil {
			return nil, err
		}
		if others := named[h.name]; len(others) > 0 && others[0].alike != h.alike {
			return nil, sameNameError(h.name)
		}
		named[h.name] = append(named[h.name], h)
		a.listed[h.name] = h.ResponseHeaders
		if h.BindUser {
			a.bound[h.name] = true
		}
	}
	var routes []*task.Route
	for _, b := range named {
		route := b[0].newRoute(b, time.Duration(a.Retention))
		for _, h := range b {
			h.route = route
		}
		routes = append(routes, route)
	}
	return routes, nil
}

// gracePeriod is how long tasks may go on when the process stops.
func (a *App) gracePeriod() time.Duration {
	period := time.Duration(a.GracePeriod)
	for _, h := range a.handlers {
		period = cmp.Or(period, time.Duration(h.http.GracePeriod))
	}
	return cmp.Or(period, defaultGracePeriod)
}

// backend is the handlers with one name, which do the same.
type backend []*Handler

// Call implements [task.Backend] with the handler of the server that took the
// request, if it is still there.
func (b backend) Call(ctx context.Context, call *task.Call, w http.ResponseWriter) error {
	h := b[0]
	if i := slices.IndexFunc(b, func(h *Handler) bool { return h.serverID == call.Request.Server }); i >= 0 {
		h = b[i]
	}
	return h.call(ctx, call, w)
}

var (
	_ caddy.App         = (*App)(nil)
	_ caddy.Provisioner = (*App)(nil)
	_ task.Backend      = (backend)(nil)
)
