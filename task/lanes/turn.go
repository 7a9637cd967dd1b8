package lanes

import "time"

// Turn is a key whose turn has come. It takes a place in its lane until Done.
type Turn[K Key[K]] struct {
	queue *Queue[K]
	lane  *lane[K]
	entry entry[K]

	// Guarded by Queue.mu.
	void  bool // the key was taken out before the turn was taken
	done  bool
	kept  bool      // only the worker gives the place back
	trial *group[K] // whose trial it takes; nil: none
	began int64     // process time
}

// Key is whose turn it is.
func (t *Turn[K]) Key() K { return t.entry.key }

// Lane is where the key waited.
func (t *Turn[K]) Lane() string { return t.lane.name }

// Resumed says that the key was waiting before the process started.
func (t *Turn[K]) Resumed() bool { return t.entry.resumed }

// Trial says that nothing good is known of the lane.
func (t *Turn[K]) Trial() bool { return t.trial != nil }

// Take begins what the turn is for. It is false if the key was taken out since
// the turn has come.
func (t *Turn[K]) Take() bool {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.void {
		return false
	}
	delete(q.turns, t.entry.key)
	return true
}

// Back lets the key wait again in its lane, or in another one, with the time
// it had before.
func (t *Turn[K]) Back(lane string, wait time.Duration) {
	t.queue.put(lane, entry[K]{key: t.entry.key, resumed: t.entry.resumed}, wait)
}

// Report tells the lane's breaker how the turn went.
func (t *Turn[K]) Report(ok bool) {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	t.lane.breaker.report(ok, q.clock())
}

// Done gives the turn's place to the next key. It may be called before Run
// returns, when all that is left is to record what came of it, and twice.
func (t *Turn[K]) Done() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !t.kept {
		t.free()
	}
}

// Keep keeps the turn's place until Run returns, whatever Done says.
func (t *Turn[K]) Keep() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	t.kept = true
}

func (t *Turn[K]) free() {
	if t.done {
		return
	}
	q := t.queue
	t.done = true
	q.running--
	t.lane.running--
	if t.trial != nil {
		q.trials.end(t.trial, time.Duration(q.clock()-t.began))
		q.tryNext()
	}
	q.advance(t.lane)
}

// tryNext starts lanes that wait for a trial.
func (q *Queue[K]) tryNext() {
	for !q.stopped {
		l, pause := q.trials.take(q.clock())
		if l == nil {
			if pause > 0 {
				q.pacer.Reset(pause)
			}
			return
		}
		q.advance(l)
	}
}

// idleWorker is how long a worker waits for its next turn.
const idleWorker = time.Second

// work does a turn, and those that come soon after: a goroutine that has done
// one has the stack for the next one.
func (q *Queue[K]) work(t *Turn[K]) {
	q.start(t)
	timer := time.NewTimer(idleWorker)
	defer timer.Stop()
	for {
		select {
		case t = <-q.jobs:
			q.start(t)
			timer.Reset(idleWorker)
		case <-timer.C:
			return
		case <-q.done:
			return
		}
	}
}

func (q *Queue[K]) start(t *Turn[K]) {
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		t.free()
	}()
	q.options.Run(t)
}
