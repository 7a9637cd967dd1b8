package storetest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// newTask is a task that was just accepted.
func newTask() *task.Task {
	now := time.Now()
	return &task.Task{
		ID:        task.NewID(now),
		Route:     "orders",
		Owner:     "alice",
		CreatedAt: now,
		Callback: task.Callback{
			URL:    "https://client.example/hook",
			Events: task.TerminalEvents,
			Header: http.Header{"Authorization": {"Bearer secret"}},
			Status: task.CallbackPending,
		},
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func newRequest() *task.Request {
	body := []byte(`{"order":17}`)
	return &task.Request{
		Method: "POST", URL: "/orders?x=1", RequestURI: "/orders?x=1", Proto: "HTTP/1.1",
		Host: "shop.example", RemoteAddr: "192.0.2.1:4711",
		TLS:          &task.TLS{ServerName: "shop.example", Version: 0x304},
		Header:       http.Header{"Content-Type": {"application/json"}, "X-Many": {"a", "b"}},
		Body:         task.Body{Size: int64(len(body)), Inline: body},
		Vars:         map[string]any{"user": "alice", "admin": true},
		Placeholders: map[string]string{"http.auth.user.id": "alice"},
	}
}

func newResponse() *task.Response {
	body := []byte(`{"ok":true}`)
	return &task.Response{
		Status: 201,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   task.Body{Size: int64(len(body)), Inline: body},
		At:     time.Now(),
	}
}

// create stores a new task.
func (f *fixture) create() *task.Task {
	f.Helper()
	t := newTask()
	require.NoError(f, f.Create(f.Context(), t, newRequest(), nil))
	return t
}

func (f *fixture) save(t *task.Task) {
	f.Helper()
	require.NoError(f, f.Save(f.Context(), task.Step{Task: t}))
}

// settle stores a step after which the task is to be removed at a time.
func (f *fixture) settle(t *task.Task, at time.Time) {
	f.Helper()
	t.Status, t.Callback.Status, t.ExpiresAt = task.Completed, task.CallbackDelivered, at
	f.save(t)
}

// isStored checks that the task is stored as it is.
func (f *fixture) isStored(want *task.Task) {
	f.Helper()
	got, err := f.Load(f.Context(), want.ID)
	require.NoError(f, err)
	same(f, want, got)
}

// isGone checks that nothing of the task is there.
func (f *fixture) isGone(id task.ID) {
	f.Helper()
	_, err := f.Load(f.Context(), id)
	require.ErrorIs(f, err, task.ErrNotFound)
	_, err = f.LoadRequest(f.Context(), id)
	require.ErrorIs(f, err, task.ErrNotFound)
	_, err = f.LoadResponse(f.Context(), id)
	require.ErrorIs(f, err, task.ErrNotFound)
	f.hasNoBody(id, task.RequestPart)
	f.hasNoBody(id, task.ResponsePart)
}

// same compares records as far as they are stored: times lose what is less
// than a microsecond, and their zone.
func same[R record.Kept](f *fixture, want, got *R) {
	f.Helper()
	require.Equal(f, again(f, want), again(f, got))
}

// again is a record after it was written and read.
func again[R record.Kept](f *fixture, kept *R) *R {
	f.Helper()
	b, err := record.Marshal(kept)
	require.NoError(f, err)
	read, err := record.Unmarshal[R](b)
	require.NoError(f, err)
	return read
}

// putBody commits a body.
func (f *fixture) putBody(id task.ID, part task.Part, body []byte) {
	f.Helper()
	w, err := f.CreateBody(f.Context(), id, part)
	require.NoError(f, err)
	_, err = io.Copy(w, bytes.NewReader(body))
	require.NoError(f, err)
	require.NoError(f, w.Commit())
}

func (f *fixture) body(id task.ID, part task.Part) []byte {
	f.Helper()
	r, err := f.OpenBody(f.Context(), id, part)
	require.NoError(f, err)
	b, err := io.ReadAll(r)
	require.NoError(f, err)
	require.NoError(f, r.Close())
	return b
}

func (f *fixture) hasNoBody(id task.ID, part task.Part) {
	f.Helper()
	_, err := f.OpenBody(f.Context(), id, part)
	require.ErrorIs(f, err, task.ErrNotFound)
}

// noise is a body that can't be compressed, the same for each seed.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// due lists what is due.
func (f *fixture) due() (all []task.Due) {
	f.Helper()
	require.NoError(f, f.Due(f.Context(), func(d task.Due) error {
		all = append(all, d)
		return nil
	}))
	return all
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
