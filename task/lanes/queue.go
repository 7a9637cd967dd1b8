package lanes

import (
	"container/heap"
	"sync"
	"time"
)

// Key is what waits: something with an order, oldest first.
type Key[K any] interface {
	comparable
	Compare(K) int
}

// Options are what a queue needs, and its bounds.
type Options[K Key[K]] struct {
	// Run does what a key waits for, in a worker's goroutine.
	Run func(*Turn[K])
	// Limit is how many turns of a lane run at once; asked when a lane is made,
	// and by LimitsChanged. A lane with limit zero waits.
	Limit func(lane string) int
	// Trials is how many turns of lanes of which nothing good is known run at
	// once, in all. Zero: lanes are not watched, and any number run.
	Trials int
	// Group is whom a lane of which nothing is known shares its part of the
	// trials with. Nil: each lane is a group of its own.
	Group func(lane string) string
}

// Unsorted is the lane of keys of which it is not known yet where they belong.
// Their turn is to be put where that is. It is not watched.
const Unsorted = ""

// unsortedLimit is how many unsorted keys run at once.
const unsortedLimit = 64

// Queue holds keys that wait. One that waits costs 32 bytes beside the lane,
// and neither a goroutine nor a timer of its own.
type Queue[K Key[K]] struct {
	options Options[K]
	clock   func() (now int64) // nanoseconds of process time

	mu      sync.Mutex
	lanes   map[string]*lane[K]
	timed   laneHeap[K] // lanes that wait for a time
	timer   *time.Timer
	trials  trials[K]
	pacer   *time.Timer    // for lanes that wait for a trial
	turns   map[K]*Turn[K] // that have come and were not taken
	moved   map[K]int64    // keys that were taken out of a lane, and when they are due now; or never
	stale   int            // entries of keys that were taken out
	waiting int
	running int
	stopped bool

	jobs chan *Turn[K] // to idle workers
	done chan struct{} // closed by Stop
}

// never is when a key is due that does not wait any more.
const never = int64(-1 << 63)

// New makes an empty queue.
func New[K Key[K]](options Options[K]) *Queue[K] {
	start := time.Now()
	q := &Queue[K]{
		options: options,
		clock:   func() int64 { return int64(time.Since(start)) },
		lanes:   make(map[string]*lane[K]),
		turns:   make(map[K]*Turn[K]),
		moved:   make(map[K]int64),
		jobs:    make(chan *Turn[K]),
		done:    make(chan struct{}),
	}
	q.trials = newTrials[K](options.Trials)
	q.timer = time.AfterFunc(time.Hour, q.tick)
	q.timer.Stop()
	q.pacer = time.AfterFunc(time.Hour, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.tryNext()
	})
	q.pacer.Stop()
	return q
}

// Put lets a key wait in a lane, and be due after wait; one that is negative
// puts it before what came since. The key must not wait elsewhere: Remove it.
func (q *Queue[K]) Put(lane string, key K, wait time.Duration) {
	q.put(lane, entry[K]{key: key}, wait)
}

// Resume is Put for a key that was waiting before the process started.
func (q *Queue[K]) Resume(lane string, key K, wait time.Duration) {
	q.put(lane, entry[K]{key: key, resumed: true}, wait)
}

func (q *Queue[K]) put(lane string, e entry[K], wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.at = q.clock() + int64(wait)
	if _, ok := q.moved[e.key]; ok {
		q.moved[e.key] = e.at
	}
	q.waiting++
	l := q.lane(lane)
	l.entries.push(e)
	q.advance(l)
}

// Remove takes a key out that waits, or whose turn has come and was not taken.
// It must be one of both.
func (q *Queue[K]) Remove(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if turn := q.turns[key]; turn != nil {
		delete(q.turns, key)
		turn.void = true
		return
	}
	// To find the entry would take long: it is passed over when it comes up.
	q.waiting--
	q.moved[key] = never
	if q.stale++; q.stale > max(q.waiting, len(q.lanes)) {
		q.sweep()
	}
}

// current says that the entry is what its key waits with.
func (q *Queue[K]) current(e entry[K]) bool {
	if len(q.moved) == 0 {
		return true
	}
	at, ok := q.moved[e.key]
	return !ok || at == e.at
}

// sweep drops all entries of keys that were taken out.
func (q *Queue[K]) sweep() {
	for _, l := range q.lanes {
		l.entries.filter(q.current)
		q.advance(l)
	}
	clear(q.moved)
	q.stale = 0
}

func (q *Queue[K]) lane(name string) *lane[K] {
	l := q.lanes[name]
	if l == nil {
		l = &lane[K]{name: name, timedAt: -1}
		l.limit = q.limit(name)
		l.breaker.watched = q.options.Trials > 0 && name != Unsorted
		q.lanes[name] = l
	}
	return l
}

