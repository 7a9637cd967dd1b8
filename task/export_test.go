package task

// Waiting is how many entries the engine's queues hold, those of canceled tasks
// included that were not swept yet.
func Waiting(e *Engine) int {
	return e.calls.Entries() + e.deliveries.Entries() + e.deadlines.Entries()
}

// Pending is what max_pending bounds.
func Pending(e *Engine) int { return int(e.pending.Load()) }

// KeptBytes is how much is in memory of tasks between their claims.
func KeptBytes(e *Engine) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keptBytes
}

// Lives is how many tasks the engine knows of in memory.
func Lives(e *Engine) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.lives)
}

// HostLane is the lane of a callback URL, and RegistrableDomain whom it shares
// the trials with.
var (
	HostLane          = hostLane
	RegistrableDomain = registrableDomain
)
