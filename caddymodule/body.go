package caddymodule

import (
	"errors"
	"io"
	"net/http"
)

// scanned is a body, or its beginning, that was read to look for a callback
// URL.
type scanned struct {
	read  []byte
	whole bool  // read is all there is
	err   error // why reading ended before the end; nil if the limit was reached
}

// firstRead is how many bytes of a body there is room for at first.
const firstRead = 4 << 10

// scan reads a body up to limit bytes; ok is false if it was not read at all,
// because it is known to be larger.
func scan(r *http.Request, limit int64) (s scanned, ok bool) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || r.ContentLength > limit {
		return scanned{}, false
	}
	size := limit + 1
	if r.ContentLength > 0 {
		size = r.ContentLength + 1 // one more, so that the read that finds the end has room
	}
	// What is announced may never come, so memory is taken as it does.
	s.read = make([]byte, 0, min(size, firstRead))
	for int64(len(s.read)) <= limit {
		if len(s.read) == cap(s.read) {
			s.read = append(make([]byte, 0, min(size, 2*int64(cap(s.read)))), s.read...)
		}
		n, err := r.Body.Read(s.read[len(s.read):min(int64(cap(s.read)), limit+1)])
		s.read = s.read[:len(s.read)+n]
		if errors.Is(err, io.EOF) {
			s.whole = true
			return s, true
		}
		if err != nil {
			s.err = err
			return s, true
		}
	}
	return s, true
}

// body is the body as it was before it was scanned: what was read, then the
// rest or the error that reading it gave.
func (s scanned) body(rest io.ReadCloser) io.ReadCloser {
	b := &rewound{read: s.read, rest: rest}
	switch {
	case s.whole:
		b.err = io.EOF
	case s.err != nil:
		b.err = s.err
	}
	return b
}

// rewound is a body whose beginning was read and put back.
type rewound struct {
	read []byte
	rest io.ReadCloser
	err  error // what follows read; nil: rest
}

// Read implements [io.Reader].
func (b *rewound) Read(p []byte) (int, error) {
	if len(b.read) > 0 {
		n := copy(p, b.read)
		b.read = b.read[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.rest.Read(p)
}

// Close closes the body.
func (b *rewound) Close() error { return b.rest.Close() }
