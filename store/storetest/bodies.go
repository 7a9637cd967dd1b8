package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

var bodyTests = []test{
	{"commit", func(f *fixture) {
		t := f.create()
		request, response := noise(200_000, 1), noise(300_000, 2)
		f.putBody(t.ID, task.RequestPart, request)
		f.hasNoBody(t.ID, task.ResponsePart)
		f.putBody(t.ID, task.ResponsePart, response)
		require.True(f, bytes.Equal(request, f.body(t.ID, task.RequestPart)))
		require.True(f, bytes.Equal(response, f.body(t.ID, task.ResponsePart)))
	}},
	{"empty", func(f *fixture) {
		t := f.create()
		f.putBody(t.ID, task.RequestPart, nil)
		require.Empty(f, f.body(t.ID, task.RequestPart))
	}},
	{"sizes", func(f *fixture) { // around the chunks that stores may cut bodies into
		t := f.create()
		for _, n := range []int{1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 1 << 20} {
			body := noise(n, byte(n))
			f.putBody(t.ID, task.ResponsePart, body)
			require.True(f, bytes.Equal(body, f.body(t.ID, task.ResponsePart)), "%d bytes", n)
		}
	}},
	{"10 MiB, persistent", func(f *fixture) {
		t := newTask()
		body := noise(10<<20, 3)
		f.putBody(t.ID, task.RequestPart, body)
		q := newRequest()
		q.Body = task.Body{Size: int64(len(body)), Stored: true}
		require.NoError(f, f.Create(f.Context(), t, q, nil))
		require.True(f, bytes.Equal(body, f.body(t.ID, task.RequestPart)))
		f.reopen()
		require.True(f, bytes.Equal(body, f.body(t.ID, task.RequestPart)))
	}},
	{"not there before commit", func(f *fixture) {
		t := f.create()
		w, err := f.CreateBody(f.Context(), t.ID, task.ResponsePart)
		require.NoError(f, err)
		_, err = w.Write(noise(500_000, 4))
		require.NoError(f, err)
		f.hasNoBody(t.ID, task.ResponsePart)
		require.NoError(f, w.Commit())
		require.Len(f, f.body(t.ID, task.ResponsePart), 500_000)
		require.NoError(f, w.Commit())
		require.NoError(f, w.Discard())
		_, err = w.Write([]byte("more"))
		require.NoError(f, err)
		require.Len(f, f.body(t.ID, task.ResponsePart), 500_000)
	}},
	{"discard", func(f *fixture) {
		t := f.create()
		w, err := f.CreateBody(f.Context(), t.ID, task.ResponsePart)
		require.NoError(f, err)
		_, err = w.Write(noise(500_000, 5))
		require.NoError(f, err)
		require.NoError(f, w.Discard())
		require.NoError(f, w.Discard())
		require.NoError(f, w.Commit())
		f.hasNoBody(t.ID, task.ResponsePart)
	}},
	{"again", func(f *fixture) {
		t := f.create()
		w, err := f.CreateBody(f.Context(), t.ID, task.ResponsePart) // interrupted
		require.NoError(f, err)
		_, err = w.Write(noise(500_000, 6))
		require.NoError(f, err)
		f.putBody(t.ID, task.ResponsePart, []byte("second"))
		require.Equal(f, "second", string(f.body(t.ID, task.ResponsePart)))
		require.NoError(f, w.Discard())
		require.Equal(f, "second", string(f.body(t.ID, task.ResponsePart)))
		f.putBody(t.ID, task.ResponsePart, []byte("3"))
		require.Equal(f, "3", string(f.body(t.ID, task.ResponsePart)))
	}},
	{"interrupted by the end", func(f *fixture) {
		t := f.create()
		w, err := f.CreateBody(f.Context(), t.ID, task.ResponsePart)
		require.NoError(f, err)
		_, err = w.Write(noise(500_000, 7))
		require.NoError(f, err)
		f.reopen()
		f.hasNoBody(t.ID, task.ResponsePart)
		f.putBody(t.ID, task.ResponsePart, []byte("second"))
		require.Equal(f, "second", string(f.body(t.ID, task.ResponsePart)))
	}},
	{"seek", func(f *fixture) {
		t := f.create()
		body := noise(300_000, 8)
		f.putBody(t.ID, task.ResponsePart, body)
		r, err := f.OpenBody(f.Context(), t.ID, task.ResponsePart)
		require.NoError(f, err)
		defer r.Close()
		n, err := r.Seek(0, io.SeekEnd)
		require.NoError(f, err)
		require.Equal(f, int64(len(body)), n)
		for _, from := range []int{0, 1, 65_535, 65_536, 131_071, 250_000, 299_999} {
			_, err := r.Seek(int64(from), io.SeekStart)
			require.NoError(f, err)
			got := make([]byte, min(70_000, len(body)-from))
			_, err = io.ReadFull(r, got)
			require.NoError(f, err)
			require.True(f, bytes.Equal(body[from:from+len(got)], got), "from %d", from)
		}
		_, err = r.Seek(-10, io.SeekCurrent)
		require.NoError(f, err)
		rest, err := io.ReadAll(r)
		require.NoError(f, err)
		require.Equal(f, body[len(body)-10:], rest)
	}},
	{"orphan", func(f *fixture) {
		orphan, kept := newTask(), f.create()
		f.putBody(orphan.ID, task.RequestPart, noise(100_000, 9))
		f.putBody(kept.ID, task.RequestPart, []byte("kept"))
		f.putBody(kept.ID, task.ResponsePart, []byte("kept"))
		time.Sleep(2 * time.Millisecond) // IDs have milliseconds: these must be older than what follows
		f.reopen()
		require.Eventually(f, func() bool {
			r, err := f.OpenBody(f.Context(), orphan.ID, task.RequestPart)
			if err == nil {
				r.Close()
			}
			return errors.Is(err, task.ErrNotFound)
		}, 10*time.Second, 5*time.Millisecond)
		require.Equal(f, "kept", string(f.body(kept.ID, task.RequestPart)))
		require.Equal(f, "kept", string(f.body(kept.ID, task.ResponsePart)))
	}},
	{"dropped with the request", func(f *fixture) {
		t := f.create()
		f.putBody(t.ID, task.RequestPart, noise(100_000, 10))
		f.putBody(t.ID, task.ResponsePart, []byte("stays"))
		require.NoError(f, f.Save(f.Context(), task.Step{Task: t, DropRequest: true}))
		f.hasNoBody(t.ID, task.RequestPart)
		require.Equal(f, "stays", string(f.body(t.ID, task.ResponsePart)))
	}},
	{"read while removed", func(f *fixture) {
		t := f.create()
		body := noise(1<<20, 11)
		f.putBody(t.ID, task.ResponsePart, body)
		r, err := f.OpenBody(f.Context(), t.ID, task.ResponsePart)
		require.NoError(f, err)
		defer r.Close()
		require.NoError(f, f.Remove(f.Context(), t.ID))
		f.hasNoBody(t.ID, task.ResponsePart)
		got, err := io.ReadAll(r)
		if err == nil { // or the store says that it is gone
			require.True(f, bytes.Equal(body, got))
		}
	}},
	{"canceled", func(f *fixture) {
		t := f.create()
		_, err := f.CreateBody(canceled(), t.ID, task.ResponsePart)
		require.ErrorIs(f, err, context.Canceled)
		f.putBody(t.ID, task.ResponsePart, []byte("body"))
		_, err = f.OpenBody(canceled(), t.ID, task.ResponsePart)
		require.ErrorIs(f, err, context.Canceled)
	}},
}
