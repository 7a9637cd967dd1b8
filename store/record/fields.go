package record

import (
	"bytes"
	"time"

	"github.com/ringback/ringback/task"
)

// The records, field by field: encode and decode side by side.
type (
	taskFields     task.Task
	summaryFields  task.Summary
	failureFields  task.Failure
	callbackFields task.Callback
	deliveryFields task.Delivery
	requestFields  task.Request
	tlsFields      task.TLS
	responseFields task.Response
	bodyFields     task.Body
)

func (t *taskFields) encode(e *encoder) {
	e.bytes(1, t.ID[:])
	e.str(2, t.Route)
	e.str(3, t.Owner)
	e.num(4, uint64(t.Status))
	e.time(5, t.CreatedAt)
	e.time(6, t.StartedAt)
	e.time(7, t.FinishedAt)
	e.time(8, t.NextCallAt)
	e.time(9, t.Deadline)
	e.time(10, t.ExpiresAt)
	e.int(11, int64(t.Attempts))
	e.int(12, int64(t.Interrupted))
	e.str(13, t.LastError)
	if r := t.Response; r != nil {
		e.message(14, func(e *encoder) {
			e.int(1, int64(r.Status))
			e.str(2, r.ContentType)
			e.int(3, r.Bytes)
		})
	}
	if f := t.Failure; f != nil {
		e.message(15, func(e *encoder) {
			e.str(1, f.Code)
			e.int(2, int64(f.Status))
			e.str(3, f.Message)
		})
	}
	e.message(16, (*callbackFields)(&t.Callback).encode)
	e.str(17, t.TraceParent)
	e.bool(18, t.Bound)
}

func (t *taskFields) decode(field int, v value) error {
	switch field {
	case 1:
		if len(v.b) != len(t.ID) {
			return task.ErrBadID
		}
		t.ID = task.ID(v.b)
	case 2:
		t.Route = v.str()
	case 3:
		t.Owner = v.str()
	case 4:
		t.Status = task.Status(v.n)
		if v.n > uint64(task.Expired) {
			return errUnknown("status", v.n)
		}
	case 5:
		t.CreatedAt = v.time()
	case 6:
		t.StartedAt = v.time()
	case 7:
		t.FinishedAt = v.time()
	case 8:
		t.NextCallAt = v.time()
	case 9:
		t.Deadline = v.time()
	case 10:
		t.ExpiresAt = v.time()
	case 11:
		t.Attempts = v.int()
	case 12:
		t.Interrupted = v.int()
	case 13:
		t.LastError = v.str()
	case 14:
		t.Response = new(task.Summary)
		return v.inside((*summaryFields)(t.Response).decode)
	case 15:
		t.Failure = new(task.Failure)
		return v.inside((*failureFields)(t.Failure).decode)
	case 16:
		return v.inside((*callbackFields)(&t.Callback).decode)
	case 17:
		t.TraceParent = v.str()
	case 18:
		t.Bound = v.bool()
	}
	return nil
}

func (s *summaryFields) decode(field int, v value) error {
	switch field {
	case 1:
		s.Status = v.int()
	case 2:
		s.ContentType = v.str()
	case 3:
		s.Bytes = int64(v.n)
	}
	return nil
}

func (f *failureFields) decode(field int, v value) error {
	switch field {
	case 1:
		f.Code = v.str()
	case 2:
		f.Status = v.int()
	case 3:
		f.Message = v.str()
	}
	return nil
}

func (c *callbackFields) encode(e *encoder) {
	e.str(1, c.URL)
	e.str(2, c.ErrorURL)
	e.num(3, uint64(c.Events))
	e.num(4, uint64(c.Format))
	e.header(5, c.Header)
	e.num(6, uint64(c.Status))
	e.int(7, int64(c.Attempts))
	e.int(8, int64(c.Round))
	e.time(9, c.NextAt)
	for _, d := range c.Log {
		e.message(10, func(e *encoder) {
			e.time(1, d.At)
			e.int(2, int64(d.Duration))
			e.int(3, int64(d.Status))
			e.str(4, d.Error)
		})
	}
}

