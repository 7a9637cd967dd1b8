package lanes

// lane is one queue among many. With limit zero it waits.
type lane[K Key[K]] struct {
	name    string
	entries entryHeap[K]
	running int
	limit   int
	next    int64 // when it is to be looked at again; meaningful while timed
	timedAt int   // index in Queue.timed, or -1
	breaker breaker
	group   *group[K] // in which it waits for a trial, or has one; nil: neither
	waits   bool      // for a trial
}

// entry is a key that waits.
type entry[K Key[K]] struct {
	at      int64 // process time
	key     K
	resumed bool
}

// entryHeap is a binary heap of entries by time. Keys mostly come in order,
// for which a push costs one comparison.
type entryHeap[K Key[K]] []entry[K]

func (h entryHeap[K]) less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].key.Compare(h[j].key) < 0
}

func (h *entryHeap[K]) push(e entry[K]) {
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

func (h *entryHeap[K]) pop() entry[K] {
	s := *h
	first, n := s[0], len(s)-1
	s[0] = s[n]
	s = s[:n]
	s.sink(0)
	if cap(s) > 1024 && n < cap(s)/4 {
		s = append(make(entryHeap[K], 0, cap(s)/2), s...) // give back what a flood has left behind
	}
	*h = s
	return first
}

// sink moves an entry down to its place.
func (h entryHeap[K]) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// filter drops the entries that keep does not want.
func (h *entryHeap[K]) filter(keep func(entry[K]) bool) {
	s := (*h)[:0]
	for _, e := range *h {
		if keep(e) {
			s = append(s, e)
		}
	}
	if len(s) == len(*h) {
		return
	}
	if cap(s) > 1024 && len(s) < cap(s)/4 {
		s = append(make(entryHeap[K], 0, cap(s)/2), s...)
	}
	for i := len(s)/2 - 1; i >= 0; i-- {
		s.sink(i)
	}
	*h = s
}

// laneHeap orders lanes by when they are to be looked at again.
type laneHeap[K Key[K]] []*lane[K]

func (h laneHeap[K]) Len() int           { return len(h) }
func (h laneHeap[K]) Less(i, j int) bool { return h[i].next < h[j].next }
func (h laneHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timedAt, h[j].timedAt = i, j
}
func (h *laneHeap[K]) Push(x any) {
	l := x.(*lane[K])
	l.timedAt = len(*h)
	*h = append(*h, l)
}
func (h *laneHeap[K]) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.timedAt = -1
	return l
}
