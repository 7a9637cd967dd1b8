package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// report is what the benchmark found out.
type report struct {
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	At       time.Time         `json:"at"`
	Rounds   int               `json:"rounds"`
	Quick    bool              `json:"quick,omitempty"`
	Rows     []*Row            `json:"rows"`
	Goals    []*Goal           `json:"goals"`
}

// Row is what one contestant did in one scenario.
type Row struct {
	Scenario   string `json:"scenario"`
	Contestant string `json:"contestant"`
	Durable    string `json:"durable"` // what is promised of what was accepted
	// Turns are the figures of each round.
	Turns []Turn `json:"turns"`
}

// Turn is one contestant's turn in one round. What was not measured is zero.
type Turn struct {
	Rate      float64       `json:"per_second,omitempty"` // requests, or tasks
	P50       time.Duration `json:"p50_ns,omitempty"`
	P99       time.Duration `json:"p99_ns,omitempty"`
	CPU       time.Duration `json:"cpu_ns,omitempty"` // of the contestant's processes, for each request or task
	Anonymous int64         `json:"anonymous_bytes,omitempty"`
}

// Goal is a figure that was aimed at.
type Goal struct {
	Name    string    `json:"name"`
	Values  []float64 `json:"values"` // one for each round
	Median  float64   `json:"median"`
	Unit    string    `json:"unit,omitempty"`
	Want    float64   `json:"want"`
	Stretch float64   `json:"stretch,omitempty"`
	AtMost  bool      `json:"at_most,omitempty"` // less is better
	Met     bool      `json:"met"`
}

func newReport(b *bench) (*report, error) {
	r := &report{At: time.Now().UTC(), Rounds: b.rounds, Quick: b.quick}
	var err error
	if r.Machine, err = thisMachine(b.work); err != nil {
		return nil, err
	}
	r.Versions, err = versions(b)
	return r, err
}

// row adds the turns of a contestant.
func (r *report) row(scenario string, c contestant, turns []Turn) {
	r.Rows = append(r.Rows, &Row{scenario, c.name, c.durable, turns})
}

// goal adds a figure, which is to be at least Want, or at most if AtMost.
func (r *report) goal(g Goal) {
	g.Median = median(g.Values)
	g.Met = g.Median >= g.Want
	if g.AtMost {
		g.Met = g.Median <= g.Want
	}
	r.Goals = append(r.Goals, &g)
}

// median is the middle value, or the mean of the two; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// medianOf is the median of one figure of the turns.
func medianOf(turns []Turn, figure func(Turn) float64) float64 {
	return median(each(turns, figure))
}

func each(turns []Turn, figure func(Turn) float64) []float64 {
	values := make([]float64, len(turns))
	for i, t := range turns {
		values[i] = figure(t)
	}
	return values
}

// ratios are the quotients of a figure of two contestants, round by round:
// what disturbs the machine disturbs both.
func ratios(of, to []Turn, figure func(Turn) float64) []float64 {
	values := make([]float64, min(len(of), len(to)))
	for i := range values {
		values[i] = figure(of[i]) / figure(to[i])
	}
	return values
}

func rate(t Turn) float64 { return t.Rate }
func p50(t Turn) float64  { return float64(t.P50) }
func p99(t Turn) float64  { return float64(t.P99) }
func cpu(t Turn) float64  { return float64(t.CPU) }
func anonymous(t Turn) float64 {
	return float64(t.Anonymous)
}

func (r *report) writeJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// verdict is one word about a goal.
func (g *Goal) verdict() string {
	better := func(than float64) bool {
		if g.AtMost {
			return g.Median <= than
		}
		return g.Median >= than
	}
	switch {
	case g.Stretch != 0 && better(g.Stretch):
		return "met, stretch too"
	case g.Met:
		return "met"
	default:
		return "missed"
	}
}

// number is a value with as many digits as it deserves, and its unit.
func number(v float64, unit string) string {
	var s string
	switch {
	case v >= 100 || v == 0:
		s = fmt.Sprintf("%.0f", v)
	case v >= 10:
		s = fmt.Sprintf("%.1f", v)
	default:
		s = fmt.Sprintf("%.2f", v)
	}
	return strings.TrimSpace(s + " " + unit)
}
