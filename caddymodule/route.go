package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/ringback/ringback/task"
)

// newRoute is the handler's options as the engine wants them.
func (h *Handler) newRoute(b task.Backend, retention time.Duration) *task.Route {
	route := &task.Route{
		Name:                h.name,
		Backend:             b,
		Concurrency:         h.Concurrency,
		Timeout:             time.Duration(h.Timeout),
		Attempts:            h.Attempts,
		Backoff:             time.Duration(h.Backoff),
		FailInterrupted:     h.OnInterrupted == "fail",
		MaxBody:             h.MaxBody,
		MaxResponse:         h.MaxResponse,
		Retention:           cmp.Or(time.Duration(h.Retention), retention),
		Transport:           h.transport,
		Signer:              h.signer,
		DeliveryTimeout:     time.Duration(h.DeliveryTimeout),
		DeliveryConcurrency: h.DeliveryConcurrency,
		ResponseHeaders:     h.ResponseHeaders,
	}
	for _, pause := range h.RetrySchedule {
		route.Schedule = append(route.Schedule, time.Duration(pause))
	}
	return route
}

// call has the handlers that follow answer a kept request.
func (h *Handler) call(ctx context.Context, call *task.Call, w http.ResponseWriter) error {
	out := &written{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	r := h.rebuild(ctx, call, out)
	err := h.tail.ServeHTTP(out, r)
	if err == nil {
		return nil
	}
	backend := &task.BackendError{Err: err, NoHandler: errors.Is(err, errNoHandler), NotSent: notSent(err)}
	if !backend.NoHandler && !out.head && ctx.Err() == nil {
		backend.Answered = h.answerError(out, r, err)
	}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		backend.Status = he.StatusCode
	}
	return backend
}

// notSent says that an error of reverse_proxy means that no upstream has seen
// the request: none could be dialled, or none was there to try.
func notSent(err error) bool {
	if _, ok := errors.AsType[reverseproxy.DialError](err); ok {
		return true
	}
	he, ok := errors.AsType[caddyhttp.HandlerError](err)
	return ok && he.StatusCode == http.StatusServiceUnavailable && he.Err != nil &&
		strings.HasSuffix(he.Err.Error(), "no upstreams available")
}
