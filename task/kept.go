package task

import "net/http"

// kept is a task with what its next action needs, or what is known of that.
// It stays in memory between two claims, so that an action that comes at once
// need not read back what was just written.
type kept struct {
	task     *Task
	request  *Request
	response *Response
	bytes    int // what is counted for it, while it waits
}

// Bounds of what is kept in memory between claims, in bytes: of one task, and
// in all. What does not fit is read from the store.
const (
	maxKept    = 16 << 10
	maxKeptAll = 24 << 20
)

// keepFor keeps the task for its next claim, if that comes at once. Engine.mu
// is held.
func (e *Engine) keepFor(l *live, k kept) {
	switch action, at := k.task.Next(); {
	case action == ActionRemove, at.After(e.now()):
		return
	case action == ActionCall:
		k.response = nil
	case action == ActionDeliver:
		k.request = nil
	}
	size := k.size()
	if size > maxKept || e.keptBytes+size > maxKeptAll {
		return
	}
	e.keptBytes += size
	k.bytes = size
	l.kept = k
}

// takeKept is what was kept for a claim that begins. Engine.mu is held.
func (e *Engine) takeKept(l *live) kept {
	k := l.kept
	e.keptBytes -= k.bytes
	l.kept = kept{}
	return k
}

// size is about how many bytes it takes in memory.
func (k kept) size() int {
	n := 1024 + headerSize(k.task.Callback.Header) + len(k.task.Callback.URL) + len(k.task.Callback.ErrorURL)
	if r := k.request; r != nil {
		n += 512 + len(r.Body.Inline) + headerSize(r.Header) + headerSize(r.Trailer) + 2*(len(r.URL)+len(r.OriginalURL))
		for name, v := range r.Vars {
			text, _ := v.(string)
			n += 64 + len(name) + len(text)
		}
		for name, v := range r.Placeholders {
			n += 64 + len(name) + len(v)
		}
	}
	if r := k.response; r != nil {
		n += 128 + len(r.Body.Inline) + headerSize(r.Header)
	}
	return n
}

func headerSize(h http.Header) (n int) {
	for name, values := range h {
		n += 64 + len(name)
		for _, v := range values {
			n += 16 + len(v)
		}
	}
	return n
}
