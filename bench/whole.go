package main

// whole measures whole tasks: from the first request to the last callback.
func whole(b *bench) error {
	const name = "whole tasks, 64 clients, 1 KiB"
	n := b.size(30_000)
	contestants := []contestant{proxyTuned, ringbackMemory, ringback, ringbackForget, asynqAlways, asynqEverysec}
	turns, err := b.alternate(contestants, func(r *running) (Turn, error) {
		n := n
		if r.caddyfile == nil {
			n /= 6 // it would take too long
		}
		warmup := n / 20
		if err := b.expect(n+warmup, false); err != nil {
			return Turn{}, err
		}
		w := Work{Addr: r.addr, Clients: 64, Pattern: post(1<<10, b.receiverAddr), N: n, Want: 202}
		if !r.tasks {
			w.Want = 200
			t, err := r.measured(name, w, warmup, nil)
			if err == nil {
				err = b.answered(n + warmup)
			}
			return t, err
		}
		if err := r.warmUp(w, warmup); err != nil {
			return Turn{}, err
		}
		if _, err := b.delivered(warmup); err != nil {
			return Turn{}, err
		}
		t, err := r.measured(name, w, 0, func() (int64, error) {
			done, err := b.delivered(n + warmup)
			return done.Last, err
		})
		if err == nil {
			err = b.answered(n + warmup)
		}
		return t, err
	})
	if err != nil {
		return err
	}
	for _, c := range contestants {
		if turns[c.name] != nil {
			b.report.row(name, c, turns[c.name])
		}
	}
	if b.profile != "" {
		return nil
	}
	durable := turns[ringback.name]
	b.report.goal(Goal{Name: name + ": durable, of the same in memory", Values: ratios(durable, turns[ringbackMemory.name], rate), Want: 0.75, Stretch: 0.85})
	b.report.goal(Goal{Name: name + ": durable, of tuned reverse_proxy", Values: ratios(durable, turns[proxyTuned.name], rate), Want: 0.5, Stretch: 0.6})
	if turns[asynqAlways.name] != nil {
		b.report.goal(Goal{Name: name + ": durable, of asynq on Redis, appendfsync always", Values: ratios(durable, turns[asynqAlways.name], rate), Want: 4})
	}
	return nil
}
