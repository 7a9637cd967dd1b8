package task

import (
	"math"
	"runtime/debug"
	"sync"
	"time"
)

// budget bounds the memory that envelopes take, in all: each holds its body,
// for as long as its receiver takes. Receivers of which nothing good is known
// get half of it, so that those that read a byte a second can't take it from
// the others.
type budget struct {
	mu     sync.Mutex
	most   int64 // bytes
	used   int64
	trials int64 // of these, by receivers of which nothing good is known
}

const (
	// defaultBudget is what envelopes may take if the process has no memory
	// limit; with one (GOMEMLIMIT) it is an eighth of that.
	defaultBudget = 128 << 20
	// budgetPause is how long a callback waits for which there is no memory.
	budgetPause = time.Second
)

func newBudget() *budget {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return &budget{most: defaultBudget}
	}
	return &budget{most: limit / 8}
}

// share is what one callback takes of the budget.
type share struct {
	of    *budget
	bytes int64
	trial bool
}

// take takes a share; nil if there is not enough left. One that is larger than
// all there is, is possible alone.
func (b *budget) take(bytes int64, trial bool) *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case bytes == 0:
	case b.used > 0 && b.used+bytes > b.most:
		return nil
	case trial && b.trials > 0 && b.trials+bytes > b.most/2:
		return nil
	}
	s := &share{of: b, bytes: bytes, trial: trial}
	b.add(s, bytes)
	return s
}

func (b *budget) add(s *share, bytes int64) {
	b.used += bytes
	if s.trial {
		b.trials += bytes
	}
}

// resize says what the share really takes; 0 gives it back.
func (s *share) resize(bytes int64) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.add(s, bytes-s.bytes)
	s.bytes = bytes
}

// envelopeCost is how many bytes it may take to write the task's envelope; what
// is small or streamed costs nothing.
func (t *Task) envelopeCost(response *Response) int64 {
	if t.Callback.Format != FormatEnvelope || response == nil || response.Body.Size > maxEnvelope {
		return 0
	}
	size := response.Body.Size
	switch {
	case response.Header.Get("Content-Encoding") == "gzip": // whatever is in it
		return size + 2*maxEnvelope
	case size <= InlineLimit:
		return 0
	default:
		return 4 * size
	}
}
