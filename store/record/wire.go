package record

import (
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringback/ringback/task"
)

// Records are a version byte and then the Protocol Buffers wire format, by
// hand on top of protowire: what is stored and how it is written can be read
// side by side, it is compact and quick, and tomorrow's binary reads today's
// records, since fields are only ever added, and a number is never used for
// something else. Zero values are left out.
const recordVersion = 1

// Kept is one of the types that stores keep.
type Kept interface {
	task.Task | task.Request | task.Response
}

// Marshal writes a record as bytes to be stored. The error is for values that
// can't be stored, such as a variable of a strange type.
func Marshal[R Kept](record *R) ([]byte, error) { return Append(nil, record) }

// Append is Marshal that appends to b.
func Append[R Kept](b []byte, record *R) ([]byte, error) {
	size := 512
	switch r := any(record).(type) {
	case *task.Request:
		size = 1024 + len(r.Body.Inline)
	case *task.Response:
		size += len(r.Body.Inline)
	}
	e := &encoder{b: append(slices.Grow(b, size), recordVersion)}
	switch r := any(record).(type) {
	case *task.Task:
		(*taskFields)(r).encode(e)
	case *task.Request:
		(*requestFields)(r).encode(e)
	case *task.Response:
		(*responseFields)(r).encode(e)
	}
	return e.b, e.err
}

// Unmarshal reads what Marshal wrote, by this version of the program or an
// earlier one. Anything else is a task.ErrBadRecord. The record does not share
// memory with b.
func Unmarshal[R Kept](b []byte) (*R, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", task.ErrBadRecord)
	}
	if b[0] != recordVersion {
		return nil, fmt.Errorf("%w: it has version %d, this program knows %d", task.ErrBadRecord, b[0], recordVersion)
	}
	record := new(R)
	var field func(int, value) error
	switch r := any(record).(type) {
	case *task.Task:
		field = (*taskFields)(r).decode
	case *task.Request:
		field = (*requestFields)(r).decode
	case *task.Response:
		field = (*responseFields)(r).decode
	}
	if err := decode(b[1:], field); err != nil {
		return nil, fmt.Errorf("%w: %w", task.ErrBadRecord, err)
	}
	if t, ok := any(record).(*task.Task); ok && t.ID.IsZero() {
		return nil, fmt.Errorf("%w: it is a task without an id", task.ErrBadRecord)
	}
	return record, nil
}

// encoder appends fields; a field with a zero value is left out.
type encoder struct {
	b   []byte
	err error
}

func (e *encoder) num(field int, v uint64) {
	if v != 0 {
		e.b = protowire.AppendTag(e.b, protowire.Number(field), protowire.VarintType)
		e.b = protowire.AppendVarint(e.b, v)
	}
}

func (e *encoder) int(field int, v int64) { e.num(field, uint64(v)) }

func (e *encoder) bool(field int, v bool) { e.num(field, protowire.EncodeBool(v)) }

// time is kept to the microsecond.
func (e *encoder) time(field int, t time.Time) {
	if !t.IsZero() {
		e.num(field, protowire.EncodeZigZag(t.UnixMicro()))
	}
}

func (e *encoder) str(field int, s string) {
	if s != "" {
		e.b = protowire.AppendTag(e.b, protowire.Number(field), protowire.BytesType)
		e.b = protowire.AppendString(e.b, s)
	}
}

func (e *encoder) bytes(field int, b []byte) {
	if len(b) > 0 {
		e.b = protowire.AppendTag(e.b, protowire.Number(field), protowire.BytesType)
		e.b = protowire.AppendBytes(e.b, b)
	}
}

// message appends a nested record.
func (e *encoder) message(field int, fields func(*encoder)) {
	e.b = protowire.AppendTag(e.b, protowire.Number(field), protowire.BytesType)
	start := len(e.b)
	fields(e)
	size := len(e.b) - start
	n := protowire.SizeVarint(uint64(size))
	var room [10]byte
	e.b = append(e.b, room[:n]...)
	copy(e.b[start+n:], e.b[start:start+size])
	protowire.AppendVarint(e.b[start:start], uint64(size))
}

func (e *encoder) header(field int, h http.Header) {
	for name, values := range h {
		e.message(field, func(e *encoder) {
			e.str(1, name)
			for _, v := range values {
				e.b = protowire.AppendTag(e.b, 2, protowire.BytesType) // an empty value is a value, too
				e.b = protowire.AppendString(e.b, v)
			}
		})
	}
}

func errUnknown(what string, n uint64) error {
	return fmt.Errorf("%s %d is unknown to this program", what, n)
}

// value is what a field holds: a number or bytes.
type value struct {
	n uint64
	b []byte
}

func (v value) str() string     { return string(v.b) }
func (v value) int() int        { return int(int64(v.n)) }
func (v value) bool() bool      { return protowire.DecodeBool(v.n) }
func (v value) time() time.Time { return time.UnixMicro(protowire.DecodeZigZag(v.n)) }

// inside reads the fields of a nested record.
func (v value) inside(field func(int, value) error) error { return decode(v.b, field) }

func (v value) header(h *http.Header) error {
	if *h == nil {
		*h = make(http.Header)
	}
	var name string
	var values []string
	err := v.inside(func(field int, v value) error {
		switch field {
		case 1:
			name = v.str()
		case 2:
			values = append(values, v.str())
		}
		return nil
	})
	(*h)[name] = values
	return err
}

// decode calls field for each field of a record. What it does not know it
// ignores.
func decode(b []byte, field func(int, value) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.n, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v.b, n = protowire.ConsumeBytes(b)
		case protowire.Fixed64Type:
			v.n, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := field(int(number), v); err != nil {
			return err
		}
	}
	return nil
}

// variable appends one of a request's variables.
func (e *encoder) variable(field int, name string, v any) {
	e.message(field, func(e *encoder) {
		e.str(1, name)
		switch v := v.(type) {
		case string:
			e.b = protowire.AppendTag(e.b, 2, protowire.BytesType)
			e.b = protowire.AppendString(e.b, v)
		case bool:
			e.b = protowire.AppendTag(e.b, 3, protowire.VarintType)
			e.b = protowire.AppendVarint(e.b, protowire.EncodeBool(v))
		default: // what width a number had is forgotten
			switch n := reflect.ValueOf(v); {
			case n.CanInt():
				e.b = protowire.AppendTag(e.b, 4, protowire.VarintType)
				e.b = protowire.AppendVarint(e.b, uint64(n.Int()))
			case n.CanUint():
				e.b = protowire.AppendTag(e.b, 4, protowire.VarintType)
				e.b = protowire.AppendVarint(e.b, n.Uint())
			case n.CanFloat():
				e.b = protowire.AppendTag(e.b, 5, protowire.Fixed64Type)
				e.b = protowire.AppendFixed64(e.b, math.Float64bits(n.Float()))
			default:
				e.err = fmt.Errorf("variable %s has type %T, which can't be stored", name, v)
			}
		}
	})
}

func (v value) variable(vars *map[string]any) error {
	if *vars == nil {
		*vars = make(map[string]any)
	}
	var name string
	var held any
	err := v.inside(func(field int, v value) error {
		switch field {
		case 1:
			name = v.str()
		case 2:
			held = v.str()
		case 3:
			held = v.bool()
		case 4:
			held = v.int()
		case 5:
			held = math.Float64frombits(v.n)
		}
		return nil
	})
	if held != nil {
		(*vars)[name] = held
	}
	return err
}
