package task

import "time"

// A task whose call was under way when the process died may be the reason, or
// may just have been there. To tell, those that were cut short again and again
// are called in smaller company, and then alone. Only who is cut short even
// then, again and again, is taken to be the reason and given up: a process that
// is killed every few seconds by somebody else must not fail the tasks that it
// has. Tasks that are new, or were cut short once, run as ever.
const (
	aloneFrom      = 3             // cuts after which a task runs alone among its like
	maxInterrupted = aloneFrom + 7 // cuts after which it is given up
	suspectPause   = time.Second   // between two looks whether a suspect may run
)

// company is how many tasks that were cut short so often run at once.
func company(cuts int) int {
	if cuts < aloneFrom {
		return 4
	}
	return 1
}

// suspects are how many run at this moment, by how often they were cut short.
// Guarded by Engine.mu.
type suspects [aloneFrom + 1]int

// enter says that a task may run that was cut short so often, and counts it.
func (s *suspects) enter(cuts int) bool {
	if cuts < 2 {
		return true
	}
	running := &s[min(cuts, aloneFrom)]
	if *running >= company(cuts) {
		return false
	}
	*running++
	return true
}

func (s *suspects) leave(cuts int) {
	if cuts >= 2 {
		s[min(cuts, aloneFrom)]--
	}
}

// admit says that a task may be called now that was cut short so often.
func (c *claim) admit(cuts int) bool {
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.suspects.enter(cuts) {
		return false
	}
	c.cuts = cuts
	return true
}
