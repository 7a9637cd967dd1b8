package main

import "fmt"

// accept measures how fast requests become tasks. The backend is slow: it
// answers none before all are accepted. Then all are run and delivered.
func accept(b *bench) error {
	for _, clients := range []int{64, 256} {
		name := fmt.Sprintf("accept, %d clients, 1 KiB", clients)
		n := b.size(30_000)
		warmup := n / 20
		contestants := []contestant{proxyDefaults, proxyTuned, respond202, ringbackMemory, ringback}
		turns, err := b.alternate(contestants, func(r *running) (Turn, error) {
			if err := b.expect(n+warmup, false); err != nil {
				return Turn{}, err
			}
			w := Work{Addr: r.addr, Clients: clients, Pattern: post(1<<10, b.receiverAddr), N: n, Want: 202}
			if !r.tasks {
				if r.name != respond202.name {
					w.Want = 200
				}
				t, err := r.measured(name, w, warmup, nil)
				if err == nil && w.Want == 200 {
					err = b.answered(n + warmup)
				}
				return t, err
			}
			if err := b.backend.call("Close", None{}, &None{}); err != nil {
				return Turn{}, err
			}
			t, err := r.measured(name, w, warmup, nil)
			if err := b.backend.call("Open", None{}, &None{}); err != nil {
				return t, err
			}
			if err != nil {
				return t, err
			}
			if _, err := b.delivered(n + warmup); err != nil {
				return t, err
			}
			return t, b.answered(n + warmup)
		})
		if err != nil {
			return err
		}
		for _, c := range contestants {
			b.report.row(name, c, turns[c.name])
		}
		if b.profile != "" {
			continue
		}
		durable := turns[ringback.name]
		b.report.goal(Goal{Name: name + ": durable, of tuned reverse_proxy", Values: ratios(durable, turns[proxyTuned.name], rate), Want: 1.5, Stretch: 2})
		b.report.goal(Goal{Name: name + ": durable, of respond 202", Values: ratios(durable, turns[respond202.name], rate), Want: 0.45, Stretch: 0.55})
	}
	return nil
}
