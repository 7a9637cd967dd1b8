package badger

import (
	"fmt"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

func spoil(t *testing.T, s *Store, key string, value []byte) {
	t.Helper()
	require.NoError(t, s.flushNow(t.Context()))
	require.NoError(t, s.db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(key), value) }))
}

// A record that can't be read is told of wherever it belongs, and is kept.
func TestBadRecord(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	good, bad, index, both := create(t, s, 10), create(t, s, 10), create(t, s, 10), create(t, s, 10)
	settled := create(t, s, 10)
	settled.Status, settled.Callback.Status, settled.ExpiresAt = task.Completed, task.CallbackDelivered, time.Now()
	require.NoError(t, s.Save(t.Context(), task.Step{Task: settled}))
	for _, one := range []*task.Task{bad, both, settled} {
		spoil(t, s, key(taskKey, one.ID), []byte{0, 1, 2, 3})
	}
	spoil(t, s, key(requestKey, bad.ID), nil)
	for _, one := range []*task.Task{index, both} {
		spoil(t, s, key(dueKey, one.ID), []byte("bad"))
	}

	for _, one := range []*task.Task{bad, both, settled} {
		_, err := s.Load(t.Context(), one.ID)
		require.ErrorIs(t, err, task.ErrBadRecord)
		require.ErrorContains(t, err, one.ID.String())
	}
	_, err := s.LoadRequest(t.Context(), bad.ID)
	require.ErrorIs(t, err, task.ErrBadRecord)

	due := make(map[task.ID]task.Due)
	require.NoError(t, s.Due(t.Context(), func(d task.Due) error { due[d.ID] = d; return nil }))
	require.Len(t, due, 4)
	require.Equal(t, due[good.ID].Lane, due[index.ID].Lane)
	require.Equal(t, task.ActionCall, due[index.ID].Action)
	require.Equal(t, task.ActionCall, due[both.ID].Action)

	expired, err := s.Expired(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, expired)
	tasks, err := s.List(t.Context(), nil, task.ID{}, 10)
	require.NoError(t, err)
	require.Len(t, tasks, 2)

	require.NoError(t, s.Remove(t.Context(), bad.ID)) // by whoever decides to
	_, err = s.Load(t.Context(), bad.ID)
	require.ErrorIs(t, err, task.ErrNotFound)
}

// The chunks of a giant are all deleted with it, also after a restart.
func TestGiants(t *testing.T) {
	dir := t.TempDir()
	keys := func(s *Store) (all []string) {
		require.NoError(t, s.flushNow(t.Context()))
		require.NoError(t, s.db.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{})
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				if key := it.Item().Key(); key[0] != metaKey {
					all = append(all, fmt.Sprintf("%q", key))
				}
			}
			return nil
		}))
		return all
	}
	s := open(t, dir, Options{})
	one, two := create(t, s, 2<<20), create(t, s, 1<<20)
	require.Greater(t, len(keys(s)), 2*3)
	require.NoError(t, s.Save(t.Context(), task.Step{Task: one, DropRequest: true}))
	require.NoError(t, s.Remove(t.Context(), one.ID))
	require.NoError(t, s.settleAll(t.Context()))
	require.NoError(t, s.Close())

	s = open(t, dir, Options{})
	q, err := s.LoadRequest(t.Context(), two.ID)
	require.NoError(t, err)
	require.Len(t, q.Body.Inline, 1<<20)
	require.NoError(t, s.Remove(t.Context(), two.ID))
	require.NoError(t, s.settleAll(t.Context()))
	require.Empty(t, keys(s))
	require.Empty(t, s.giants.chunks)
}
