package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"
	"go.uber.org/zap"

	"github.com/ringback/ringback/store/badger/durable"
	"github.com/ringback/ringback/task"
)

// flushing is the state of the generation that is being written to Badger.
type flushing struct {
	mu      sync.Mutex
	changed sync.Cond // on mu
	busy    bool
	trouble error // why it takes so long, while it is tried again
}

// await waits until no generation is being written. An error says why that may
// take long; the generation is not lost, as the journal has it.
func (f *flushing) await() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy && f.trouble == nil {
		f.changed.Wait()
	}
	return f.trouble
}

// problem is why a generation can't be written for now; nil if it can.
func (f *flushing) problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// slow says why a generation that is being written takes long.
func (f *flushing) slow(trouble error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy {
		f.trouble = trouble
		f.changed.Broadcast()
	}
}

func (f *flushing) set(busy bool, trouble error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy, f.trouble = busy, trouble
	f.changed.Broadcast()
}

// rotate begins another generation, and another file of the journal with it,
// when Badger has the one before the active one for good; the active one is
// flushed in the background. It is for the committing goroutine.
func (s *Store) rotate() error {
	if err := errors.Join(s.failed(), s.flushing.await()); err != nil {
		return err
	}
	if len(s.recent.active.entries) == 0 {
		return nil
	}
	last := s.journal.Last()
	if err := s.journal.Rotate(s.checkpoint); err != nil {
		return s.writeFailed(err)
	}
	g := s.recent.rotate(last)
	s.flushing.set(true, nil)
	s.running.Go(func() { s.flush(g) })
	return nil
}

const (
	flushPause    = time.Second     // before a flush that failed is tried again
	flushPatience = 5 * time.Second // after which steps don't wait for a flush
)

var errSlowFlush = fmt.Errorf("%w, or its disk is slow: the database could not yet write what came before", task.ErrNoSpace)

// flush gives Badger a generation, and tries again for as long as there is
// hope. What then comes of it is the next start's.
func (s *Store) flush(g *generation) {
	for {
		slow := time.AfterFunc(flushPatience, func() { s.flushing.slow(errSlowFlush) })
		err := s.give(s.context, g)
		slow.Stop()
		switch {
		case err == nil:
			s.checkpoint = g.last
			s.recent.drop(s.compactor.quiet() > 0)
			s.flushing.set(false, nil)
			return
		case s.context.Err() != nil || !passes(err):
			if s.context.Err() == nil {
				s.fail(err)
			}
			s.flushing.set(false, err)
			return
		}
		s.log.Warn("task store can't write to its database for now; trying again until it works", zap.Error(err))
		s.flushing.set(true, err)
		select {
		case <-s.context.Done():
		case <-time.After(flushPause):
		}
	}
}

// passes says that an error of a flush may be over at the next try. None of
// Badger itself is: after that, nobody knows what it has.
func passes(err error) bool {
	for _, passing := range []error{task.ErrNoSpace, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// ofBadger makes an error one that does not pass.
func ofBadger(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing to the database: %v", err)
}

// give gives Badger a generation, for good. After an error that passes it may
// be given again.
func (s *Store) give(ctx context.Context, g *generation) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.write(g); err != nil {
		return err
	}
	return s.makeDurable(ctx, g.last)
}

// write writes a generation to Badger, if there is room for it.
func (s *Store) write(g *generation) error {
	if err := s.space.checkFlush(); err != nil {
		return err
	}
	if s.compactor.overcrowded() {
		if err := s.compactor.flatten(); err != nil {
			return err
		}
	}
	if err := s.step(flushWrite); err != nil {
		return err
	}
	return ofBadger(s.writeOut(g))
}

// writeOut writes a generation to Badger.
func (s *Store) writeOut(g *generation) error {
	const most = 256 // writes in one transaction, since readers have to wait for it
	txn := s.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	n, removed, size := 0, 0, int64(0)
	commit := func() error {
		err := txn.Commit()
		s.compactor.flushed(size, removed)
		txn = s.db.NewTransaction(true)
		n, removed, size = 0, 0, 0
		return err
	}
	for name, e := range g.entries {
		if e.value == nil && e.notInBadger {
			continue
		}
		k := []byte(name)
		put := func() error {
			if e.value == nil {
				return txn.Delete(k)
			}
			return txn.Set(k, e.value)
		}
		err := put()
		if errors.Is(err, badger.ErrTxnTooBig) {
			if err = commit(); err == nil {
				err = put()
			}
		}
		if err != nil {
			return err
		}
		size += int64(len(k) + len(e.value))
		if name[0] == taskKey && e.value == nil {
			removed++
		}
		if n++; n == most {
			if err := commit(); err != nil {
				return err
			}
		}
	}
	return commit()
}

// makeDurable returns when Badger has for good what it was given, up to a
// record of the journal: it is in tables, or in the one log that Badger has
// then, and that is synced. And the log says so, see [checkpoint], durably too:
// only then may the journal give up what it has.
func (s *Store) makeDurable(ctx context.Context, last uint64) error {
	dir := filepath.Join(s.dir, dbDir)
	if err := errors.Join(s.awaitTables(ctx, dir), s.step(flushSync)); err != nil {
		return err
	}
	if err := errors.Join(ofBadger(s.db.Sync()), protect(dir), durable.Dir(dir), s.step(flushCheckpoint)); err != nil {
		return err
	}
	c, err := newCheckpoint(dir, last)
	if err != nil {
		return err
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(checkpointKey, c.encode()) }); err != nil {
		return ofBadger(err)
	}
	// It may have begun another log.
	return errors.Join(s.step(flushSyncCheckpoint), ofBadger(s.db.Sync()), durable.Dir(dir), s.step(flushDone))
}

