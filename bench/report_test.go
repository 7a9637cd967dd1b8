package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
}

func TestGoals(t *testing.T) {
	var r report
	a := []Turn{{Rate: 10}, {Rate: 30}, {Rate: 22}}
	b := []Turn{{Rate: 10}, {Rate: 20}, {Rate: 20}}
	r.goal(Goal{Values: ratios(a, b, rate), Want: 1.1, Stretch: 1.2})
	r.goal(Goal{Values: []float64{70}, Want: 60, AtMost: true})
	require.InDelta(t, 1.1, r.Goals[0].Median, 1e-9)
	require.Equal(t, "met", r.Goals[0].verdict())
	require.Equal(t, "missed", r.Goals[1].verdict())
}

func TestPercentiles(t *testing.T) {
	var latencies []int64
	for i := range 101 {
		latencies = append(latencies, int64(100-i))
	}
	p50, p99 := percentiles(latencies)
	require.Equal(t, time.Duration(50), p50)
	require.Equal(t, time.Duration(99), p99)
}
