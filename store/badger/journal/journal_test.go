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

	"github.com/ringback/ringback/store/badger/durable"
)

var secrets = map[string][]byte{"plain": nil, "encrypted": []byte("a secret that the database keeps")}

// told returns what a journal's directory tells, and its contents.
func told(t testing.TB, dir string, secret []byte) ([]string, *Contents) {
	t.Helper()
	contents, err := Read(dir)
	require.NoError(t, err)
	var all []string
	require.NoError(t, contents.Replay(secret, false, func(records [][]byte) error {
		for _, r := range records {
			all = append(all, string(r))
		}
		return nil
	}))
	return all, contents
}

// begin opens a journal, as if what was in it were in the database.
func begin(t testing.TB, dir string, options Options) *Journal {
	t.Helper()
	if options.FileSize == 0 {
		options.FileSize = 64 << 10
	}
	contents, err := Read(dir)
	require.NoError(t, err)
	j, err := Open(contents, options)
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return j
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

// What was appended is told until the database has it for good; there are two
// files, whatever comes.
func TestReplay(t *testing.T) {
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "journal")
			j := begin(t, dir, Options{Secret: secret})
			require.NoError(t, j.Append(nil))
			want := []string{""}
			var full []string // what the other file has
			var checkpoint uint64
			for n := range 300 {
				if !j.Fits(len(record(n))) {
					require.ErrorContains(t, j.Append([]byte(record(n))), "does not fit")
					last := j.Last()
					require.NoError(t, j.Rotate(checkpoint))
					full, want, checkpoint = want, nil, last
				}
				want = append(want, appendAll(t, j, n, n+1)...)
				if n%10 == 0 {
					got, contents := told(t, dir, secret)
					require.Equal(t, append(full[:len(full):len(full)], want...), got)
					require.Equal(t, j.Last(), contents.Last)
					require.Equal(t, contents.Last-uint64(len(got)), contents.Checkpoint)
				}
			}
			require.Len(t, paths(t, dir), 2)
			for _, path := range paths(t, dir) {
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Len(t, content, 64<<10)
				require.Equal(t, secret == nil, bytes.Contains(content, []byte("xxxx")))
				info, err := os.Stat(path)
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			}
			require.NoError(t, j.Close())
			last := j.Last()
			j = begin(t, dir, Options{Secret: secret})
			got, contents := told(t, dir, secret)
			require.Empty(t, got)
			require.True(t, contents.Empty())
			require.Equal(t, last, j.Last(), "numbers go on")
		})
	}
}

// A journal of another size takes the place of the one that was there.
func TestOtherSize(t *testing.T) {
	dir := t.TempDir()
	j := begin(t, dir, Options{})
	appendAll(t, j, 0, 5)
	require.NoError(t, j.Close())
	j = begin(t, dir, Options{FileSize: 30_000})
	want := appendAll(t, j, 5, 7)
	got, _ := told(t, dir, nil)
	require.Equal(t, want, got)
	for _, path := range paths(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, int64(32<<10), info.Size(), "whole pages")
	}
}

// What can't be read is an error that says so.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	j := begin(t, dir, Options{Secret: secrets["encrypted"]})
	appendAll(t, j, 0, 3)
	contents, err := Read(dir)
	require.NoError(t, err)
	ignore := func([][]byte) error { return nil }
	require.ErrorContains(t, contents.Replay(nil, false, ignore), "there is no key")
	require.ErrorContains(t, contents.Replay([]byte("another"), false, ignore), "another key")
	require.NoError(t, contents.Replay(secrets["encrypted"], true, ignore))

	plain := t.TempDir()
	j = begin(t, plain, Options{})
	appendAll(t, j, 0, 3)
	contents, err = Read(plain)
	require.NoError(t, err)
	require.ErrorContains(t, contents.Replay(nil, true, ignore), "it is not encrypted, and should be")

	path := filepath.Join(dir, names[1])
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[len(magic)] = version + 1
	binary.LittleEndian.PutUint32(content[oldHeaderSize-4:], crc32.Checksum(content[:oldHeaderSize-4], castagnoli))
	require.NoError(t, os.WriteFile(path, content, 0o600))
	_, err = Read(dir)
	require.ErrorContains(t, err, "and this program knows only 2:")
	require.ErrorContains(t, err, path)
}

