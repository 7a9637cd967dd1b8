package task_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
)

// slowReads is a store that takes a while to read.
type slowReads struct {
	task.Store
	takes time.Duration
}

func (s *slowReads) LoadRequest(ctx context.Context, id task.ID) (*task.Request, error) {
	time.Sleep(s.takes)
	return s.Store.LoadRequest(ctx, id)
}

// on runs the world's engine on another store.
func (w *world) on(store task.Store) {
	w.engine.Stop(ended())
	w.store = store
	w.start()
}

// A client that gives up waiting just as the backend finishes gets its
// callback: whoever is first, one of the two sees to it.
func TestAWaitThatRunsOutAsTheBackendFinishes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tasks := 10_000 // one in several thousand was forgotten
		if testing.Short() {
			tasks = 1000
		}
		w := newWorld(t, func(r *task.Route) { r.Concurrency = tasks })
		w.engine.Stop(ended())
		w.engine = task.New(task.Options{Store: w.store}) // which logs nothing
		require.NoError(t, w.engine.Start())
		w.engine.Register(w.route)
		w.answers(func(context.Context, *task.Call, http.ResponseWriter) error {
			time.Sleep(time.Second)
			return nil
		})
		for range tasks {
			id := w.accept(func(a *task.Acceptance) { a.Hold = true })
			go func() {
				time.Sleep(time.Second)
				w.engine.Unhold(id)
			}()
		}
		time.Sleep(time.Minute)
		require.Equal(t, tasks, len(w.received()))
		require.Zero(t, w.engine.Stats())
	})
}

// A client that cancels while its task is read, just before the call, ends
// the call all the same.
func TestACancelJustBeforeTheCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on(&slowReads{w.store, time.Second})
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error {
			<-ctx.Done()
			return ctx.Err()
		})
		id := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Minute) })
		time.Sleep(time.Minute + time.Second/2)
		start := time.Now()
		canceled, err := w.engine.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Canceled, canceled.Status)
		require.Less(t, time.Since(start), 2*time.Second)
		synctest.Wait()
		require.Empty(t, w.called())
		require.Len(t, w.received(), 1)
	})
}

func TestAnOperatorsCancelIsNotTheClients(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		later := func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) }
		_, err := w.engine.Cancel(t.Context(), w.accept(later))
		require.NoError(t, err)
		_, err = w.engine.CancelByOperator(t.Context(), w.accept(later))
		require.NoError(t, err)
		synctest.Wait()
		require.Contains(t, w.received()[0].body, "the client canceled the task")
		require.Contains(t, w.received()[1].body, "the operator canceled the task")
	})
}

// A delivery under way does not keep a client waiting that cancels too late.
func TestACancelThatIsTooLateIsToldAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { time.Sleep(20 * time.Second); return answer(200), nil })
		id := w.accept()
		synctest.Wait()
		start := time.Now()
		_, err := w.engine.Cancel(t.Context(), id)
		var problem *task.Problem
		require.ErrorAs(t, err, &problem)
		require.Equal(t, 409, problem.Status)
		require.Zero(t, time.Since(start))
	})
}

// sleepy is a handler that looks at nothing but its own work, as php_fastcgi does.
func sleepy(d time.Duration) func(context.Context, *task.Call, http.ResponseWriter) error {
	return func(_ context.Context, _ *task.Call, rw http.ResponseWriter) error {
		rw.Header().Set("Content-Type", "text/plain")
		time.Sleep(d)
		rw.Header().Set("X-Late", "yes")
		_, err := io.WriteString(rw, "late")
		return err
	}
}

func TestATimeoutHoldsForAHandlerThatIgnoresIt(t *testing.T) {
	for name, script := range map[string]time.Duration{"a little late": 1100 * time.Millisecond, "much too late": 8 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(r *task.Route) { r.Timeout = time.Second })
				w.answers(sleepy(script))
				id := w.accept()
				time.Sleep(2*time.Second + time.Millisecond)
				synctest.Wait()
				got := w.task(id)
				require.Equal(t, task.Failed, got.Status)
				require.Equal(t, task.CodeBackendTimeout, got.Failure.Code)
				require.Len(t, w.received(), 1)
				time.Sleep(time.Minute)
				require.Equal(t, task.Failed, w.task(id).Status, "what comes later has no effect")
				require.Len(t, w.received(), 1)
			})
		})
	}
}

func TestACancelHoldsForAHandlerThatIgnoresIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(sleepy(10 * time.Minute))
		id := w.accept()
		time.Sleep(time.Second)
		start := time.Now()
		canceled, err := w.engine.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Canceled, canceled.Status)
		require.LessOrEqual(t, time.Since(start), time.Second)
	})
}

func TestADeadlineHoldsForAHandlerThatIgnoresIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(sleepy(10 * time.Minute))
		id := w.accept(func(a *task.Acceptance) { a.Client.Deadline = time.Now().Add(10 * time.Second) })
		time.Sleep(11*time.Second + time.Millisecond)
		require.Equal(t, task.Expired, w.task(id).Status)
	})
}

// The grace period holds, whatever handlers and receivers do.
func TestStopIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(sleepy(10 * time.Minute))
		called := w.accept()
		time.Sleep(time.Second)
		w.answers(nil)
		w.hears(func(*http.Request) (*http.Response, error) { time.Sleep(10 * time.Minute); return answer(200), nil })
		delivering := w.accept()
		synctest.Wait()
		start := time.Now()
		grace, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		w.engine.Stop(grace)
		require.Equal(t, 6*time.Second, time.Since(start))

		stored, err := w.store.Load(t.Context(), called)
		require.NoError(t, err)
		require.Equal(t, task.Queued, stored.Status, "put back, without an attempt")
		require.Zero(t, stored.Attempts)
		w.answers(nil)
		w.hears(nil)
		w.start()
		time.Sleep(time.Minute)
		for _, id := range []task.ID{called, delivering} {
			require.Equal(t, task.CallbackDelivered, w.task(id).Callback.Status)
		}
	})
}

