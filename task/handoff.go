package task

import "time"

// handoffs keeps what a task's next action needs in memory, so that an action
// that comes at once need not read back what was just written. It is bounded;
// what does not fit is read from the store. Guarded by Engine.mu.
type handoffs map[ID]handoff

type handoff struct {
	task     *Task
	request  *Request
	response *Response
}

// maxHandoffs is how many tasks are kept in memory. With bodies of at most
// maxHandoffBody bytes that bounds the memory to a few dozen MiB.
const (
	maxHandoffs    = 4096
	maxHandoffBody = 4 << 10
)

// hand keeps the task for its next action; it is not the caller's any more.
func (e *Engine) hand(t *Task, request *Request, response *Response) {
	if request != nil && len(request.Body.Inline) > maxHandoffBody ||
		response != nil && len(response.Body.Inline) > maxHandoffBody {
		return
	}
	if _, at := t.Next(); at.After(time.Now()) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.handoffs) < maxHandoffs {
		e.handoffs[t.ID] = handoff{t, request, response}
	}
}

// read completes a handoff from the store: the task, and what action needs
// beside it. ErrNotFound: the task is gone.
func (e *Engine) read(h handoff, id ID, action Action) (handoff, error) {
	var err error
	if h.task == nil {
		if h.task, err = e.store.Load(e.context, id); err != nil {
			return h, err
		}
	}
	switch next, _ := h.task.Next(); {
	case next != action:
	case action == ActionCall && h.request == nil:
		h.request, err = e.store.LoadRequest(e.context, id)
	case action == ActionDeliver && h.response == nil && h.task.Response != nil:
		h.response, err = e.store.LoadResponse(e.context, id)
	}
	return h, err
}
