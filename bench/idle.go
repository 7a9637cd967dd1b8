package main

import (
	"errors"
	"time"
)

// idle measures a process that has nothing to do.
func idle(b *bench) error {
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
	b.report.goal(Goal{Name: "idle process: resident memory", Values: []float64{mebibytes(after.resident)}, Unit: "MiB", Want: 60, AtMost: true})
	b.report.goal(Goal{Name: "idle process: CPU", Values: []float64{100 * (after.cpu - before.cpu).Seconds() / watch.Seconds()}, Unit: "%", Want: 0.1, AtMost: true})
	return nil
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
