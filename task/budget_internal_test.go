package task

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBudget(t *testing.T) {
	b := &budget{most: 100}
	alone := b.take(500, false)
	require.NotNil(t, alone, "what is too large for all there is, is possible alone")
	require.Nil(t, b.take(1, false))
	require.NotNil(t, b.take(0, true), "what needs nothing does not wait")
	alone.resize(90)
	require.Nil(t, b.take(11, false))
	require.NotNil(t, b.take(10, false))
	alone.resize(0)
	require.Equal(t, int64(10), b.used)

	first := b.take(60, true)
	require.NotNil(t, first)
	require.Nil(t, b.take(5, true), "half is for those that are known to work")
	require.NotNil(t, b.take(5, false))
	first.resize(0)
	require.NotNil(t, b.take(50, true))
	require.Nil(t, b.take(1, true))
	require.NotNil(t, b.take(35, false))
	require.Equal(t, int64(100), b.used)
}
