package lanes_test

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task/lanes"
	"github.com/stretchr/testify/require"
)

type key int

func (k key) Compare(other key) int { return cmp.Compare(k, other) }

// host is what runs in the tests: a queue whose lanes take some time each.
type host struct {
	*lanes.Queue[key]
	takes func(lane string) time.Duration
	fails func(lane string) bool

	mu  sync.Mutex
	ran []key
	at  map[key]time.Duration
}

func newHost(t *testing.T, options lanes.Options[key]) *host {
	h := &host{at: make(map[key]time.Duration)}
	start := time.Now()
	options.Run = func(turn *lanes.Turn[key]) {
		if !turn.Take() {
			return
		}
		h.mu.Lock()
		h.ran = append(h.ran, turn.Key())
		h.at[turn.Key()] = time.Since(start)
		h.mu.Unlock()
		if h.takes != nil {
			time.Sleep(h.takes(turn.Lane()))
		}
		turn.Report(h.fails == nil || !h.fails(turn.Lane()))
	}
	if options.Limit == nil {
		options.Limit = func(string) int { return 16 }
	}
	h.Queue = lanes.New(options)
	t.Cleanup(func() {
		h.Stop()
		time.Sleep(time.Minute) // until what runs has ended
	})
	return h
}

// runs are the keys that had their turns, in order.
func (h *host) runs() []key {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ran)
}

// times are when they had them.
func (h *host) times() map[key]time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.at)
}

func one(string) int { return 1 }

func second(string) time.Duration { return time.Second }

// after is a while later, when all that is due has run.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestFirstDueFirstRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHost(t, lanes.Options[key]{Limit: one})
		h.takes = second
		h.Put("a", 1, 0)
		h.Put("a", 2, 3*time.Second)
		h.Put("a", 3, 0)
		h.Put("a", 4, -time.Minute) // was waiting before
		h.Put("b", 5, 0)
		after(time.Minute)
		require.Equal(t, map[key]time.Duration{1: 0, 4: time.Second, 3: 2 * time.Second, 2: 3 * time.Second, 5: 0}, h.times())
		waiting, running := h.Counts()
		require.Zero(t, waiting+running)
	})
}

func TestLimitsHoldAndMayChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		limit := 0
		h := newHost(t, lanes.Options[key]{Limit: func(string) int { return limit }})
		h.takes = second
		for k := range key(10) {
			h.Put("a", k, 0)
		}
		synctest.Wait()
		require.Empty(t, h.runs())
		require.Equal(t, []lanes.Stuck[key]{{Lane: "a", Keys: 10, Key: 0}}, h.Stuck())
		limit = 3
		h.LimitsChanged()
		synctest.Wait()
		require.Len(t, h.runs(), 3)
		require.Empty(t, h.Stuck())
		after(4 * time.Second)
		require.Len(t, h.runs(), 10)
	})
}

func TestAKeyThatIsTakenOutDoesNotRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHost(t, lanes.Options[key]{Limit: one})
		h.takes = second
		for k := range key(10) {
			h.Put("a", k, time.Second)
		}
		h.Remove(3)
		h.Remove(4)
		h.Put("a", 4, 5*time.Second)
		h.Put("a", 3, 0)
		waiting, running := h.Counts()
		require.Equal(t, 10, waiting+running)
		after(time.Minute)
		require.Equal(t, []key{3, 0, 1, 2, 5, 4, 6, 7, 8, 9}[:5], h.runs()[:5])
		require.Len(t, h.runs(), 10, "each once")
	})
}

// A key may be taken out between its turn and what the turn is for.
func TestATurnThatIsTakenBackIsVoid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var took []bool
		hold := make(chan struct{})
		q := lanes.New(lanes.Options[key]{Limit: one, Run: func(turn *lanes.Turn[key]) {
			<-hold
			took = append(took, turn.Take())
		}})
		defer q.Stop()
		q.Put("a", 1, 0)
		synctest.Wait()
		q.Remove(1)
		q.Put("b", 1, time.Second)
		close(hold)
		after(time.Minute)
		require.Equal(t, []bool{false, true}, took)
		waiting, running := q.Counts()
		require.Zero(t, waiting+running)
	})
}

