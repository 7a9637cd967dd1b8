package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ringback/ringback/store/badger/durable"
)

// applied is a caller that has applied what it was told and appended, but has
// nothing safe unless the test says so.
type applied struct{ first, last uint64 }

func (a *applied) get() (first, last uint64, err error) { return a.first, a.last, nil }

func (a *applied) options() Options {
	return Options{SegmentSize: 64 << 10, Applied: a.get}
}

// reopen opens a journal, and returns what it told.
func reopen(t testing.TB, dir string, options Options) (*Journal, []string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	var told []string
	j, err := Open(dir, options, func(record []byte) error {
		told = append(told, string(record))
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return j, told
}

// record is the nth record of a test, of some size.
func record(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	return fmt.Sprint(n, strings.Repeat("x", r.IntN(9000)))
}

func appendAll(t testing.TB, j *Journal, from, to int) (records []string) {
	t.Helper()
	for n := from; n < to; n++ {
		records = append(records, record(n))
		require.NoError(t, j.Append([]byte(record(n))))
	}
	return records
}

func paths(t testing.TB, dir string) []string {
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	return paths
}

var secrets = map[string][]byte{"plain": nil, "encrypted": []byte("a secret that the database keeps")}

// What was appended is told at each Open, in order, until it is safe.
func TestReplay(t *testing.T) {
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "[journal]")
			caller := &applied{1, 1}
			options := caller.options()
			options.Secret = secret
			j, told := reopen(t, dir, options)
			require.Empty(t, told)
			require.NoError(t, j.Append(nil))
			want := append([]string{""}, appendAll(t, j, 0, 50)...)
			for round := range 3 {
				require.NoError(t, j.Close())
				j, told = reopen(t, dir, options)
				require.Equal(t, want, told)
				want = append(want, appendAll(t, j, 100*round, 100*round+30)...)
			}
			for _, path := range paths(t, dir) {
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, secret == nil, bytes.Contains(content, []byte("xxxx")))
				info, err := os.Stat(path)
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			}
			require.NoError(t, j.Remove())
			require.Empty(t, paths(t, dir))
			_, told = reopen(t, dir, options)
			require.Empty(t, told)
		})
	}
}

// Files that are not needed any more are used again, and what was in them is
// never told, however little of them was written since.
func TestReuse(t *testing.T) {
	dir := t.TempDir()
	caller := &applied{1, 1}
	j, _ := reopen(t, dir, caller.options())
	var kept [][]string // what each state of the caller has seen appended
	for n := range 200 {
		kept = append(kept, appendAll(t, j, 10*n, 10*n+10))
		caller.last++
		caller.first = max(1, caller.last-3)
		if n%20 == 0 {
			require.NoError(t, j.Close())
			var told []string
			j, told = reopen(t, dir, caller.options())
			var needed []string
			for _, records := range kept[max(0, len(kept)-3):] {
				needed = append(needed, records...)
			}
			require.GreaterOrEqual(t, len(told), len(needed))
			require.Equal(t, needed, told[len(told)-len(needed):])
			for i, record := range told { // no gap, and nothing twice
				var number int
				fmt.Sscan(record, &number)
				require.Equal(t, 10*n+10-len(told)+i, number)
			}
		}
	}
	require.Less(t, len(paths(t, dir)), 2*spare)
	caller.first = caller.last + 1
	require.NoError(t, j.Trim())
	require.Len(t, paths(t, dir), 1, "the one that is written to")
	appendAll(t, j, 0, 10)
}

// A file of another size is read, but not used again.
func TestOtherSize(t *testing.T) {
	dir := t.TempDir()
	caller := &applied{1, 1}
	j, _ := reopen(t, dir, caller.options())
	want := appendAll(t, j, 0, 50)
	require.NoError(t, j.Close())
	options := caller.options()
	options.SegmentSize = 30_000
	j, told := reopen(t, dir, options)
	require.Equal(t, want, told)
	caller.first, caller.last = 2, 2
	appendAll(t, j, 50, 70)
	for _, path := range paths(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, int64(32<<10), info.Size(), "whole pages")
	}
}

