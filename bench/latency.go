package main

import (
	"fmt"
	"time"
)

// latency measures one task at a time, with nothing else to do.
func latency(b *bench) error {
	n := min(b.size(200), 200)
	var answers, callbacks []float64
	turns, err := b.alternate([]contestant{respond202, ringback}, func(r *running) (t Turn, err error) {
		if err := b.expect(n, true); err != nil {
			return t, err
		}
		w := Work{Addr: r.addr, Clients: 1, Pattern: post(1<<10, b.receiverAddr), N: n, Want: 202, Pause: 20 * time.Millisecond, Times: true}
		sent, err := b.send(w)
		if err != nil {
			return t, err
		}
		t.P50, t.P99 = sent.P50, sent.P99
		if !r.tasks {
			return t, nil
		}
		delivered, err := b.delivered(n)
		if err != nil {
			return t, err
		}
		var called Tally
		if err := b.backend.call("Wait", Await{n, patience}, &called); err != nil {
			return t, err
		}
		after := make([]int64, n)
		for i := range after {
			after[i] = delivered.At[i] - called.At[i]
		}
		p50, p99 := percentiles(after)
		b.say("     callback after the backend's answer: p50 %s, p99 %s", short(p50), short(p99))
		answers = append(answers, t.P50.Seconds()*1e3)
		callbacks = append(callbacks, p50.Seconds()*1e3)
		return t, nil
	})
	if err != nil {
		return err
	}
	// Once more: what else runs on the machine may have changed meanwhile.
	sync, _, err := syncCost(b.work, 500)
	if err != nil {
		return err
	}
	const name = "one task on an idle machine"
	b.report.row(name, respond202, turns[respond202.name])
	b.report.row(name, ringback, turns[ringback.name])
	want := (sync + time.Millisecond).Seconds() * 1e3
	b.report.goal(Goal{Name: fmt.Sprintf("%s: 202, p50 (want: one fdatasync, %s, and 1 ms)", name, short(sync)), Values: answers, Unit: "ms", Want: want, AtMost: true})
	b.report.goal(Goal{Name: name + ": callback after the backend's answer, p50 (as above)", Values: callbacks, Unit: "ms", Want: want, AtMost: true})
	return nil
}
