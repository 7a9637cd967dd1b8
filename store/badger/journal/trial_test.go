package journal

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a trial by fresh eyes has found.

// saved returns what is saved of a journal that is damaged, and requires that
// it says that something is lost.
func saved(t *testing.T, dir string) (records []string) {
	t.Helper()
	_, err := Read(dir)
	require.ErrorAs(t, err, new(*DamageError))
	all, lost := Salvage(dir, nil)
	require.NotEmpty(t, lost)
	for _, r := range all {
		records = append(records, string(r))
	}
	return records
}

// The last record is damaged: what follows says that there was one.
func TestSalvageLastRecord(t *testing.T) {
	dir := t.TempDir()
	j := begin(t, dir, Options{})
	want := appendAll(t, j, 0, 3)
	path := filepath.Join(dir, names[j.active])
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[j.base+int64(len(j.buffer))-2] ^= 1
	require.NoError(t, os.WriteFile(path, content, 0o600))
	require.Equal(t, want[:2], saved(t, dir))
}

// One of the two files is gone: the other one says what came before.
func TestSalvageOneFile(t *testing.T) {
	dir := t.TempDir()
	j := begin(t, dir, Options{})
	appendAll(t, j, 0, 3)
	require.NoError(t, j.Rotate(j.Last()))
	appendAll(t, j, 3, 6)
	gone := filepath.Join(dir, names[j.active])
	require.NoError(t, j.Rotate(3))
	want := appendAll(t, j, 6, 9)
	require.NoError(t, os.Remove(gone))
	require.Equal(t, want, saved(t, dir))
}

// A record that was refused, and the one that took its number in the other file.
func TestSalvageRefusedRecord(t *testing.T) {
	dir := t.TempDir()
	j := begin(t, dir, Options{})
	require.NoError(t, j.Append([]byte("one")))
	good := j.files[j.active]
	j.files[j.active] = failingFile{good, nil, os.ErrInvalid}
	require.Error(t, j.Append([]byte("refused")))
	j.files[j.active] = good
	require.NoError(t, j.Rotate(0))
	require.NoError(t, j.Append([]byte("acknowledged")))
	got, _ := told(t, dir, nil)
	require.Equal(t, []string{"one", "acknowledged"}, got)
	all, lost := Salvage(dir, nil)
	require.Empty(t, lost)
	require.Equal(t, [][]byte{[]byte("one"), []byte("acknowledged")}, all)
}

// The program of before reads the header as its own, and so sees that it does
// not know the version, instead of taking the file for one that was never used.
func TestOlderProgramsSeeTheVersion(t *testing.T) {
	h := header{version: version, kind: plain, first: 7, checkpoint: 6, size: 64 << 10}
	b := h.encode()
	require.Equal(t, byte(version), b[len(magic)])
	require.Equal(t, crc32.Checksum(b[:oldHeaderSize-4], castagnoli), binary.LittleEndian.Uint32(b[oldHeaderSize-4:]))
}

// BenchmarkReadHostile reads what a client has filled with heads of records, of
// which each seems to be as long as the rest: that takes no longer than noise.
func BenchmarkReadHostile(b *testing.B) {
	const size = 4 << 20
	for name, number := range map[string]uint64{"heads": 10, "noise": 1 << 60} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			j := begin(b, dir, Options{FileSize: size})
			body := make([]byte, size-1000)
			for at := 0; at+headSize <= len(body); at += headSize {
				binary.LittleEndian.PutUint32(body[at+4:], uint32(size-at-1100))
				binary.LittleEndian.PutUint64(body[at+8:], number)
			}
			require.NoError(b, j.Append(body))
			for range 2 {
				require.NoError(b, j.Rotate(j.Last()))
				require.NoError(b, j.Append([]byte("x")))
			}
			for b.Loop() {
				_, err := Read(dir)
				require.NoError(b, err)
			}
		})
	}
}
