package badger

import (
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/store/record"
	"github.com/ringback/ringback/task"
)

// letters are those of all keys of the store, in order.
func letters(t *testing.T, s *Store) (all string) {
	t.Helper()
	require.NoError(t, s.flushNow(t.Context()))
	require.NoError(t, s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if letter := it.Item().Key()[:1]; letter[0] != metaKey {
				all += string(letter)
			}
		}
		return nil
	}))
	return all
}

// A small request and a small response live in the task's record through all
// its steps; larger ones have keys of their own. Nothing is left of either.
func TestAttachments(t *testing.T) {
	for _, one := range []struct {
		request, response             int
		created, started, done, ended string
	}{
		{100, 100, "dt", "dt", "dt", "tx"},
		{100, 5000, "dt", "dt", "drt", "rtx"},
		{5000, 100, "dqt", "dqt", "dt", "tx"},
		{5000, 5000, "dqt", "dqt", "drt", "rtx"},
	} {
		s := open(t, t.TempDir(), Options{})
		request := newRequest(one.request)
		response := &task.Response{Status: 200, Body: task.Body{Size: int64(one.response), Inline: noise(one.response)}}
		subject := newTask()
		save := func(step task.Step) {
			t.Helper()
			step.Task = subject
			require.NoError(t, s.Save(t.Context(), step))
			got, err := s.Load(t.Context(), subject.ID)
			require.NoError(t, err)
			require.Equal(t, subject.Status, got.Status)
		}
		hasRequest := func() {
			t.Helper()
			got, err := s.LoadRequest(t.Context(), subject.ID)
			require.NoError(t, err)
			require.Equal(t, request, got)
		}
		hasResponse := func() {
			t.Helper()
			got, err := s.LoadResponse(t.Context(), subject.ID)
			require.NoError(t, err)
			require.Equal(t, response.Body, got.Body)
		}

		require.NoError(t, s.Create(t.Context(), subject, request, nil))
		require.Equal(t, one.created, letters(t, s))
		hasRequest()
		subject.Status = task.Running
		save(task.Step{})
		require.Equal(t, one.started, letters(t, s))
		hasRequest()
		subject.Status = task.Completed
		save(task.Step{Response: response, DropRequest: true})
		require.Equal(t, one.done, letters(t, s))
		hasResponse()
		_, err := s.LoadRequest(t.Context(), subject.ID)
		require.ErrorIs(t, err, task.ErrNotFound)
		subject.Callback.Status, subject.ExpiresAt = task.CallbackDelivered, time.Now()
		save(task.Step{})
		require.Equal(t, one.ended, letters(t, s))
		hasResponse()
		require.NoError(t, s.Remove(t.Context(), subject.ID))
		require.Empty(t, letters(t, s))
	}
}

// A task that outgrows one value gives up what it carries, but does not lose it.
func TestAttachmentsOfGiants(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	subject, request := newTask(), newRequest(100)
	require.NoError(t, s.Create(t.Context(), subject, request, nil))
	for _, size := range []int{2 << 20, 10} {
		subject.LastError = strings.Repeat("x", size)
		require.NoError(t, s.Save(t.Context(), task.Step{Task: subject}))
		got, err := s.LoadRequest(t.Context(), subject.ID)
		require.NoError(t, err)
		require.Equal(t, request, got)
	}
	require.NoError(t, s.Save(t.Context(), task.Step{Task: subject, DropRequest: true}))
	_, err := s.LoadRequest(t.Context(), subject.ID)
	require.ErrorIs(t, err, task.ErrNotFound)
	require.NoError(t, s.Remove(t.Context(), subject.ID))
	require.Empty(t, letters(t, s))
}

// A store of before there were attachments goes on as it was.
func TestStoreWithoutAttachments(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	subject, request := newTask(), newRequest(100)
	require.NoError(t, s.db.Update(func(txn *badger.Txn) error {
		kept, err := record.Append([]byte{0}, subject)
		require.NoError(t, err)
		require.NoError(t, txn.Set([]byte(key(taskKey, subject.ID)), kept))
		kept, err = record.Append([]byte{0}, request)
		require.NoError(t, err)
		require.NoError(t, txn.Set([]byte(key(requestKey, subject.ID)), kept))
		return txn.Set([]byte(key(dueKey, subject.ID)), encodeDue(subject.Due()))
	}))
	got, err := s.LoadRequest(t.Context(), subject.ID)
	require.NoError(t, err)
	require.Equal(t, request, got)
	subject.Status = task.Completed
	require.NoError(t, s.Save(t.Context(), task.Step{Task: subject, DropRequest: true}))
	require.Equal(t, "dt", letters(t, s))
	require.NoError(t, s.Remove(t.Context(), subject.ID))
	require.Empty(t, letters(t, s))
}
