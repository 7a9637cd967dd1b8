package task

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task/lanes"
)

// Options are what an engine needs, and its bounds.
type Options struct {
	// Store keeps the tasks. The engine does not close it.
	Store Store
	// Logger may be nil.
	Logger *zap.Logger
	// MaxPending is how many tasks may be waiting or running; more are refused
	// with 429. Zero: 1,000,000. Negative: no bound.
	MaxPending int
	// Observer is told what happens, for metrics. May be nil.
	Observer Observer
	// Clock is the wall clock. Nil: time.Now.
	Clock func() time.Time
}

// Observer is told what happens to tasks, to count it. Its methods must be quick.
type Observer interface {
	// TaskAccepted follows each 202.
	TaskAccepted(route string)
	// CallFinished follows each backend call. The outcome is the task's status
	// after it, "retry" when it is to be made again, or "interrupted".
	CallFinished(route, outcome string, took time.Duration)
	// DeliveryFinished follows each delivery attempt. The outcome is the
	// callback's status after it: "delivered", "retrying", "dead".
	DeliveryFinished(route, outcome string, took time.Duration)
}

// Engine runs the tasks of one store: it claims what is due, calls backends,
// delivers callbacks, and forgets what has expired.
type Engine struct {
	store    Store
	log      *zap.Logger
	observer Observer
	max      int64
	now      func() time.Time

	calls      *lanes.Queue[ID]
	deliveries *lanes.Queue[ID]
	deadlines  *lanes.Queue[ID] // tasks that are not done and must be by a time

	envelopes *budget

	pending  atomic.Int64   // tasks that are queued, running, or to be delivered
	saving   atomic.Int64   // tasks whose outcome is being recorded
	working  sync.WaitGroup // accepts, calls and deliveries
	cleaning sync.WaitGroup // the janitor
	noWaits  chan struct{}  // closed when nobody may wait for a task any more
	endWaits func()         // closes it
	context  context.Context
	cancel   context.CancelCauseFunc

	mu        sync.Mutex
	stopped   bool
	routes    map[string][]*Route // newest last
	names     map[string]string   // call lane to route name
	lives     map[ID]*live
	keptBytes int
	told      map[string]bool // routes whose absence was logged
	left      map[string]int  // calls of a route that were left behind
	suspects  suspects
}

