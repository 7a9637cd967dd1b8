package task_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/task"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// world is an engine with a backend and receivers that the test scripts. It
// runs inside a synctest bubble: its time is virtual, so days pass at once.
type world struct {
	*testing.T
	store  task.Store
	engine *task.Engine
	route  *task.Route

	mu        sync.Mutex
	backend   func(ctx context.Context, call *task.Call, w http.ResponseWriter) error
	receiver  func(r *http.Request) (*http.Response, error)
	calls     []time.Time
	callbacks []callback
	clockSet  time.Duration // how far ahead the wall clock is
	busy      int           // calls and deliveries, also those that were left behind
}

// callback is what a receiver got.
type callback struct {
	at     time.Time
	url    string
	header http.Header
	body   string
}

func newWorld(t *testing.T, change ...func(*task.Route)) *world {
	store, err := memory.Open()
	require.NoError(t, err)
	w := &world{T: t, store: store}
	w.route = &task.Route{
		Name: "test",
		Backend: task.BackendFunc(func(ctx context.Context, call *task.Call, rw http.ResponseWriter) error {
			defer w.enter()()
			w.mu.Lock()
			w.calls = append(w.calls, time.Now())
			f := w.backend
			w.mu.Unlock()
			if f == nil {
				_, err := io.WriteString(rw, "answer")
				return err
			}
			return f(ctx, call, rw)
		}),
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			defer w.enter()()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			w.mu.Lock()
			w.callbacks = append(w.callbacks, callback{time.Now(), r.URL.String(), r.Header.Clone(), string(body)})
			f := w.receiver
			w.mu.Unlock()
			if f == nil {
				return answer(200), nil
			}
			return f(r)
		}),
	}
	for _, c := range change {
		c(w.route)
	}
	w.start()
	t.Cleanup(func() {
		w.engine.Stop(ended())
		require.NoError(t, w.store.Close())
		for w.enter()() > 0 { // what was left behind ends some day
			time.Sleep(time.Second)
		}
	})
	return w
}

// enter counts a call or delivery until leave, which says how many there are.
func (w *world) enter() (leave func() int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy++
	return func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
		return w.busy
	}
}

// start runs an engine on the world's store, as a process would.
func (w *world) start() {
	w.engine = task.New(task.Options{Store: w.store, Logger: zaptest.NewLogger(w), Clock: w.now})
	require.NoError(w, w.engine.Start())
	w.engine.Register(w.route)
}

// now is the wall clock.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clockSet == 0 {
		return time.Now()
	}
	return time.Now().Round(0).Add(w.clockSet)
}

// setClock sets the wall clock ahead, or back.
func (w *world) setClock(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clockSet += by
}

// restart ends the engine within its grace period and starts another.
func (w *world) restart(grace context.Context) {
	w.engine.Stop(grace)
	w.start()
}

func (w *world) accept(change ...func(*task.Acceptance)) task.ID {
	a := task.Acceptance{
		Route:         w.route,
		Request:       &task.Request{Method: "POST", URL: "/work", RequestURI: "/work", Host: "example.com", Proto: "HTTP/1.1", Header: http.Header{}},
		Body:          strings.NewReader("question"),
		ContentLength: 8,
		CallbackURL:   "https://receiver.example/hook?token=secret",
	}
	for _, c := range change {
		c(&a)
	}
	t, _, err := w.engine.Accept(w.Context(), a)
	require.NoError(w, err)
	return t.ID
}

// answers changes how the backend answers from now on; nil is with "answer".
func (w *world) answers(f func(ctx context.Context, call *task.Call, rw http.ResponseWriter) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backend = f
}

// hears changes how receivers answer from now on; nil is with 200.
func (w *world) hears(f func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receiver = f
}

func (w *world) task(id task.ID) *task.Task {
	t, err := w.engine.Task(w.Context(), id)
	require.NoError(w, err)
	return t
}

func (w *world) received() []callback {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.callbacks
}

func (w *world) called() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(""))}
}

