package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// profileTime is how long a CPU profile is made; the work lasts longer.
const profileTime = 5 * time.Second

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// profile begins a CPU profile of the contestant, if profiles are wanted and
// it is Caddy. The function it returns waits until the profile is written.
func (r *running) profile(name string) (wait func() error) {
	if r.b.profile == "" || r.admin == "off" || r.caddyfile == nil {
		return func() error { return nil }
	}
	name = notInNames.ReplaceAllString(strings.ToLower(name+" "+r.name), "-") + ".pprof"
	done := make(chan error, 1)
	go func() { done <- fetchProfile(r.admin, filepath.Join(r.b.profile, name)) }()
	return func() error { return <-done }
}

func fetchProfile(admin, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	response, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, int(profileTime.Seconds())))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the profile: %s", response.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, response.Body)
	return err
}
