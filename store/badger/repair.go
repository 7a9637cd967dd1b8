package badger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	boptions "github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/ringback/ringback/store/badger/journal"
	"github.com/ringback/ringback/task"
)

// Repair makes a store in the directory to, which must not be there, of what
// can be read of a damaged one, which is not changed. It returns how many tasks
// that has, and what could not be read: a task may be missing, or be as it was
// some steps before, so that a call or a callback is made once more.
func Repair(dir, to string, options Options) (tasks int, lost []error, err error) {
	options, err = options.withDefaults()
	if err != nil {
		return 0, nil, err
	}
	options.MemTableSize = max(options.MemTableSize, DefaultMemTableSize) // or large records go to the value log
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		return 0, nil, fmt.Errorf("%s is there already: name a directory that is not", to)
	}
	unlock, err := lock(filepath.Join(dir, dbDir))
	if err != nil {
		return 0, nil, fmt.Errorf("task store %s is not there, or in use: %w", dir, err)
	}
	defer unlock()
	if err := makeDirs(to); err != nil {
		return 0, nil, err
	}
	r := &repair{from: dir}
	if err := r.database(to, options); err != nil {
		return 0, r.lost, err
	}
	found, err := look(to, options.EncryptionKey)
	if err != nil {
		return 0, r.lost, err
	}
	s, err := found.open(options)
	if err != nil {
		return 0, r.lost, err
	}
	s.start()
	err = r.rest(s)
	return r.tasks, r.lost, errors.Join(err, s.Close())
}

type repair struct {
	from  string
	tasks int
	lost  []error
}

func (r *repair) note(err error) {
	if err != nil {
		r.lost = append(r.lost, err)
	}
}

// database copies each version of each key that can be read, from whichever
// table or log it is in; what is the latest shows then.
func (r *repair) database(to string, options Options) error {
	path := filepath.Join(r.from, dbDir)
	registry, err := openKeys(path, options.EncryptionKey)
	if errors.Is(err, badger.ErrEncryptionKeyMismatch) {
		return explain(r.from, options.EncryptionKey, err)
	}
	if err != nil {
		return fmt.Errorf("the keys of the database can't be read: %w", err)
	}
	db, err := badger.OpenManaged(options.badgerOptions(to))
	if err != nil {
		return err
	}
	batch := db.NewManagedWriteBatch()
	put := func(key, value []byte, version uint64, deleted bool) error {
		switch {
		case slices.Equal(key, checkpointKey) || len(key) == 0 || key[0] == '!': // the other directory's, or Badger's own
			return nil
		case deleted:
			return batch.DeleteAt(slices.Clone(key), version)
		}
		return batch.SetEntryAt(badger.NewEntry(slices.Clone(key), slices.Clone(value)), version)
	}
	tables, err := filepath.Glob(filepath.Join(path, "*"+tableExtension))
	for _, one := range tables {
		r.note(salvageTable(one, registry, put))
	}
	logs, logsErr := filepath.Glob(filepath.Join(path, "*"+logExtension))
	for _, one := range logs {
		r.note(salvageLog(one, registry, put))
	}
	return errors.Join(err, logsErr, batch.Flush(), db.Close())
}

type putVersion func(key, value []byte, version uint64, deleted bool) error

const deletedBit = 1 // of an entry's meta byte

// salvageTable puts what can be read of a table, block by block. Which data
// key it has is tried out.
func salvageTable(path string, registry *badger.KeyRegistry, put putVersion) (err error) {
	indexes, err := newIndexCache()
	if err != nil {
		return err
	}
	defer indexes.Close()
	for id := uint64(0); ; id++ {
		key, keyErr := registry.DataKey(id)
		if keyErr != nil {
			return fmt.Errorf("table %s of the database can't be read: %w", path, err)
		}
		err = func() (err error) {
			file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
			if err != nil {
				return err
			}
			defer file.Close(-1)
			defer recovered(path, &err)
			t, err := table.OpenTable(file, table.Options{ReadOnly: true, DataKey: key, BlockSize: blockSize, IndexCache: indexes, ChkMode: boptions.OnBlockRead})
			if err != nil {
				return err
			}
			return salvageBlocks(t, path, put)
		}()
		var partly *partlyLost
		if err == nil || errors.As(err, &partly) {
			return err
		}
	}
}

// partlyLost says how much of a file can't be read.
type partlyLost struct {
	path   string
	blocks int
}

func (e *partlyLost) Error() string {
	return fmt.Sprintf("%d parts of %s can't be read", e.blocks, e.path)
}

func salvageBlocks(t *table.Table, path string, put putVersion) error {
	starts := t.KeySplits(1<<30, nil)
	bad := 0
	for n, start := range starts {
		it := t.NewIterator(table.NOCACHE)
		it.Seek([]byte(start))
		if !it.Valid() || string(it.Key()) != start {
			bad++
		}
		for ; it.Valid(); it.Next() {
			if n+1 < len(starts) && y.CompareKeys(it.Key(), []byte(starts[n+1])) >= 0 {
				break
			}
			v := it.Value()
			if err := put(y.ParseKey(it.Key()), v.Value, y.ParseTs(it.Key()), v.Meta&deletedBit != 0); err != nil {
				return errors.Join(err, it.Close())
			}
		}
		if err := it.Close(); err != nil {
			return err
		}
	}
	if bad > 0 {
		return &partlyLost{path, bad}
	}
	return nil
}

// salvageLog puts what can be read of a log.
func salvageLog(path string, registry *badger.KeyRegistry, put putVersion) error {
	log, err := openLog(path, registry)
	if err != nil || log == nil {
		return err
	}
	defer log.close()
	gaps, gap := 0, false
	for at := logHeaderSize; at < len(log.content); {
		e, length, err := log.entryAt(at)
		if err != nil {
			return err
		}
		if length == 0 || len(e.key) < 8 {
			gap = true
			at++
			continue
		}
		if gap {
			gaps, gap = gaps+1, false
		}
		at += length
		if e.meta&endOfTransaction != 0 {
			continue
		}
		if err := put(y.ParseKey(e.key), e.value, y.ParseTs(e.key), e.meta&deletedBit != 0); err != nil {
			return err
		}
	}
	if gaps > 0 {
		return &partlyLost{path, gaps}
	}
	return nil
}

// rest adds what is in the journal, and the bodies, and looks at each task.
func (r *repair) rest(s *Store) error {
	ctx := context.Background()
	var secret []byte
	if key := s.bodies.key; key != nil {
		secret = key.secret[:]
	}
	records, lost := journal.Salvage(filepath.Join(r.from, journalDir), secret)
	r.lost = append(r.lost, lost...)
	g := newGeneration()
	for _, record := range records {
		r.note(g.replay(record))
	}
	if err := s.give(ctx, g); err != nil {
		return err
	}
	if err := s.giants.read(s.db); err != nil {
		return err
	}
	old := newBodies(filepath.Join(r.from, bodiesDir), s.bodies.key, s.space)
	return s.survey(old, r.note, func(t *task.Task) { r.tasks++ }, func(name bodyName, content io.Reader) error {
		w, err := s.CreateBody(ctx, name.id, name.part)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, content); err != nil {
			return errors.Join(err, w.Discard())
		}
		return w.Commit()
	})
}
