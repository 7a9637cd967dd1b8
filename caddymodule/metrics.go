package caddymodule

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringback/ringback/task"
)

// metrics counts what happens to tasks. It lives as long as its engine; each
// configuration has a registry of its own, to which it is added.
type metrics struct {
	stats func() task.Stats

	accepted   *prometheus.CounterVec
	calls      *prometheus.HistogramVec
	deliveries *prometheus.HistogramVec
	tasks      *prometheus.Desc
	storeUp    prometheus.GaugeFunc
}

// healthy is what a store may be that knows whether it can take steps.
type healthy interface{ Health() error }

func newMetrics(store task.Store) *metrics {
	calls := []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 900, 1800, 3600}
	return &metrics{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringback_tasks_accepted_total",
			Help: "Requests that were answered with 202.",
		}, []string{"route"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ringback_backend_call_seconds",
			Help:    "Backend calls, by outcome: completed, failed, canceled, expired, retry, interrupted.",
			Buckets: calls,
		}, []string{"route", "outcome"}),
		deliveries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ringback_delivery_seconds",
			Help:    "Attempts to deliver a callback, by outcome: delivered, retrying, dead.",
			Buckets: prometheus.DefBuckets,
		}, []string{"route", "outcome"}),
		tasks: prometheus.NewDesc("ringback_tasks", "Tasks at this moment, by what they are at.", []string{"state"}, nil),
		storeUp: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ringback_store_up",
			Help: "Whether tasks can be kept: 1, or 0 when the disk is full or has failed.",
		}, func() float64 {
			if s, ok := store.(healthy); ok && s.Health() != nil {
				return 0
			}
			return 1
		}),
	}
}

// register adds the metrics to a configuration's registry.
func (m *metrics) register(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	err := registry.Register(m)
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return nil
	}
	return err
}

// TaskAccepted implements [task.Observer].
func (m *metrics) TaskAccepted(route string) { m.accepted.WithLabelValues(route).Inc() }

// CallFinished implements [task.Observer].
func (m *metrics) CallFinished(route, outcome string, took time.Duration) {
	m.calls.WithLabelValues(route, outcome).Observe(took.Seconds())
}

// DeliveryFinished implements [task.Observer].
func (m *metrics) DeliveryFinished(route, outcome string, took time.Duration) {
	m.deliveries.WithLabelValues(route, outcome).Observe(took.Seconds())
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	m.accepted.Describe(out)
	m.calls.Describe(out)
	m.deliveries.Describe(out)
	out <- m.tasks
	m.storeUp.Describe(out)
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.accepted.Collect(out)
	m.calls.Collect(out)
	m.deliveries.Collect(out)
	m.storeUp.Collect(out)
	stats := m.stats()
	for state, n := range map[string]int{
		"queued": stats.Queued, "running": stats.Running,
		"undelivered": stats.Undelivered, "delivering": stats.Delivering,
	} {
		out <- prometheus.MustNewConstMetric(m.tasks, prometheus.GaugeValue, float64(n), state)
	}
}

var (
	_ task.Observer        = (*metrics)(nil)
	_ prometheus.Collector = (*metrics)(nil)
)
