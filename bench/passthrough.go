package main

// passthrough measures what callback in the route costs the requests that do
// not ask for one.
func passthrough(b *bench) error {
	for _, kind := range []struct {
		name    string
		pattern Pattern
		n       int
		want    float64
		p99     float64
	}{
		{"pass-through, no body", get(), 40_000, 0.98, 1.05},
		{"pass-through, 16 KiB of JSON", post(16<<10, ""), 30_000, 0.95, 0},
	} {
		n := b.size(kind.n)
		contestants := []contestant{proxyTuned, ringback}
		turns, err := b.alternate(contestants, func(r *running) (Turn, error) {
			warmup := n / 20
			if err := b.expect(n+warmup, false); err != nil {
				return Turn{}, err
			}
			t, err := r.measured(kind.name, Work{Addr: r.addr, Clients: 64, Pattern: kind.pattern, N: n, Want: 200}, warmup, nil)
			if err != nil {
				return t, err
			}
			return t, b.answered(n + warmup)
		})
		if err != nil {
			return err
		}
		for _, c := range contestants {
			b.report.row(kind.name, c, turns[c.name])
		}
		if b.profile != "" {
			continue
		}
		with, without := turns[ringback.name], turns[proxyTuned.name]
		b.report.goal(Goal{Name: kind.name + ": rate with callback in the route, of that without", Values: ratios(with, without, rate), Want: kind.want})
		if kind.p99 != 0 {
			b.report.goal(Goal{Name: kind.name + ": p99 with callback in the route, of that without", Values: ratios(with, without, p99), Want: kind.p99, AtMost: true})
		}
	}
	return nil
}