// ended is a grace period that is over.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestATaskIsAcceptedForwardedAndDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(_ context.Context, call *task.Call, rw http.ResponseWriter) error {
			question, err := io.ReadAll(call.Body)
			require.NoError(t, err)
			require.Equal(t, "question", string(question))
			require.Equal(t, 1, call.Attempt)
			time.Sleep(20 * time.Second)
			rw.Header().Set("Content-Type", "text/plain")
			rw.Header().Set("Set-Cookie", "session=1")
			rw.WriteHeader(201)
			io.WriteString(rw, "answer")
			return nil
		})
		id := w.accept()
		time.Sleep(time.Second)
		running := w.task(id)
		require.Equal(t, task.Running, running.Status)
		require.False(t, running.StartedAt.IsZero())

		done, err := w.engine.Await(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Completed, done.Status)
		require.Equal(t, &task.Summary{Status: 201, ContentType: "text/plain", Bytes: 6}, done.Response)

		synctest.Wait()
		require.Len(t, w.received(), 1)
		got := w.received()[0]
		require.Equal(t, "answer", got.body)
		require.Equal(t, "https://receiver.example/hook?token=secret", got.url)
		for name, value := range map[string]string{
			"Content-Type":     "text/plain",
			"Callback-Task-Id": id.String(),
			"Callback-Event":   "task.completed",
			"Callback-Status":  "201",
			"Callback-Attempt": "1",
			"Webhook-Id":       "msg_" + id.String(),
			"Set-Cookie":       "",
		} {
			require.Equal(t, value, got.header.Get(name), name)
		}
		delivered := w.task(id)
		require.Equal(t, task.CallbackDelivered, delivered.Callback.Status)
		require.Equal(t, 200, delivered.Callback.Log[0].Status)
		require.WithinDuration(t, time.Now().Add(24*time.Hour), delivered.ExpiresAt, time.Minute)

		time.Sleep(25 * time.Hour)
		_, err = w.engine.Task(t.Context(), id)
		require.ErrorIs(t, err, task.ErrNotFound)
	})
}

func TestAnAnswerOf400OrMoreIsAFailureWithItsBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(_ context.Context, _ *task.Call, rw http.ResponseWriter) error {
			http.Error(rw, "no such report", 404)
			return nil
		})
		id := w.accept(func(a *task.Acceptance) { a.Client.ErrorURL = "https://errors.example/" })
		synctest.Wait()
		require.Equal(t, task.Failed, w.task(id).Status)
		got := w.received()[0]
		require.Equal(t, "https://errors.example/", got.url)
		require.Equal(t, "no such report\n", got.body)
		require.Equal(t, "task.failed", got.header.Get("Callback-Event"))
		require.Equal(t, "404", got.header.Get("Callback-Status"))
	})
}