// New makes an engine. Nothing runs before Start.
func New(options Options) *Engine {
	e := &Engine{
		store:    options.Store,
		log:      options.Logger,
		observer: options.Observer,
		max:      int64(options.MaxPending),
		now:      options.Clock,
		noWaits:  make(chan struct{}),
		routes:   make(map[string][]*Route),
		names:    make(map[string]string),
		lives:    make(map[ID]*live),
		told:     make(map[string]bool),
		left:     make(map[string]int),

		envelopes: newBudget(),
	}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	if e.observer == nil {
		e.observer = noObserver{}
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.max == 0 {
		e.max = 1_000_000
	}
	e.endWaits = sync.OnceFunc(func() { close(e.noWaits) })
	e.context, e.cancel = context.WithCancelCause(context.Background())
	e.calls = lanes.New(lanes.Options[ID]{Run: e.forward, Limit: e.callLimit})
	e.deliveries = lanes.New(lanes.Options[ID]{Run: e.deliver, Limit: e.deliveryLimit, Trials: maxTrials, Group: registrableDomain})
	e.deadlines = lanes.New(lanes.Options[ID]{Run: e.expire})
	return e
}

// Start takes up the tasks that the store has, and begins to run them as
// routes are registered.
func (e *Engine) Start() error {
	var calls, deliveries, unreadable int
	err := e.store.Due(e.context, func(d Due) error {
		switch {
		case d.Action == ActionDeliver: // whereto is known when it was read
			deliveries++
			wait := e.remaining(d.At, d.ID)
			if wait > maxPause { // the clock was ahead when the time was stored
				wait = 0
			}
			e.deliveries.Resume(lanes.Unsorted, d.ID, wait)
		case d.Lane == 0: // the store could not tell
			unreadable++
			return nil
		default:
			calls++
			e.calls.Resume(callLane(d.Lane), d.ID, e.remaining(d.At, d.ID))
			if !d.Deadline.IsZero() {
				e.deadlines.Resume(lanes.Unsorted, d.ID, e.remaining(d.Deadline, d.ID))
			}
		}
		e.pending.Add(1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the pending tasks: %w", err)
	}
	if calls+deliveries > 0 {
		e.log.Info("taking up pending tasks", zap.Int("calls", calls), zap.Int("deliveries", deliveries))
	}
	if unreadable > 0 {
		e.log.Error("tasks that can't be read are kept, but don't go on", zap.Int("tasks", unreadable))
	}
	e.cleaning.Go(e.janitor)
	return nil
}

// until is how long it is until a time; none until the zero time.
func (e *Engine) until(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return at.Sub(e.now())
}

// remaining is how long a task of an earlier process still has to wait: until
// the time that was stored, but if the clock was set back since, no longer than
// all that it had to wait when it was created. The zero time is that of its
// creation.
func (e *Engine) remaining(at time.Time, id ID) time.Duration {
	if at.IsZero() {
		return min(0, e.until(id.Time()))
	}
	return min(e.until(at), max(0, at.Sub(id.Time())))
}

// maxSaving is how many outcomes may be on their way to the store before
// tasks keep their places until theirs is recorded: a store that is slower
// than the backends must slow them down, not fill the memory.
const maxSaving = 512

// save records a step, for as long as it takes: an outcome must not be lost
// because the disk is full for an hour. It gives up only when the engine
// stops; then the step is done again after the restart.
func (e *Engine) save(step Step) error {
	for pause, tries := 100*time.Millisecond, 0; ; pause, tries = min(2*pause, 5*time.Second), tries+1 {
		err := e.store.Save(context.WithoutCancel(e.context), step)
		switch {
		case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrClosed):
			return err
		case tries == 0:
			e.log.Error("recording a step of a task; trying again until it works",
				zap.Stringer("task", step.Task.ID), zap.Error(err))
		}
		select {
		case <-time.After(pause):
		case <-e.context.Done():
			return context.Cause(e.context)
		}
	}
}

// settle sets when the task is to be removed, if nothing else is left to do.
func (t *Task) settle(r *Route, now time.Time) {
	t.ExpiresAt = time.Time{}
	if action, _ := t.Next(); action == ActionRemove {
		retention := r.retention()
		if t.Callback.Status == CallbackDead {
			retention = max(retention, deadRetention)
		}
		t.ExpiresAt = now.Add(retention)
	}
}

// EndWaits lets everybody go who waits for a task (see Await), now and from now
// on. It is for a process that is about to stop, and has first to see its
// clients off.
func (e *Engine) EndWaits() { e.endWaits() }

// stopTime is how long Stop waits, when all was ended, for what does not end.
const stopTime = 10 * time.Second

// Stop begins no work any more and waits for what runs. When ctx is done, it
// ends backend calls and deliveries; their tasks stay as they were, without an
// attempt being spent, for the next start. What does not end then is left
// behind. The store stays open.
func (e *Engine) Stop(ctx context.Context) {
	e.EndWaits()
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.calls.Stop()
	e.deliveries.Stop()
	e.deadlines.Stop()
	idle := make(chan struct{})
	go func() {
		e.working.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		_, calls := e.calls.Counts()
		_, deliveries := e.deliveries.Counts()
		e.log.Info("the grace period is over; calls and deliveries under way go back to the queue",
			zap.Int("calls", calls), zap.Int("deliveries", deliveries))
	}
	e.cancel(errDraining)
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		e.log.Error("some work does not end; it is left behind, and done again after the next start")
		return
	}
	e.cleaning.Wait()
}

// begin says whether the engine still takes on work, and if so keeps Stop
// waiting until e.working.Done.
func (e *Engine) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	e.working.Add(1)
	return true
}

// Stats counts tasks at this moment.
type Stats struct {
	Queued      int // wait for their backend call
	Running     int // backend calls under way
	Undelivered int // callbacks that wait for an attempt
	Delivering  int // deliveries under way
}

// Stats counts the tasks of this engine at this moment.
func (e *Engine) Stats() Stats {
	var s Stats
	s.Queued, s.Running = e.calls.Counts()
	s.Undelivered, s.Delivering = e.deliveries.Counts()
	return s
}

type noObserver struct{}

func (noObserver) TaskAccepted(string)                            {}
func (noObserver) CallFinished(string, string, time.Duration)     {}
func (noObserver) DeliveryFinished(string, string, time.Duration) {}