// When the power fails, any part of what was being written may be on the disk,
// but all that was before is: a journal that ends in anything tells that.
func TestTorn(t *testing.T) {
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			caller := &applied{1, 1}
			options := caller.options()
			options.Secret = secret
			whole := t.TempDir()
			j, _ := reopen(t, whole, options)
			want := appendAll(t, j, 0, 5)
			end := j.base + int64(len(j.buffer))
			last := append(want, appendAll(t, j, 5, 6)...)
			require.NoError(t, j.Close())
			content, err := os.ReadFile(paths(t, whole)[0])
			require.NoError(t, err)

			for range 100 {
				torn := bytes.Clone(content)
				begin := end + rand.Int64N(int64(len(record(5))))
				switch rand.IntN(3) {
				case 0: // did not get further
					clear(torn[begin:])
				case 1: // a part is missing
					clear(torn[begin : begin+1+rand.Int64N(100)])
				case 2:
					torn = torn[:begin]
				}
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "1"+extension), torn, 0o600))
				j, told := reopen(t, dir, options)
				if len(told) == len(last) { // what was missing was a zero
					require.Equal(t, last, told)
					continue
				}
				require.Equal(t, want, told)
				more := appendAll(t, j, 7, 9)
				require.NoError(t, j.Close())
				_, told = reopen(t, dir, options)
				require.Equal(t, append(want[:len(want):len(want)], more...), told)
			}
		})
	}
}

// A file that is damaged or missing in the middle is reported. What was before
// is not told: it would take back what is missing, and the database has both.
func TestGap(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"removed": os.Remove,
		"garbled": func(path string) error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content[len(content)/2] ^= 1
			return os.WriteFile(path, content, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			caller := &applied{1, 1}
			j, _ := reopen(t, dir, caller.options())
			all := appendAll(t, j, 0, 100)
			require.NoError(t, j.Close())
			files := paths(t, dir)
			require.NoError(t, damage(files[2]))

			core, logs := observer.New(zap.WarnLevel)
			options := caller.options()
			options.Logger = zap.New(core)
			j, told := reopen(t, dir, options)
			require.Len(t, logs.All(), 1)
			require.Equal(t, files[3], logs.All()[0].ContextMap()["before"])
			require.NotEmpty(t, told)
			require.Equal(t, all[len(all)-len(told):], told)
			require.Equal(t, uint64(len(all)-len(told)), logs.All()[0].ContextMap()["to"])

			told = append(told, appendAll(t, j, 100, 120)...)
			require.NoError(t, j.Close())
			_, again := reopen(t, dir, caller.options())
			require.Equal(t, told, again)
		})
	}
}

// What can't be read is an error that says so, and nothing is changed.
func TestUnreadable(t *testing.T) {
	for want, options := range map[string]Options{
		"there is no key":                {},
		"another key":                    {Secret: []byte("another secret")},
		"and this program knows only 1:": {Secret: secrets["encrypted"]},
	} {
		dir := t.TempDir()
		caller := &applied{1, 1}
		good := caller.options()
		good.Secret = secrets["encrypted"]
		j, _ := reopen(t, dir, good)
		all := appendAll(t, j, 0, 3)
		require.NoError(t, j.Close())
		path := paths(t, dir)[0]
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		if options.Secret != nil && bytes.Equal(options.Secret, good.Secret) {
			other := bytes.Clone(before)
			other[len(magic)] = version + 1
			end := headerSize - 4
			binary.LittleEndian.PutUint32(other[end:], crc32.Checksum(other[:end], castagnoli))
			require.NoError(t, os.WriteFile(path, other, 0o600))
		}
		options.SegmentSize, options.Applied = good.SegmentSize, good.Applied
		_, err = Open(dir, options, func([]byte) error { return nil })
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
		require.NoError(t, os.WriteFile(path, before, 0o600))
		_, told := reopen(t, dir, good)
		require.Equal(t, all, told)
	}
}

// An error of the caller ends Open, and all is told again.
func TestReplayError(t *testing.T) {
	dir := t.TempDir()
	caller := &applied{1, 1}
	j, _ := reopen(t, dir, caller.options())
	all := appendAll(t, j, 0, 20)
	require.NoError(t, j.Close())
	broken := errors.New("broken")
	count := 0
	_, err := Open(dir, caller.options(), func([]byte) error {
		if count++; count == 10 {
			return broken
		}
		return nil
	})
	require.ErrorIs(t, err, broken)
	_, told := reopen(t, dir, caller.options())
	require.Equal(t, all, told)
}

