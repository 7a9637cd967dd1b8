package record

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringback/ringback/task"
)

// A store may keep a small request or response in the record of its task, as
// a field that Unmarshal[task.Task] passes over: that spares it a key.
const (
	attachedRequest  protowire.Number = 126
	attachedResponse protowire.Number = 127
)

func attachment(part task.Part) protowire.Number {
	if part == task.RequestPart {
		return attachedRequest
	}
	return attachedResponse
}

// Attach appends a request or response to what Append made of its task.
func Attach[R task.Request | task.Response](b []byte, record *R) ([]byte, error) {
	part := task.ResponsePart
	if _, ok := any(record).(*task.Request); ok {
		part = task.RequestPart
	}
	b = protowire.AppendTag(b, attachment(part), protowire.BytesType)
	start := len(b)
	b, err := Append(b, record)
	if err != nil {
		return nil, err
	}
	size := len(b) - start
	b = slices.Insert(b, start, protowire.AppendVarint(nil, uint64(size))...)
	return b, nil
}

// Attached returns what was attached to a task's record, nil for what was not.
// They are records to Unmarshal, and share memory with b. task.ErrBadRecord.
func Attached(b []byte) (request, response []byte, err error) {
	if len(b) == 0 || b[0] != recordVersion {
		return nil, nil, task.ErrBadRecord
	}
	err = decode(b[1:], func(field int, v value) error {
		switch field {
		case int(attachedRequest):
			request = v.b
		case int(attachedResponse):
			response = v.b
		}
		return nil
	})
	if err != nil {
		return nil, nil, task.ErrBadRecord
	}
	return request, response, nil
}

// AttachRecord is Attach for what Attached returned.
func AttachRecord(b []byte, part task.Part, record []byte) []byte {
	b = protowire.AppendTag(b, attachment(part), protowire.BytesType)
	return protowire.AppendBytes(b, record)
}
