package caddymodule

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/ringback/ringback/task"
)

// maxWait bounds Prefer: wait, since somebody has to keep the connection.
const maxWait = 5 * time.Minute

// accepted answers 202, see section 2 of the wire contract.
func accepted(w http.ResponseWriter, t *task.Task, base string, preferred bool) {
	id := t.ID.String()
	url := base + id
	body := make([]byte, 0, 384)
	body = append(body, `{"task_id":"`...)
	body = append(body, id...)
	body = append(body, `","status":"`...)
	body = append(body, t.Status.String()...)
	body = append(body, `","done":`...)
	body = strconv.AppendBool(body, t.Status.Done())
	body = append(body, `,"created_at":"`...)
	body = t.CreatedAt.UTC().AppendFormat(body, time.RFC3339Nano)
	if !t.ExpiresAt.IsZero() {
		body = append(body, `","expires_at":"`...)
		body = t.ExpiresAt.UTC().AppendFormat(body, time.RFC3339Nano)
	}
	body = append(body, `","status_url":"`...)
	body = append(body, url...)
	body = append(body, `","result_url":"`...)
	body = append(body, url...)
	body = append(body, "/result\"}\n"...)

	h := w.Header()
	h["Location"] = []string{url}
	h[task.HeaderTaskID] = []string{id}
	h["Retry-After"] = retryAfterOne
	h["Cache-Control"] = noStore
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if preferred {
		h["Preference-Applied"] = respondAsync
	}
	w.WriteHeader(http.StatusAccepted)
	w.Write(body)
}

// Values of headers, shared by all responses, which nobody changes in place.
var (
	retryAfterOne = []string{"1"}
	noStore       = []string{"no-store"}
	jsonType      = []string{"application/json"}
	respondAsync  = []string{"respond-async"}
)

// waiting is a client that would rather have the answer itself.
type waiting struct {
	wait   time.Duration
	fresh  bool               // the task is this request's, not an earlier one's with its idempotency key
	accept func(t *task.Task) // answers 202
}

// wait answers with the backend's answer if it comes in time, and then no
// callback is sent; else with 202.
func (h *Handler) wait(w http.ResponseWriter, r *http.Request, engine *task.Engine, t *task.Task, c waiting) error {
	ctx, cancel := context.WithTimeout(r.Context(), c.wait)
	defer cancel()
	answered := false
	defer func() {
		if c.fresh && !answered {
			engine.Unhold(t.ID)
		}
	}()
	// From here on the task is accepted, whatever goes wrong.
	now, err := engine.Await(ctx, t.ID)
	if err != nil || !now.Status.Done() {
		c.accept(t)
		return nil
	}
	complete := replay(w, r, engine, now, c)
	if !complete || !c.fresh {
		return nil
	}
	answered = true
	if err := engine.Answered(context.WithoutCancel(r.Context()), t.ID); err != nil {
		h.log.Sugar().Warnf("recording that the client of task %s has its answer: %v", t.ID, err)
	}
	return nil
}

// replay answers with what a task that is done came to, and says whether the
// client was sent all of it. If it can't be read, 202 is the answer.
func replay(w http.ResponseWriter, r *http.Request, engine *task.Engine, t *task.Task, c waiting) bool {
	_, response, body, err := engine.Response(r.Context(), t.ID)
	if err != nil {
		c.accept(t)
		return false
	}
	header := w.Header()
	header[task.HeaderTaskID] = []string{t.ID.String()}
	header["Preference-Applied"] = respondAsync
	if r.Context().Err() != nil {
		return false
	}
	if response == nil {
		outcome(t).ServeHTTP(w, r)
		return http.NewResponseController(w).Flush() == nil
	}
	defer body.Close()
	copyHeader(header, response.Header)
	if !c.fresh {
		header.Del("Set-Cookie") // it was for the request before, perhaps another's
	}
	if r.Method != http.MethodHead && response.Status != http.StatusNoContent && response.Status != http.StatusNotModified {
		header.Set("Content-Length", strconv.FormatInt(response.Body.Size, 10))
	}
	w.WriteHeader(response.Status)
	if _, err := io.Copy(w, whileThere{r.Context(), body}); err != nil {
		return false
	}
	return http.NewResponseController(w).Flush() == nil
}

// whileThere reads a body for a client for as long as it is there. One that
// leaves when it has all has its answer: as the server closes the connection in
// a reload, that may be before the server has noticed that it sent the last of
// it.
type whileThere struct {
	client context.Context
	body   io.Reader
}

func (w whileThere) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	if n > 0 && w.client.Err() != nil {
		return 0, w.client.Err()
	}
	return n, err
}

// outcome is the problem that a task ended with that has no answer.
func outcome(t *task.Task) *task.Problem {
	status, detail := http.StatusBadGateway, "the task is "+t.Status.String()
	if t.Failure != nil {
		status, detail = t.Failure.Status, t.Failure.Message
	}
	problem := task.NewProblem(status, task.ProblemTaskFailed, detail)
	if t.Failure != nil {
		problem.Code = t.Failure.Code
	}
	problem.TaskID = t.ID.String()
	return problem
}
