package badger

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
)

// child creates and settles tasks until it is killed. It prints each one when
// the store has acknowledged it: "created ID", "done ID".
func child(dir string) {
	s, err := Open(dir, Options{MemTableSize: minMemTableSize}) // small: many files come and go
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	var mu sync.Mutex
	say := func(what string, id task.ID) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id) // one write(2), without a buffer
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	for worker := range 8 {
		go func() {
			for n := 0; ; n++ {
				t := newTask()
				q := newRequest(2000)
				if worker == 0 {
					w, err := s.CreateBody(ctx, t.ID, task.RequestPart)
					fail(err)
					_, err = w.Write(noise(100_000))
					fail(err)
					fail(w.Commit())
					q.Body = task.Body{Size: 100_000, Stored: true}
				}
				fail(s.Create(ctx, t, q, nil))
				say("created", t.ID)
				if n%2 == 0 {
					t.Status = task.Completed
					fail(s.Save(ctx, task.Step{Task: t, DropRequest: true, Response: &task.Response{Status: 200}}))
					say("done", t.ID)
				}
			}
		}()
	}
	select {}
}

// A process that is killed at any moment loses nothing that it acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	kept := make(map[task.ID]string)
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan(), "the child did not begin")
		time.AfterFunc(time.Duration(rand.IntN(300))*time.Millisecond, func() { cmd.Process.Kill() })
		n := 0
		for ok := true; ok; ok = lines.Scan() {
			what, text, _ := strings.Cut(lines.Text(), " ")
			id, err := task.ParseID(text)
			if err != nil {
				break // cut off by the kill
			}
			kept[id] = what
			n++
		}
		require.ErrorContains(t, cmd.Wait(), "killed")

		s, err := Open(dir, Options{})
		require.NoError(t, err)
		due := make(map[task.ID]task.Action)
		require.NoError(t, s.Due(t.Context(), func(d task.Due) error {
			due[d.ID] = d.Action
			return nil
		}))
		for id, what := range kept {
			one, err := s.Load(t.Context(), id)
			require.NoError(t, err, "%s %s", what, id)
			// What was begun when the kill came is done or not; never half.
			action, _ := one.Next()
			require.Equal(t, action, due[id])
			if what == "done" {
				require.Equal(t, task.Completed, one.Status)
			}
			if one.Status == task.Completed {
				_, err = s.LoadResponse(t.Context(), id)
				require.NoError(t, err)
				continue
			}
			q, err := s.LoadRequest(t.Context(), id)
			require.NoError(t, err)
			if q.Body.Stored {
				body, err := readBody(t, s, id, task.RequestPart)
				require.NoError(t, err)
				require.Len(t, body, 100_000)
			}
		}
		require.GreaterOrEqual(t, len(due), len(kept))
		t.Logf("round %d: %d acknowledged steps, %d tasks", round, n, len(kept))
		require.NoError(t, s.Close())
	}
	require.NotEmpty(t, kept)
}
