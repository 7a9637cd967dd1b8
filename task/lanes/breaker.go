package lanes

import "time"

// breaker watches over one lane, so that a dead host costs little and a
// recovered one is noticed soon. A lane that never worked, or just failed,
// gets one turn at a time; each success doubles that, up to the lane's limit.
// After some failures in a row the circuit is open: no turn comes for a pause,
// which doubles with each further failure. Its zero value lets everything pass.
type breaker struct {
	watched   bool
	window    int   // how many turns may run at once; 0: the latest failed, or none has ended yet
	failures  int   // in a row
	openUntil int64 // process time
	reported  int64 // process time of the latest report
	worked    bool  // at least once
}

const (
	breakerFailures = 3 // in a row, that open the circuit
	breakerPause    = 5 * time.Second
	breakerMaxPause = 30 * time.Second

	// How long it is worth knowing how a lane did. Those that worked are
	// remembered long, as being proven spares them the wait for a trial, but not
	// any number of them.
	successMemory = 12 * time.Hour
	failureMemory = 10 * time.Minute
	shortMemory   = time.Minute
	maxRemembered = 1 << 16
)

func (b *breaker) limit(limit int) int {
	if !b.watched {
		return limit
	}
	return min(limit, max(1, b.window))
}

// proven says that the lane needs no trial: the latest turn worked, or it once
// did and failures since are too few to tell.
func (b *breaker) proven() bool { return b.window > 0 || b.worked && b.failures < breakerFailures }

// knownUntil is until when the lane is to be remembered, of so many.
func (b *breaker) knownUntil(lanes int) int64 {
	switch {
	case b.reported == 0:
		return 0
	case lanes > maxRemembered:
		return b.reported + int64(shortMemory)
	case b.worked:
		return b.reported + int64(successMemory)
	default:
		return b.reported + int64(failureMemory)
	}
}

func (b *breaker) report(ok bool, now int64) {
	b.reported = max(now, 1)
	if ok {
		b.worked = true
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