func (c *callbackFields) decode(field int, v value) error {
	switch field {
	case 1:
		c.URL = v.str()
	case 2:
		c.ErrorURL = v.str()
	case 3:
		c.Events = task.Events(v.n)
	case 4:
		c.Format = task.Format(v.n)
		if v.n > uint64(task.FormatCloudEvents) {
			return errUnknown("format", v.n)
		}
	case 5:
		return v.header(&c.Header)
	case 6:
		c.Status = task.CallbackStatus(v.n)
		if v.n > uint64(task.CallbackDead) {
			return errUnknown("callback status", v.n)
		}
	case 7:
		c.Attempts = v.int()
	case 8:
		c.Round = v.int()
	case 9:
		c.NextAt = v.time()
	case 10:
		c.Log = append(c.Log, task.Delivery{})
		return v.inside((*deliveryFields)(&c.Log[len(c.Log)-1]).decode)
	}
	return nil
}

func (d *deliveryFields) decode(field int, v value) error {
	switch field {
	case 1:
		d.At = v.time()
	case 2:
		d.Duration = time.Duration(v.n)
	case 3:
		d.Status = v.int()
	case 4:
		d.Error = v.str()
	}
	return nil
}

func (r *requestFields) encode(e *encoder) {
	e.str(1, r.Method)
	e.str(2, r.URL)
	e.str(3, r.RequestURI)
	e.str(4, r.OriginalMethod)
	e.str(5, r.OriginalURL)
	e.str(6, r.OriginalRequestURI)
	e.str(7, r.Proto)
	e.str(8, r.Host)
	e.str(9, r.RemoteAddr)
	e.str(10, r.LocalAddr)
	if t := r.TLS; t != nil {
		e.message(11, func(e *encoder) {
			e.str(1, t.ServerName)
			e.num(2, uint64(t.Version))
			e.num(3, uint64(t.CipherSuite))
			e.str(4, t.NegotiatedProtocol)
		})
	}
	e.header(12, r.Header)
	e.header(13, r.Trailer)
	e.message(14, (*bodyFields)(&r.Body).encode)
	e.str(15, r.Server)
	for name, v := range r.Vars {
		e.variable(16, name, v)
	}
	for name, v := range r.Placeholders {
		e.message(17, func(e *encoder) {
			e.str(1, name)
			e.str(2, v)
		})
	}
}

func (r *requestFields) decode(field int, v value) error {
	switch field {
	case 1:
		r.Method = v.str()
	case 2:
		r.URL = v.str()
	case 3:
		r.RequestURI = v.str()
	case 4:
		r.OriginalMethod = v.str()
	case 5:
		r.OriginalURL = v.str()
	case 6:
		r.OriginalRequestURI = v.str()
	case 7:
		r.Proto = v.str()
	case 8:
		r.Host = v.str()
	case 9:
		r.RemoteAddr = v.str()
	case 10:
		r.LocalAddr = v.str()
	case 11:
		r.TLS = new(task.TLS)
		return v.inside((*tlsFields)(r.TLS).decode)
	case 12:
		return v.header(&r.Header)
	case 13:
		return v.header(&r.Trailer)
	case 14:
		return v.inside((*bodyFields)(&r.Body).decode)
	case 15:
		r.Server = v.str()
	case 16:
		return v.variable(&r.Vars)
	case 17:
		if r.Placeholders == nil {
			r.Placeholders = make(map[string]string)
		}
		var name, held string
		err := v.inside(func(field int, v value) error {
			switch field {
			case 1:
				name = v.str()
			case 2:
				held = v.str()
			}
			return nil
		})
		r.Placeholders[name] = held
		return err
	}
	return nil
}

func (t *tlsFields) decode(field int, v value) error {
	switch field {
	case 1:
		t.ServerName = v.str()
	case 2:
		t.Version = uint16(v.n)
	case 3:
		t.CipherSuite = uint16(v.n)
	case 4:
		t.NegotiatedProtocol = v.str()
	}
	return nil
}

func (r *responseFields) encode(e *encoder) {
	e.int(1, int64(r.Status))
	e.header(2, r.Header)
	e.message(3, (*bodyFields)(&r.Body).encode)
	e.time(4, r.At)
}

func (r *responseFields) decode(field int, v value) error {
	switch field {
	case 1:
		r.Status = v.int()
	case 2:
		return v.header(&r.Header)
	case 3:
		return v.inside((*bodyFields)(&r.Body).decode)
	case 4:
		r.At = v.time()
	}
	return nil
}

func (b *bodyFields) encode(e *encoder) {
	e.int(1, b.Size)
	e.bytes(2, b.Inline)
	e.bool(3, b.Stored)
}

func (b *bodyFields) decode(field int, v value) error {
	switch field {
	case 1:
		b.Size = int64(v.n)
	case 2:
		b.Inline = bytes.Clone(v.b)
	case 3:
		b.Stored = v.bool()
	}
	return nil
}
