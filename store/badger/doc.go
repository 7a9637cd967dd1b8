// Package badger keeps tasks in an embedded Badger database, and large bodies
// in files beside it, with a journal before it. It is the store of a single
// process.
//
//	store.go    Open, Close
//	step.go     Create, Save, Remove: what a step writes
//	commit.go   the one goroutine that commits steps, many at a time
//	attach.go   small requests and responses are kept with their task
//	journal.go  what a commit leaves in the journal, and how it is read again
//	journal/    keeps it until it is in a table
//	durable/    syncs
//	recent.go   what is in the journal only, until Badger gets it
//	view.go     how all that is read as one
//	read.go     Load, LoadRequest, LoadResponse, List
//	queue.go    Due and Expired
//	keys.go     the keys, and how records become values
//	bodies.go   large bodies; seal.go encrypts them, sweep.go removes them
//	space.go    how full the disk may become
//	compact.go  when the database is sorted anew, and gives back space
//
// Create and Save return after the journal is synced to the disk. A
// sync costs the same for one step as for a thousand, so the steps that come
// in during one share the next.
//
// Badger gets what was written a moment later, when much of it is outdated:
// of a task that is done by then, the record of its end, or nothing.
package badger
