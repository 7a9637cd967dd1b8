package badger

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// perSecond calls do from so many goroutines for a while.
func perSecond(b *testing.B, callers int, do func() error) float64 {
	const while = 2 * time.Second
	var n atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(begin) < while {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(begin).Seconds()
}

// BenchmarkCreate compares the store with the same Badger and a transaction
// for each put, and with the store in memory: what durability costs. All of
// them in one run, since disks differ, and vary. Records have 1 KiB.
func BenchmarkCreate(b *testing.B) {
	request := newRequest(1 << 10)
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			var store, alone, inMemory float64
			for b.Loop() {
				store += func() float64 {
					s := open(b, b.TempDir(), Options{})
					defer s.Close()
					return perSecond(b, callers, func() error { return s.Create(context.Background(), newTask(), request, nil) })
				}()
				alone += func() float64 {
					options, err := Options{}.withDefaults()
					require.NoError(b, err)
					db, err := badger.Open(options.badgerOptions(b.TempDir()).WithSyncWrites(true))
					require.NoError(b, err)
					defer db.Close()
					return perSecond(b, callers, func() error {
						t := newTask()
						record, err := record.Marshal(request)
						if err != nil {
							return err
						}
						return db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(key(requestKey, t.ID)), record) })
					})
				}()
				inMemory += func() float64 {
					s, err := memory.Open()
					require.NoError(b, err)
					defer s.Close()
					return perSecond(b, callers, func() error { return s.Create(context.Background(), newTask(), request, nil) })
				}()
			}
			n := float64(b.N)
			b.ReportMetric(store/n, "creates/s")
			b.ReportMetric(store/alone, "x-one-by-one")
			b.ReportMetric(store/inMemory, "x-memory")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkLife is create, and the three steps of a task that succeeds, and
// its removal.
func BenchmarkLife(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	request := newRequest(1 << 10)
	response := &task.Response{Status: 200, Body: request.Body}
	var rate float64
	for b.Loop() {
		rate += perSecond(b, 64, func() error { return life(s, request, response) })
	}
	b.ReportMetric(rate/float64(b.N), "tasks/s")
	b.ReportMetric(0, "ns/op")
}

func life(s *Store, request *task.Request, response *task.Response) error {
	ctx := context.Background()
	t := newTask()
	if err := s.Create(ctx, t, request, nil); err != nil {
		return err
	}
	t.Status, t.Attempts = task.Running, 1
	if err := s.Save(ctx, task.Step{Task: t, NoWait: true}); err != nil {
		return err
	}
	t.Status = task.Completed
	if err := s.Save(ctx, task.Step{Task: t, Response: response, DropRequest: true}); err != nil {
		return err
	}
	t.Callback.Status, t.ExpiresAt = task.CallbackDelivered, time.Now()
	if err := s.Save(ctx, task.Step{Task: t, NoWait: true}); err != nil {
		return err
	}
	return s.Remove(ctx, t.ID)
}

// BenchmarkMillion lets a million tasks of 1 KiB come, wait over a restart,
// and go: how quickly the store knows what is due, what it takes of memory
// while they wait, and what of disk when they are gone.
func BenchmarkMillion(b *testing.B) {
	million := int64(1_000_000)
	for b.Loop() {
		dir := b.TempDir()
		s := open(b, dir, Options{})
		request := newRequest(1 << 10)
		inParallel(b, million, func() error { return s.Create(context.Background(), newTask(), request, nil) })
		require.NoError(b, s.Close())
		b.ReportMetric(float64(usage(b, dir))/(1<<20), "MiB-full")

		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), idleEnv+"="+dir)
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, string(out))
		var anonymous, file int
		_, err = fmt.Sscan(string(out), &anonymous, &file)
		require.NoError(b, err, string(out))
		b.ReportMetric(float64(anonymous)/1024, "MiB-anonymous-idle")
		b.ReportMetric(float64(file)/1024, "MiB-mapped-idle")

		begin := time.Now()
		s = open(b, dir, Options{})
		b.ReportMetric(time.Since(begin).Seconds(), "s-open")
		begin = time.Now()
		ids := make(chan task.ID, million)
		require.NoError(b, s.Due(context.Background(), func(d task.Due) error { ids <- d.ID; return nil }))
		b.ReportMetric(time.Since(begin).Seconds(), "s-due")
		require.Len(b, ids, int(million))
		begin = time.Now()
		require.NoError(b, s.Due(context.Background(), func(task.Due) error { return nil }))
		b.ReportMetric(time.Since(begin).Seconds(), "s-due-again")

		begin = time.Now()
		inParallel(b, million, func() error {
			t, err := s.Load(context.Background(), <-ids)
			if err != nil {
				return err
			}
			t.Status, t.Callback.Status, t.ExpiresAt = task.Completed, task.CallbackDelivered, time.Now()
			return s.Save(context.Background(), task.Step{Task: t, DropRequest: true})
		})
		b.ReportMetric(float64(million)/time.Since(begin).Seconds(), "settles/s")
		begin = time.Now()
		var slowest time.Duration
		for gone := int64(0); gone < million; {
			before := time.Now()
			expired, err := s.Expired(context.Background(), time.Now(), 1000)
			require.NoError(b, err)
			slowest = max(slowest, time.Since(before))
			for _, id := range expired {
				require.NoError(b, s.Remove(context.Background(), id))
			}
			gone += int64(len(expired))
		}
		b.ReportMetric(float64(million)/time.Since(begin).Seconds(), "removes/s")
		b.ReportMetric(slowest.Seconds()*1000, "ms-expired-1000-slowest")

		b.ReportMetric(float64(usage(b, dir))/(1<<20), "MiB-gone")
		begin = time.Now()
		require.Eventually(b, func() bool {
			return s.compactor.removals() == 0
		}, 2*time.Minute, 100*time.Millisecond)
		b.ReportMetric(time.Since(begin).Seconds(), "s-until-idle")
		b.ReportMetric(float64(usage(b, dir))/(1<<20), "MiB-idle")
		require.NoError(b, s.Close())
	}
	b.ReportMetric(0, "ns/op")
}

func inParallel(b *testing.B, times int64, do func() error) {
	var left atomic.Int64
	left.Store(times)
	var all sync.WaitGroup
	for range 256 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// usage is the disk space of a store.
func usage(b *testing.B, dir string) (n int64) {
	require.NoError(b, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			n += diskUsage(path)
		}
		return err
	}))
	return n
}

// idleChild opens a store, looks at what is due, and prints its memory:
// anonymous and mapped, in kilobytes.
func idleChild(dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		panic(err)
	}
	if err := s.Due(context.Background(), func(task.Due) error { return nil }); err != nil {
		panic(err)
	}
	time.Sleep(5 * time.Second) // idle
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "RssAnon:" || fields[0] == "RssFile:" {
			fmt.Println(fields[1])
		}
	}
	if err := s.Close(); err != nil {
		panic(err)
	}
}