// Which backend failures are tried again, and what the client hears when the
// attempts are used up.
func TestBackendCallsAreTriedAgain(t *testing.T) {
	refused := &task.BackendError{NotSent: true, Err: errors.New("connection refused")}
	broken := errors.New("connection reset")
	status := func(code int) func(http.ResponseWriter) error {
		return func(rw http.ResponseWriter) error { rw.WriteHeader(code); return nil }
	}
	fails := func(err error) func(http.ResponseWriter) error {
		return func(http.ResponseWriter) error { return err }
	}
	for name, c := range map[string]struct {
		method string
		key    string
		act    func(http.ResponseWriter) error
		calls  int
		status string
		code   string
	}{
		"no connection, any method": {method: "POST", act: fails(refused), calls: 3, status: "502", code: task.CodeBackendUnreachable},
		"broken, POST":              {method: "POST", act: fails(broken), calls: 1, status: "502", code: task.CodeBackendError},
		"broken, GET":               {method: "GET", act: fails(broken), calls: 3, status: "502", code: task.CodeBackendError},
		"broken, POST with key":     {method: "POST", key: "k", act: fails(broken), calls: 3, status: "502", code: task.CodeBackendError},
		"503, POST":                 {method: "POST", act: status(503), calls: 1, status: "503"},
		"503, PUT":                  {method: "PUT", act: status(503), calls: 3, status: "503"},
		"429, DELETE":               {method: "DELETE", act: status(429), calls: 3, status: "429"},
		"500, GET":                  {method: "GET", act: status(500), calls: 1, status: "500"},
		"too large":                 {method: "GET", act: func(rw http.ResponseWriter) error { _, err := rw.Write(make([]byte, 2000)); return err }, calls: 1, status: "502", code: task.CodeResponseTooLarge},
		"too large, announced": {method: "GET", act: func(rw http.ResponseWriter) error {
			rw.Header().Set("Content-Length", "9999")
			rw.WriteHeader(200)
			return nil
		}, calls: 1, status: "502", code: task.CodeResponseTooLarge},
		"a lie about the length": {method: "GET", act: func(rw http.ResponseWriter) error {
			rw.Header().Set("Content-Length", "10")
			rw.Write([]byte("short"))
			return nil
		}, calls: 3, status: "502", code: task.CodeBackendError},
		"a handler's error 429":      {method: "GET", act: fails(&task.BackendError{Status: 429, Err: errors.New("rate limit")}), calls: 3, status: "429", code: task.CodeBackendError},
		"its error 500":              {method: "GET", act: fails(&task.BackendError{Status: 500, Err: errors.New("template")}), calls: 1, status: "500", code: task.CodeBackendError},
		"aborted":                    {method: "GET", act: func(http.ResponseWriter) error { panic(http.ErrAbortHandler) }, calls: 3, status: "502", code: task.CodeBackendError},
		"a bug in a handler":         {method: "POST", act: func(http.ResponseWriter) error { panic("bug") }, calls: 1, status: "502", code: task.CodeBackendError},
		"nothing configured answers": {method: "GET", act: fails(&task.BackendError{NoHandler: true, Err: errors.New("end of route")}), calls: 1, status: "502", code: task.CodeNoHandler},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(r *task.Route) { r.Attempts, r.MaxResponse = 3, 1000 })
				w.answers(func(_ context.Context, _ *task.Call, rw http.ResponseWriter) error { return c.act(rw) })
				id := w.accept(func(a *task.Acceptance) {
					a.Request.Method = c.method
					if c.key != "" {
						a.Request.Header.Set("Idempotency-Key", c.key)
					}
				})
				_, err := w.engine.Await(t.Context(), id)
				require.NoError(t, err)
				synctest.Wait()
				require.Len(t, w.called(), c.calls)
				got := w.received()
				require.Len(t, got, 1, "one callback, whatever the number of calls")
				require.Equal(t, "task.failed", got[0].header.Get("Callback-Event"))
				require.Equal(t, c.status, got[0].header.Get("Callback-Status"))
				if c.code != "" {
					require.Equal(t, "application/problem+json", got[0].header.Get("Content-Type"))
					require.Contains(t, got[0].body, c.code)
				}
			})
		})
	}
}

func TestABackendThatComesBackIsCalledAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(_ context.Context, call *task.Call, rw http.ResponseWriter) error {
			if call.Attempt < 4 {
				return &task.BackendError{NotSent: true, Err: errors.New("connection refused")}
			}
			body, err := io.ReadAll(call.Body)
			rw.Write(body)
			return err
		})
		id := w.accept()
		done, err := w.engine.Await(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Completed, done.Status)
		require.Equal(t, 4, done.Attempts)
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			require.InEpsilon(t, want, w.called()[i+1].Sub(w.called()[i]), 0.2)
		}
		synctest.Wait()
		require.Equal(t, "question", w.received()[0].body)
	})
}

func TestABackendThatHangsTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Timeout = time.Minute })
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error {
			<-ctx.Done()
			return ctx.Err()
		})
		id := w.accept()
		done, err := w.engine.Await(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.CodeBackendTimeout, done.Failure.Code)
		synctest.Wait()
		require.Equal(t, "504", w.received()[0].header.Get("Callback-Status"))
	})
}

func TestDeliveryFollowsTheSchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		id := w.accept()
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		got := w.received()
		require.Len(t, got, len(task.DefaultSchedule))
		for i, pause := range task.DefaultSchedule[1:] {
			require.InEpsilon(t, pause, got[i+1].at.Sub(got[i].at), 0.21)
			require.Equal(t, got[0].header.Get("Webhook-Id"), got[i+1].header.Get("Webhook-Id"))
			require.Equal(t, fmt.Sprint(i+2), got[i+1].header.Get("Callback-Attempt"))
		}
		dead := w.task(id)
		require.Equal(t, task.Completed, dead.Status, "delivery is another fact than execution")
		require.Equal(t, task.CallbackDead, dead.Callback.Status)
		require.Len(t, dead.Callback.Log, len(got))

		w.hears(nil)
		_, err := w.engine.Redeliver(t.Context(), id)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, task.CallbackDelivered, w.task(id).Callback.Status)
		require.Equal(t, got[0].header.Get("Webhook-Id"), w.received()[len(got)].header.Get("Webhook-Id"))
	})
}

// The clock was years ahead when the time of the next attempt was stored.
func TestACallbackDoesNotWaitForAClockThatWasWrong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears(func(*http.Request) (*http.Response, error) { return answer(500), nil })
		id := w.accept()
		synctest.Wait()
		w.engine.Stop(ended())
		stored, err := w.store.Load(t.Context(), id)
		require.NoError(t, err)
		stored.Callback.NextAt = time.Now().AddDate(10, 0, 0)
		require.NoError(t, w.store.Save(t.Context(), task.Step{Task: stored}))
		w.hears(nil)
		w.start()
		time.Sleep(time.Minute)
		require.Equal(t, task.CallbackDelivered, w.task(id).Callback.Status)
	})
}

func TestWhatReceiversAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		answer *http.Response
		status task.CallbackStatus
		next   time.Duration
	}{
		"202":                     {answer(202), task.CallbackDelivered, 0},
		"a redirect":              {answer(302, "Location", "https://elsewhere.example/"), task.CallbackRetrying, 5 * time.Second},
		"404":                     {answer(404), task.CallbackRetrying, 5 * time.Second},
		"410 ends it":             {answer(410), task.CallbackDead, 0},
		"429 with Retry-After":    {answer(429, "Retry-After", "3600"), task.CallbackRetrying, time.Hour},
		"503 until a date":        {answer(503, "Retry-After", "Sat, 01 Jan 2000 02:00:00 GMT"), task.CallbackRetrying, 2 * time.Hour},
		"503 for a thousand days": {answer(503, "Retry-After", "86400000"), task.CallbackRetrying, 24 * time.Hour},
		"503 for ever":            {answer(503, "Retry-After", "99999999999999999999999"), task.CallbackRetrying, 24 * time.Hour},
		"500 with Retry-After":    {answer(500, "Retry-After", "3600"), task.CallbackRetrying, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { // begins at midnight, 1 January 2000
				w := newWorld(t)
				w.hears(func(*http.Request) (*http.Response, error) { return c.answer, nil })
				id := w.accept()
				synctest.Wait()
				got := w.task(id)
				require.Equal(t, c.status, got.Callback.Status)
				if c.next > 0 {
					require.InEpsilon(t, c.next, time.Until(got.Callback.NextAt), 0.21)
				}
			})
		})
	}
}

func TestCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Concurrency = 1 })
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error {
			<-ctx.Done()
			return ctx.Err()
		})
		running, queued := w.accept(), w.accept()
		synctest.Wait()
		require.Equal(t, task.Running, w.task(running).Status)
		require.Equal(t, task.Queued, w.task(queued).Status)
		for _, id := range []task.ID{queued, running} {
			canceled, err := w.engine.Cancel(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, task.Canceled, canceled.Status)
		}
		synctest.Wait()
		require.Len(t, w.called(), 1, "a canceled task is not called")
		require.Len(t, w.received(), 2)
		require.Equal(t, "task.canceled", w.received()[0].header.Get("Callback-Event"))
		var problem *task.Problem
		done := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) })
		_, err := w.engine.Cancel(t.Context(), done)
		require.NoError(t, err, "a task that waits for its time")
		w.answers(nil)
		finished := w.accept()
		synctest.Wait()
		_, err = w.engine.Cancel(t.Context(), finished)
		require.ErrorAs(t, err, &problem)
		require.Equal(t, 409, problem.Status)
	})
}

