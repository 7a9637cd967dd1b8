package task

import "time"

// Waits go by process time, which no change of the wall clock moves. What is
// stored, goes by the wall clock, and the wall clock may be set: forward, by
// mistake, so that all that was kept for a day would be removed at once; or
// back, so that it would be kept for years.

const (
	clockStep  = time.Minute // more than a clock is corrected by without being set
	clockTrust = time.Hour   // how long a clock that was set forward must stay so to be believed
)

// cautious is a wall clock for what can't be undone.
type cautious struct {
	wall  func() time.Time
	shown time.Time // at base
	base  time.Time // in process time
	leapt time.Time // since when the wall clock is ahead, in process time; zero: it is not
}

func newCautious(wall func() time.Time) *cautious {
	return &cautious{wall: wall, shown: wall(), base: time.Now()}
}

// now is the time, as far as it can be believed, and whether the clock was set
// back since it was last asked for.
func (c *cautious) now() (now time.Time, setBack bool) {
	wall, process := c.wall(), time.Now()
	expected := c.shown.Add(process.Sub(c.base))
	switch ahead := wall.Sub(expected); {
	case ahead > clockStep && c.leapt.IsZero():
		c.leapt = process
		return expected, false
	case ahead > clockStep && process.Sub(c.leapt) < clockTrust:
		return expected, false
	default:
		c.shown, c.base, c.leapt = wall, process, time.Time{}
		return wall, ahead < -clockStep
	}
}
