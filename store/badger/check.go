package badger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/task"
)

// Found is what a store's directory holds.
type Found struct {
	// Records is how many records of the journal the database does not have yet.
	Records uint64
	// Tasks is how many tasks there are: "queued" for their backend call,
	// "undelivered", "settled".
	Tasks map[string]int
	// Lost is what can't be read of bodies and records.
	Lost []error
}

// Check looks at a store's directory, which no process may have open, and does
// not change it: it works on a copy beside it, which it removes again. An error
// says why the store would not open, a [*DamageError] what is damaged.
func Check(dir string, options Options) (*Found, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, dbDir, badger.ManifestFilename)); err != nil {
		return nil, fmt.Errorf("there is no task store in %s: %w", dir, err)
	}
	d, err := look(dir, options.EncryptionKey)
	if err != nil {
		return nil, err
	}
	defer d.unlock()
	found := &Found{Records: d.journal.Last - d.journal.Checkpoint, Tasks: make(map[string]int)}
	parent, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), "ringback-check-")
	if err != nil {
		return nil, fmt.Errorf("a copy of what is in %s is looked at, and can't be made beside it: %w", dir, err)
	}
	defer os.RemoveAll(parent)
	copied := filepath.Join(parent, "store")
	for _, name := range []string{dbDir, journalDir} {
		if err := os.CopyFS(filepath.Join(copied, name), os.DirFS(filepath.Join(dir, name))); err != nil {
			return nil, err
		}
	}
	if err := makeDirs(copied); err != nil {
		return nil, err
	}
	if d, err = look(copied, options.EncryptionKey); err != nil {
		return nil, err
	}
	s, err := d.open(options)
	if err != nil {
		return nil, err
	}
	s.start()
	note := func(err error) { found.Lost = append(found.Lost, err) }
	count := func(t *task.Task) {
		action, _ := t.Next()
		found.Tasks[actionText[action]]++
	}
	read := func(_ bodyName, content io.Reader) error {
		_, err := io.Copy(io.Discard, content)
		return err
	}
	err = s.survey(newBodies(filepath.Join(dir, bodiesDir), s.bodies.key, s.space), note, count, read)
	return found, errors.Join(err, s.Close())
}

// survey reads all tasks, and their bodies from wherever they are. It tells
// what can't be read.
func (s *Store) survey(bodies *bodies, lost func(error), each func(*task.Task), eachBody func(bodyName, io.Reader) error) error {
	ctx := context.Background()
	read := func(name bodyName, body task.Body) {
		if !body.Stored {
			return
		}
		file, err := os.Open(bodies.path(name))
		if err == nil {
			var content io.ReadSeeker
			if content, err = bodies.key.unseal(file, name); err == nil {
				err = eachBody(name, content)
			}
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			lost(fmt.Errorf("%s body of task %s: %w", name.part, name.id, err))
		}
	}
	return s.each(string(taskKey), false, func(k, _ []byte) error {
		id := idOf(k)
		t, err := s.task(id)
		if err != nil {
			lost(err)
			return nil
		}
		each(t)
		if request, err := s.LoadRequest(ctx, id); err == nil {
			read(bodyName{id, task.RequestPart}, request.Body)
		} else if !t.Status.Done() {
			lost(fmt.Errorf("request of task %s: %w", id, err))
		}
		if response, err := s.LoadResponse(ctx, id); err == nil {
			read(bodyName{id, task.ResponsePart}, response.Body)
		} else if t.Response != nil {
			lost(fmt.Errorf("response of task %s: %w", id, err))
		}
		return nil
	})
}

var actionText = map[task.Action]string{task.ActionCall: "queued", task.ActionDeliver: "undelivered", task.ActionRemove: "settled"}
