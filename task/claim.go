package task

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task/lanes"
)

// live is what the engine has in memory of one task, for as long as somebody
// works on it or waits for it, or it is about to go on. Guarded by Engine.mu.
type live struct {
	claim    *claim // nil: nobody works on the task
	kept     kept
	held     bool // its client waits for the answer: no callback is sent meanwhile
	withheld bool // its callback would be due
	watchers []chan struct{}
}

// live returns what is in memory of a task. Engine.mu is held.
func (e *Engine) live(id ID) *live {
	l := e.lives[id]
	if l == nil {
		l = new(live)
		e.lives[id] = l
	}
	return l
}

// forgetLive drops what is not worth keeping. Engine.mu is held.
func (e *Engine) forgetLive(id ID, l *live) {
	if l.claim == nil && l.kept.task == nil && !l.held && !l.withheld && len(l.watchers) == 0 {
		delete(e.lives, id)
	}
}

// claim is the right to change a task, which one has at a time. It has the
// task, and what its next action needs beside it. It begins with Engine.claim
// or Engine.claimTurn, and ends with end, which sees to what is next: nobody
// else puts a task into a queue or takes it out, or counts it.
type claim struct {
	engine *Engine
	id     ID
	turn   *lanes.Turn[ID] // that the claim is for; nil: somebody asks
	kept                   // the task and its parts, as far as they were read

	waits   *lanes.Queue[ID] // where the task waits for its action; nil: nowhere
	counted bool             // the task counts as pending
	saved   bool             // a step was recorded: the task's place may be another one now
	gone    bool             // the task is not there, or can't be read
	keep    bool             // what the claim has is as it is stored, and of use to the next one
	expires bool             // the turn of the task's deadline has come
	cuts    int              // as which suspect it is counted, see suspects

	lane  string        // where the task waits for its next turn, if no step was saved; empty: where it was
	pause time.Duration // and how long

	// Guarded by Engine.mu.
	creating bool                    // the task is not stored yet
	shown    *Task                   // as others see it meanwhile; nil: as it is stored
	cancel   context.CancelCauseFunc // ends the backend call; nil: there is none
	asked    error                   // why the call is to end
	done     chan struct{}           // made by who waits for the end of the claim
}

// claim makes the caller the only one who may change the task, once whoever is
// that now is done with it; nil when ctx ends first.
func (e *Engine) claim(ctx context.Context, id ID) *claim {
	for {
		e.mu.Lock()
		l := e.live(id)
		if l.claim == nil {
			c := &claim{engine: e, id: id, kept: e.takeKept(l)}
			l.claim = c
			e.mu.Unlock()
			return c
		}
		done := l.claim.wait()
		e.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return nil
		}
	}
}

// wait is closed when the claim has ended. Engine.mu is held.
func (c *claim) wait() <-chan struct{} {
	if c.done == nil {
		c.done = make(chan struct{})
	}
	return c.done
}

// claimTurn claims a task whose turn has come; nil if that is so no more.
// Engine.Stop waits for the end of the claim.
func (e *Engine) claimTurn(turn *lanes.Turn[ID]) *claim {
	if !e.begin() {
		return nil
	}
	c := e.claim(e.context, turn.Key())
	if c == nil {
		e.working.Done()
		return nil
	}
	if !turn.Take() {
		c.end()
		e.working.Done()
		return nil
	}
	c.turn = turn
	c.counted = true
	return c
}

// read completes what the claim has from the store: the task, and what the
// action needs beside it, if that is what the task waits for.
func (c *claim) read(action Action) error {
	e := c.engine
	var err error
	if c.task == nil {
		c.task, err = e.store.Load(e.context, c.id)
		if err != nil {
			c.gone = lost(err)
			return err
		}
	}
	next, _ := c.task.Next()
	if c.turn == nil || c.expires {
		c.counted = next != ActionRemove
		c.waits = e.queueOf(c.id, next)
	}
	switch {
	case next != action:
	case action == ActionCall && c.request == nil:
		c.request, err = e.store.LoadRequest(e.context, c.id)
	case action == ActionDeliver && c.response == nil && c.task.Response != nil:
		c.response, err = e.store.LoadResponse(e.context, c.id)
	}
	return err
}

// lost says that what was to be read is not there, or can't be read ever.
func lost(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, ErrBadRecord) }

// queueOf is where a task that nobody works on waits for its next action.
func (e *Engine) queueOf(id ID, next Action) *lanes.Queue[ID] {
	switch next {
	case ActionCall:
		return e.calls
	case ActionDeliver:
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.live(id).withheld {
			return e.deliveries
		}
	}
	return nil
}

