package badger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// Keys are one letter, and then mostly a task's ID, which sorts by age.
const (
	taskKey     = 't' // ID: the task's record, rewritten by each step, with what is attached to it
	requestKey  = 'q' // ID: the request's record, unless it is attached
	responseKey = 'r' // ID: the response's record, unless it is attached
	chunkKey    = 'c' // ID, letter of a record, number: the rest of a giant record
	dueKey      = 'd' // ID: what is due, while the next action is a call or a delivery
	expiryKey   = 'x' // time, ID: when a task is to be removed; may be outdated
	nameKey     = 'i' // name of an idempotency key: the task that has it, and its fingerprint
	ownKey      = 'k' // ID: name of the task's idempotency key
	metaKey     = 'm' // the store's own
)

func key(letter byte, id task.ID) string {
	var k [1 + len(id)]byte
	k[0] = letter
	copy(k[1:], id[:])
	return string(k[:])
}

func idOf[K string | []byte](key K) (id task.ID) {
	copy(id[:], key[len(key)-len(id):])
	return id
}

func keyOfName(name []byte) string { return string(nameKey) + string(name) }

func keyOfChunk(letter byte, id task.ID, n byte) string {
	return key(chunkKey, id) + string([]byte{letter, n})
}

// keyOfExpiry has the time to the microsecond, as records have it.
func keyOfExpiry(at time.Time, id task.ID) string {
	var k [1 + 8 + len(id)]byte
	k[0] = expiryKey
	binary.BigEndian.PutUint64(k[1:], microseconds(at))
	copy(k[1+8:], id[:])
	return string(k[:])
}

func microseconds(t time.Time) uint64 {
	return uint64(max(0, t.UnixMicro()))
}

// dueLength is the length of what is due as a value: action, lane, time. The
// deadline of a task that has one follows.
const dueLength = 1 + 8 + 8

func encodeDue(d task.Due) []byte {
	v := make([]byte, dueLength, dueLength+8)
	v[0] = byte(d.Action)
	binary.BigEndian.PutUint64(v[1:], d.Lane)
	if !d.At.IsZero() {
		binary.BigEndian.PutUint64(v[9:], uint64(d.At.UnixMicro()))
	}
	if !d.Deadline.IsZero() {
		v = binary.BigEndian.AppendUint64(v, uint64(d.Deadline.UnixMicro()))
	}
	return v
}

func decodeDue(id task.ID, v []byte) (due task.Due, ok bool) {
	if len(v) != dueLength && len(v) != dueLength+8 {
		return due, false
	}
	due = task.Due{ID: id, Action: task.Action(v[0]), Lane: binary.BigEndian.Uint64(v[1:])}
	if at := int64(binary.BigEndian.Uint64(v[9:])); at != 0 {
		due.At = time.UnixMicro(at)
	}
	if len(v) > dueLength {
		due.Deadline = time.UnixMicro(int64(binary.BigEndian.Uint64(v[dueLength:])))
	}
	return due, due.Action == task.ActionCall || due.Action == task.ActionDeliver
}

// write is one key that a step sets, or with a nil value deletes.
type write struct {
	key   string
	value []byte
}

// writes are what a step writes.
type writes []write

func (w *writes) set(key string, value []byte) { *w = append(*w, write{key, value}) }
func (w *writes) delete(key string)            { *w = append(*w, write{key, nil}) }

// setRecord sets a record: one value, led by the number of values that hold
// the rest. There is a rest only for giants, of hundreds of kilobytes: that
// Badger would put a value of that size into the value log is one reason, that
// it could not at all when the value exceeds a transaction is the other.
func (w *writes) setRecord(letter byte, id task.ID, record []byte, chunk int) (chunks int) {
	first := record[:min(len(record), chunk)]
	rest := slices.Collect(slices.Chunk(record[len(first):], chunk))
	first[0] = byte(len(rest))
	w.set(key(letter, id), first)
	for i, c := range rest {
		w.set(keyOfChunk(letter, id, byte(i)), c)
	}
	return len(rest)
}

// size is an upper bound of what the writes count towards the limit of a
// transaction.
func (w writes) size() (n int64) {
	for _, one := range w {
		n += int64(len(one.key)+len(one.value)) + 32
	}
	return n
}

// getRecord reads a record that setRecord set; task.ErrNotFound.
func getRecord[R record.Kept](v *view, letter byte, id task.ID) (record *R, err error) {
	err = v.get(key(letter, id), func(value []byte) error {
		record, err = readValue[R](v, value, letter, id)
		return err
	})
	return record, err
}

func readValue[R record.Kept](v *view, value []byte, letter byte, id task.ID) (*R, error) {
	if len(value) > 0 && value[0] == 0 { // nearly always
		return unmarshal[R](value[1:], letter, id)
	}
	whole, err := joinChunks(v, value, letter, id)
	if err != nil {
		return nil, fmt.Errorf("%s of task %s: %w", nameOf(letter), id, err)
	}
	return unmarshal[R](whole, letter, id)
}

func unmarshal[R record.Kept](b []byte, letter byte, id task.ID) (*R, error) {
	record, err := record.Unmarshal[R](b)
	if err != nil {
		return nil, fmt.Errorf("%s of task %s: %w", nameOf(letter), id, err)
	}
	return record, nil
}

func joinChunks(v *view, value []byte, letter byte, id task.ID) ([]byte, error) {
	if len(value) == 0 {
		return nil, fmt.Errorf("%w: it is empty", task.ErrBadRecord)
	}
	whole := slices.Clone(value[1:])
	for n := range value[0] {
		err := v.get(keyOfChunk(letter, id, n), func(chunk []byte) error {
			whole = append(whole, chunk...)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%w: part %d of it: %v", task.ErrBadRecord, n+1, err)
		}
	}
	return whole, nil
}

func nameOf(letter byte) string {
	switch letter {
	case requestKey:
		return "request"
	case responseKey:
		return "response"
	default:
		return "record"
	}
}