// flushStep is a step of a flush, for tests.
type flushStep int

const (
	flushWrite flushStep = iota
	flushSync
	flushCheckpoint
	flushSyncCheckpoint
	flushDone
)

func (s *Store) step(next flushStep) error {
	if s.beforeFlush == nil {
		return nil
	}
	return s.beforeFlush(next)
}

// awaitTables waits until Badger has made tables of all memtables but the one
// that it writes to. The caller holds s.writing, so that it is the same one.
func (s *Store) awaitTables(ctx context.Context, dir string) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		logs, err := memtableFiles(dir)
		if err != nil || len(logs) <= 1 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// memtableFiles lists Badger's logs, one for each memtable.
func memtableFiles(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), logExtension) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths, err
}

// protect makes what Badger has made readable for the owner only.
func protect(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			_ = os.Chmod(filepath.Join(dir, entry.Name()), 0o600) // or it is gone
		}
	}
	return err
}

const (
	logExtension   = ".mem"
	tableExtension = ".sst"
)

var checkpointKey = []byte{metaKey, 'c'}

// checkpoint is what the database says of itself, as the last thing after it
// was given what is in records of the journal: up to which record, and what its
// manifest, which lists the tables, had by then. Whoever finds less than the
// journal has given up, or another manifest, knows that something is lost.
type checkpoint struct {
	record   uint64
	manifest manifestMark
}

// manifestMark is what a manifest begins with. It only grows, until Badger
// begins another one.
type manifestMark struct {
	size  uint64
	sum   uint64 // a checksum of so much of it
	which uint64 // the checksum and length of its first entry
}

// newCheckpoint makes durable what it finds: a compaction may just be writing it.
func newCheckpoint(dir string, record uint64) (c checkpoint, err error) {
	file, err := os.OpenFile(filepath.Join(dir, badger.ManifestFilename), os.O_RDWR, 0)
	if err != nil {
		return c, err
	}
	content, err := io.ReadAll(file)
	return checkpoint{record, markManifest(content)}, errors.Join(err, durable.Data(file), file.Close())
}

func markManifest(content []byte) (m manifestMark) {
	m.size, m.sum = uint64(len(content)), uint64(crc32.Checksum(content, y.CastagnoliCrcTable))
	if len(content) >= 16 { // magic and that; or there is no entry yet
		m.which = binary.BigEndian.Uint64(content[8:])
	}
	return m
}

// fits says whether a manifest, which can be read up to an offset, is the
// marked one, perhaps with more.
func (m manifestMark) fits(content []byte, readable int64) bool {
	if markManifest(content).which != m.which {
		return readable == int64(len(content)) // it is another one, since; or else damaged
	}
	return uint64(len(content)) >= m.size && markManifest(content[:m.size]) == m
}

func (c checkpoint) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, c.record)
	b = binary.BigEndian.AppendUint64(b, c.manifest.size)
	b = binary.BigEndian.AppendUint64(b, c.manifest.sum)
	return binary.BigEndian.AppendUint64(b, c.manifest.which)
}

func decodeCheckpoint(b []byte) (c checkpoint, ok bool) {
	if len(b) != 4*8 {
		return c, false
	}
	c.record = binary.BigEndian.Uint64(b)
	c.manifest = manifestMark{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])}
	return c, true
}

// flushNow waits until Badger has what was written so far.
func (s *Store) flushNow(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.doRotate(ctx); err != nil {
		return err
	}
	return s.flushing.await()
}

// doRotate has the committing goroutine rotate.
func (s *Store) doRotate(ctx context.Context) error {
	p := newStep(task.ID{}, toRemove)
	p.rotate = true
	return s.do(ctx, p)
}
