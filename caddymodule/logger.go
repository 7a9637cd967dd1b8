package caddymodule

import "go.uber.org/zap/zapcore"

// currentCore logs as the newest configuration says. A configuration's logs
// are closed when it is gone, and the engine outlives it.
type currentCore struct {
	shared *shared
	first  zapcore.Core // until there is a configuration
	fields []zapcore.Field
}

func (c *currentCore) core() zapcore.Core {
	core := c.first
	if a := c.shared.newest(); a != nil {
		core = a.log.Core()
	}
	if len(c.fields) > 0 {
		core = core.With(c.fields)
	}
	return core
}

// Enabled implements [zapcore.LevelEnabler].
func (c *currentCore) Enabled(level zapcore.Level) bool {
	core := c.first
	if a := c.shared.newest(); a != nil {
		core = a.log.Core()
	}
	return core.Enabled(level)
}

// With implements [zapcore.Core].
func (c *currentCore) With(fields []zapcore.Field) zapcore.Core {
	return &currentCore{c.shared, c.first, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements [zapcore.Core].
func (c *currentCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.core().Check(entry, checked)
}

// Write implements [zapcore.Core].
func (c *currentCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	return c.core().Write(entry, fields)
}

// Sync implements [zapcore.Core].
func (c *currentCore) Sync() error { return c.core().Sync() }

var _ zapcore.Core = (*currentCore)(nil)
