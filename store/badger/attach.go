package badger

import (
	"sync"

	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// The sizes up to which a request or response is kept in its task's record:
// one key less, for which it is written again with each step that leaves it as
// it is. That is seldom for a request, and each time for a response. Those with
// a body in a file have a key of their own.
const (
	maxAttachedRequest  = 2 << 10
	maxAttachedResponse = 256
)

// buffers are for records on their way to the journal, which copies them.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// putTask writes the task's record, and with it that of its request or
// response, if it is not nil: in the same value, if it is no larger than
// limit, or with a key of its own. body is the body of that record.
func putTask[R task.Request | task.Response](s *Store, p *step, t *task.Task, letter byte, kept *R, body task.Body, limit int) error {
	p.buffer = buffers.Get().(*[]byte)
	b, err := record.Append(append((*p.buffer)[:0], 0), t)
	if err != nil {
		return err
	}
	alone := len(b)
	attached := kept != nil && !body.Stored && len(body.Inline) <= limit
	if attached {
		if b, err = record.Attach(b, kept); err != nil {
			return err
		}
		attached = len(b) <= min(alone+limit, s.chunk)
	}
	*p.buffer = b
	if attached || kept == nil {
		return putBytes(s, p, taskKey, b)
	}
	if err := putBytes(s, p, taskKey, b[:alone:alone]); err != nil { // what is attached to it later, goes elsewhere
		return err
	}
	if b, err = record.Append(append(b[:alone], 0), kept); err != nil {
		return err
	}
	*p.buffer = b
	return putBytes(s, p, letter, b[alone:])
}

// recycle gives the step's buffer to another one.
func (p *step) recycle() {
	const large = 64 << 10
	if p.buffer != nil && cap(*p.buffer) <= large {
		buffers.Put(p.buffer)
	}
	p.buffer = nil
}

// carry completes a step that replaces the record of a task: what is attached
// to the present record goes over to the new one, unless the step drops or
// replaces it. task.ErrNotFound: the task was removed, and must not come back
// as half of one.
func carry(v *view, p *step, dropRequest, newResponse bool) error {
	return v.get(p.writes[0].key, func(value []byte) error {
		request, response := attachments(value)
		switch {
		case request != nil && !dropRequest:
			p.attach(task.RequestPart, requestKey, request)
		case request == nil && dropRequest:
			p.writes.delete(key(requestKey, p.id))
		}
		if response != nil && !newResponse {
			p.attach(task.ResponsePart, responseKey, response)
		}
		return nil
	})
}

func (p *step) attach(part task.Part, letter byte, kept []byte) {
	if value := &p.writes[0].value; (*value)[0] == 0 {
		*value = record.AttachRecord(*value, part, kept)
		return
	}
	// The task has become a giant, which carries nothing.
	p.writes.set(key(letter, p.id), append([]byte{0}, kept...))
}

// attachments are what is attached to the value of a task; none if it can't
// be read.
func attachments(v []byte) (request, response []byte) {
	if len(v) == 0 || v[0] != 0 {
		return nil, nil
	}
	request, response, err := record.Attached(v[1:])
	if err != nil {
		return nil, nil
	}
	return request, response
}

// getPart reads the record of a task's request or response, wherever it is;
// task.ErrNotFound.
func getPart[R task.Request | task.Response](v *view, part task.Part, letter byte, id task.ID) (kept *R, err error) {
	err = v.get(key(taskKey, id), func(value []byte) error {
		request, response := attachments(value)
		attached := response
		if part == task.RequestPart {
			attached = request
		}
		if attached == nil {
			return nil
		}
		kept, err = unmarshal[R](attached, letter, id)
		return err
	})
	if kept != nil || err != nil {
		return kept, err
	}
	return getRecord[R](v, letter, id)
}
