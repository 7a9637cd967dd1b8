package task

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

const (
	janitorPause = 10 * time.Second // between two looks for tasks to remove
	janitorBatch = 512              // tasks removed between two looks at the clock
)

// janitor removes tasks that are settled and have been kept long enough.
func (e *Engine) janitor() {
	ticker := time.NewTicker(janitorPause)
	defer ticker.Stop()
	failed := false
	for {
		select {
		case <-e.context.Done():
			return
		case <-ticker.C:
		}
		err := e.removeExpired()
		if err != nil && e.context.Err() == nil && !failed && !errors.Is(err, ErrClosed) {
			e.log.Error("removing expired tasks; trying again until it works", zap.Error(err))
		}
		failed = err != nil
	}
}

func (e *Engine) removeExpired() error {
	for e.context.Err() == nil {
		expired, err := e.store.Expired(e.context, time.Now(), janitorBatch)
		if err != nil {
			return err
		}
		for _, id := range expired {
			if err := e.forget(id); err != nil {
				return err
			}
		}
		if len(expired) < janitorBatch {
			return nil
		}
	}
	return context.Cause(e.context)
}

// forget removes one task, unless it is to be redelivered.
func (e *Engine) forget(id ID) error {
	c := e.claim(e.context, id)
	if c == nil {
		return context.Cause(e.context)
	}
	defer c.end()
	err := c.read(ActionRemove)
	if c.task != nil {
		if action, _ := c.task.Next(); action != ActionRemove {
			return nil
		}
	} else if !lost(err) {
		return err
	}
	return e.store.Remove(e.context, id)
}
