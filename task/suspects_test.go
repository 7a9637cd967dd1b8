package task_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// crash ends the world's process without a word, and starts another.
func (w *world) crash(p *process) *process {
	p.kill()
	w.engine.Stop(ended())
	next := &process{Store: p.Store}
	w.store = next
	w.start()
	return next
}

// A process that is killed over and over, for whatever reason, fails next to no
// task that could be done in the time that it lives: of those that were cut
// short three times, one in a hundred has the bad luck of being cut short each
// time that it runs alone, too.
func TestACrashLoopFailsNextToNoHealthyTask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		w := newWorld(t)
		w.engine.Stop(ended())
		p := &process{Store: w.store}
		w.store = p
		w.start()
		w.answers(func(ctx context.Context, _ *task.Call, rw http.ResponseWriter) error {
			select {
			case <-time.After(1500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		var ids []task.ID
		for range 200 {
			for range 5 {
				ids = append(ids, w.accept())
			}
			time.Sleep(time.Duration(1+random.IntN(4000)) * time.Millisecond)
			p = w.crash(p)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		failed := 0
		for _, id := range ids {
			if w.task(id).Status != task.Completed {
				failed++
			}
		}
		require.LessOrEqual(t, failed, 5, "of %d", len(ids))
	})
}

// A task that kills the process whenever it is called is found out, and the
// others are none the worse.
func TestATaskThatKillsTheProcessIsFoundOutAmongOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.engine.Stop(ended())
		p := &process{Store: w.store}
		w.store = p
		w.start()
		died := make(chan struct{}, 1)
		w.answers(func(ctx context.Context, call *task.Call, rw http.ResponseWriter) error {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			if call.Request.URL == "/poison" {
				died <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		var ids []task.ID
		for range 100 {
			ids = append(ids, w.accept())
		}
		poison := w.accept(func(a *task.Acceptance) { a.Request.URL = "/poison" })
		crashes := 0
		for {
			select {
			case <-died:
				crashes++
				p = w.crash(p)
				continue
			case <-time.After(10 * time.Minute):
			}
			break
		}
		require.LessOrEqual(t, crashes, 10)
		require.Equal(t, task.CodeInterrupted, w.task(poison).Failure.Code)
		for _, id := range ids {
			require.Equal(t, task.Completed, w.task(id).Status)
		}
	})
}
