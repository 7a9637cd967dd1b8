package lanes_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task/lanes"
	"github.com/stretchr/testify/require"
)

// tarpit takes half a minute, as long as an attempt may, and fails then;
// anybody else answers soon.
func tarpits(t *testing.T, trials int) *host {
	h := newHost(t, lanes.Options[key]{Trials: trials, Group: func(lane string) string {
		_, domain, _ := strings.Cut(lane, ".")
		return domain
	}})
	h.takes = func(lane string) time.Duration {
		if strings.Contains(lane, "tarpit") {
			return 30 * time.Second
		}
		return 10 * time.Millisecond
	}
	h.fails = func(lane string) bool { return strings.Contains(lane, "tarpit") }
	return h
}

// delayOf is how long it takes until a key of a new host runs.
func (h *host) delayOf(k key, lane string) time.Duration {
	h.Put(lane, k, 0)
	start := time.Now()
	for {
		synctest.Wait()
		if _, ran := h.times()[k]; ran {
			return time.Since(start)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Whoever has a domain has any number of hosts: together they get no more than
// they leave free.
func TestManyHostsOfOneDomainDoNotDelayAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := tarpits(t, 100)
		for k := range key(6000) {
			h.Put(fmt.Sprintf("h%d.tarpit.example", k), k, 0)
		}
		synctest.Wait()
		require.Len(t, h.runs(), 50)
		for k := range key(20) {
			require.Zero(t, h.delayOf(10_000+k, fmt.Sprintf("www.healthy%d.example", k)))
			after(time.Second)
		}
	})
}

// Many domains at once take all there is, but not from who comes after them.
func TestAFloodOfDomainsDoesNotDelayWhoComesAfter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := tarpits(t, 100)
		for k := range key(6000) {
			h.Put(fmt.Sprintf("h.tarpit%d.example", k), k, 0)
		}
		after(time.Second)
		for k := range key(20) {
			require.LessOrEqual(t, h.delayOf(10_000+k, fmt.Sprintf("www.healthy%d.example", k)), 30*time.Second)
		}
		require.Less(t, len(h.times()), 1000)
	})
}

// Who waits is not passed over for ever by those that keep coming.
func TestWhoWaitsLongestIsNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := tarpits(t, 10)
		for k := range key(10) {
			h.Put(fmt.Sprintf("h.tarpit%d.example", k), k, 0)
		}
		h.Put("www.healthy.example", 1000, 0)
		for k := range key(1000) {
			h.Put(fmt.Sprintf("h.later-tarpit%d.example", k), 2000+k, 0)
			after(100 * time.Millisecond)
		}
		require.Contains(t, h.times(), key(1000))
		require.LessOrEqual(t, h.times()[1000], 90*time.Second)
	})
}

// A host that works needs no trial for half a day, and not after one failure
// either.
func TestAHostThatWorksIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := tarpits(t, 10)
		h.Put("www.healthy.example", 1, 0)
		after(11 * time.Hour)
		h.fails = func(string) bool { return true }
		for k := range key(500) {
			h.Put(fmt.Sprintf("h.tarpit%d.example", k), 10+k, 0)
		}
		synctest.Wait()
		require.Zero(t, h.delayOf(2, "www.healthy.example"), "which fails")
		after(time.Second)
		require.Zero(t, h.delayOf(3, "www.healthy.example"))
	})
}

// A lane whose keys are taken out while it waits leaves the others their places.
func TestALaneThatWaitsMayLeave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := tarpits(t, 2) // one for each group, while there is another
		for k, lane := range []string{"a.tarpit.example", "b.tarpit.example", "c.tarpit.example", "d.tarpit.example"} {
			h.Put(lane, key(k), 0)
		}
		synctest.Wait()
		require.Equal(t, []key{0}, h.runs())
		h.Remove(2)
		h.Put("www.other.example", 99, time.Hour)
		for k := key(100); k < 120; k++ { // so that what was taken out is swept
			h.Put("www.other.example", k, 2*time.Hour)
			h.Remove(k)
		}
		require.Less(t, h.Entries(), 12)
		after(10 * time.Minute)
		require.Equal(t, []key{0, 1, 3}, h.runs())
	})
}
