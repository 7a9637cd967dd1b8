// Package storetest is what every task store must do, as tests.
package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// Opener is a place where a store keeps its tasks.
type Opener struct {
	// Open opens the store. Called again after Close, it finds what was there.
	Open func() (task.Store, error)
	// Volatile says that it does not: Close forgets everything. The tests that
	// reopen a store are skipped then.
	Volatile bool
}

// Run runs the suite. Each test gets a place of its own, empty, from open.
func Run(t *testing.T, open func(t *testing.T) Opener) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Create", createTests},
		{"Idempotency", idempotencyTests},
		{"Save", saveTests},
		{"Body", bodyTests},
		{"Due", dueTests},
		{"Expired", expiredTests},
		{"Remove", removeTests},
		{"List", listTests},
		{"Close", closeTests},
		{"Concurrent", concurrentTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(newFixture(t, open(t)))
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(*fixture)
}

// fixture is one test and its store.
type fixture struct {
	*testing.T
	task.Store
	opener Opener
}

func newFixture(t *testing.T, opener Opener) *fixture {
	f := &fixture{T: t, opener: opener}
	f.open()
	t.Cleanup(func() {
		if err := f.Store.Close(); err != nil {
			require.ErrorIs(t, err, task.ErrClosed)
		}
	})
	return f
}

func (f *fixture) open() {
	f.Helper()
	store, err := f.opener.Open()
	require.NoError(f, err)
	f.Store = store
}

// reopen closes the store and opens it again; it skips the rest of the test
// for a store that forgets.
func (f *fixture) reopen() {
	f.Helper()
	if f.opener.Volatile {
		f.Skip("the store forgets when it is closed")
	}
	require.NoError(f, f.Close())
	f.open()
}