func TestDeadlineEndsQueuedAndRunningTasks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Concurrency = 1 })
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error {
			<-ctx.Done()
			return ctx.Err()
		})
		in := func(d time.Duration) func(*task.Acceptance) {
			return func(a *task.Acceptance) { a.Client.Deadline = time.Now().Add(d) }
		}
		running, queued := w.accept(in(10*time.Second)), w.accept(in(5*time.Second))
		time.Sleep(6 * time.Second)
		require.Equal(t, task.Expired, w.task(queued).Status)
		require.Equal(t, task.Running, w.task(running).Status)
		time.Sleep(6 * time.Second)
		require.Equal(t, task.Expired, w.task(running).Status)
		require.Len(t, w.received(), 2)
		require.Contains(t, w.received()[0].body, task.CodeDeadlineExceeded)
	})
}

func TestADeadlineOutlivesARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.Concurrency = 1 })
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error {
			<-ctx.Done()
			return ctx.Err()
		})
		w.accept()
		id := w.accept(func(a *task.Acceptance) { a.Client.Deadline = time.Now().Add(10 * time.Second) })
		w.restart(ended())
		time.Sleep(11 * time.Second)
		require.Equal(t, task.Expired, w.task(id).Status)
	})
}

func TestDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		id := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Hour) })
		w.restart(t.Context())
		_, err := w.engine.Await(t.Context(), id)
		require.NoError(t, err)
		require.InDelta(t, time.Hour, w.called()[0].Sub(start), float64(time.Second))
	})
}

func TestStopLetsCallsFinishWithinTheGracePeriod(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(_ context.Context, _ *task.Call, rw http.ResponseWriter) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		id := w.accept()
		synctest.Wait()
		grace, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		w.engine.Stop(grace)
		stored, err := w.store.Load(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Completed, stored.Status)
		_, _, err = w.engine.Accept(t.Context(), task.Acceptance{Route: w.route, Request: &task.Request{}})
		var problem *task.Problem
		require.ErrorAs(t, err, &problem)
		require.Equal(t, 503, problem.Status)
	})
}

func TestStopPutsBackWhatIsStillRunningWithoutAnAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var calm atomic.Bool
		w.answers(func(ctx context.Context, call *task.Call, rw http.ResponseWriter) error {
			if calm.Load() {
				fmt.Fprint(rw, call.Attempt)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		id := w.accept()
		for range 20 { // more often than there are attempts
			time.Sleep(time.Minute)
			w.restart(ended())
		}
		stored, err := w.store.Load(t.Context(), id)
		require.NoError(t, err)
		require.Zero(t, stored.Interrupted)
		time.Sleep(time.Minute)
		calm.Store(true)
		w.restart(ended())
		_, err = w.engine.Await(t.Context(), id)
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, w.received(), 1)
		require.Equal(t, "1", w.received()[0].body)
	})
}

func TestATaskThatKillsTheProcessIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.accept(func(a *task.Acceptance) { a.Client.NotBefore = time.Now().Add(time.Second) })
		w.engine.Stop(ended())
		// What a crash during the call leaves behind.
		for n := 1; ; n++ {
			stored, err := w.store.Load(t.Context(), id)
			require.NoError(t, err)
			stored.Status = task.Running
			stored.Attempts++
			stored.Interrupted = n - 1
			require.NoError(t, w.store.Save(t.Context(), task.Step{Task: stored}))
			require.Less(t, n, 20)
			w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error { <-ctx.Done(); return ctx.Err() })
			w.start()
			time.Sleep(time.Second)
			synctest.Wait()
			if now := w.task(id); now.Status.Done() {
				require.Equal(t, task.CodeInterrupted, now.Failure.Code)
				require.Equal(t, 10, n)
				break
			}
			w.engine.Stop(ended())
		}
	})
}