// A write that fails is as if it had not been: the next one takes its place.
func TestFailedAppend(t *testing.T) {
	dir := t.TempDir()
	j := begin(t, dir, Options{})
	want := appendAll(t, j, 0, 3)
	good, broken := j.files[j.active], errors.New("broken")
	for _, failing := range []File{failingFile{good, broken, nil}, failingFile{good, nil, broken}} {
		j.files[j.active] = failing
		require.ErrorIs(t, j.Append([]byte(strings.Repeat("not kept", 2000))), broken)
		j.files[j.active] = good
		want = append(want, appendAll(t, j, len(want), len(want)+2)...)
		got, _ := told(t, dir, nil)
		require.Equal(t, want, got)
	}
	j.files[1-j.active] = failingFile{j.files[1-j.active], broken, nil}
	require.ErrorIs(t, j.Rotate(0), broken)
	want = append(want, appendAll(t, j, 100, 101)...)
	got, _ := told(t, dir, nil)
	require.Equal(t, want, got)
}

// failingFile fails to write, or to sync.
type failingFile struct {
	File
	write, sync error
}

func (f failingFile) WriteAt(b []byte, at int64) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.File.WriteAt(b, at)
}

func (f failingFile) Data() error {
	if f.sync != nil {
		return f.sync
	}
	return f.File.Data()
}

// Whatever is damaged, cut off or missing of what was acknowledged is told of.
// What was not, does not matter.
func TestDamage(t *testing.T) {
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			whole := t.TempDir()
			j := begin(t, whole, Options{FileSize: pageSize, Secret: secret})
			var want []string
			for n := range 55 {
				r := fmt.Sprint(n, strings.Repeat("x", 40+n))
				if !j.Fits(len(r)) {
					require.NoError(t, j.Rotate(0))
				}
				want = append(want, r)
				require.NoError(t, j.Append([]byte(r)))
			}
			harmless := 0
			for n := range 1000 {
				dir := t.TempDir()
				require.NoError(t, os.CopyFS(dir, os.DirFS(whole)))
				path := paths(t, dir)[rand.IntN(2)]
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				used := len(bytes.TrimRight(content, "\x00"))
				switch at := rand.IntN(used); n % 4 {
				case 0, 1:
					content[at] ^= 1 << rand.IntN(8)
				case 2:
					content = content[:at]
				case 3: // but not up to the end: it can't be told from what was never written
					at = rand.IntN(used - 500)
					clear(content[at : at+300])
				}
				require.NoError(t, os.WriteFile(path, content, 0o600))
				contents, err := Read(dir)
				if err != nil {
					var damage *DamageError
					require.ErrorAs(t, err, &damage)
					require.ErrorContains(t, err, dir)
					continue
				}
				var got []string
				require.NoError(t, contents.Replay(secret, false, func(records [][]byte) error {
					for _, r := range records {
						got = append(got, string(r))
					}
					return nil
				}))
				require.Equal(t, want, got)
				harmless++
			}
			require.Less(t, harmless, 300, "most of it is not")
			for _, name := range names {
				dir := t.TempDir()
				require.NoError(t, os.CopyFS(dir, os.DirFS(whole)))
				require.NoError(t, os.Remove(filepath.Join(dir, name)))
				_, err := Read(dir)
				require.ErrorContains(t, err, "is missing")
			}
		})
	}
}

// FuzzRead reads a file that is anything.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	j := begin(f, dir, Options{})
	for _, r := range []string{"first", "", "third"} {
		require.NoError(f, j.Append([]byte(r)))
	}
	content, err := os.ReadFile(paths(f, dir)[1])
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
		again, ok, err := decodeHeader(append(h.encode(), make([]byte, headerSize)...))
		require.True(t, ok)
		require.NoError(t, err)
		require.Equal(t, h, again)
		records, end := h.records(content)
		require.LessOrEqual(t, end, len(content))
		h.damaged(content, end, h.first+uint64(len(records)))
		c := &Contents{read: func(string) ([]byte, error) { return bytes.Clone(content), nil }}
		if c.find([]string{"1" + extension}) == nil {
			_ = c.Replay(secrets["encrypted"], false, func([][]byte) error { return nil })
		}
	})
}

// BenchmarkAppend shows what a record costs, nearly all of which is the sync:
// compare it to BenchmarkRaw.
func BenchmarkAppend(b *testing.B) {
	for name, secret := range secrets {
		b.Run(name, func(b *testing.B) {
			j := begin(b, b.TempDir(), Options{FileSize: 4 << 20, Secret: secret})
			record := make([]byte, 40_000)
			b.SetBytes(int64(len(record)))
			b.ReportAllocs()
			for b.Loop() {
				if !j.Fits(len(record)) {
					require.NoError(b, j.Rotate(j.Last()))
				}
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
