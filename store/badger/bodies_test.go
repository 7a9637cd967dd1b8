package badger

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// The bound of the directory refuses what is new, and holds for bodies, too.
func TestMaxBytes(t *testing.T) {
	const bound = 8 << 20
	s := open(t, t.TempDir(), Options{MaxBytes: bound, MemTableSize: minMemTableSize})
	var ids []task.ID
	var err error
	for err == nil {
		var w task.BodyWriter
		id := newTask().ID
		if w, err = s.CreateBody(t.Context(), id, task.RequestPart); err != nil {
			break
		}
		if _, err = w.Write(noise(1 << 20)); err != nil {
			require.NoError(t, w.Discard())
			break
		}
		require.NoError(t, w.Commit())
		ids = append(ids, id)
	}
	require.ErrorIs(t, err, task.ErrNoSpace)
	require.ErrorIs(t, s.Create(t.Context(), newTask(), newRequest(10), nil), task.ErrNoSpace)
	require.InDelta(t, bound>>20, len(ids), 2)
	for _, id := range ids {
		require.NoError(t, s.Remove(t.Context(), id))
		_, err := s.OpenBody(t.Context(), id, task.RequestPart)
		require.ErrorIs(t, err, task.ErrNotFound)
	}
	create(t, s, 10)
}

// What is left behind by a process that died is removed, and only that.
func TestScan(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	kept, orphan, half := create(t, s, 10), newTask(), newTask()
	putBody(t, s, kept.ID, task.RequestPart, noise(1000))
	putBody(t, s, orphan.ID, task.ResponsePart, noise(1000))
	_, err := s.CreateBody(t.Context(), half.ID, task.RequestPart)
	require.NoError(t, err)
	foreign := filepath.Join(dir, bodiesDir, "README")
	require.NoError(t, os.Mkdir(foreign, 0o700))
	foreign = filepath.Join(foreign, "notes.txt")
	require.NoError(t, os.WriteFile(foreign, []byte("not ours"), 0o600))
	require.NoError(t, s.Close())
	time.Sleep(2 * time.Millisecond) // IDs have milliseconds

	s = open(t, dir, Options{})
	early := newTask() // the scan may see it, and must leave it alone
	putBody(t, s, early.ID, task.RequestPart, noise(1000))
	require.Eventually(t, func() bool {
		s.bodies.mu.Lock()
		defer s.bodies.mu.Unlock()
		return s.bodies.listed
	}, 10*time.Second, time.Millisecond)
	var left []string
	for path := range files(t, filepath.Join(dir, bodiesDir)) {
		left = append(left, path)
	}
	require.ElementsMatch(t, left, []string{
		foreign,
		s.bodies.path(bodyName{kept.ID, task.RequestPart}),
		s.bodies.path(bodyName{early.ID, task.RequestPart}),
	})
	require.Len(t, s.bodies.kept(kept.ID, task.RequestPart, task.ResponsePart), 1)
	require.Empty(t, s.bodies.kept(orphan.ID, task.RequestPart, task.ResponsePart))
}

var key1, key2 = []byte("0123456789abcdef"), []byte("0123456789abcdef0123456789ABCDEF")

func TestEncrypted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{EncryptionKey: key1})
	secret := bytes.Repeat([]byte("a secret that nobody may read "), 10_000)
	one := newTask()
	putBody(t, s, one.ID, task.RequestPart, secret)
	q := newRequest(10)
	q.Body.Inline = secret[:3000]
	require.NoError(t, s.Create(t.Context(), one, q, nil))
	require.NoError(t, s.Close())
	for path, content := range files(t, dir) {
		require.NotContains(t, content, "a secret", path)
		require.NotContains(t, content, "client.example", path)
	}

	_, err := Open(dir, Options{EncryptionKey: key2})
	require.ErrorContains(t, err, "has a different encryption key")
	_, err = Open(dir, Options{})
	require.ErrorContains(t, err, "is encrypted: set its encryption key")

	s = open(t, dir, Options{EncryptionKey: key1})
	got, err := readBody(t, s, one.ID, task.RequestPart)
	require.NoError(t, err)
	require.True(t, bytes.Equal(secret, got))
}

// A body on disk that is not what was written gives an error, not other bytes.
func TestTampered(t *testing.T) {
	t.Run("encrypted", func(t *testing.T) { testTampered(t, key1) })
	t.Run("plain", func(t *testing.T) { testTampered(t, nil) })
}

