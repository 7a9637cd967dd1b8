package memory

import (
	"bytes"
	"context"
	"io"

	"github.com/ringback/ringback/task"
)

type bodyName struct {
	id   task.ID
	part task.Part
}

// CreateBody implements [task.Store].
func (s *Store) CreateBody(ctx context.Context, id task.ID, part task.Part) (task.BodyWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, task.ErrClosed
	}
	return &bodyWriter{store: s, name: bodyName{id, part}}, nil
}

// OpenBody implements [task.Store].
func (s *Store) OpenBody(ctx context.Context, id task.ID, part task.Part) (io.ReadSeekCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, task.ErrClosed
	}
	b, ok := s.bodies[bodyName{id, part}]
	if !ok {
		return nil, task.ErrNotFound
	}
	return body{bytes.NewReader(b)}, nil
}

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

type bodyWriter struct {
	store *Store
	name  bodyName
	data  bytes.Buffer
	ended bool
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	if w.ended {
		return len(p), nil
	}
	return w.data.Write(p)
}

func (w *bodyWriter) Commit() error {
	if w.ended {
		return nil
	}
	w.ended = true
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return task.ErrClosed
	}
	s.bodies[w.name] = w.data.Bytes()
	return nil
}

func (w *bodyWriter) Discard() error {
	w.ended = true
	w.data = bytes.Buffer{}
	return nil
}

var _ task.BodyWriter = (*bodyWriter)(nil)
