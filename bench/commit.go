package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	dgraph "github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/store/badger"
	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// commit measures the store alone: puts that share transactions, and puts
// that each have one.
func commit(b *bench) error {
	grouped := contestant{name: "store/badger, group commit", durable: "on disk (fsync)"}
	single := contestant{name: "Badger, one transaction per put", durable: "on disk (fsync)"}
	for _, load := range []struct {
		callers int
		want    float64
	}{{64, 7}, {256, 15}} {
		name := fmt.Sprintf("commit, %d callers, 1 KiB", load.callers)
		turns := make(map[string][]Turn)
		for range b.rounds {
			for _, c := range []contestant{single, grouped} {
				w := CommitWork{Callers: load.callers, N: b.size(20_000), Grouped: c.name == grouped.name}
				if w.Grouped {
					w.N *= 8 // for as much time, more or less
				}
				t, err := b.commits(w)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				turns[c.name] = append(turns[c.name], t)
			}
		}
		b.report.row(name, single, turns[single.name])
		b.report.row(name, grouped, turns[grouped.name])
		b.report.goal(Goal{Name: name + ": group commit, of one transaction per put",
			Values: ratios(turns[grouped.name], turns[single.name], rate), Want: load.want})
	}
	return nil
}

// commits runs the work in a process of its own.
func (b *bench) commits(w CommitWork) (t Turn, err error) {
	if err := b.ctx.Err(); err != nil {
		return t, err
	}
	if w.Dir, err = os.MkdirTemp(b.work, "commit-"); err != nil {
		return t, err
	}
	defer os.RemoveAll(w.Dir)
	p, err := startPeer("committer", b.work)
	if err != nil {
		return t, err
	}
	defer p.close()
	return t, p.call("Run", w, &t)
}

// Committer is the role that puts tasks into a store.
type Committer struct{}

// CommitWork is what Committer is to do.
type CommitWork struct {
	Dir     string
	Callers int
	N       int
	Grouped bool // by this project's store; else one transaction per put
}

// Run puts tasks into a new store, then counts them.
func (*Committer) Run(w CommitWork, t *Turn) error {
	s, err := openPutter(w)
	if err != nil {
		return err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, w.Callers)
	latencies := make([]int64, w.N)
	before, err := usageOf(os.Getpid())
	if err != nil {
		return err
	}
	began := time.Now()
	for caller := range w.Callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < w.N; i = int(next.Add(1)) - 1 {
				at := time.Now()
				if errs[caller] = s.put(aTask(at)); errs[caller] != nil {
					return
				}
				latencies[i] = int64(time.Since(at))
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		return err
	}
	t.Rate = float64(w.N) / took.Seconds()
	t.P50, t.P99 = percentiles(latencies)
	t.CPU = (after.cpu - before.cpu) / time.Duration(w.N)
	t.Anonymous = after.anonymous
	n, err := s.count()
	if err == nil && n != w.N {
		err = fmt.Errorf("of %d tasks that were put, %d are there", w.N, n)
	}
	return errors.Join(err, s.close())
}

// putter is a store as far as it is measured here.
type putter interface {
	put(*task.Task, *task.Request) error
	count() (int, error)
	close() error
}

func openPutter(w CommitWork) (putter, error) {
	if w.Grouped {
		s, err := badger.Open(w.Dir, badger.Options{})
		return groupPutter{s}, err
	}
	// The same options, as far as they matter to speed.
	db, err := dgraph.Open(dgraph.DefaultOptions(filepath.Join(w.Dir, "db")).WithSyncWrites(true).WithLogger(nil).
		WithMemTableSize(16 << 20).WithNumMemtables(2).WithValueThreshold(1 << 20).WithDetectConflicts(false).WithMetricsEnabled(false))
	return singlePutter{db}, err
}

// aTask is a task as the accept scenario makes them.
func aTask(now time.Time) (*task.Task, *task.Request) {
	t := &task.Task{
		ID: task.NewID(now), Route: "bench", CreatedAt: now,
		Callback: task.Callback{URL: "http://127.0.0.1:8080" + numbered("/callback")},
	}
	return t, &task.Request{
		Method: http.MethodPost, URL: numbered("/call"), RequestURI: numbered("/call"), Proto: "HTTP/1.1",
		Host: "bench", RemoteAddr: "127.0.0.1:12345", LocalAddr: "127.0.0.1:80", Server: ":80",
		Header: http.Header{"Content-Type": jsonType, "User-Agent": {"bench/1"}, "Accept": jsonType, "Accept-Encoding": {"gzip"}},
		Body:   task.Body{Size: 1 << 10, Inline: putBody},
	}
}

var putBody = jsonBody(1 << 10)

type groupPutter struct{ store *badger.Store }

func (p groupPutter) put(t *task.Task, r *task.Request) error {
	return p.store.Create(context.Background(), t, r, nil)
}

func (p groupPutter) count() (n int, err error) {
	err = p.store.Due(context.Background(), func(task.Due) error {
		n++
		return nil
	})
	return n, err
}

func (p groupPutter) close() error { return p.store.Close() }

type singlePutter struct{ db *dgraph.DB }

func (p singlePutter) put(t *task.Task, r *task.Request) error {
	kept, err := record.Marshal(t)
	if err != nil {
		return err
	}
	request, err := record.Marshal(r)
	if err != nil {
		return err
	}
	due := binary.BigEndian.AppendUint64(nil, t.Lane())
	return p.db.Update(func(txn *dgraph.Txn) error {
		return errors.Join(
			txn.Set(append([]byte("t"), t.ID[:]...), kept),
			txn.Set(append([]byte("q"), t.ID[:]...), request),
			txn.Set(append([]byte("d"), t.ID[:]...), due),
		)
	})
}

func (p singlePutter) count() (n int, err error) {
	err = p.db.View(func(txn *dgraph.Txn) error {
		it := txn.NewIterator(dgraph.IteratorOptions{Prefix: []byte("d")})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	})
	return n, err
}

func (p singlePutter) close() error { return p.db.Close() }