func testTampered(t *testing.T, key []byte) {
	s := open(t, t.TempDir(), Options{EncryptionKey: key})
	body := noise(200_000)
	ids := []task.ID{newTask().ID, newTask().ID}
	for _, id := range ids {
		putBody(t, s, id, task.RequestPart, body)
		putBody(t, s, id, task.ResponsePart, body)
	}
	path := s.bodies.path(bodyName{ids[0], task.RequestPart})
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	other, err := os.ReadFile(s.bodies.path(bodyName{ids[1], task.RequestPart}))
	require.NoError(t, err)
	part, err := os.ReadFile(s.bodies.path(bodyName{ids[0], task.ResponsePart}))
	require.NoError(t, err)

	spoilt := map[string][]byte{
		"empty":          {},
		"of another":     other,
		"of other part":  part,
		"plain":          append([]byte{bodyPlain}, body...),
		"unknown kind":   append([]byte{'?'}, body...),
		"more":           append(bytes.Clone(good), 0),
		"without chunk":  good[:len(good)-(200_000-3<<16)-16],
		"swapped chunks": nil,
	}
	if key == nil { // as versions before wrote it
		delete(spoilt, "plain")
	}
	head := len(good) - 200_000 - 4*16
	swapped := bytes.Clone(good)
	copy(swapped[head:], good[head+1<<16+16:head+2*(1<<16+16)])
	copy(swapped[head+1<<16+16:], good[head:head+1<<16+16])
	spoilt["swapped chunks"] = swapped
	for _, at := range []int{0, 1, 30, 100, head, head + 70_000, len(good) - 1} {
		flipped := bytes.Clone(good)
		flipped[at] ^= 1
		spoilt["flipped "+string(rune('a'+at%26))] = flipped
	}
	for n := 1; n < len(good); n += 9_973 {
		spoilt["cut "+time.Duration(n).String()] = good[:n]
	}
	for name, content := range spoilt {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		_, err := readBody(t, s, ids[0], task.RequestPart)
		require.ErrorIs(t, err, task.ErrBadRecord, name)
	}
	require.NoError(t, os.WriteFile(path, good, 0o600))
	got, err := readBody(t, s, ids[0], task.RequestPart)
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, got))
}

func TestRotateKey(t *testing.T) {
	dir := t.TempDir()
	body := noise(100_000)
	var tasks []*task.Task
	check := func(key []byte) {
		t.Helper()
		s, err := Open(dir, Options{EncryptionKey: key})
		require.NoError(t, err)
		one := newTask()
		putBody(t, s, one.ID, task.RequestPart, body)
		require.NoError(t, s.Create(t.Context(), one, newRequest(1000), nil))
		tasks = append(tasks, one)
		for _, one := range tasks { // of all keys so far
			_, err := s.LoadRequest(t.Context(), one.ID)
			require.NoError(t, err)
			got, err := readBody(t, s, one.ID, task.RequestPart)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, got))
		}
		kind, err := os.ReadFile(s.bodies.path(bodyName{one.ID, task.RequestPart}))
		require.NoError(t, err)
		require.Equal(t, key != nil, kind[0] == bodySealed)
		require.NoError(t, s.Close())
		time.Sleep(2 * time.Millisecond) // IDs have milliseconds, as has the time of a change
	}
	require.ErrorContains(t, RotateKey(dir, nil, key1), "there is no task store in")
	check(nil)
	for _, change := range [][2][]byte{{nil, key1}, {key1, key2}, {key2, nil}, {nil, key2}} {
		require.NoError(t, RotateKey(dir, change[0], change[1]))
		_, err := Open(dir, Options{EncryptionKey: change[0]})
		require.ErrorContains(t, err, "encrypt")
		check(change[1])
	}
	require.ErrorContains(t, RotateKey(dir, key1, key2), "has a different encryption key")
	require.ErrorContains(t, RotateKey(dir, key2, []byte("short")), "want 16, 24 or 32")
	check(key2)
}

// Whatever is written in whatever pieces is read again, from any place.
func FuzzSeal(f *testing.F) {
	f.Add(uint32(5), uint16(3), uint32(2))
	f.Add(uint32(70_000), uint16(1000), uint32(65_536))
	f.Add(uint32(0), uint16(1), uint32(0))
	f.Add(uint32(64<<10), uint16(65_535), uint32(65_535))
	dir := f.TempDir()
	key := &bodyKey{since: time.Now()}
	name := bodyName{newTask().ID, task.RequestPart}
	f.Fuzz(func(t *testing.T, size uint32, piece uint16, from uint32) {
		body := noise(int(size) % 300_000) // content does not matter, sizes do
		file, err := os.CreateTemp(dir, "")
		require.NoError(t, err)
		defer os.Remove(file.Name())
		defer file.Close()
		w, err := key.seal(file, name)
		require.NoError(t, err)
		for rest := body; len(rest) > 0; {
			n, err := w.Write(rest[:min(len(rest), int(piece)+1)])
			require.NoError(t, err)
			rest = rest[n:]
		}
		require.NoError(t, w.Close())

		r, err := key.unseal(file, name)
		require.NoError(t, err)
		n, err := r.Seek(0, io.SeekEnd)
		require.NoError(t, err)
		require.Equal(t, int64(len(body)), n)
		start := int64(min(int(from), len(body)))
		_, err = r.Seek(start, io.SeekStart)
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body[start:], got))

		info, err := file.Stat()
		require.NoError(t, err)
		require.NoError(t, file.Truncate(int64(from)%info.Size())) // always shorter
		if r, err = key.unseal(file, name); err == nil {
			_, err = io.ReadAll(r)
		}
		require.Error(t, err)
	})
}
