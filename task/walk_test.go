package task_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// process is the store as one process sees it: when that is killed, nothing
// it does reaches the store any more. A kill can be set to fall just before
// or just after a write, which are the moments that matter.
type process struct {
	task.Store
	mu     sync.Mutex
	killed bool
	before int // writes until the process is killed before one; 0: never
	after  int // the same, after one
	full   bool
}

var errKilled = fmt.Errorf("killed: %w", task.ErrClosed)

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
}

func (p *process) isKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

func (p *process) write(do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errKilled
	}
	if p.before--; p.before == 0 {
		p.killed = true
		return errKilled
	}
	if p.full {
		return task.ErrNoSpace
	}
	err := do()
	if p.after--; p.after == 0 {
		p.killed = true
		return errKilled
	}
	return err
}

func (p *process) Create(ctx context.Context, t *task.Task, r *task.Request, key *task.IdempotencyKey) error {
	return p.write(func() error { return p.Store.Create(ctx, t, r, key) })
}

func (p *process) Save(ctx context.Context, step task.Step) error {
	return p.write(func() error { return p.Store.Save(ctx, step) })
}

func (p *process) Remove(ctx context.Context, id task.ID) error {
	return p.write(func() error { return p.Store.Remove(ctx, id) })
}

// walk is a random life of a server: the numbers decide what happens next.
type walk struct {
	*testing.T
	store   task.Store
	process *process
	engine  *task.Engine
	route   *task.Route
	random  func(n int) int

	mu        sync.Mutex
	backend   int // how it answers
	receiver  int
	calls     map[task.ID]int
	callbacks map[task.ID]int // delivered ones
	asked     map[task.ID]int // redeliveries
	kills     int

	promised []task.ID // 202 was answered
	canceled map[task.ID]bool
}

func newWalk(t *testing.T, random func(n int) int) *walk {
	store, err := memory.Open()
	require.NoError(t, err)
	w := &walk{T: t, store: store, random: random, calls: map[task.ID]int{}, callbacks: map[task.ID]int{}, asked: map[task.ID]int{}, canceled: map[task.ID]bool{}}
	w.route = &task.Route{
		Name:        "walk",
		Concurrency: 2,
		Timeout:     time.Minute,
		Backend:     task.BackendFunc(w.call),
		Transport:   roundTripper(w.hear),
		Schedule:    []time.Duration{0, time.Second, time.Minute},
		Retention:   1000 * time.Hour, // so that all are there to be looked at in the end
	}
	w.start()
	t.Cleanup(func() { w.engine.Stop(ended()) })
	return w
}

func (w *walk) start() {
	w.process = &process{Store: w.store}
	w.engine = task.New(task.Options{Store: w.process})
	require.NoError(w, w.engine.Start())
	w.engine.Register(w.route)
}

// crash ends the process without a word, and starts another.
func (w *walk) crash() {
	w.process.kill()
	w.kills++
	w.engine.Stop(ended())
	w.start()
}

func (w *walk) call(ctx context.Context, call *task.Call, rw http.ResponseWriter) error {
	w.mu.Lock()
	w.calls[call.TaskID]++
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
	default:
		fmt.Fprint(rw, "quick")
	}
	return nil
}

func (w *walk) hear(r *http.Request) (*http.Response, error) {
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
	}
	id, err := task.ParseID(r.Header.Get(task.HeaderTaskID))
	require.NoError(w, err)
	w.mu.Lock()
	w.callbacks[id]++
	w.mu.Unlock()
	return answer(204), nil
}

func (w *walk) set(mode *int, to int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*mode = to
}

func (w *walk) some() (task.ID, bool) {
	if len(w.promised) == 0 {
		return task.ID{}, false
	}
	return w.promised[w.random(len(w.promised))], true
}

