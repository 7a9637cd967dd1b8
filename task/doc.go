// Package task is the life of a task: an HTTP request that was accepted with
// 202, is forwarded to a slow backend, and whose answer is delivered to the
// callback URL that the client gave.
//
//	accept    accept.go       the callback URL is checked, the request stored, 202 answered
//	store     store.go        the interface that stores implement, see store/badger
//	run       engine.go       what is due is claimed, run, drained; lanes/ says in which order
//	claim     claim.go        one at a time works on a task, and leaves it where its next action is
//	forward   forward.go      the backend is called, its answer captured and stored; call.go, verdict.go
//	deliver   deliver.go      the answer is signed and POSTed; the verdict: done, retry, dead
//	retry     retry.go        when the next attempt is due
//
// Execution and delivery are two facts about a task, and each has its states:
//
//	Status:           queued ──> running ──> completed
//	                    │  <──────  │  ────> failed
//	                    └───────────┴──────> canceled, expired
//
//	Callback.Status:  none
//	                  pending ──> delivered
//	                    └──> retrying ──> delivered
//	                              └─────> dead ──> pending (redelivery)
//
// From the two follows the one next action of a task, see [Task.Next]. A
// stored task always has exactly one, so nothing is ever lost between steps.
//
// The guarantee: when the 202 has been sent, the backend is called, and the
// outcome is delivered at least once or is kept and shown as dead, canceled or
// expired. A process that dies between an act and its record repeats the act.
//
// The package knows neither Caddy nor a database.
package task
