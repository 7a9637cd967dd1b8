package main

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Machine is what the figures were measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
	// SyncP50 and SyncP99 are what an append of 1 KiB with fdatasync takes.
	SyncP50 time.Duration `json:"sync_p50_ns"`
	SyncP99 time.Duration `json:"sync_p99_ns"`
}

func thisMachine(dir string) (m Machine, err error) {
	m.CPU = fmt.Sprintf("%d cores", runtime.NumCPU())
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	if model := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(info); model != nil {
		m.CPU += " of " + string(model[1])
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return m, err
	}
	m.Kernel = strings.TrimSpace(string(kernel))
	m.SyncP50, m.SyncP99, err = syncCost(dir, 1000)
	return m, err
}

// syncCost measures what it costs to append 1 KiB to a file and have it on
// the disk: what no durable 202 can be faster than.
func syncCost(dir string, n int) (p50, p99 time.Duration, err error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	record := make([]byte, 1<<10)
	took := make([]int64, n)
	for i := range took {
		began := time.Now()
		if _, err := f.Write(record); err != nil {
			return 0, 0, err
		}
		if err := dataSync(f); err != nil {
			return 0, 0, err
		}
		took[i] = int64(time.Since(began))
	}
	p50, p99 = percentiles(took)
	return p50, p99, nil
}

// versions are those of what takes part.
func versions(b *bench) (map[string]string, error) {
	v := make(map[string]string)
	info, err := buildinfo.ReadFile(b.binary)
	if err != nil {
		return nil, err
	}
	v["Go"] = strings.TrimPrefix(info.GoVersion, "go")
	v["Ringback"] = cmp.Or(info.Main.Version, "(devel)")
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/caddyserver/caddy/v2":
			v["Caddy"] = dep.Version
		case "github.com/dgraph-io/badger/v4":
			v["Badger"] = dep.Version
		}
	}
	if b.asynqBinary == "" {
		return v, nil
	}
	if info, err = buildinfo.ReadFile(b.asynqBinary); err != nil {
		return nil, err
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/hibiken/asynq" {
			v["asynq"] = dep.Version
		}
	}
	out, err := exec.Command(b.redisBinary, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(b.redisBinary), err)
	}
	found := regexp.MustCompile(`v=(\S+)`).FindSubmatch(out)
	if found == nil {
		return nil, fmt.Errorf("redis-server --version says %q, without a version", out)
	}
	v["Redis"] = string(found[1])
	return v, nil
}
