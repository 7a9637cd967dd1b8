// Package lanes decides which of many keys is next, and when. Keys wait in
// lanes: within a lane, first due, first run; between lanes nothing is shared,
// so that a lane that is stuck delays no other.
//
//	wait    queue.go    keys are put into lanes and taken out of them
//	run     turn.go     a key's turn comes, in a worker's goroutine
//	watch   breaker.go  a lane that fails gets fewer turns, and then none for a while
//	share   trials.go   lanes of which nothing is known share what is set apart for them
//
// A key waits in one lane or in none, however often it was put somewhere: the
// latest counts. All times are process time, which no change of the wall clock
// moves.
package lanes
