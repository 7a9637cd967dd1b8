package main

import (
	"fmt"
	"time"
)

// alternate gives each contestant a turn in every round.
func (b *bench) alternate(contestants []contestant, turn func(*running) (Turn, error)) (map[string][]Turn, error) {
	turns := make(map[string][]Turn)
	for round := range b.rounds {
		for _, c := range contestants {
			if c.caddyfile == nil && b.asynqBinary == "" || b.profile != "" && (!c.tasks || c.caddyfile == nil) {
				continue
			}
			t, err := b.turn(c, turn)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
			}
			turns[c.name] = append(turns[c.name], t)
			b.say("  %d  %-34s %8.0f/s  p50 %-8s p99 %-8s CPU %s", round+1, c.name, t.Rate, short(t.P50), short(t.P99), short(t.CPU))
		}
	}
	return turns, nil
}

func (b *bench) turn(c contestant, turn func(*running) (Turn, error)) (Turn, error) {
	r, err := b.start(c)
	if err != nil {
		return Turn{}, err
	}
	t, err := turn(r)
	if err != nil {
		r.stop()
		return t, err
	}
	return t, r.end()
}

// measured has the load generator do its work, after a warm-up, and adds what
// it cost the contestant. The warm-up's requests have the numbers after those
// of the work. name is for the profile. finish, if not nil, is what else belongs to the work; it returns
// when that was over, in Unix nanoseconds.
func (r *running) measured(name string, w Work, warmup int, finish func() (int64, error)) (t Turn, err error) {
	if err := r.warmUp(w, warmup); err != nil {
		return t, err
	}
	stopProfile := r.profile(name)
	before, err := usageOfAll(r.processes)
	if err != nil {
		return t, err
	}
	sent, err := r.b.send(w)
	if err != nil {
		return t, err
	}
	ended := sent.Ended
	if finish != nil {
		if ended, err = finish(); err != nil {
			return t, err
		}
	}
	after, err := usageOfAll(r.processes)
	if err != nil {
		return t, err
	}
	if err := stopProfile(); err != nil {
		return t, err
	}
	return Turn{
		Rate:      float64(w.N) / time.Duration(ended-sent.Began).Seconds(),
		P50:       sent.P50,
		P99:       sent.P99,
		CPU:       (after.cpu - before.cpu) / time.Duration(w.N),
		Anonymous: after.anonymous,
	}, nil
}

// warmUp sends requests like those of the work. Tasks of it are done before
// it returns, unless the backend's gate is closed.
func (r *running) warmUp(w Work, n int) error {
	w.First, w.N = w.First+w.N, n
	_, err := r.b.send(w)
	return err
}
