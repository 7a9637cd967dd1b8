package task

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// leaveAfter is how long what was told to end may take to do so.
const leaveAfter = time.Second

var errLeft = errors.New("it did not end when it was told to")

// leaveBehind watches over something that should end soon after ctx does, and
// may not. If it does not, left is called, and it is on its own. Otherwise
// ended, which is to be called when it has ended, is true; exactly one of the
// two happens.
func leaveBehind(ctx context.Context, left func()) (ended func() bool) {
	var decided atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(leaveAfter, func() {
			if decided.CompareAndSwap(false, true) {
				left()
			}
		})
	})
	return func() bool {
		stop()
		return decided.CompareAndSwap(false, true)
	}
}
