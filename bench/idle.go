package main

import "time"

// idle measures a process that has nothing to do.
func idle(b *bench) error {
	r, err := b.start(ringback)
	if err != nil {
		return err
	}
	const settle, watch = 5 * time.Second, 15 * time.Second
	var before, after usage
	time.Sleep(settle)
	if before, err = usageOfAll(r.processes); err != nil {
		return err
	}
	time.Sleep(watch)
	if after, err = usageOfAll(r.processes); err != nil {
		return err
	}
	b.report.goal(Goal{Name: "idle process: resident memory", Values: []float64{mebibytes(after.resident)}, Unit: "MiB", Want: 60, AtMost: true})
	b.report.goal(Goal{Name: "idle process: CPU", Values: []float64{100 * (after.cpu - before.cpu).Seconds() / watch.Seconds()}, Unit: "%", Want: 0.1, AtMost: true})
	return r.end()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