func (w *walk) step() {
	switch w.random(12) {
	case 0, 1, 2:
		a := task.Acceptance{
			Route:       w.route,
			Request:     &task.Request{Method: []string{"GET", "POST"}[w.random(2)], URL: "/", Proto: "HTTP/1.1", Header: http.Header{}},
			CallbackURL: fmt.Sprintf("https://host%d.example/", w.random(3)),
		}
		if w.random(8) == 0 {
			a.Client.Deadline = time.Now().Add(time.Duration(w.random(60)+1) * time.Second)
		}
		if t, err := w.engine.Accept(w.Context(), a); err == nil {
			w.promised = append(w.promised, t.ID)
		}
	case 3:
		w.set(&w.backend, w.random(6))
	case 4:
		w.set(&w.receiver, w.random(4))
	case 5:
		time.Sleep(time.Duration(w.random(200)) * time.Millisecond)
	case 6:
		time.Sleep(time.Duration(w.random(60)) * time.Second)
	case 7:
		if id, ok := w.some(); ok {
			if t, err := w.engine.Cancel(w.Context(), id); err == nil && t.Status == task.Canceled {
				w.canceled[id] = true
			}
		}
	case 8:
		if id, ok := w.some(); ok {
			w.engine.Redeliver(w.Context(), id)
			w.asked[id]++
		}
	case 9:
		grace, cancel := context.WithTimeout(w.Context(), time.Duration(w.random(30))*time.Second)
		w.engine.Stop(grace)
		cancel()
		w.start()
	case 10:
		w.crash()
	case 11: // a kill that falls just before or just after one of the next writes
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

// check holds what must be true at any moment.
func (w *walk) check() {
	due := make(map[task.ID]int)
	require.NoError(w, w.store.Due(w.Context(), func(d task.Due) error { due[d.ID]++; return nil }))
	for _, id := range w.promised {
		t, err := w.store.Load(w.Context(), id)
		require.NoError(w, err, "a promised task is never lost")
		action, _ := t.Next()
		if action == task.ActionRemove {
			require.Zero(w, due[id], "a settled task is not due")
			require.False(w, t.ExpiresAt.IsZero(), "and is removed some day")
		} else {
			require.Equal(w, 1, due[id], "an open task has exactly one next action")
			require.True(w, t.ExpiresAt.IsZero(), "and is not removed")
		}
		require.Equal(w, t.Status.Done(), !t.FinishedAt.IsZero())
		if w.canceled[id] {
			require.Equal(w, task.Canceled, t.Status, "what was canceled stays so")
		}
		if t.Status == task.Completed {
			_, err := w.store.LoadResponse(w.Context(), id)
			require.NoError(w, err)
		}
		if !t.Status.Done() {
			_, err := w.store.LoadRequest(w.Context(), id)
			require.NoError(w, err)
		}
	}
}

// heal lets everything work again, and checks that every promise is kept.
func (w *walk) heal() {
	w.set(&w.backend, 0)
	w.set(&w.receiver, 0)
	w.crash() // also takes back a kill that is still to come
	time.Sleep(time.Hour)
	for _, id := range w.promised {
		t, err := w.store.Load(w.Context(), id)
		require.NoError(w, err)
		require.True(w, t.Status.Done(), t.Status)
		if t.Callback.Status == task.CallbackDead {
			_, err := w.engine.Redeliver(w.Context(), id)
			require.NoError(w, err)
			w.asked[id]++
		}
	}
	time.Sleep(time.Hour)
	w.check()
	for _, id := range w.promised {
		t, err := w.store.Load(w.Context(), id)
		require.NoError(w, err)
		require.Equal(w, task.CallbackDelivered, t.Callback.Status)
		require.NotZero(w, w.callbacks[id])
		require.LessOrEqual(w, w.callbacks[id], 1+w.asked[id]+w.kills, "only a kill doubles a callback")
	}
	stats := w.engine.Stats()
	require.Zero(w, stats, "nothing is left in the queues")
	w.engine.Stop(ended())
	require.NoError(w, w.store.Close())
}

func TestRandomLives(t *testing.T) {
	lives := 100
	if testing.Short() {
		lives = 30
	}
	for seed := range lives {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(seed), 1))
				w := newWalk(t, r.IntN)
				for range 80 {
					w.step()
				}
				w.heal()
			})
		})
	}
}

func FuzzLife(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 10, 6, 30, 0, 0, 2, 1, 7, 0, 8, 0, 11, 1, 0, 0, 0, 1, 9, 3})
	f.Fuzz(func(t *testing.T, moves []byte) {
		if len(moves) > 400 {
			return
		}
		bubble(t, func(t *testing.T) {
			random := func(n int) int {
				if len(moves) == 0 {
					return 0
				}
				m := moves[0]
				moves = moves[1:]
				return int(m) % n
			}
			w := newWalk(t, random)
			for len(moves) > 0 {
				w.step()
			}
			w.heal()
		})
	})
}
