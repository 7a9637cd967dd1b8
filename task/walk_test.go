package task_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// walk is a random life of a server: the numbers decide what happens next.
type walk struct {
	*testing.T
	store   task.Store
	process *process
	random  func(n int) int
	acts    sync.WaitGroup // of clients and the operator

	mu         sync.Mutex
	engine     *task.Engine
	route      *task.Route
	unregister func()
	backend    int // how it answers
	receiver   int
	busy       int
	callbacks  map[task.ID]int  // delivered ones
	late       map[task.ID]int  // of these, the ones that nobody waited for any more
	asked      map[task.ID]int  // redeliveries
	answered   map[task.ID]bool // the client that waited has the answer
	canceled   map[task.ID]bool
	promised   []task.ID // 202 was answered
	kills      int
}

func newWalk(t *testing.T, random func(n int) int) *walk {
	store, err := memory.Open()
	require.NoError(t, err)
	w := &walk{T: t, store: store, random: random, callbacks: map[task.ID]int{}, late: map[task.ID]int{},
		asked: map[task.ID]int{}, answered: map[task.ID]bool{}, canceled: map[task.ID]bool{}}
	w.route = w.newRoute()
	w.start()
	t.Cleanup(func() {
		w.engine.Stop(ended())
		for {
			w.mu.Lock()
			busy := w.busy
			w.mu.Unlock()
			if busy == 0 {
				return
			}
			time.Sleep(time.Second)
		}
	})
	return w
}

func (w *walk) newRoute() *task.Route {
	return &task.Route{
		Name:        "walk",
		Concurrency: 2,
		Timeout:     time.Minute,
		Backend:     task.BackendFunc(w.call),
		Transport:   roundTripper(w.hear),
		Schedule:    []time.Duration{0, time.Second, time.Minute},
		Retention:   1000 * time.Hour, // so that all are there to be looked at in the end
	}
}

func (w *walk) start() {
	process := &process{Store: w.store}
	engine := task.New(task.Options{Store: process})
	require.NoError(w, engine.Start())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process, w.engine = process, engine
	w.unregister = engine.Register(w.route)
}

// crash ends the process without a word, and starts another.
func (w *walk) crash() {
	w.process.kill()
	w.kills++
	w.engine.Stop(ended())
	w.start()
}

// reload registers the route anew: before the old one goes, or after a while.
func (w *walk) reload(gap time.Duration) {
	w.mu.Lock()
	engine, old := w.engine, w.unregister
	w.route = w.newRoute()
	route := w.route
	w.mu.Unlock()
	if gap > 0 {
		old()
		time.Sleep(gap)
	}
	unregister := engine.Register(route)
	old()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engine == engine {
		w.unregister = unregister
	}
}

// enter counts a call or a delivery until leave.
func (w *walk) enter() (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
	}
}

func (w *walk) call(ctx context.Context, call *task.Call, rw http.ResponseWriter) error {
	defer w.enter()()
	w.mu.Lock()
	mode := w.backend
	w.mu.Unlock()
	switch mode {
	case 1:
		return &task.BackendError{NotSent: true, Err: errors.New("connection refused")}
	case 2:
		rw.WriteHeader(503)
	case 3:
		select {
		case <-time.After(10 * time.Second):
			rw.Write([]byte("slow"))
		case <-ctx.Done():
			return ctx.Err()
		}
	case 4:
		<-ctx.Done()
		return ctx.Err()
	case 5:
		panic("bug")
	case 6: // looks at nothing
		time.Sleep(5 * time.Second)
		rw.Write([]byte("slow"))
	case 7:
		time.Sleep(2 * time.Minute)
		rw.Write([]byte("too slow"))
	default:
		fmt.Fprint(rw, "quick")
	}
	return nil
}

