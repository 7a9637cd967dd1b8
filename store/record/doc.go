// Package record is how stores write tasks, requests and responses down.
//
//	wire.go    Marshal, Unmarshal: the wire format
//	fields.go  what each record has, field by field
//	attach.go  a small request or response within the record of its task
package record
