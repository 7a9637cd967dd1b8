package caddymodule

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// pool holds the open stores with their engines, by Store.Key: two
// configurations, the old one and the new one of a reload, share one.
var pool = caddy.NewUsagePool()

// shared is an open store and its engine, and outlives configurations.
type shared struct {
	key     string
	config  string
	store   task.Store
	engine  *task.Engine
	metrics *metrics
	log     *zap.Logger

	mu   sync.Mutex
	apps []*App // that use it, newest last
	last atomic.Pointer[App]
}

// acquire returns what the app shares, opening the store if nobody has.
func acquire(a *App) (*shared, error) {
	key := a.store.Key()
	v, loaded, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return open(a, key) })
	if err != nil {
		return nil, fmt.Errorf("opening the task store: %w", err)
	}
	s := v.(*shared)
	if loaded && s.config != a.config {
		a.log.Warn("options of the task store have changed; they hold from the next start of the process on, not from this reload",
			zap.String("store", key))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps = append(s.apps, a)
	s.last.Store(a)
	return s, nil
}

// open opens the app's store and starts an engine on it.
func open(a *App, key string) (*shared, error) {
	s := &shared{key: key, config: a.config}
	s.log = zap.New(&currentCore{shared: s, first: a.log.Core()}, zap.AddStacktrace(zap.FatalLevel))
	store, err := a.store.Open(s.log, s.storeFailed)
	if err != nil {
		return nil, err
	}
	s.store = store
	s.metrics = newMetrics(store)
	s.engine = task.New(task.Options{
		Store:      store,
		Logger:     s.log,
		MaxPending: a.MaxPending,
		Observer:   s.metrics,
	})
	s.metrics.stats = s.engine.Stats
	if err := s.engine.Start(); err != nil {
		store.Close()
		return nil, err
	}
	return s, nil
}

// storeFailed ends the process, if the configuration says so: at once, since
// nothing can be kept that would come of waiting.
func (s *shared) storeFailed(err error) {
	if a := s.newest(); a != nil && a.OnStoreFailure == "exit" {
		s.log.Error("the process ends, as on_store_failure says", zap.Error(err))
		_ = s.log.Sync()
		exit(caddy.ExitCodeFailedQuit)
	}
}

// exit ends the process; a variable for tests.
var exit = os.Exit

// release ends the app's use.
func (s *shared) release(a *App) error {
	if n, ok := pool.References(s.key); ok && n > 1 {
		a.unregister()
		s.mu.Lock()
		s.apps = slices.DeleteFunc(s.apps, func(other *App) bool { return other == a })
		if n := len(s.apps); n > 0 {
			s.last.Store(s.apps[n-1])
		}
		s.mu.Unlock()
	}
	// If it is the last, its routes and its logger serve until all is over.
	_, err := pool.Delete(s.key)
	return err
}

// Destruct implements [caddy.Destructor].
func (s *shared) Destruct() error {
	grace := defaultGracePeriod
	if a := s.newest(); a != nil {
		grace = a.gracePeriod()
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	began := time.Now()
	s.engine.Stop(ctx)
	if stats := s.engine.Stats(); stats.Queued+stats.Undelivered > 0 {
		s.log.Info("stopped; tasks go on after the next start", zap.Int("queued", stats.Queued),
			zap.Int("undelivered", stats.Undelivered), zap.Duration("took", time.Since(began)))
	}
	return s.store.Close()
}

// newest is the app that came last; nil if there is none.
func (s *shared) newest() *App { return s.last.Load() }

var _ caddy.Destructor = (*shared)(nil)
