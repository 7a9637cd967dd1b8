package task

import "time"

// breaker watches over one destination host, so that a dead one costs little
// and a recovered one is noticed soon. A host that was never reached, or just
// failed, gets one attempt at a time; each success doubles that, up to the
// lane's limit. After some failures in a row the circuit is open: nothing is
// sent for a pause, which doubles with each further failure. Its zero value
// is a host of which nothing is known; a breaker that nobody reports to (call
// lanes) lets everything pass.
type breaker struct {
	watched    bool
	window     int   // how many attempts may run at once; 0: none has ended yet
	failures   int   // in a row
	openUntil  int64 // process time
	knownUntil int64 // process time until which this is worth knowing
}

const (
	breakerFailures = 3 // in a row, that open the circuit
	breakerPause    = 5 * time.Second
	breakerMaxPause = 30 * time.Second
	breakerMemory   = time.Minute
)

func (b *breaker) limit(limit int) int {
	if !b.watched {
		return limit
	}
	return min(limit, max(1, b.window))
}

// proven says that the latest attempt reached the host.
func (b *breaker) proven() bool { return b.window > 0 }

func (b *breaker) report(ok bool, now int64) {
	b.knownUntil = now + int64(breakerMemory)
	if ok {
		b.failures = 0
		b.openUntil = 0
		b.window = min(max(1, b.window)*2, 1<<20)
		return
	}
	b.window = 0
	b.failures++
	if n := b.failures - breakerFailures; n >= 0 {
		b.openUntil = now + int64(min(breakerPause<<min(n, 8), breakerMaxPause))
	}
}
