package task_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// check holds what must be true at any moment.
func (w *walk) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
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

// heal lets everything work again, and checks that every promise is kept: at
// first without a restart, which would take up what was forgotten.
func (w *walk) heal() {
	w.set(&w.backend, 0)
	w.set(&w.receiver, 0)
	w.process.mu.Lock()
	w.process.before, w.process.after = 0, 0 // a kill that is still to come
	w.process.mu.Unlock()
	w.acts.Wait()
	time.Sleep(time.Hour)
	for _, id := range w.promised {
		t, err := w.store.Load(w.Context(), id)
		require.NoError(w, err)
		require.True(w, t.Status.Done(), t.Status)
		if t.Callback.Status == task.CallbackDead {
			w.asked[id]++
			_, err := w.engine.Redeliver(w.Context(), id)
			require.NoError(w, err)
		}
	}
	time.Sleep(time.Hour)
	w.check()
	for _, id := range w.promised {
		t, err := w.store.Load(w.Context(), id)
		require.NoError(w, err)
		if w.answered[id] && t.Callback.Status == task.CallbackNone {
			require.LessOrEqual(w, w.callbacks[id], w.asked[id]+w.late[id]+w.kills, "who has the answer gets no callback")
			continue
		}
		require.Equal(w, task.CallbackDelivered, t.Callback.Status)
		require.NotZero(w, w.callbacks[id])
		require.LessOrEqual(w, w.callbacks[id], 1+w.asked[id]+w.late[id]+w.kills, "only a kill doubles a callback")
	}
	require.Zero(w, w.engine.Stats(), "nothing is left in the queues")
	require.Zero(w, task.Pending(w.engine), "nor counted")
	require.Zero(w, task.Lives(w.engine), "nor kept in memory")
	require.Less(w, task.Waiting(w.engine), 20)
	w.engine.Stop(ended())
	require.NoError(w, w.store.Close())
}

// TestRandomLives walks through random lives, in virtual time. The variable
// RINGBACK_LIVES says how many; 1,000,000 take some hours.
func TestRandomLives(t *testing.T) {
	lives := 100
	if testing.Short() {
		lives = 30
	}
	if text := os.Getenv("RINGBACK_LIVES"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		lives = n
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
