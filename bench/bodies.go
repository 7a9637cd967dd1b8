package main

import "fmt"

// bodies sends large bodies to a Ringback with little memory. It runs under
// GOMEMLIMIT, which is what Caddy sets in a container, and its memory is
// watched from outside.
func bodies(b *bench) error {
	const size, limit = 1 << 20, 256
	n := 10_000
	if b.quick {
		n /= 10
	}
	c := ringbackForget
	c.name = "Ringback, Badger, GOMEMLIMIT=230MiB"
	c.env = []string{"GOMEMLIMIT=230MiB"} // nine tenths of the container's
	name := fmt.Sprintf("%d bodies of 1 MiB, 64 clients", n)
	if err := b.expect(n, false); err != nil {
		return err
	}
	if err := b.backend.call("Close", None{}, &None{}); err != nil {
		return err
	}
	defer b.backend.call("Open", None{}, &None{})
	var most int64
	t, err := b.turn(c, func(r *running) (Turn, error) {
		peak := watchPeak(r.processes[0].pid())
		defer func() { most = peak() }()
		w := Work{Addr: r.addr, Clients: 64, Pattern: post(size, b.receiverAddr), N: n, Want: 202}
		t, err := r.measured(name, w, 0, nil)
		if err != nil {
			return t, err
		}
		if err := b.backend.call("Open", None{}, &None{}); err != nil {
			return t, err
		}
		_, err = b.delivered(n)
		return t, err
	})
	if err != nil {
		return err
	}
	b.report.row(name, c, []Turn{t})
	b.report.goal(Goal{Name: name + ": peak of anonymous memory", Values: []float64{mebibytes(most)}, Unit: "MiB", Want: limit, AtMost: true})
	return nil
}