// An answer that is complete within a moment of the end of the grace period is
// kept: the call need not be made twice.
func TestAnAnswerThatComesWhileStoppingCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(sleepy(1500 * time.Millisecond))
		id := w.accept()
		time.Sleep(time.Second)
		w.engine.Stop(ended())
		stored, err := w.store.Load(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Completed, stored.Status)
	})
}

// Calls that were left behind do not hold up a route, nor pile up without end.
func TestCallsThatAreLeftBehindAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Timeout, r.Concurrency = time.Second, 2 })
		w.answers(sleepy(time.Hour))
		for range 20 {
			w.accept()
		}
		time.Sleep(30 * time.Minute)
		require.Len(t, w.called(), 4, "two are left behind, and then two keep their places")
		w.answers(nil)
		time.Sleep(2 * time.Hour)
		require.Len(t, w.called(), 20)
		require.Zero(t, w.engine.Stats())
	})
}

func TestAReceiverThatSwitchesProtocolsIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) {
			a := answer(101)
			a.Body = silent(make(chan struct{}))
			return a, nil
		})
		id := w.accept()
		time.Sleep(time.Second)
		got := w.task(id)
		require.Equal(t, task.CallbackRetrying, got.Callback.Status)
		require.Equal(t, 101, got.Callback.Log[0].Status)
	})
}

func TestAReceiverThatNeverEndsItsAnswerIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) {
			a := answer(200)
			a.Body = silent(make(chan struct{}))
			return a, nil
		})
		id := w.accept()
		time.Sleep(31 * time.Second)
		require.Equal(t, task.CallbackDelivered, w.task(id).Callback.Status)
	})
}

// silent is a connection on which nothing comes until it is closed.
type silent chan struct{}

func (s silent) Read([]byte) (int, error) { <-s; return 0, io.ErrClosedPipe }
func (s silent) Close() error {
	select {
	case <-s:
	default:
		close(s)
	}
	return nil
}

func TestABackendThatAnswersWhatIsNoAnswer(t *testing.T) {
	for _, status := range []int{101, 99, 0, -1, 1000} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.answers(func(_ context.Context, _ *task.Call, rw http.ResponseWriter) error {
				rw.WriteHeader(status)
				io.WriteString(rw, "body")
				return nil
			})
			id := w.accept()
			synctest.Wait()
			got := w.task(id)
			require.Equal(t, task.Failed, got.Status, status)
			require.Equal(t, task.CodeBackendError, got.Failure.Code)
		})
	}
}

// An attempt that the stop of the process cut short counts if the receiver may
// have got it, and else does not.
func TestAnAttemptThatReachedTheReceiverCounts(t *testing.T) {
	for name, reaches := range map[string]bool{"reached it": true, "did not": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.hears(func(r *http.Request) (*http.Response, error) {
					if reaches {
						wroteHeaders(r)
					}
					<-r.Context().Done()
					return nil, r.Context().Err()
				})
				id := w.accept()
				synctest.Wait()
				w.engine.Stop(ended())
				stored, err := w.store.Load(t.Context(), id)
				require.NoError(t, err)
				if reaches {
					require.Equal(t, 1, stored.Callback.Attempts)
					require.Equal(t, task.CallbackRetrying, stored.Callback.Status)
					require.Equal(t, "the server stopped before the receiver had answered", stored.Callback.Log[0].Error)
				} else {
					require.Zero(t, stored.Callback.Attempts)
					require.Equal(t, task.CallbackPending, stored.Callback.Status)
				}
			})
		})
	}
}

// Nobody is to read that no callback will come while one may.
func TestTheCallbackOfATaskThatIsNotDoneIsPending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		later := func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) }
		status := func(id task.ID) task.CallbackStatus {
			view, err := w.engine.View(t.Context(), id)
			require.NoError(t, err)
			return view.Callback.Status
		}
		require.Equal(t, task.CallbackPending, status(w.accept(later)))
		polled := w.accept(later, func(a *task.Acceptance) { a.CallbackURL = "" })
		require.Equal(t, task.CallbackNone, status(polled))
		failing := w.accept(later, func(a *task.Acceptance) { a.CallbackURL, a.Client.ErrorURL = "", "https://errors.example/" })
		require.Equal(t, task.CallbackPending, status(failing))
		done := w.accept(func(a *task.Acceptance) { a.Client.Events = task.EventFailed })
		synctest.Wait()
		require.Equal(t, task.CallbackNone, status(done))
	})
}

// The same over a real connection, which is closed then.
func TestAReceiverThatKeepsItsConnection(t *testing.T) {
	closed := make(chan error, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, buffer, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			closed <- err
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: silence\r\n\r\n")
		io.Copy(io.Discard, buffer) // until the other side closes
		closed <- nil
	}))
	defer receiver.Close()
	w := newWorld(t, func(r *task.Route) { r.Transport = http.DefaultTransport })
	id := w.accept(func(a *task.Acceptance) { a.CallbackURL = receiver.URL })
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the connection is still open")
	}
	require.Eventually(t, func() bool { return w.task(id).Callback.Status == task.CallbackRetrying }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, 101, w.task(id).Callback.Log[0].Status)
}
