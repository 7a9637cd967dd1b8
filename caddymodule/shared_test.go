package caddymodule

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// The process ends when the disk fails, if the newest configuration says so.
func TestOnStoreFailure(t *testing.T) {
	codes := make(chan int, 1)
	before := exit
	exit = func(code int) { codes <- code }
	defer func() { exit = before }()
	s := &shared{log: zap.NewNop()}
	for option, ends := range map[string]bool{"": false, "stay": false, "exit": true} {
		s.last.Store(&App{OnStoreFailure: option})
		s.storeFailed(errors.New("input/output error"))
		require.Equal(t, ends, len(codes) == 1, option)
		if ends {
			require.NotZero(t, <-codes)
		}
	}
}
