package lanes

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// trials are the turns that lanes get of which nothing good is known: a number
// of their own, so that hosts that swallow time can't take it from those that
// work. Groups share it: one that has many lanes gets no more than what it
// leaves free, and whatever becomes free goes to who has least. Of these, the
// longest waiting and the newest take turns: a flood of lanes must neither
// keep who waits nor who comes.
type trials[K Key[K]] struct {
	most    int
	running int
	overdue int // turns that have taken so long that they are not counted any more
	groups  map[string]*group[K]
	waiting groupHeap[K]
	arrived []*group[K] // groups that came to wait and had no turn then, oldest first; some are out of date
	newest  bool        // the newest is next
}

// A trial is over when its turn is, or when that has taken longer than
// trialTime, of which as many are put up with as there are trials.
const trialTime = 5 * time.Second

// group is lanes that share.
type group[K Key[K]] struct {
	name    string
	running int
	since   int64      // since when it waits
	lanes   []*lane[K] // that wait, oldest first
	index   int        // in trials.waiting, or -1
}

func newTrials[K Key[K]](most int) trials[K] {
	return trials[K]{most: most, groups: make(map[string]*group[K])}
}

// mayStart says that the group may have one more turn.
func (t *trials[K]) mayStart(g *group[K]) bool { return g.running < t.most-t.running }

// enter takes one of the trials for the lane; if there is none for it, the
// lane waits.
func (t *trials[K]) enter(l *lane[K], name string, now int64) bool {
	if l.waits {
		if !t.mayStart(l.group) {
			return false
		}
		t.leave(l)
	}
	g := t.groups[name]
	if g == nil {
		g = &group[K]{name: name, index: -1}
		t.groups[name] = g
	}
	l.group = g
	if t.mayStart(g) {
		g.running++
		t.running++
		t.fix(g)
		return true
	}
	l.waits = true
	g.lanes = append(g.lanes, l)
	if g.index < 0 {
		g.since = now
		heap.Push(&t.waiting, g)
		t.arrive(g)
	}
	return false
}

func (t *trials[K]) arrive(g *group[K]) {
	if g.running > 0 {
		return
	}
	if len(t.arrived) > 2*len(t.waiting)+64 {
		t.arrived = slices.DeleteFunc(t.arrived, func(g *group[K]) bool { return !g.isNew() })
	}
	t.arrived = append(t.arrived, g)
}

// isNew says that the group waits and has no turn.
func (g *group[K]) isNew() bool { return g.index >= 0 && g.running == 0 }

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
		heap.Remove(&t.waiting, g.index)
	}
	t.forget(g)
}

// next takes the lane out of those that wait whose turn it is; nil if there
// is none.
func (t *trials[K]) next() *lane[K] {
	if len(t.waiting) == 0 {
		return nil
	}
	g := t.waiting[0]
	if !t.mayStart(g) {
		return nil
	}
	if t.newest && g.running == 0 {
		if newest := t.lastArrived(); newest != nil {
			g = newest
		}
	}
	t.newest = !t.newest
	l := g.lanes[0]
	t.leave(l)
	return l
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

// end gives back the trial of a lane's turn.
func (t *trials[K]) end(l *lane[K], overdue bool) {
	if overdue {
		t.overdue--
	} else {
		t.running--
	}
	g := l.group
	g.running--
	t.fix(g)
	t.forget(g)
}

// pass lets a turn go on that takes too long, as none of the trials.
func (t *trials[K]) pass() bool {
	if t.overdue >= t.most {
		return false
	}
	t.overdue++
	t.running--
	return true
}

func (t *trials[K]) fix(g *group[K]) {
	if g.index >= 0 {
		heap.Fix(&t.waiting, g.index)
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