func TestOnInterruptedFail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.FailInterrupted = true })
		block := make(chan struct{})
		w.answers(func(context.Context, *task.Call, http.ResponseWriter) error { <-block; return nil })
		id := w.accept()
		synctest.Wait()
		stored, err := w.store.Load(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Running, stored.Status, "the start is on record before the call")
		close(block)
		synctest.Wait()
		w.engine.Stop(ended())
		require.NoError(t, w.store.Create(t.Context(), &task.Task{ID: task.NewID(time.Now()), Route: "test", CreatedAt: time.Now(), Status: task.Running, Attempts: 1,
			Callback: task.Callback{URL: "https://receiver.example/interrupted"}}, &task.Request{Method: "GET"}, nil))
		w.start()
		synctest.Wait()
		last := w.received()[len(w.received())-1]
		require.Equal(t, "https://receiver.example/interrupted", last.url)
		require.Contains(t, last.body, task.CodeInterrupted)
	})
}

func TestOnInterruptedFailHoldsForAnOrderlyStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.FailInterrupted = true })
		w.answers(func(ctx context.Context, _ *task.Call, _ http.ResponseWriter) error { <-ctx.Done(); return ctx.Err() })
		id := w.accept()
		synctest.Wait()
		w.restart(ended())
		synctest.Wait()
		require.Equal(t, task.CodeInterrupted, w.task(id).Failure.Code)
		require.Len(t, w.called(), 1)
		require.Len(t, w.received(), 1)
	})
}

func TestARouteThatIsGoneKeepsItsTasks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.engine.Stop(ended())
		w.engine = task.New(task.Options{Store: w.store})
		require.NoError(t, w.engine.Start())
		unregister := w.engine.Register(w.route)
		unregister()
		id := w.accept()
		time.Sleep(time.Hour)
		v, err := w.engine.View(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, `no callback handler named "test" is configured`, v.Waiting)
		w.engine.Register(w.route)
		synctest.Wait()
		require.Len(t, w.received(), 1)
	})
}

func TestIdempotencyKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(func(context.Context, *task.Call, http.ResponseWriter) error { time.Sleep(time.Minute); return nil })
		key := func(key, body string) func(*task.Acceptance) {
			return func(a *task.Acceptance) {
				a.Client.IdempotencyKey = key
				a.Body, a.ContentLength = strings.NewReader(body), int64(len(body))
			}
		}
		first := w.accept(key("k", "body"))
		require.Equal(t, first, w.accept(key("k", "body")))
		require.NotEqual(t, first, w.accept(key("other", "body")))
		_, _, err := w.engine.Accept(t.Context(), func() task.Acceptance {
			a := task.Acceptance{Route: w.route, Request: &task.Request{Method: "POST", RequestURI: "/work", Host: "example.com"}, CallbackURL: "https://receiver.example/hook?token=secret"}
			key("k", "another body")(&a)
			return a
		}())
		var problem *task.Problem
		require.ErrorAs(t, err, &problem)
		require.Equal(t, 422, problem.Status)
		big := strings.Repeat("x", 1<<20)
		stored := w.accept(key("big", big))
		require.Equal(t, stored, w.accept(key("big", big)))
	})
}

func TestLargeBodiesGoThroughTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		big := strings.Repeat("0123456789abcdef", 1<<16)
		w := newWorld(t)
		w.answers(func(_ context.Context, call *task.Call, rw http.ResponseWriter) error {
			require.True(t, call.Request.Body.Stored)
			_, err := io.Copy(rw, call.Body)
			return err
		})
		w.accept(func(a *task.Acceptance) { a.Body, a.ContentLength = strings.NewReader(big), -1 })
		synctest.Wait()
		require.Len(t, w.received(), 1)
		require.Equal(t, big, w.received()[0].body)
	})
}

