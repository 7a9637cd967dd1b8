package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// errTooLarge says that a body is larger than its bound.
var errTooLarge = errors.New("the body is too large")

// spool takes a body as it comes: inline while it is small, then to the
// store. No more than InlineLimit of it is ever in memory.
type spool struct {
	ctx   context.Context
	store Store
	id    ID
	part  Part
	max   int64 // in bytes; more is errTooLarge
	// patient makes a write wait for room when the store has none, until ctx
	// ends: a backend's answer can't be asked for again.
	patient bool

	size   int64
	inline []byte
	stored BodyWriter // nil while inline
}

// Write implements [io.Writer]. Its errors are errTooLarge, the store's, or ctx's.
func (s *spool) Write(p []byte) (int, error) {
	if int64(len(p)) > s.max-s.size {
		return 0, errTooLarge
	}
	if s.stored == nil && len(s.inline)+len(p) <= InlineLimit {
		s.inline = append(s.inline, p...)
		s.size += int64(len(p))
		return len(p), nil
	}
	if s.stored == nil {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	n, err := s.write(p)
	s.size += int64(n)
	return n, err
}

func (s *spool) spill() error {
	for {
		w, err := s.store.CreateBody(s.ctx, s.id, s.part)
		if err == nil {
			s.stored = w
			break
		}
		if err := s.wait(err); err != nil {
			return err
		}
	}
	_, err := s.write(s.inline)
	s.inline = nil
	return err
}

func (s *spool) write(p []byte) (n int, err error) {
	for {
		written, err := s.stored.Write(p[n:])
		n += written
		if err == nil {
			return n, nil
		}
		if err := s.wait(err); err != nil {
			return n, err
		}
	}
}

// wait returns nil when what failed may be tried again.
func (s *spool) wait(err error) error {
	if !s.patient || !errors.Is(err, ErrNoSpace) {
		return err
	}
	select {
	case <-time.After(time.Second):
		return nil
	case <-s.ctx.Done():
		return fmt.Errorf("%w, while %w", context.Cause(s.ctx), err)
	}
}

// ReadFrom implements [io.ReaderFrom], so that a body of known small size is
// read into memory of just that size.
func (s *spool) ReadFrom(r io.Reader) (int64, error) {
	before := s.size
	for s.stored == nil {
		if len(s.inline) == cap(s.inline) {
			s.inline = append(s.inline, 0)[:len(s.inline)]
		}
		room := s.inline[len(s.inline):min(cap(s.inline), InlineLimit+1)]
		n, err := r.Read(room)
		if int64(n) > s.max-s.size {
			return s.size - before, errTooLarge
		}
		s.inline = s.inline[:len(s.inline)+n]
		s.size += int64(n)
		if err == io.EOF {
			return s.size - before, nil
		}
		if err != nil {
			return s.size - before, &readError{err}
		}
		if len(s.inline) > InlineLimit {
			if err := s.spill(); err != nil {
				return s.size - before, err
			}
		}
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := s.Write(buf[:n]); err != nil {
				return s.size - before, err
			}
		}
		if err == io.EOF {
			return s.size - before, nil
		}
		if err != nil {
			return s.size - before, &readError{err}
		}
	}
}

// readError is an error of the one who sends the body, not of the store.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// close ends the body and says where it is. The body is durable then, if it
// is not inline.
func (s *spool) close() (Body, error) {
	if s.stored == nil {
		return Body{Size: s.size, Inline: s.inline}, nil
	}
	if err := s.stored.Commit(); err != nil {
		return Body{}, err
	}
	return Body{Size: s.size, Stored: true}, nil
}

// discard drops the body.
func (s *spool) discard() {
	if s.stored != nil {
		s.stored.Discard()
	}
	s.inline, s.stored = nil, nil
}