func (w *walk) hear(r *http.Request) (*http.Response, error) {
	defer w.enter()()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	w.mu.Lock()
	mode := w.receiver
	w.mu.Unlock()
	switch mode {
	case 1:
		return nil, errors.New("connection refused")
	case 2:
		return answer(500), nil
	case 3:
		select {
		case <-time.After(20 * time.Second):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	case 4: // looks at nothing
		time.Sleep(40 * time.Second)
	case 5:
		a := answer(101)
		a.Body = silent(make(chan struct{}))
		return a, nil
	}
	id, err := task.ParseID(r.Header.Get(task.HeaderTaskID))
	require.NoError(w, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.callbacks[id]++
	if r.Context().Err() != nil {
		w.late[id]++
	}
	return answer(204), nil
}

func (w *walk) set(mode *int, to int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*mode = to
}

// some is one of the tasks, the latest ones rather.
func (w *walk) some() (task.ID, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.promised)
	if n == 0 {
		return task.ID{}, false
	}
	if w.random(2) == 0 {
		return w.promised[n-1-w.random(min(n, 3))], true
	}
	return w.promised[w.random(n)], true
}

// act has somebody do something soon, while the walk goes on.
func (w *walk) act(do func(*task.Engine)) {
	after := time.Duration(0)
	switch w.random(4) {
	case 0:
		after = time.Duration(w.random(20)) * time.Second // as backends and receivers take
	case 1:
		after = time.Duration(w.random(3000)) * time.Millisecond
	}
	w.acts.Go(func() {
		time.Sleep(after)
		w.mu.Lock()
		engine := w.engine
		w.mu.Unlock()
		do(engine)
	})
}

func (w *walk) accept() {
	w.mu.Lock()
	a := task.Acceptance{
		Route:       w.route,
		Request:     &task.Request{Method: []string{"GET", "POST"}[w.random(2)], URL: "/", Proto: "HTTP/1.1", Header: http.Header{}},
		CallbackURL: fmt.Sprintf("https://host%d.example/", w.random(3)),
		Hold:        w.random(3) == 0,
	}
	w.mu.Unlock()
	if w.random(8) == 0 {
		a.Client.Deadline = time.Now().Add(time.Duration(w.random(60)+1) * time.Second)
	}
	if w.random(8) == 0 && a.Client.Deadline.IsZero() {
		a.Client.NotBefore = time.Now().Add(time.Duration(w.random(20)) * time.Second)
	}
	t, _, err := w.engine.Accept(w.Context(), a)
	if err != nil {
		return
	}
	w.mu.Lock()
	w.promised = append(w.promised, t.ID)
	w.mu.Unlock()
	if a.Hold {
		engine, wait, leaves := w.engine, time.Duration(w.random(21))*time.Second, w.random(4) == 0
		w.acts.Go(func() { w.wait(engine, t.ID, wait, leaves) })
	}
}

// wait is what a handler does for a client that waits. One that leaves does
// so while it is sent the answer.
func (w *walk) wait(engine *task.Engine, id task.ID, wait time.Duration, leaves bool) {
	ctx, cancel := context.WithTimeout(w.Context(), wait)
	defer cancel()
	t, err := engine.Await(ctx, id)
	if err != nil || !t.Status.Done() || leaves {
		engine.Unhold(id)
		return
	}
	w.mu.Lock()
	w.answered[id] = true
	w.mu.Unlock()
	if err := engine.Answered(w.Context(), id); err != nil && !errors.Is(err, task.ErrClosed) {
		require.Fail(w, "recording that the client has its answer", "%v", err)
	}
}

func (w *walk) step() {
	switch w.random(15) {
	case 0, 1, 2, 3:
		w.accept()
	case 4:
		w.set(&w.backend, w.random(8))
	case 5:
		w.set(&w.receiver, w.random(6))
	case 6:
		time.Sleep(time.Duration(w.random(200)) * time.Millisecond)
	case 7:
		time.Sleep(time.Duration(w.random(60)) * time.Second)
	case 8, 9:
		if id, ok := w.some(); ok {
			w.act(func(engine *task.Engine) {
				ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
				defer cancel()
				if t, err := engine.Cancel(ctx, id); err == nil && t.Status == task.Canceled {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.canceled[id] = true
				}
			})
		}
	case 10, 11:
		if id, ok := w.some(); ok {
			w.act(func(engine *task.Engine) {
				w.mu.Lock()
				w.asked[id]++
				w.mu.Unlock()
				engine.Redeliver(w.Context(), id)
			})
		}
	case 12:
		gap := time.Duration(w.random(3)) * time.Second
		w.act(func(*task.Engine) { w.reload(gap) })
	case 13:
		grace, cancel := context.WithTimeout(w.Context(), time.Duration(w.random(30))*time.Second)
		w.engine.Stop(grace)
		cancel()
		if w.process.isKilled() { // meanwhile
			w.kills++
		}
		w.start()
	case 14:
		if w.random(2) == 0 {
			w.crash()
			break
		}
		// A kill that falls just before or just after one of the next writes.
		w.process.mu.Lock()
		w.process.before, w.process.after = 0, 0
		if n := w.random(4) + 1; w.random(2) == 0 {
			w.process.before = n
		} else {
			w.process.after = n
		}
		w.process.mu.Unlock()
	}
	synctest.Wait()
	if w.process.isKilled() {
		w.crash()
		synctest.Wait()
	}
	w.check()
}
