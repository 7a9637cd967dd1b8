package badger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ringback/ringback/store/badger/durable"
	"github.com/ringback/ringback/task"
)

// bodyName names a body. Its file is <two hex digits>/<id>.<part>: the last
// byte of an ID is random, so that the directories fill evenly.
type bodyName struct {
	id   task.ID
	part task.Part
}

func (n bodyName) String() string {
	return fmt.Sprintf("%02x%c%s.%s", n.id[len(n.id)-1], filepath.Separator, n.id, n.part)
}

// unfinished is the suffix of a body that was not committed.
const unfinished = ".tmp"

// bodies are the files that hold large bodies.
type bodies struct {
	dir   string
	key   *bodyKey // nil if the store never was encrypted
	space *space
	// session tells the unfinished bodies of this process from those that
	// another one left behind.
	session string
	count   atomic.Uint64

	mu     sync.Mutex
	sizes  map[bodyName]int64 // disk space of each body
	listed bool               // sizes has all of them
}

func newBodies(dir string, key *bodyKey, space *space) *bodies {
	return &bodies{dir: dir, key: key, space: space, session: rand.Text(), sizes: make(map[bodyName]int64)}
}

func (b *bodies) path(name bodyName) string { return filepath.Join(b.dir, name.String()) }

// kept returns those of a task's bodies that there are, or may be.
func (b *bodies) kept(id task.ID, parts ...task.Part) (names []bodyName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range parts {
		name := bodyName{id, part}
		if _, ok := b.sizes[name]; ok || !b.listed {
			names = append(names, name)
		}
	}
	return names
}

// has says that a body is known to be there, or is about to be.
func (b *bodies) has(name bodyName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.sizes[name]
	return ok
}

// expect says that a body is about to be there.
func (b *bodies) expect(name bodyName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes[name] += 0
}

// note takes notice of a body that is there, if it is.
func (b *bodies) note(name bodyName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	info, err := os.Lstat(b.path(name))
	if err != nil {
		return
	}
	size := allocated(info)
	b.space.keep(size - b.sizes[name])
	b.sizes[name] = size
}

// remove removes a body; not an error if it is not there.
func (b *bodies) remove(name bodyName) error {
	err := os.Remove(b.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b.mu.Lock() // only now, see note
	defer b.mu.Unlock()
	if _, err := os.Lstat(b.path(name)); err == nil {
		return nil // another one has come meanwhile
	}
	b.space.keep(-b.sizes[name])
	delete(b.sizes, name)
	return nil
}

// CreateBody implements [task.Store].
func (s *Store) CreateBody(ctx context.Context, id task.ID, part task.Part) (task.BodyWriter, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.space.check(toCreate); err != nil {
		return nil, err
	}
	w, err := s.bodies.create(bodyName{id, part})
	if err != nil {
		return nil, noSpace(fmt.Errorf("%s body of task %s: %w", part, id, err))
	}
	w.store = s
	return w, nil
}

func (b *bodies) create(name bodyName) (*bodyWriter, error) {
	path := b.path(name)
	w := &bodyWriter{name: name, path: path, temporary: fmt.Sprintf("%s.%s%d%s", path, b.session, b.count.Add(1), unfinished)}
	open := func() (err error) {
		w.file, err = os.OpenFile(w.temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	}
	err := open()
	if errors.Is(err, os.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(path), 0o700); err == nil || errors.Is(err, os.ErrExist) {
			err = errors.Join(durable.Dir(b.dir), open())
		}
	}
	if err != nil {
		return nil, err
	}
	if w.out, err = b.key.seal(w.file, name); err != nil {
		return nil, errors.Join(err, w.Discard())
	}
	return w, nil
}

// OpenBody implements [task.Store]. What is read is authentic if the store is
// encrypted; a body that was tampered with gives an error instead.
func (s *Store) OpenBody(ctx context.Context, id task.ID, part task.Part) (io.ReadSeekCloser, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.settle(ctx, id); err != nil {
		return nil, err
	}
	name := bodyName{id, part}
	file, err := os.Open(s.bodies.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, task.ErrNotFound
	}
	if err == nil {
		var r io.ReadSeeker
		if r, err = s.bodies.key.unseal(file, name); err == nil {
			return &bodyReader{r, file}, nil
		}
		err = errors.Join(fmt.Errorf("%w: %w", task.ErrBadRecord, err), file.Close())
	}
	return nil, fmt.Errorf("%s body of task %s: %w", part, id, err)
}

// bodyReader reads a body. What is damaged is a task.ErrBadRecord, and none of
// it is told.
type bodyReader struct {
	io.ReadSeeker
	io.Closer
}

func (r *bodyReader) Read(p []byte) (int, error) {
	n, err := r.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", task.ErrBadRecord, err)
	}
	return n, err
}

// bodyWriter is a body on its way: a file under another name until Commit.
type bodyWriter struct {
	store           *Store
	name            bodyName
	path, temporary string
	file            *os.File
	out             io.WriteCloser // seals
	ended           bool
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	if w.ended {
		return len(p), nil
	}
	if err := w.store.space.check(toCreate); err != nil {
		return 0, err
	}
	n, err := w.out.Write(p)
	return n, noSpace(err)
}

func (w *bodyWriter) Commit() error {
	if w.ended {
		return nil
	}
	if err := w.store.enter(); err != nil {
		return errors.Join(err, w.Discard())
	}
	defer w.store.leave()
	err := errors.Join(w.out.Close(), w.file.Sync(), w.file.Close())
	if err == nil {
		w.store.bodies.expect(w.name) // or scan, which runs beside, might take it for an orphan
		err = os.Rename(w.temporary, w.path)
	}
	if err != nil {
		return noSpace(errors.Join(err, w.Discard()))
	}
	w.ended = true
	w.store.bodies.note(w.name)
	return durable.Dir(filepath.Dir(w.path))
}

func (w *bodyWriter) Discard() error {
	if w.ended {
		return nil
	}
	w.ended = true
	w.file.Close() // whether or not Commit has
	return os.Remove(w.temporary)
}

// syncParent makes durable which files are in the directory that path is in, if
// it may be read: it may belong to someone else.
func syncParent(path string) error {
	err := durable.Dir(filepath.Dir(path))
	if errors.Is(err, os.ErrPermission) {
		return nil
	}
	return err
}

// nameOfBody is the opposite of bodyName's String, for the last element.
func nameOfBody(base string) (name bodyName, ok bool) {
	text, part, _ := strings.Cut(base, ".")
	id, err := task.ParseID(text)
	if err != nil {
		return name, false
	}
	for _, p := range []task.Part{task.RequestPart, task.ResponsePart} {
		if part == p.String() {
			return bodyName{id, p}, true
		}
	}
	return name, false
}

var _ task.BodyWriter = (*bodyWriter)(nil)
