package main

import (
	"errors"
	"time"
)

// idle measures processes that have nothing to do: several, since how much of
// the program the kernel maps varies.
func idle(b *bench) error {
	var resident, cpu []float64
	for range min(b.rounds, 3) {
		r, err := b.start(ringback)
		if err != nil {
			return err
		}
		const settle, watch = 5 * time.Second, 15 * time.Second
		time.Sleep(settle)
		before, err := usageOfAll(r.processes)
		time.Sleep(watch)
		after, errAfter := usageOfAll(r.processes)
		if err := errors.Join(err, errAfter, r.end()); err != nil {
			return err
		}
		resident = append(resident, mebibytes(after.resident))
		cpu = append(cpu, 100*(after.cpu-before.cpu).Seconds()/watch.Seconds())
	}
	b.report.goal(Goal{Name: "idle process: resident memory", Values: resident, Unit: "MiB", Want: 60, AtMost: true})
	b.report.goal(Goal{Name: "idle process: CPU", Values: cpu, Unit: "%", Want: 0.1, AtMost: true})
	return nil
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
