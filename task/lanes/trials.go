package lanes

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// trials are the turns that lanes get of which nothing good is known: a number
// of their own, so that hosts that swallow time can't take it from those that
// work. It is shared so that a flood of lanes keeps neither who waits nor who
// comes later:
//
//   - Groups share. One that has many lanes gets no more than what it leaves
//     free, and whatever becomes free goes to who has least.
//   - Of several, the one that waits longest and the one that came last take
//     turns. Lanes that failed before come after those that never ran, but for
//     each fourth time.
//   - The second half of the trials is given out no faster than it comes back.
type trials[K Key[K]] struct {
	most    int
	running int
	took    time.Duration // about how long a trial takes
	next    int64         // when the second half gives out one more
	turn    int           // counts what was given to those that waited
	groups  map[groupName]*group[K]
	fresh   groupHeap[K] // that wait
	failed  groupHeap[K] // that wait, and failed before
	arrived []*group[K]  // fresh ones as they came; some are out of date
}

// slowTrial is how long a trial is taken to last before one has ended: as long
// as an attempt may.
const slowTrial = 30 * time.Second

// group is lanes that share.
type group[K Key[K]] struct {
	name    groupName
	running int
	since   int64      // since when it waits
	lanes   []*lane[K] // that wait, oldest first
	index   int        // in the heap of those that wait, or -1
}

type groupName struct {
	name   string
	failed bool
}

func newTrials[K Key[K]](most int) trials[K] {
	return trials[K]{most: most, took: slowTrial, groups: make(map[groupName]*group[K])}
}

// mayStart says that the group may have one more turn, but for the pace.
func (t *trials[K]) mayStart(g *group[K]) bool { return g.running < t.most-t.running }

// pause is how long the next turn has to wait for the pace.
func (t *trials[K]) pause(now int64) time.Duration {
	if 2*t.running < t.most {
		return 0
	}
	return time.Duration(max(0, t.next-now))
}

// enter takes one of the trials for the lane; if there is none for it, the
// lane waits.
func (t *trials[K]) enter(l *lane[K], name string, now int64) bool {
	if l.waits {
		return false // until next takes it out
	}
	g := t.group(groupName{name, l.breaker.failures > 0})
	l.group = g
	if t.mayStart(g) && t.pause(now) == 0 {
		t.start(g, now)
		return true
	}
	l.waits = true
	g.lanes = append(g.lanes, l)
	if g.index < 0 {
		g.since = now
		heap.Push(t.waiting(g), g)
		t.arrive(g)
	}
	return false
}

func (t *trials[K]) group(name groupName) *group[K] {
	g := t.groups[name]
	if g == nil {
		g = &group[K]{name: name, index: -1}
		t.groups[name] = g
	}
	return g
}

func (t *trials[K]) start(g *group[K], now int64) {
	if 2*t.running >= t.most {
		t.next = now + int64(t.took)/int64(max(1, t.most/2))
	}
	t.running++
	g.running++
	t.fix(g)
}

// waiting is the heap in which the group waits.
func (t *trials[K]) waiting(g *group[K]) *groupHeap[K] {
	if g.name.failed {
		return &t.failed
	}
	return &t.fresh
}

func (t *trials[K]) arrive(g *group[K]) {
	if !g.isNew() {
		return
	}
	if len(t.arrived) > 2*len(t.fresh)+64 {
		t.arrived = slices.DeleteFunc(t.arrived, func(g *group[K]) bool { return !g.isNew() })
	}
	t.arrived = append(t.arrived, g)
}

// isNew says that the group waits and never ran.
func (g *group[K]) isNew() bool { return g.index >= 0 && g.running == 0 && !g.name.failed }

// leave takes a lane out of those that wait.
func (t *trials[K]) leave(l *lane[K]) {
	if !l.waits {
		return
	}
	g := l.group
	l.waits = false
	if g.lanes[0] == l { // mostly
		g.lanes[0] = nil
		g.lanes = g.lanes[1:]
	} else {
		g.lanes = slices.DeleteFunc(g.lanes, func(other *lane[K]) bool { return other == l })
	}
	if len(g.lanes) == 0 {
		heap.Remove(t.waiting(g), g.index)
	}
	t.forget(g)
}

// take takes the lane out of those that wait whose turn it is. If there is
// none, nil, and when to ask again if time alone may change that; or zero.
func (t *trials[K]) take(now int64) (*lane[K], time.Duration) {
	g := t.first()
	if g == nil || !t.mayStart(g) {
		return nil, 0
	}
	if pause := t.pause(now); pause > 0 {
		return nil, pause
	}
	t.turn++
	if !g.name.failed && g.running == 0 && t.turn%2 == 0 {
		if last := t.lastArrived(); last != nil {
			g = last
		}
	}
	l := g.lanes[0]
	t.leave(l)
	return l, 0
}

// first is the group that is next by having least, and waiting longest.
func (t *trials[K]) first() *group[K] {
	switch {
	case len(t.failed) > 0 && (len(t.fresh) == 0 || t.turn%4 == 3):
		return t.failed[0]
	case len(t.fresh) > 0:
		return t.fresh[0]
	default:
		return nil
	}
}

func (t *trials[K]) lastArrived() *group[K] {
	for n := len(t.arrived); n > 0; n = len(t.arrived) {
		g := t.arrived[n-1]
		t.arrived[n-1] = nil
		t.arrived = t.arrived[:n-1]
		if g.isNew() {
			return g
		}
	}
	return nil
}

// end gives back the trial of a lane's turn, which took so long.
func (t *trials[K]) end(g *group[K], took time.Duration) {
	t.took += (took - t.took) / 64
	t.running--
	g.running--
	t.fix(g)
	t.forget(g)
}

func (t *trials[K]) fix(g *group[K]) {
	if g.index >= 0 {
		heap.Fix(t.waiting(g), g.index)
	}
}

func (t *trials[K]) forget(g *group[K]) {
	if g.running == 0 && len(g.lanes) == 0 {
		delete(t.groups, g.name)
	}
}

// groupHeap orders groups by who is next: who has least, then who waits longest.
type groupHeap[K Key[K]] []*group[K]

func (h groupHeap[K]) Len() int { return len(h) }
func (h groupHeap[K]) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].running, h[j].running), cmp.Compare(h[i].since, h[j].since)) < 0
}
func (h groupHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *groupHeap[K]) Push(x any) {
	g := x.(*group[K])
	g.index = len(*h)
	*h = append(*h, g)
}
func (h *groupHeap[K]) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	g.index = -1
	return g
}
