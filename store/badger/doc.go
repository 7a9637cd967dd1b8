// Package badger keeps tasks in an embedded Badger database, and large bodies
// in files beside it, with a journal before it. It is the store of a single
// process.
//
// # The life of a write
//
// Create, Save and Remove make a step: the keys that it sets and deletes. The
// committing goroutine takes the steps that came in during one sync, asks each
// one's guard, and appends what they write to the journal as one record. When
// that is synced the steps are durable. They are then recent: in memory, in the
// active generation, where readers see them before they look at Badger.
//
// A generation is what is in one file of the journal, the latest write of each
// key. When the file is full the committing goroutine rotates: the other file
// is begun, and the full generation is flushed in the background. Badger gets
// what is left of it: of a task that is done by then, the record of its end,
// or nothing. Then the flush makes Badger durable (older memtables are waited
// for until they are tables, the log of the present one is synced), and writes
// a checkpoint: everything up to this record is in the database for good. Only
// after that is the file of the journal begun anew. So the journal is two
// files, whatever the traffic, and a commit waits for a flush only if a second
// file is full before the first one is flushed.
//
// # What a crash leaves
//
//	while a record is appended      it ends the journal, and nobody was told of it
//	before, or while, a generation
//	is flushed                      the journal has it: the start flushes it again, whole
//	between flush and checkpoint    the same
//	between checkpoint and rotation the same, once more than was needed
//	while a file is begun           its header is the old or the new one; what it
//	                                held is in the database either way
//
// The order is the same as in operation: at a start the records after the
// latest checkpoint are made generations, flushed, and made durable, before the
// journal begins anew and anything is promised.
//
// # Damage
//
// A start tells it from the end of what was written. An end mark, or a record,
// behind one that can't be read shows that it was durable once. The database
// must have the checkpoint that the journal relies on, and the manifest that
// was there then; each table is read and its checksums are verified. A directory
// in which something is missing is not opened, and nothing in it is changed:
// Badger itself would cut off and delete what it can't make sense of.
//
// # Who owns what
//
//   - The committing goroutine: the journal, and which generations there are.
//   - The lock of the directory: taken before the first look, given back when all
//     is closed.
//   - Store.writing: held while anything is written to Badger.
//   - recent.mu: readers hold it as long as they use a value that is recent.
//   - flushing.mu, space.mu, compactor.mu, bodies.mu, pending.mu, giants.mu: each
//     for its own fields, and never while another lock is taken.
//   - Lock order: writing, compactor.flattening, recent.mu.
//
// # Where it is
//
//	store.go       Store: what it has, and Close
//	open.go        Open; inspect.go looks at what is there, before Badger does;
//	               lock_unix.go keeps other processes away
//	step.go        Create, Save, Remove: what a step writes; attach.go, keys.go, encode.go
//	commit.go      the one goroutine that commits steps, many at a time
//	journal/       keeps them until the database has them; durable/ syncs
//	generation.go  what is recent
//	flush.go       how Badger gets it, and the checkpoint
//	view.go        how all that is read as one; read.go, queue.go: what is asked
//	bodies.go      large bodies; seal.go protects them, sweep.go removes them
//	space.go       how full the disk may become
//	compact.go     when the database is sorted anew, and gives back space
//	check.go       Check; repair.go: Repair; rotatekey.go: RotateKey
package badger
