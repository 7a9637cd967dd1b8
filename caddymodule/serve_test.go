package caddymodule

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ringback/ringback/task"
	"github.com/ringback/ringback/task/destination"
)

// The log says which option would allow a URL, to users of the sidecar as well.
func TestWithFlags(t *testing.T) {
	policy, err := destination.New(destination.Rules{}, destination.Options{})
	require.NoError(t, err)
	u, err := destination.ParseURL("http://127.0.0.1:1/")
	require.NoError(t, err)
	problem, ok := errors.AsType[*task.Problem](policy.Check(context.Background(), u))
	require.True(t, ok)
	require.ErrorContains(t, withFlags(problem.Cause),
		"add `allow 127.0.0.0/8` (sidecar: --allow 127.0.0.0/8) or `allow private` (sidecar: --allow private)")
	require.NotContains(t, problem.Detail, "sidecar")
	other := errors.New("add `allow x`")
	require.Equal(t, other, withFlags(other))
	require.NoError(t, withFlags(nil))
}
