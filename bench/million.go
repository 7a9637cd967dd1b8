package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// crowd is a Ringback with very many pending tasks, and what is known of them.
type crowd struct {
	*running
	accepted  int // tasks that were accepted so far
	passed    int // of these, the ones whose backend calls were let through
	uncounted int // number of the next task that nobody counts
}

// million measures what many pending tasks cost, and what they leave behind.
func million(b *bench) error {
	n := 1_000_000
	if b.quick {
		n /= 4
	}
	crowded := ringbackForget
	crowded.name = fmt.Sprintf("Ringback, Badger, %d pending", n)
	crowded.env = []string{"GOMEMLIMIT=256MiB"}
	rounds := min(b.rounds, 3)
	total := n + rounds*(2+crowdTurn) // every start takes one task
	if err := b.expect(total, false); err != nil {
		return err
	}
	if err := b.backend.call("Close", None{}, &None{}); err != nil {
		return err
	}
	defer b.backend.call("Open", None{}, &None{})
	r, err := b.start(crowded)
	if err != nil {
		return err
	}
	c := &crowd{running: r, uncounted: total}
	if err := c.measure(n, rounds); err != nil {
		r.stop()
		return err
	}
	return r.end()
}

// crowdTurn is how many tasks are accepted, and how many called, to see how
// fast that goes.
const crowdTurn = 20_000

func (c *crowd) measure(n, rounds int) error {
	if err := c.fill(n); err != nil {
		return err
	}
	var crash, clean []float64
	var full, empty [2][]Turn // accepts, claims
	for round := range rounds {
		took, err := c.restart((*process).kill)
		if err != nil {
			return err
		}
		crash = append(crash, took.Seconds())
		if round == 0 {
			if err := c.idleMemory("after a start", 30*time.Second); err != nil {
				return err
			}
		}
		if took, err = c.restart(func(p *process) { p.stop() }); err != nil {
			return err
		}
		clean = append(clean, took.Seconds())
		c.b.say("  first 202 after kill -9: %.2f s, after a stop: %.2f s", crash[round], clean[round])

		accepts, claims, err := c.turn()
		if err != nil {
			return err
		}
		full[0], full[1] = append(full[0], accepts), append(full[1], claims)
		if err := c.stop(); err != nil { // the other one needs the gate
			return err
		}
		accepts, claims, err = c.emptyTurn()
		if err != nil {
			return err
		}
		empty[0], empty[1] = append(empty[0], accepts), append(empty[1], claims)
		c.b.say("  accepts/s %.0f, and %.0f with none pending; calls/s %.0f, and %.0f",
			full[0][round].Rate, empty[0][round].Rate, full[1][round].Rate, empty[1][round].Rate)
		if err := c.launch(); err != nil {
			return err
		}
		if err := c.processes[0].ready(c.addr); err != nil {
			return err
		}
	}
	report := c.b.report
	report.goal(Goal{Name: c.name + ": start after kill -9 to the first 202", Values: crash, Unit: "s", Want: 1.5, AtMost: true})
	report.goal(Goal{Name: c.name + ": start after a stop to the first 202", Values: clean, Unit: "s", Want: 1.5, AtMost: true})
	report.goal(Goal{Name: c.name + ": accepts per second, of none pending", Values: ratios(full[0], empty[0], rate), Want: 0.9})
	report.goal(Goal{Name: c.name + ": claims per second, of none pending", Values: ratios(full[1], empty[1], rate), Want: 0.9})
	return c.drain()
}

// work is n tasks to be accepted.
func (c *crowd) work(n int) Work {
	w := Work{Addr: c.addr, Clients: 64, Pattern: post(1<<10, c.b.receiverAddr), First: c.accepted, N: n, Want: 202}
	c.accepted += n
	return w
}

// fill has the first tasks accepted, and watches the memory.
func (c *crowd) fill(n int) error {
	peak := watchPeak(c.processes[0].pid())
	t, err := c.measured("fill", c.work(n), 0, nil)
	if err != nil {
		return err
	}
	most := peak()
	c.b.report.row("filling", c.contestant, []Turn{t})
	c.b.report.goal(Goal{Name: c.name + ": peak of anonymous memory while filling, GOMEMLIMIT=256MiB", Values: []float64{mebibytes(most)}, Unit: "MiB", Want: 300, AtMost: true})
	c.b.say("  filled at %.0f/s with at most %.0f MiB", t.Rate, mebibytes(most))
	return c.idleMemory("after filling", 150*time.Second) // Go collects garbage every two minutes
}

