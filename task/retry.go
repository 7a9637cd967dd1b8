package task

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// DefaultSchedule holds the pauses before the attempts to deliver a callback:
// at once, then after 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h,
// a little over three days in all.
var DefaultSchedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	jitter       = 0.2            // of a pause, up or down
	maxPause     = 48 * time.Hour // between two deliveries; no schedule has a longer one
	maxCallPause = time.Minute    // between two backend calls

	// maxRetryAfter bounds what a Retry-After may ask for: a receiver must not
	// be able to keep a callback for ever.
	maxRetryAfter = 24 * time.Hour

	// deadRetention is how long a dead callback is kept at least, for someone to
	// find out why and redeliver it: over a weekend and a holiday.
	deadRetention = 7 * 24 * time.Hour
)

// jittered is d, give or take 20 %.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*rand.Float64()))
}

// nextDelivery is the pause before the next attempt to deliver, after as many
// as made; false if that was the last.
func (r *Route) nextDelivery(made int) (time.Duration, bool) {
	schedule := r.Schedule
	if schedule == nil {
		schedule = DefaultSchedule
	}
	if made >= len(schedule) {
		return 0, false
	}
	return min(jittered(schedule[made]), maxPause), true
}

// nextCall is the pause before the next backend call, after as many as failed.
func (r *Route) nextCall(failed int) time.Duration {
	backoff := r.Backoff
	if backoff == 0 {
		backoff = time.Second
	}
	for ; failed > 1 && backoff < maxCallPause; failed-- {
		backoff *= 2
	}
	return jittered(min(backoff, maxCallPause))
}

// retryAfter is what a response asks for with Retry-After (RFC 9110, section
// 10.2.3): seconds or a date. Zero if it asks for nothing, or not on a status
// for which that is a promise.
func retryAfter(status int, h http.Header, now time.Time, bound time.Duration) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(v, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(bound/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, at.Sub(now)), bound)
	}
	return 0
}

// idempotent says that a method may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

func (r *Route) concurrency() int {
	if r.Concurrency == 0 {
		return 16
	}
	return r.Concurrency
}

func (r *Route) deliveryConcurrency() int {
	if r.DeliveryConcurrency == 0 {
		return 16
	}
	return r.DeliveryConcurrency
}

func (r *Route) timeout() time.Duration {
	if r.Timeout == 0 {
		return 30 * time.Minute
	}
	return r.Timeout
}

func (r *Route) deliveryTimeout(size int64) time.Duration {
	timeout := r.DeliveryTimeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	// A body of any size must be deliverable, and a receiver that reads a byte
	// a second must not hold an attempt for days: a second more per MiB.
	return timeout + time.Duration(max(size, 0)>>20)*time.Second
}

func (r *Route) attempts() int {
	if r.Attempts == 0 {
		return 8
	}
	return r.Attempts
}

func (r *Route) maxBody() int64 {
	if r.MaxBody == 0 {
		return 1 << 30
	}
	return r.MaxBody
}

func (r *Route) maxResponse() int64 {
	if r.MaxResponse == 0 {
		return 1 << 30
	}
	return r.MaxResponse
}

func (r *Route) retention() time.Duration {
	switch {
	case r.Retention == 0:
		return 24 * time.Hour
	case r.Retention < 0:
		return 0
	default:
		return r.Retention
	}
}
