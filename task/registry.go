package task

import (
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task/lanes"
)

// Register makes routes known; tasks that wait for them begin to run. Of
// several routes with one name the newest counts. The returned function takes
// the registration back, after which the one before it counts again.
func (e *Engine) Register(routes ...*Route) (unregister func()) {
	e.mu.Lock()
	for _, r := range routes {
		e.routes[r.Name] = append(e.routes[r.Name], r)
		e.names[callLane(LaneOf(r.Name))] = r.Name
		delete(e.told, r.Name)
	}
	e.mu.Unlock()
	for _, r := range routes {
		e.deliveries.Move(parkedLane(r.Name), lanes.Unsorted)
	}
	e.routesChanged()
	return sync.OnceFunc(func() {
		e.mu.Lock()
		for _, r := range routes {
			e.routes[r.Name] = slices.DeleteFunc(e.routes[r.Name], func(other *Route) bool { return other == r })
			if len(e.routes[r.Name]) == 0 {
				delete(e.routes, r.Name)
			}
		}
		e.mu.Unlock()
		e.routesChanged()
	})
}

// routesChanged lets the queues know, and the operator.
func (e *Engine) routesChanged() {
	e.calls.LimitsChanged()
	e.deliveries.LimitsChanged()
	e.reportWaiting()
}

// route is the route that counts under a name, or nil.
func (e *Engine) route(name string) *Route {
	e.mu.Lock()
	defer e.mu.Unlock()
	if rs := e.routes[name]; len(rs) > 0 {
		return rs[len(rs)-1]
	}
	return nil
}

func (e *Engine) callLimit(lane string) int {
	e.mu.Lock()
	name := e.names[lane]
	e.mu.Unlock()
	if r := e.route(name); r != nil {
		return r.concurrency()
	}
	return 0
}

// deliveryLimit is the most that any route allows: deliveries to one host
// share a lane, whichever route they come from. Those that wait for a route
// leave their lane when it comes.
func (e *Engine) deliveryLimit(lane string) int {
	if strings.HasPrefix(lane, parkedPrefix) {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	limit := 0
	for _, rs := range e.routes {
		limit = max(limit, rs[len(rs)-1].deliveryConcurrency())
	}
	return max(limit, 1)
}

// reportWaiting logs, once for each route, that tasks wait for a route that
// is not there.
func (e *Engine) reportWaiting() {
	for _, lane := range e.calls.Stuck() {
		if t, err := e.store.Load(e.context, lane.Key); err == nil {
			e.tellWaiting(t.Route, lane.Keys)
		}
	}
	for _, lane := range e.deliveries.Stuck() {
		e.tellWaiting(strings.TrimPrefix(lane.Lane, parkedPrefix), lane.Keys)
	}
}

func (e *Engine) tellWaiting(route string, tasks int) {
	e.mu.Lock()
	told := e.told[route] || e.stopped
	e.told[route] = true
	e.mu.Unlock()
	if !told {
		e.log.Warn("tasks wait for a callback handler that is not in the configuration; "+
			"they run when a handler with this name is there again",
			zap.String("name", route), zap.Int("tasks", tasks))
	}
}
