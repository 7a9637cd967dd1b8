package task

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
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
	born     time.Time // tasks created before are resumed, not new

	calls      *queue
	deliveries *queue
	deadlines  *queue // queued tasks that must not wait beyond a time

	pending  atomic.Int64   // tasks that are queued, running, or to be delivered
	saving   atomic.Int64   // tasks whose outcome is being recorded
	working  sync.WaitGroup // accepts, calls and deliveries
	cleaning sync.WaitGroup // the janitor
	context  context.Context
	cancel   context.CancelCauseFunc

	mu       sync.Mutex
	stopped  bool
	routes   map[string][]*Route // newest last
	names    map[uint64]string   // call lane to route name
	active   map[ID]*work
	handoffs handoffs
	held     map[ID]struct{} // finished tasks whose client still waits for the answer
	watchers map[ID][]chan struct{}
	parked   map[string][]ID // deliveries that wait for their route
	told     map[string]bool // routes whose absence was logged
}

// work is a task that is being worked on: nobody else may save it. Its fields
// are guarded by Engine.mu.
type work struct {
	cancel context.CancelCauseFunc // ends a backend call; nil if there is none
	task   *Task                   // as it is shown meanwhile; nil: as it is stored
	done   chan struct{}           // made by who waits for the end of the work
}

// Why a call's context ended.
var (
	errDraining = errors.New("the process is stopping")
	errCanceled = errors.New("the client canceled the task")
	errTimeout  = errors.New("the backend did not answer in time")
	errDeadline = errors.New("the task's deadline passed")
)

// New makes an engine. Nothing runs before Start.
func New(options Options) *Engine {
	e := &Engine{
		store:    options.Store,
		log:      options.Logger,
		observer: options.Observer,
		max:      int64(options.MaxPending),
		born:     time.Now(),
		routes:   make(map[string][]*Route),
		names:    make(map[uint64]string),
		active:   make(map[ID]*work),
		held:     make(map[ID]struct{}),
		watchers: make(map[ID][]chan struct{}),
		parked:   make(map[string][]ID),
		told:     make(map[string]bool),
		handoffs: make(handoffs),
	}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	if e.observer == nil {
		e.observer = noObserver{}
	}
	if e.max == 0 {
		e.max = 1_000_000
	}
	e.context, e.cancel = context.WithCancelCause(context.Background())
	e.calls = newQueue(e.forward, e.callLimit, 0)
	e.deliveries = newQueue(e.deliver, e.deliveryLimit, 1024)
	e.deadlines = newQueue(e.expire, func(uint64) int { return 64 }, 0)
	return e
}

// Start takes up the tasks that the store has, and begins to run them as
// routes are registered.
func (e *Engine) Start() error {
	var calls, deliveries int
	err := e.store.Due(e.context, func(d Due) error {
		e.pending.Add(1)
		if d.Action == ActionDeliver {
			deliveries++
			e.deliveries.load(d.Lane, d.ID, plausible(d.At))
			return nil
		}
		calls++
		e.calls.load(d.Lane, d.ID, d.At)
		if !d.Deadline.IsZero() {
			e.deadlines.push(0, d.ID, d.Deadline)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the pending tasks: %w", err)
	}
	if calls+deliveries > 0 {
		e.log.Info("taking up pending tasks", zap.Int("calls", calls), zap.Int("deliveries", deliveries))
	}
	e.cleaning.Go(e.janitor)
	return nil
}

// next queues the task's next action, whatever it is.
func (e *Engine) next(id ID) {
	t, err := e.store.Load(e.context, id)
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			e.log.Error("reading a task; it goes on after a restart", zap.Stringer("task", id), zap.Error(err))
		}
		return
	}
	e.enqueue(t)
}

func (e *Engine) enqueue(t *Task) {
	switch action, at := t.Next(); action {
	case ActionCall:
		e.calls.push(t.Lane(), t.ID, at)
	case ActionDeliver:
		e.deliveries.push(t.Lane(), t.ID, plausible(at))
	}
}

// plausible is when a delivery is due: now, if the clock was ahead when the
// time was stored, which must not hold the callback back for years.
func plausible(at time.Time) time.Time {
	if time.Until(at) > maxPause {
		return time.Time{}
	}
	return at
}

// claim makes the caller the only one who may save the task, once whoever is
// that now is done with it; nil when ctx ends first. With it comes what was
// handed over for the task.
func (e *Engine) claim(ctx context.Context, id ID) (*work, handoff) {
	for {
		e.mu.Lock()
		busy := e.active[id]
		if busy == nil {
			w := new(work)
			e.active[id] = w
			h := e.handoffs[id]
			delete(e.handoffs, id)
			e.mu.Unlock()
			return w, h
		}
		if busy.done == nil {
			busy.done = make(chan struct{})
		}
		done := busy.done
		e.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return nil, handoff{}
		}
	}
}

// show is the task as others see it while its backend is called. Nobody
// changes it any more.
func (e *Engine) show(w *work, t *Task, cancel context.CancelCauseFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.task, w.cancel = t, cancel
	e.notify(t.ID)
}

// release ends a claim.
func (e *Engine) release(id ID, w *work) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.active, id)
	if w.done != nil {
		close(w.done)
	}
	e.notify(id)
}

// maxSaving is how many outcomes may be on their way to the store before
// tasks keep their places until theirs is recorded: a store that is slower
// than the backends must slow them down, not fill the memory.
const maxSaving = 512

// saveOutcome is save for a task whose act is over: it frees the task's place
// for the next one first.
func (e *Engine) saveOutcome(step Step, free func()) error {
	if e.saving.Add(1) <= maxSaving {
		free()
	}
	defer e.saving.Add(-1)
	return e.save(step)
}

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

// Stop begins no work any more and waits for what runs. When ctx is done, it
// ends backend calls and deliveries; their tasks stay as they were, without an
// attempt being spent, for the next start. The store stays open.
func (e *Engine) Stop(ctx context.Context) {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.calls.stop()
	e.deliveries.stop()
	e.deadlines.stop()
	idle := make(chan struct{})
	go func() {
		e.working.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		_, calls := e.calls.counts()
		_, deliveries := e.deliveries.counts()
		e.log.Info("the grace period is over; calls and deliveries under way go back to the queue",
			zap.Int("calls", calls), zap.Int("deliveries", deliveries))
	}
	e.cancel(errDraining)
	<-idle
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
	s.Queued, s.Running = e.calls.counts()
	s.Undelivered, s.Delivering = e.deliveries.counts()
	return s
}

type noObserver struct{}

func (noObserver) TaskAccepted(string)                            {}
func (noObserver) CallFinished(string, string, time.Duration)     {}
func (noObserver) DeliveryFinished(string, string, time.Duration) {}
