package task

import (
	"container/heap"
	"sync"
	"time"
)

// queue decides which task runs next. Tasks wait in lanes: within a lane,
// first due, first run; between lanes nothing is shared, so that a lane that
// is stuck delays no other. A waiting task costs 32 bytes, and neither a
// goroutine nor a timer of its own.
type queue struct {
	// run runs a task, in a worker's goroutine. It may free the task's place in
	// the lane before it returns, when all that is left is to record the outcome.
	run   func(id ID, free func())
	limit func(lane uint64) int // how many of a lane run at once; asked when a lane is made, and by limitsChanged
	trial int                   // how many tasks of unproven lanes run at once, in all; 0: any number
	clock func() (now int64)    // nanoseconds of process time, which no change of the wall clock moves

	mu      sync.Mutex
	lanes   map[uint64]*lane
	timed   laneHeap // lanes that wait for a time
	timer   *time.Timer
	blocked []*lane // unproven lanes that wait for a trial slot
	trials  int     // running tasks of unproven lanes
	waiting int
	running int
	stopped bool

	jobs chan job      // to idle workers
	done chan struct{} // closed by stop
}

// job is a task whose turn it is.
type job struct {
	lane     *lane
	id       ID
	unproven bool // it takes a trial slot
}

// lane is one queue among many. Its zero limit means that it must wait.
type lane struct {
	key     uint64
	entries entryHeap
	running int
	limit   int
	next    int64 // when it is to be looked at again; meaningful while timed
	timedAt int   // index in queue.timed, or -1
	blocked bool  // is in queue.blocked
	breaker breaker
}

// entry is a task that waits.
type entry struct {
	at int64 // process time
	id ID
}

// newQueue makes a queue that runs tasks with run. See the fields for limit and trial.
func newQueue(run func(ID, func()), limit func(uint64) int, trial int) *queue {
	start := time.Now()
	q := &queue{
		run:   run,
		limit: limit,
		trial: trial,
		clock: func() int64 { return int64(time.Since(start)) },
		lanes: make(map[uint64]*lane),
		jobs:  make(chan job),
		done:  make(chan struct{}),
	}
	q.timer = time.AfterFunc(time.Hour, q.tick)
	q.timer.Stop()
	return q
}

// push lets a task wait in a lane until at; the zero time is now.
func (q *queue) push(key uint64, id ID, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := q.clock()
	if !at.IsZero() {
		due += int64(time.Until(at))
	}
	q.waiting++
	l := q.lane(key)
	l.entries.push(entry{due, id})
	q.advance(l)
}

// load is push for a task that was waiting before the process started: its
// place in the order is by its time, even if that has long passed.
func (q *queue) load(key uint64, id ID, at time.Time) {
	if at.IsZero() {
		at = id.Time()
	}
	q.push(key, id, at)
}

func (q *queue) lane(key uint64) *lane {
	l := q.lanes[key]
	if l == nil {
		l = &lane{key: key, limit: q.limit(key), timedAt: -1, breaker: breaker{watched: q.trial > 0}}
		q.lanes[key] = l
	}
	return l
}

// advance starts what the lane may start, and sees to it that the lane is
// looked at again when time alone allows more.
func (q *queue) advance(l *lane) {
	for {
		if q.stopped || len(l.entries) == 0 || l.running >= l.breaker.limit(l.limit) {
			q.untime(l)
			q.forget(l)
			return
		}
		now := q.clock()
		if at := max(l.entries[0].at, l.breaker.openUntil); at > now {
			q.time(l, at)
			return
		}
		unproven := q.trial > 0 && !l.breaker.proven()
		if unproven && q.trials >= q.trial {
			q.untime(l)
			if !l.blocked {
				l.blocked = true
				q.blocked = append(q.blocked, l)
			}
			return
		}
		e := l.entries.pop()
		q.waiting--
		q.running++
		l.running++
		if unproven {
			q.trials++
		}
		next := job{l, e.id, unproven}
		select {
		case q.jobs <- next:
		default:
			go q.work(next)
		}
	}
}

// idleWorker is how long a worker waits for its next job.
const idleWorker = time.Second