// A record that does not fit, and a file that can't be made, are refused, and
// the journal goes on. After a failed write it does not.
func TestErrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	caller := &applied{1, 1}
	j, _ := reopen(t, dir, caller.options())
	all := appendAll(t, j, 0, 3)
	require.ErrorContains(t, j.Append(make([]byte, 64<<10)), "does not fit")
	largest := make([]byte, 64<<10-headerSize-overhead)
	require.NoError(t, j.Append(largest))
	all = append(all, string(largest))

	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.ErrorIs(t, j.Reserve(10), os.ErrNotExist)
	require.ErrorIs(t, j.Append([]byte("not kept")), os.ErrNotExist)
	require.NoError(t, os.Rename(dir+"-away", dir))
	all = append(all, appendAll(t, j, 3, 5)...)

	require.NoError(t, j.current.file.Close())
	require.ErrorIs(t, j.Append([]byte("not kept")), os.ErrClosed)
	require.ErrorContains(t, j.Append([]byte("not kept")), "journal stopped")
	require.ErrorContains(t, j.Reserve(1), "journal stopped")
	_, told := reopen(t, dir, caller.options())
	require.Equal(t, all, told)
}

// FuzzOpen opens a journal of which one file is anything.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	caller := &applied{1, 1}
	j, _ := reopen(f, dir, caller.options())
	for _, r := range []string{"first", "", "third"} {
		require.NoError(f, j.Append([]byte(r)))
	}
	content, err := os.ReadFile(paths(f, dir)[0])
	require.NoError(f, err)
	content = bytes.TrimRight(content, "\x00")
	f.Add(content)
	f.Add(content[:headerSize])
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		h, ok, err := decodeHeader(content)
		if !ok || err != nil {
			return
		}
		again, ok, err := decodeHeader(h.encode())
		require.True(t, ok)
		require.NoError(t, err)
		require.Equal(t, h, again)
		var size int
		count, err := h.records(bytes.Clone(content), secrets["encrypted"], func(r []byte) error {
			size += recordHeader + len(r)
			return nil
		})
		if err == nil {
			require.LessOrEqual(t, size+headerSize, len(content))
			again, err := h.records(content, secrets["encrypted"], nil)
			require.NoError(t, err)
			require.Equal(t, count, again)
		}
	})
}

// BenchmarkAppend shows what a record costs, nearly all of which is the sync:
// compare it to BenchmarkRaw.
func BenchmarkAppend(b *testing.B) {
	for name, secret := range secrets {
		b.Run(name, func(b *testing.B) {
			caller := &applied{1, 1}
			options := Options{SegmentSize: 4 << 20, Applied: caller.get, Secret: secret}
			j, _ := reopen(b, b.TempDir(), options)
			record := make([]byte, 40_000)
			b.SetBytes(int64(len(record)))
			b.ReportAllocs()
			for b.Loop() {
				caller.first, caller.last = caller.first+1, caller.last+1 // each file is soon used again
				require.NoError(b, j.Append(record))
			}
		})
	}
}

// BenchmarkRaw appends to a file, and syncs it.
func BenchmarkRaw(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	require.NoError(b, err)
	defer file.Close()
	record := make([]byte, 40_000)
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		_, err := file.Write(record)
		require.NoError(b, err)
		require.NoError(b, durable.Data(file))
	}
}

// A file is used again when what is in it was applied, and is safe; both, and
// in this order.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	caller := &applied{1, 1}
	options := caller.options()
	var releases []func()
	full := errors.New("full")
	var refuse bool
	options.Full = func(release func()) error {
		if refuse {
			return full
		}
		releases = append(releases, release)
		return nil
	}
	j, _ := reopen(t, dir, options)
	want := appendAll(t, j, 0, 100)
	files := len(paths(t, dir))
	require.Len(t, releases, files-1)

	caller.first, caller.last = 3, 3 // safe, but for what was not applied
	require.NoError(t, j.Trim())
	want = append(want, appendAll(t, j, 100, 120)...)
	require.Greater(t, len(paths(t, dir)), files)

	releases[1]() // the first and the second
	require.NoError(t, j.Trim())
	files = len(paths(t, dir))
	caller.first = 4
	require.NoError(t, j.Trim())
	require.Len(t, paths(t, dir), files-2)
	releases[0]() // late, and gone already
	require.NoError(t, j.Close())
	j, told := reopen(t, dir, options)
	require.Equal(t, want[len(want)-len(told):], told)
	require.Less(t, len(told), len(want))

	refuse = true
	var err error
	var last int
	for n := 0; err == nil; n++ {
		last = n
		err = j.Append([]byte(record(n)))
	}
	require.ErrorIs(t, err, full)
	require.NoError(t, j.Append([]byte(record(last))))
}