func TestEntriesThatWereTakenOutDoNotPileUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHost(t, lanes.Options[key]{})
		for k := range key(10) {
			h.Put("a", k, time.Hour)
		}
		for k := key(100); k < 10_000; k++ {
			h.Put("a", k, time.Hour)
			h.Remove(k)
			require.LessOrEqual(t, h.Entries(), 23)
		}
		for range 1000 { // one and the same, too
			h.Remove(5)
			h.Put("a", 5, time.Hour)
			require.LessOrEqual(t, h.Entries(), 23)
		}
		after(2 * time.Hour)
		require.Len(t, h.runs(), 10)
		require.Zero(t, h.Entries())
	})
}

func TestWhatWaitsInOneLaneCanWaitInAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHost(t, lanes.Options[key]{Limit: func(lane string) int {
			if lane == "parked" {
				return 0
			}
			return 1
		}})
		h.Put("parked", 1, 0)
		h.Put("parked", 2, time.Minute)
		h.Put("parked", 3, 0)
		h.Remove(3)
		h.Move("parked", lanes.Unsorted)
		h.Move("nothing", "nowhere")
		synctest.Wait()
		require.Equal(t, []key{1}, h.runs())
		after(time.Minute)
		require.Equal(t, []key{1, 2}, h.runs())
	})
}

func TestNothingRunsAfterStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHost(t, lanes.Options[key]{})
		h.Put("a", 1, time.Second)
		h.Stop()
		h.Stop()
		h.Put("a", 2, 0)
		after(time.Minute)
		require.Empty(t, h.runs())
	})
}

// Each failure costs a host turns; after three it is left alone for a while,
// and when it works again it soon has all its turns back.
func TestALaneThatFailsGetsFewerTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var works atomic.Bool
		h := newHost(t, lanes.Options[key]{Trials: 10})
		h.fails = func(string) bool { return !works.Load() }
		for k := range key(200) {
			h.Put("a", k, 0)
		}
		synctest.Wait()
		require.Len(t, h.runs(), 3)
		after(5 * time.Second)
		require.Len(t, h.runs(), 4)
		after(9 * time.Second)
		require.Len(t, h.runs(), 4, "the pause doubles")
		after(10 * time.Minute)
		require.Less(t, len(h.runs()), 30, "to half a minute")
		works.Store(true)
		after(time.Minute)
		require.Len(t, h.runs(), 200)
	})
}

// Lanes that nobody reports on, such as those of backend calls, are woken one
// after the other.
func TestEachLaneIsWokenInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		at := make(map[key]time.Duration)
		q := lanes.New(lanes.Options[key]{Limit: one, Run: func(turn *lanes.Turn[key]) {
			turn.Take()
			at[turn.Key()] = time.Since(start)
		}})
		defer q.Stop()
		for _, k := range []key{3, 1, 2} {
			q.Put(string(rune('a'+k)), k, time.Duration(k)*time.Hour)
		}
		after(4 * time.Hour)
		require.Equal(t, map[key]time.Duration{1: time.Hour, 2: 2 * time.Hour, 3: 3 * time.Hour}, at)
	})
}

// A turn that works, of those that were under way, ends the pause.
func TestASuccessClosesTheCircuit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		works := make(chan bool)
		ran := make(chan key, 100)
		q := lanes.New(lanes.Options[key]{Trials: 10, Limit: func(string) int { return 4 }, Run: func(turn *lanes.Turn[key]) {
			turn.Take()
			ran <- turn.Key()
			turn.Report(<-works)
		}})
		defer q.Stop()
		for k := range key(8) {
			q.Put("a", k, 0)
		}
		works <- true
		synctest.Wait()
		works <- true
		works <- true
		synctest.Wait()
		require.Len(t, ran, 7, "four at once")
		for range 3 {
			works <- false
		}
		synctest.Wait()
		require.Len(t, ran, 7, "and none in the pause")
		works <- true
		synctest.Wait()
		require.Len(t, ran, 8)
		works <- true
		synctest.Wait()
	})
}