// work does a job, and those that come soon after: a goroutine that has made
// a call has the stack for the next one.
func (q *queue) work(j job) {
	q.start(j)
	timer := time.NewTimer(idleWorker)
	defer timer.Stop()
	for {
		select {
		case j = <-q.jobs:
			q.start(j)
			timer.Reset(idleWorker)
		case <-timer.C:
			return
		case <-q.done:
			return
		}
	}
}

func (q *queue) start(j job) {
	l := j.lane
	freed := false
	free := func() {
		if freed {
			return
		}
		freed = true
		q.mu.Lock()
		defer q.mu.Unlock()
		q.running--
		l.running--
		if j.unproven {
			q.trials--
			for len(q.blocked) > 0 && q.trials < q.trial {
				b := q.blocked[0]
				q.blocked = q.blocked[1:]
				b.blocked = false
				q.advance(b)
			}
		}
		q.advance(l)
	}
	defer free()
	q.run(j.id, free)
}

// report tells a lane's breaker how its latest task went.
func (q *queue) report(key uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lanes[key]; l != nil {
		l.breaker.report(ok, q.clock())
	}
}

// limitsChanged asks anew how many tasks of each lane run at once.
func (q *queue) limitsChanged() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, l := range q.lanes {
		l.limit = q.limit(key)
		q.advance(l)
	}
}

// stop starts no task any more. What runs goes on.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.stopped {
		q.stopped = true
		q.timer.Stop()
		close(q.done)
	}
}

// counts says how many tasks wait and run.
func (q *queue) counts() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting, q.running
}

// stuck returns, for each lane that waits because its limit is zero, how many
// tasks it holds and one of them.
func (q *queue) stuck() map[uint64]stuckLane {
	q.mu.Lock()
	defer q.mu.Unlock()
	lanes := make(map[uint64]stuckLane)
	for key, l := range q.lanes {
		if l.limit == 0 && len(l.entries) > 0 {
			lanes[key] = stuckLane{l.entries[0].id, len(l.entries)}
		}
	}
	return lanes
}

type stuckLane struct {
	id    ID
	tasks int
}

// forget drops a lane that holds nothing worth keeping; what is known of a
// host is kept for a while.
func (q *queue) forget(l *lane) {
	if len(l.entries) > 0 || l.running > 0 || l.blocked || q.stopped {
		return
	}
	if l.breaker.knownUntil > q.clock() {
		q.time(l, l.breaker.knownUntil)
		return
	}
	delete(q.lanes, l.key)
}

// time has the lane looked at again at a time.
func (q *queue) time(l *lane, at int64) {
	l.next = at
	if l.timedAt < 0 {
		heap.Push(&q.timed, l)
	} else {
		heap.Fix(&q.timed, l.timedAt)
	}
	q.wind()
}

func (q *queue) untime(l *lane) {
	if l.timedAt >= 0 {
		heap.Remove(&q.timed, l.timedAt)
	}
}

// wind sets the timer to the first lane's time.
func (q *queue) wind() {
	if len(q.timed) > 0 && !q.stopped {
		q.timer.Reset(time.Duration(max(0, q.timed[0].next-q.clock())))
	}
}

func (q *queue) tick() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.timed) > 0 && q.timed[0].next <= q.clock() {
		q.advance(heap.Pop(&q.timed).(*lane))
	}
	q.wind()
}

// entryHeap is a binary heap of entries by time. Tasks mostly come in order,
// for which a push costs one comparison.
type entryHeap []entry

func (h entryHeap) less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].id.Compare(h[j].id) < 0
}

func (h *entryHeap) push(e entry) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.less(i, parent) {
			return
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (h *entryHeap) pop() entry {
	s := *h
	first, n := s[0], len(s)-1
	s[0] = s[n]
	s = s[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && s.less(child+1, child) {
			child++
		}
		if !s.less(child, i) {
			break
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	if cap(s) > 1024 && n < cap(s)/4 {
		s = append(make(entryHeap, 0, cap(s)/2), s...) // give back what a flood has left behind
	}
	*h = s
	return first
}

// laneHeap orders lanes by when they are to be looked at again.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].next < h[j].next }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timedAt, h[j].timedAt = i, j
}
func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.timedAt = len(*h)
	*h = append(*h, l)
}
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.timedAt = -1
	return l
}
