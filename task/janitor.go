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
	clock := newCautious(e.now)
	setBack, failed := true, false // it may have been while there was no process
	for {
		select {
		case <-e.context.Done():
			return
		case <-ticker.C:
		}
		now, back := clock.now()
		setBack = setBack || back
		err := e.removeExpired(now, setBack)
		if err != nil && e.context.Err() == nil && !failed && !errors.Is(err, ErrClosed) {
			e.log.Error("removing expired tasks; trying again until it works", zap.Error(err))
		}
		failed = err != nil
		setBack = setBack && failed
	}
}

func (e *Engine) removeExpired(now time.Time, setBack bool) error {
	if setBack {
		if err := e.expireSooner(now); err != nil {
			return err
		}
	}
	for e.context.Err() == nil {
		expired, err := e.store.Expired(e.context, now, janitorBatch)
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

// expireSooner sees to tasks that were created when the clock was ahead of
// what it is now: they are kept for as long as if they had been settled just
// now, and no longer.
func (e *Engine) expireSooner(now time.Time) error {
	var after ID
	for e.context.Err() == nil {
		tasks, err := e.store.List(e.context, nil, after, janitorBatch)
		if err != nil {
			return err
		}
		for _, t := range tasks { // the newest first
			if !t.ID.Time().After(now.Add(clockStep)) {
				return nil
			}
			if err := e.expireAt(t.ID, now); err != nil {
				return err
			}
		}
		if len(tasks) < janitorBatch {
			return nil
		}
		after = tasks[len(tasks)-1].ID
	}
	return context.Cause(e.context)
}

func (e *Engine) expireAt(id ID, now time.Time) error {
	c := e.claim(e.context, id)
	if c == nil {
		return context.Cause(e.context)
	}
	defer c.end()
	if err := c.read(ActionRemove); err != nil || c.task.ExpiresAt.IsZero() {
		if lost(err) {
			return nil
		}
		return err
	}
	t := *c.task
	t.settle(e.routeOr(t.Route), now)
	if t.ExpiresAt.Before(c.task.ExpiresAt) {
		return e.store.Save(e.context, Step{Task: &t, NoWait: true})
	}
	return nil
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
