package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has cost so far, or takes at this moment.
type usage struct {
	cpu       time.Duration // user and system
	anonymous int64         // resident memory that is not of files, in bytes
	resident  int64         // resident memory, mapped files included
}

// clockTick is the unit of CPU time in /proc, fixed on Linux.
const clockTick = 10 * time.Millisecond

func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The second field is the program's name in parentheses and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, stime = 11, 12 // counted from the third field
	if len(fields) <= stime {
		return usage{}, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	var u usage
	for _, i := range []int{utime, stime} {
		ticks, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return usage{}, err
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kB, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		switch name {
		case "RssAnon":
			u.anonymous, err = strconv.ParseInt(kB, 10, 64)
			u.anonymous <<= 10
		case "VmRSS":
			u.resident, err = strconv.ParseInt(kB, 10, 64)
			u.resident <<= 10
		}
		if err != nil {
			return usage{}, err
		}
	}
	return u, nil
}

// usageOfAll adds up what several processes cost.
func usageOfAll(processes []*process) (sum usage, err error) {
	for _, p := range processes {
		u, err := usageOf(p.pid())
		if err != nil {
			return usage{}, err
		}
		sum.cpu += u.cpu
		sum.anonymous += u.anonymous
		sum.resident += u.resident
	}
	return sum, nil
}

// watchPeak watches a process's anonymous memory until stop is called, which
// returns the most that was seen.
func watchPeak(pid int) (stop func() int64) {
	quit, peak := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			if u, err := usageOf(pid); err == nil {
				most = max(most, u.anonymous)
			}
			select {
			case <-ticker.C:
			case <-quit:
				peak <- most
				return
			}
		}
	}()
	return func() int64 {
		close(quit)
		return <-peak
	}
}
