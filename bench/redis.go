package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// launchAsynq starts Redis, and asynq on it.
func (r *running) launchAsynq() error {
	fsync := "always"
	if r.name == asynqEverysec.name {
		fsync = "everysec"
	}
	socket := filepath.Join(r.dir, "redis.sock")
	redis, err := command{
		name: "Redis", path: r.b.redisBinary, dir: r.dir,
		args: []string{"--port", "0", "--unixsocket", socket, "--dir", r.dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", fsync, "--loglevel", "warning"},
	}.start()
	if err != nil {
		return err
	}
	r.processes = []*process{redis}
	if err := awaitSocket(redis, socket); err != nil {
		return err
	}
	worker, err := command{
		name: r.name, path: r.b.asynqBinary, dir: r.dir,
		args: []string{"-listen", r.addr, "-redis", socket, "-backend", "http://" + r.b.backendAddr, "-concurrency", strconv.Itoa(workers)},
	}.start()
	if err != nil {
		return err
	}
	r.processes = []*process{worker, redis}
	return nil
}

// awaitSocket waits until Redis listens.
func awaitSocket(p *process, socket string) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%s does not listen on %s%s", p.name, socket, p.told())
}