// idleMemory measures the memory of the process when it has had time to give
// back what it does not need.
func (c *crowd) idleMemory(when string, settle time.Duration) error {
	time.Sleep(settle)
	u, err := usageOf(c.processes[0].pid())
	if err != nil {
		return err
	}
	c.b.say("  idle %s: %.0f MiB", when, mebibytes(u.anonymous))
	c.b.report.goal(Goal{Name: c.name + ": anonymous memory when idle, " + when, Values: []float64{mebibytes(u.anonymous)}, Unit: "MiB", Want: 150, AtMost: true})
	return nil
}

// restart ends the process and starts it again, and says how long after that
// the first task was accepted.
func (c *crowd) restart(end func(*process)) (time.Duration, error) {
	end(c.processes[0])
	began := time.Now()
	if err := c.launch(); err != nil {
		return 0, err
	}
	took, err := c.firstAccepted(began, c.accepted)
	c.accepted++
	return took, err
}

// turn measures how fast tasks are accepted, and how fast they are called when
// the backend has time for them.
func (c *crowd) turn() (accepts, claims Turn, err error) {
	if accepts, err = c.measured("crowd", c.work(crowdTurn), 0, nil); err != nil {
		return accepts, claims, err
	}
	if claims, err = c.b.claims(crowdTurn); err != nil {
		return accepts, claims, err
	}
	c.passed += crowdTurn
	_, err = c.b.delivered(c.passed)
	return accepts, claims, err
}

// claims lets n calls through the gate.
func (b *bench) claims(n int) (Turn, error) {
	var took time.Duration
	err := b.backend.call("Pass", n, &took)
	return Turn{Rate: float64(n) / took.Seconds()}, err
}

// emptyTurn is turn with a Ringback that has nothing else pending. It too is
// started anew before its tasks are called, so that it has to read them.
// They are not counted.
func (c *crowd) emptyTurn() (accepts, claims Turn, err error) {
	none := ringbackForget
	none.env = c.env
	r, err := c.b.start(none)
	if err != nil {
		return accepts, claims, err
	}
	defer func() {
		for _, p := range r.processes {
			p.kill()
		}
		err = errors.Join(err, os.RemoveAll(r.dir))
	}()
	w := Work{Addr: r.addr, Clients: 64, Pattern: post(1<<10, c.b.receiverAddr), First: c.uncounted, N: crowdTurn, Want: 202}
	c.uncounted += crowdTurn
	if accepts, err = r.measured("empty", w, 0, nil); err != nil {
		return accepts, claims, err
	}
	r.processes[0].kill()
	if err = r.launch(); err != nil {
		return accepts, claims, err
	}
	if err = r.processes[0].ready(r.addr); err != nil {
		return accepts, claims, err
	}
	claims, err = c.b.claims(crowdTurn - 1000)
	return accepts, claims, err
}

// drain has all tasks called and delivered, and measures what is left on disk.
func (c *crowd) drain() error {
	began := time.Now()
	if err := c.b.backend.call("Open", None{}, &None{}); err != nil {
		return err
	}
	done, err := c.b.delivered(c.accepted)
	if err != nil {
		return err
	}
	took := time.Unix(0, done.Last).Sub(began)
	rest := c.accepted - c.passed
	c.b.say("  the remaining %d tasks called and delivered in %s, %.0f/s", rest, short(took), float64(rest)/took.Seconds())
	c.b.report.row("draining", c.contestant, []Turn{{Rate: float64(rest) / took.Seconds()}})

	const want, patience = 64 << 20, 3 * time.Minute
	var size int64
	for idle := time.Now(); time.Since(idle) < patience; time.Sleep(time.Second) {
		if size, err = c.storeSize(); err != nil {
			return err
		}
		if size <= want {
			c.b.say("  %.1f MiB on disk %s later", mebibytes(size), short(time.Since(idle)))
			break
		}
	}
	c.b.report.goal(Goal{Name: c.name + ": disk when they are gone, without a restart", Values: []float64{mebibytes(size)}, Unit: "MiB", Want: mebibytes(want), AtMost: true})
	return nil
}
