package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// answerSize is the size of the backend's answer in bytes.
const answerSize = 1 << 10

// Backend is the role that is called: it reads the request and answers a
// fixed JSON body. Its gate keeps calls waiting, as a slow backend does.
type Backend struct {
	addr string

	mu   sync.Mutex
	gate *gate
	tally
}

// gate lets calls through: so many, or all once it is open.
type gate struct {
	passes chan struct{}
	open   chan struct{} // closed when all may pass
}

func newBackend() (*Backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Backend{addr: l.Addr().String(), gate: newGate()}
	close(b.gate.open)
	go http.Serve(l, b)
	return b, nil
}

func newGate() *gate {
	return &gate{passes: make(chan struct{}), open: make(chan struct{})}
}

// ServeHTTP answers a call when the gate lets it.
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	select {
	case <-gate.open:
	default:
		select {
		case <-gate.open:
		case <-gate.passes:
		case <-r.Context().Done():
			return
		}
	}
	w.Header()["Content-Type"] = jsonType
	w.Header()["Content-Length"] = answerLength
	w.Write(answerBody)
	if n, ok := numberOf(r.URL.Path); ok {
		b.count(n)
	}
}

var (
	answerBody   = jsonBody(answerSize)
	answerLength = []string{strconv.Itoa(answerSize)}
	jsonType     = []string{"application/json"}
)

// Addr is where it listens.
func (b *Backend) Addr(_ None, addr *string) error {
	*addr = b.addr
	return nil
}

// Close closes the gate.
func (b *Backend) Close(None, *None) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gate = newGate()
	return nil
}

// Open opens the gate for all.
func (b *Backend) Open(None, *None) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.gate.open:
	default:
		close(b.gate.open)
	}
	return nil
}

// Pass lets n calls through the closed gate and says how long that took, from
// the first to the last.
func (b *Backend) Pass(n int, took *time.Duration) error {
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	var began time.Time
	for i := range n {
		gate.passes <- struct{}{}
		if i == 0 {
			began = time.Now()
		}
	}
	*took = time.Since(began)
	return nil
}

// tally counts requests by their number.
type tally struct {
	counts atomic.Pointer[counts]
}

type counts struct {
	of       []atomic.Uint32 // by number
	at       []int64         // Unix nanoseconds of the first of a number; nil if nobody wants to know
	distinct atomic.Int64
	repeated atomic.Int64
	last     atomic.Int64 // Unix nanoseconds of the latest first of a number
}

func (t *tally) count(n int) {
	c := t.counts.Load()
	if c == nil || n >= len(c.of) {
		return
	}
	if c.of[n].Add(1) > 1 {
		c.repeated.Add(1)
		return
	}
	now := time.Now().UnixNano()
	if c.at != nil {
		c.at[n] = now
	}
	c.last.Store(now)
	c.distinct.Add(1) // after the rest, for those who wait for it
}

// Expect is what a tally is to count.
type Expect struct {
	N     int // numbers from 0 to N-1
	Times bool
}

// Expect begins to count anew.
func (t *tally) Expect(e Expect, _ *None) error {
	c := &counts{of: make([]atomic.Uint32, e.N)}
	if e.Times {
		c.at = make([]int64, e.N)
	}
	t.counts.Store(c)
	return nil
}

// Tally is what was counted.
type Tally struct {
	Distinct int     // numbers that came
	Repeated int     // requests with a number that had come before
	Last     int64   // when the latest new number came, in Unix nanoseconds
	At       []int64 // when each number came, if Expect asked for it
}

// Await is how long to wait for how many numbers.
type Await struct {
	Distinct int
	Patience time.Duration // since the latest new number
}

// Wait waits until as many numbers have come, or none comes any more.
func (t *tally) Wait(a Await, result *Tally) error {
	c := t.counts.Load()
	began := time.Now()
	for int(c.distinct.Load()) < a.Distinct {
		latest := began
		if last := time.Unix(0, c.last.Load()); last.After(latest) {
			latest = last
		}
		if time.Since(latest) > a.Patience {
			break
		}
		time.Sleep(time.Millisecond)
	}
	*result = Tally{int(c.distinct.Load()), int(c.repeated.Load()), c.last.Load(), c.at}
	return nil
}