func TestBodiesAreRefusedBeforeAnythingIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.MaxBody = 100_000 })
		for name, c := range map[string]struct {
			body   io.Reader
			length int64
			status int
		}{
			"announced":          {strings.NewReader(""), 100_001, 413},
			"found out":          {bytes.NewReader(make([]byte, 100_001)), -1, 413},
			"ends early":         {strings.NewReader("short"), 100, 400},
			"breaks":             {io.MultiReader(strings.NewReader("a"), broken{}), -1, 400},
			"breaks, when large": {io.MultiReader(bytes.NewReader(make([]byte, 80_000)), broken{}), -1, 400},
		} {
			_, _, err := w.engine.Accept(t.Context(), task.Acceptance{Route: w.route, Request: &task.Request{Method: "POST"}, Body: c.body, ContentLength: c.length})
			var problem *task.Problem
			require.ErrorAs(t, err, &problem, name)
			require.Equal(t, c.status, problem.Status, name)
		}
		list, err := w.engine.List(t.Context(), nil, task.ID{}, 10)
		require.NoError(t, err)
		require.Empty(t, list)
	})
}

// A backend, or a handler in front of it, may say when to come again.
func TestABackendsRetryAfterIsHeeded(t *testing.T) {
	for name, end := range map[string]func(http.ResponseWriter) error{
		"an answer": func(rw http.ResponseWriter) error { rw.WriteHeader(503); return nil },
		"an error": func(http.ResponseWriter) error {
			return &task.BackendError{Status: 429, Err: errors.New("rate limit")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.answers(func(_ context.Context, call *task.Call, rw http.ResponseWriter) error {
					if call.Attempt > 1 {
						return nil
					}
					rw.Header().Set("Retry-After", "120")
					return end(rw)
				})
				start := time.Now()
				id := w.accept(func(a *task.Acceptance) { a.Request.Method = "GET" })
				_, err := w.engine.Await(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, 2*time.Minute, time.Since(start))
			})
		})
	}
}

func TestTheLargestBodyIsTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(r *task.Route) { r.MaxBody = 100 })
		body := strings.Repeat("x", 100)
		for name, change := range map[string]func(*task.Acceptance){
			"in memory": func(a *task.Acceptance) { a.Body, a.Whole = nil, []byte(body) },
			"announced": func(a *task.Acceptance) { a.Body, a.ContentLength = strings.NewReader(body), 100 },
			"found out": func(a *task.Acceptance) { a.Body, a.ContentLength = strings.NewReader(body), -1 },
		} {
			w.answers(func(_ context.Context, call *task.Call, rw http.ResponseWriter) error {
				_, err := io.Copy(rw, call.Body)
				return err
			})
			w.accept(change)
			synctest.Wait()
			got := w.received()
			require.Equal(t, body, got[len(got)-1].body, name)
		}
		a := task.Acceptance{Route: w.route, Request: &task.Request{Method: "POST"}, Whole: []byte(body + "x")}
		_, _, err := w.engine.Accept(t.Context(), a)
		var problem *task.Problem
		require.ErrorAs(t, err, &problem)
		require.Equal(t, 413, problem.Status)
	})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestPreferWaitAnswersDirectlyOrByCallback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		hold := func(a *task.Acceptance) { a.Hold = true }
		direct := w.accept(hold)
		done, err := w.engine.Await(t.Context(), direct)
		require.NoError(t, err)
		require.True(t, done.Status.Done())
		synctest.Wait()
		require.Empty(t, w.received(), "the callback is held back")
		require.NoError(t, w.engine.Answered(t.Context(), direct))
		time.Sleep(time.Hour)
		require.Empty(t, w.received())
		require.Equal(t, task.CallbackNone, w.task(direct).Callback.Status)

		gone := w.accept(hold)
		synctest.Wait()
		w.engine.Unhold(gone)
		synctest.Wait()
		require.Len(t, w.received(), 1)

		crashed := w.accept(hold)
		synctest.Wait()
		w.restart(ended())
		synctest.Wait()
		require.Len(t, w.received(), 2, "nobody knows whether the client had it")
		require.Equal(t, crashed.String(), w.received()[1].header.Get("Callback-Task-Id"))
	})
}
