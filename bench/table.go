package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// writeText writes the results as Markdown, aligned to be read as it is.
func (r *report) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, Linux %s; fdatasync after 1 KiB appended: p50 %s, p99 %s\n",
		r.Machine.CPU, r.Machine.Kernel, short(r.Machine.SyncP50), short(r.Machine.SyncP99))
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		names = append(names, name+" "+r.Versions[name])
	}
	fmt.Fprintf(&b, "%s; medians of %d rounds, %s\n\n", strings.Join(names, ", "), r.Rounds, r.At.Format(time.DateOnly))

	if len(r.Rows) > 0 {
		rows := [][]string{{"scenario", "contestant", "a 202 means", "per second", "min–max", "p50", "p99", "CPU each", "memory"}}
		for _, row := range r.Rows {
			rows = append(rows, row.cells())
		}
		align(&b, rows)
	}
	if len(r.Goals) > 0 {
		rows := [][]string{{"goal", "median", "min–max", "wanted", ""}}
		for _, g := range r.Goals {
			rows = append(rows, g.cells())
		}
		align(&b, rows)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (row *Row) cells() []string {
	cells := []string{row.Scenario, row.Contestant, row.Durable, "", "", "", "", "", ""}
	set := func(i int, figure func(Turn) float64, write func(float64) string) {
		if v := medianOf(row.Turns, figure); v != 0 {
			cells[i] = write(v)
		}
	}
	set(3, rate, func(v float64) string { return number(v, "") })
	if rates := each(row.Turns, rate); len(rates) > 1 && slices.Max(rates) > 0 {
		cells[4] = number(slices.Min(rates), "") + "–" + number(slices.Max(rates), "")
	}
	duration := func(v float64) string { return short(time.Duration(v)) }
	set(5, p50, duration)
	set(6, p99, duration)
	set(7, cpu, duration)
	set(8, anonymous, func(v float64) string { return number(v/(1<<20), "MiB") })
	return cells
}

func (g *Goal) cells() []string {
	sign := "≥ "
	if g.AtMost {
		sign = "≤ "
	}
	wanted := sign + number(g.Want, g.Unit)
	if g.Stretch != 0 {
		wanted += fmt.Sprintf(" (%s)", number(g.Stretch, ""))
	}
	return []string{g.Name, number(g.Median, g.Unit),
		number(slices.Min(g.Values), "") + "–" + number(slices.Max(g.Values), ""), wanted, g.verdict()}
}

// short is a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return number(d.Seconds(), "s")
	case d >= time.Millisecond:
		return number(d.Seconds()*1e3, "ms")
	default:
		return number(d.Seconds()*1e6, "µs")
	}
}

// align writes a Markdown table, the first row being its head.
func align(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)), 1)
		}
	}
	line := func(row []string, pad string) {
		for i, width := range widths {
			cell := ""
			if row != nil {
				cell = row[i]
			}
			b.WriteString("| " + cell + strings.Repeat(pad, width-len([]rune(cell))) + " ")
		}
		b.WriteString("|\n")
	}
	line(rows[0], " ")
	line(nil, "-")
	for _, row := range rows[1:] {
		line(row, " ")
	}
	b.WriteByte('\n')
}