// save records a step of the task, for as long as it takes; see Engine.save.
func (c *claim) save(step Step) error {
	err := c.engine.save(step)
	c.saved = c.saved || err == nil
	c.gone = c.gone || errors.Is(err, ErrNotFound)
	return err
}

// saveOutcome is save for a task whose act is over: it frees the task's place
// for the next one first.
func (c *claim) saveOutcome(step Step) error {
	e := c.engine
	if e.saving.Add(1) <= maxSaving && c.turn != nil {
		c.turn.Done()
	}
	defer e.saving.Add(-1)
	return c.save(step)
}

// show is the task as others see it while its backend is called, which cancel
// ends. Nobody changes it any more.
func (c *claim) show(t *Task, cancel context.CancelCauseFunc) {
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	c.shown, c.cancel = t, cancel
	if c.asked != nil {
		cancel(c.asked)
	}
	e.notify(c.id)
}

// ask ends the task's backend call, if there is one or about to be.
func (e *Engine) ask(id ID, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lives[id]
	if l == nil || l.claim == nil {
		return
	}
	c := l.claim
	if c.asked == nil {
		c.asked = why
	}
	if c.cancel != nil {
		c.cancel(c.asked)
	}
}

// end ends the claim: the task goes where its next action has it wait, and is
// counted as what it is now.
func (c *claim) end() {
	e := c.engine
	if c.saved || c.gone {
		if c.waits != nil {
			c.waits.Remove(c.id)
		}
		e.count(c)
	}
	switch {
	case c.gone:
		e.withhold(c.id, ActionRemove)
	case c.saved:
		c.goOn()
	case c.turn != nil && (!c.expires || c.pause > 0):
		if c.lane == "" {
			c.lane = c.turn.Lane()
		}
		c.turn.Back(c.lane, c.pause)
	}
	c.close()
	if c.turn != nil {
		e.working.Done()
	}
}

// count keeps the number of pending tasks.
func (e *Engine) count(c *claim) {
	pending := false
	if !c.gone {
		action, _ := c.task.Next()
		pending = action != ActionRemove
	}
	switch {
	case pending && !c.counted:
		e.pending.Add(1)
	case !pending && c.counted:
		e.pending.Add(-1)
	}
}

// goOn puts the task where its next action has it wait.
func (c *claim) goOn() {
	e, t := c.engine, c.task
	action, at := t.Next()
	if e.withhold(c.id, action) {
		return
	}
	switch action {
	case ActionCall:
		e.calls.Put(callLane(LaneOf(t.Route)), c.id, e.until(at))
	case ActionDeliver:
		e.deliveries.Put(t.deliveryLane(), c.id, e.until(at))
	}
}

// withhold keeps a callback back whose client waits for the answer itself.
func (e *Engine) withhold(id ID, next Action) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.live(id)
	l.withheld = l.held && next == ActionDeliver
	return l.withheld
}

// close lets the next one have the task.
func (c *claim) close() {
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.live(c.id)
	for l.withheld && !l.held { // let go while the claim was there
		l.withheld = false
		e.mu.Unlock()
		e.deliveries.Put(c.laneAfter(), c.id, 0)
		e.mu.Lock()
	}
	l.claim = nil
	e.suspects.leave(c.cuts)
	if c.keep && !c.gone {
		e.keepFor(l, c.kept)
	}
	if c.done != nil {
		close(c.done)
	}
	e.notify(c.id)
	e.forgetLive(c.id, l)
}

// laneAfter is the lane of the task's callback, as far as that is known.
func (c *claim) laneAfter() string {
	if c.task == nil || c.gone {
		return lanes.Unsorted
	}
	return c.task.deliveryLane()
}

// failed says why a claim by turn came to nothing: the task's turn comes again.
func (c *claim) failed(what string, err error) {
	c.pause = failurePause
	log := c.engine.log
	switch {
	case errors.Is(err, errDraining), errors.Is(err, ErrClosed), errors.Is(err, ErrNotFound):
	case c.gone:
		log.Error(what+"; it is kept, but can't go on", zap.Stringer("task", c.id), zap.Error(err))
	default:
		log.Error(what+"; trying again", zap.Stringer("task", c.id), zap.Duration("in", c.pause), zap.Error(err))
	}
}

// failurePause is how long a task waits that could not go on because of the store.
const failurePause = time.Minute