func (q *Queue[K]) limit(lane string) int {
	if lane == Unsorted {
		return unsortedLimit
	}
	return q.options.Limit(lane)
}

// advance starts what the lane may start, and sees to it that the lane is
// looked at again when time alone allows more.
func (q *Queue[K]) advance(l *lane[K]) {
	for {
		for len(l.entries) > 0 && !q.current(l.entries[0]) {
			l.entries.pop()
			q.stale--
		}
		if q.stopped || len(l.entries) == 0 || l.running >= l.breaker.limit(l.limit) {
			q.untime(l)
			q.trials.leave(l)
			q.forget(l)
			return
		}
		now := q.clock()
		if at := max(l.entries[0].at, l.breaker.openUntil); at > now {
			q.trials.leave(l)
			q.time(l, at)
			return
		}
		var trial *group[K]
		if l.breaker.watched && !l.breaker.proven() {
			if !q.trials.enter(l, q.group(l), now) {
				q.untime(l)
				if pause := q.trials.pause(now); pause > 0 {
					q.pacer.Reset(pause)
				}
				return
			}
			trial = l.group
		}
		e := l.entries.pop()
		if _, ok := q.moved[e.key]; ok {
			q.moved[e.key] = never // what else there is of the key is out of date
		}
		q.waiting--
		q.running++
		l.running++
		turn := &Turn[K]{queue: q, lane: l, entry: e, trial: trial, began: now}
		q.turns[e.key] = turn
		select {
		case q.jobs <- turn:
		default:
			go q.work(turn)
		}
	}
}

func (q *Queue[K]) group(l *lane[K]) string {
	if q.options.Group == nil {
		return l.name
	}
	return q.options.Group(l.name)
}

// LimitsChanged asks anew how many turns of each lane run at once.
func (q *Queue[K]) LimitsChanged() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, l := range q.lanes {
		l.limit = q.limit(name)
		q.advance(l)
	}
}

// Stop begins no turn any more. What runs goes on.
func (q *Queue[K]) Stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.stopped {
		q.stopped = true
		q.timer.Stop()
		q.pacer.Stop()
		close(q.done)
	}
}

// Counts says how many keys wait, and how many have their turn.
func (q *Queue[K]) Counts() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting, q.running
}

// Stuck is a lane that waits because its limit is zero.
type Stuck[K any] struct {
	Lane string
	Keys int // that wait
	Key  K   // one of them
}

// Stuck returns the lanes that wait because their limit is zero.
func (q *Queue[K]) Stuck() []Stuck[K] {
	q.mu.Lock()
	defer q.mu.Unlock()
	var stuck []Stuck[K]
	for name, l := range q.lanes {
		if l.limit == 0 && len(l.entries) > 0 {
			stuck = append(stuck, Stuck[K]{name, len(l.entries), l.entries[0].key})
		}
	}
	return stuck
}

// Move lets all that waits in one lane wait in another, each key with its time.
func (q *Queue[K]) Move(from, to string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[from]
	if l == nil {
		return
	}
	into := q.lane(to)
	for _, e := range l.entries {
		into.entries.push(e)
	}
	l.entries = nil
	q.advance(l)
	q.advance(into)
}

// forget drops a lane that holds nothing worth keeping; what is known of it is
// kept for a while.
func (q *Queue[K]) forget(l *lane[K]) {
	if len(l.entries) > 0 || l.running > 0 || q.stopped {
		return
	}
	if until := l.breaker.knownUntil(len(q.lanes)); until > q.clock() {
		q.time(l, until)
		return
	}
	delete(q.lanes, l.name)
}

// time has the lane looked at again at a time.
func (q *Queue[K]) time(l *lane[K], at int64) {
	l.next = at
	if l.timedAt < 0 {
		heap.Push(&q.timed, l)
	} else {
		heap.Fix(&q.timed, l.timedAt)
	}
	q.wind()
}

func (q *Queue[K]) untime(l *lane[K]) {
	if l.timedAt >= 0 {
		heap.Remove(&q.timed, l.timedAt)
	}
}

// wind sets the timer to the first lane's time.
func (q *Queue[K]) wind() {
	if len(q.timed) > 0 && !q.stopped {
		q.timer.Reset(time.Duration(max(0, q.timed[0].next-q.clock())))
	}
}

func (q *Queue[K]) tick() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.timed) > 0 && q.timed[0].next <= q.clock() {
		q.advance(heap.Pop(&q.timed).(*lane[K]))
	}
	q.wind()
}

// Entries says how many entries there are, those included that were taken out
// and not dropped yet: never more than twice what waits, and the lanes.
func (q *Queue[K]) Entries() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, l := range q.lanes {
		n += len(l.entries)
	}
	return n
}
