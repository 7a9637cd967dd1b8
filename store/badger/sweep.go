package badger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringback/ringback/task"
)

// sweeper removes the bodies of steps that are durable, one after the other,
// so that committing does not wait for the file system.
type sweeper struct {
	store *Store
	ended chan struct{}

	mu    sync.Mutex
	more  *sync.Cond
	steps []*step
	stop  bool
}

func newSweeper(s *Store) *sweeper {
	w := &sweeper{store: s, ended: make(chan struct{})}
	w.more = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// add leaves it to the sweeper to end the step.
func (w *sweeper) add(p *step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, p)
	w.more.Signal()
}

// close ends the sweeper when it has done everything.
func (w *sweeper) close() {
	w.mu.Lock()
	w.stop = true
	w.more.Signal()
	w.mu.Unlock()
	<-w.ended
}

func (w *sweeper) next() []*step {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.steps) == 0 && !w.stop {
		w.more.Wait()
	}
	steps := w.steps
	w.steps = nil
	return steps
}

func (w *sweeper) run() {
	defer close(w.ended)
	for steps := w.next(); steps != nil; steps = w.next() {
		for _, p := range steps {
			for _, name := range p.sweep {
				// The step is done nonetheless; the next start tries again.
				if err := w.store.bodies.remove(name); err != nil {
					w.store.log.Error("body was not removed", zap.Stringer("task_id", p.id), zap.Error(err))
				}
			}
			w.store.end(p, nil)
		}
	}
}

// scan finds the bodies that are there, and removes those that no record will
// ever refer to, because the process died before it was written.
// Only tasks older than opened are looked at; a younger one may be on its way.
func (b *bodies) scan(ctx context.Context, s *Store, opened time.Time) {
	dirs, err := os.ReadDir(b.dir)
	if err != nil {
		s.log.Error("bodies can't be listed", zap.Error(err))
		return
	}
	for _, dir := range dirs {
		path := filepath.Join(b.dir, dir.Name())
		files, err := os.ReadDir(path)
		if err != nil {
			s.log.Error("bodies can't be listed", zap.Error(err))
			return
		}
		for _, file := range files {
			if ctx.Err() != nil {
				return
			}
			if err := b.scanOne(s, path, file.Name(), opened); err != nil {
				s.log.Error("body was not looked at", zap.String("file", file.Name()), zap.Error(err))
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listed = true
}

func (b *bodies) scanOne(s *Store, dir, base string, opened time.Time) error {
	if strings.HasSuffix(base, unfinished) {
		if strings.Contains(base, b.session) {
			return nil
		}
		return os.Remove(filepath.Join(dir, base))
	}
	name, ok := nameOfBody(base)
	if !ok {
		return nil // not ours
	}
	if b.has(name) { // committed meanwhile
		return nil
	}
	if name.id.Time().Before(opened.Truncate(time.Millisecond)) {
		orphan, err := s.isOrphan(name)
		if err != nil {
			return err
		}
		if orphan {
			return b.remove(name)
		}
	}
	b.note(name)
	return nil
}

// isOrphan says that there is no record for the body: of the request, which
// comes after its body; or of the task, as its response may come any time.
func (s *Store) isOrphan(name bodyName) (orphan bool, err error) {
	err = s.view(name.id, func(v *view) error {
		if name.part == task.RequestPart {
			_, err = getPart[task.Request](v, task.RequestPart, requestKey, name.id)
			return err
		}
		return v.get(key(taskKey, name.id), func([]byte) error { return nil })
	})
	switch {
	case errors.Is(err, task.ErrNotFound):
		return true, nil
	case errors.Is(err, task.ErrBadRecord):
		return false, nil // there is one
	default:
		return false, err
	}
}
