package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringback/ringback/store/badger"
	"github.com/ringback/ringback/task"
)

// contestant is one that is measured.
type contestant struct {
	name string
	// durable says what a 202 promises.
	durable string
	// caddyfile is the configuration of Ringback or plain Caddy; nil: asynq.
	caddyfile func(*bench, place) string
	// tasks says that requests become tasks.
	tasks bool
	env   []string
}

// place is what a contestant gets for its turn.
type place struct {
	addr  string
	admin string // address of Caddy's admin endpoint, or "off"
	dir   string
}

// running is a contestant in its turn.
type running struct {
	contestant
	place
	b         *bench
	processes []*process // the first is the one that listens
}

// start gives a contestant a folder of its own and starts it.
func (b *bench) start(c contestant) (*running, error) {
	dir, err := os.MkdirTemp(b.work, "turn-")
	if err != nil {
		return nil, err
	}
	r := &running{contestant: c, b: b, place: place{dir: dir, admin: "off"}}
	if r.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if b.profile != "" {
		if r.admin, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	if err := r.launch(); err != nil {
		return nil, errors.Join(err, r.end())
	}
	if err := r.processes[0].ready(r.addr); err != nil {
		return nil, errors.Join(err, r.end())
	}
	return r, nil
}

// launch starts the contestant's processes, on the data that is there. It
// does not wait until they listen.
func (r *running) launch() error {
	if r.caddyfile == nil {
		return r.launchAsynq()
	}
	config := filepath.Join(r.dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(r.caddyfile(r.b, r.place)), 0o600); err != nil {
		return err
	}
	p, err := command{
		name: r.name, path: r.b.binary, dir: r.dir, env: append([]string{"XDG_DATA_HOME=" + r.dir, "XDG_CONFIG_HOME=" + r.dir}, r.env...),
		args: []string{"run", "--config", config, "--adapter", "caddyfile"},
	}.start()
	if err != nil {
		return err
	}
	r.processes = []*process{p}
	return nil
}

// stop ends the contestant's processes in order, and fails if they have
// anything to complain about.
func (r *running) stop() error {
	var errs []error
	for _, p := range r.processes {
		errs = append(errs, p.stop())
		if r.caddyfile == nil {
			continue
		}
		if told := p.complaints(); told != "" {
			errs = append(errs, fmt.Errorf("%s logged errors:\n%s", r.name, told))
		}
	}
	r.processes = nil
	return errors.Join(errs...)
}

// end ends the contestant, checks that none of its tasks is left, and removes
// its folder.
func (r *running) end() error {
	err := r.stop()
	if err == nil {
		err = r.drained()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// drained checks that no task is left in the store on the disk.
func (r *running) drained() error {
	if _, err := os.Stat(r.storeDir()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	store, err := badger.Open(r.storeDir(), badger.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	left := 0
	err = store.Due(r.b.ctx, func(task.Due) error {
		left++
		return nil
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%d tasks are left in the store, though all callbacks came", left)
	}
	return err
}

func (p place) storeDir() string { return filepath.Join(p.dir, "tasks") }

// storeSize is what the store takes on the disk.
func (r *running) storeSize() (int64, error) { return diskUsage(r.storeDir()) }

// site is a Caddyfile with a site that has these directives.
func (p place) site(global string, directives ...string) string {
	_, port, _ := strings.Cut(p.addr, ":")
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	log {
		level ERROR
	}
	%s
}
http://:%s {
	bind 127.0.0.1
	%s
}
`, p.admin, global, port, strings.Join(directives, "\n\t"))
}

// workers is how many backend calls, and how many deliveries, run at once.
const workers = 64

// Signed, as they should be; the receiver is on this machine.
const callbackOptions = `
		name bench
		allow 127.0.0.0/8
		secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
		concurrency 64
		delivery_concurrency 64`

func callbackDirective(more string) string { return "callback {" + callbackOptions + more + "\n\t}" }

const tunedTransport = ` {
		transport http {
			keepalive_idle_conns_per_host 1024
		}
	}`

func proxy(b *bench) string { return "reverse_proxy " + b.backendAddr + tunedTransport }

// The contestants.
var (
	proxyDefaults = contestant{
		name: "Caddy reverse_proxy, defaults", durable: "nothing is kept",
		caddyfile: func(b *bench, p place) string { return p.site("", "reverse_proxy "+b.backendAddr) },
	}
	proxyTuned = contestant{
		name: "Caddy reverse_proxy, tuned", durable: "nothing is kept",
		caddyfile: func(b *bench, p place) string { return p.site("", proxy(b)) },
	}
	respond202 = contestant{
		name: "Caddy respond 202", durable: "nothing is kept",
		caddyfile: func(b *bench, p place) string { return p.site("", "respond 202") },
	}
	ringback       = ringbackWith("Ringback, Badger", "")
	ringbackForget = ringbackWith("Ringback, Badger, retention off", "\n\t\tretention off")
	ringbackMemory = contestant{
		name: "Ringback, memory", durable: "until the process ends", tasks: true,
		caddyfile: func(b *bench, p place) string {
			return p.site("callback {\n\t\tstore memory\n\t}", callbackDirective(""), proxy(b))
		},
	}
	asynqAlways   = contestant{name: "asynq, Redis appendfsync always", durable: "on disk (fsync) at the 202", tasks: true}
	asynqEverysec = contestant{name: "asynq, Redis appendfsync everysec", durable: "on disk within 1 to 2 s", tasks: true}
)

func ringbackWith(name, more string) contestant {
	return contestant{
		name: name, durable: "on disk (fsync) at the 202", tasks: true,
		caddyfile: func(b *bench, p place) string {
			return p.site("callback {\n\t\tstore badger "+p.storeDir()+"\n\t\tmax_pending 3000000\n\t}", callbackDirective(more), proxy(b))
		},
	}
}

// firstAccepted waits for the first 202 after launch, and says how long after
// since it came.
func (r *running) firstAccepted(since time.Time, number int) (time.Duration, error) {
	for time.Since(since) < time.Minute {
		_, err := r.b.send(Work{
			Addr: r.addr, Clients: 1, Pattern: post(1<<10, r.b.receiverAddr), First: number, N: 1, Want: 202,
		})
		if err == nil {
			return time.Since(since), nil
		}
		select {
		case <-r.processes[0].done:
			return 0, fmt.Errorf("%s ended%s", r.name, r.processes[0].told())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("%s accepts nothing a minute after its start%s", r.name, r.processes[0].told())
}
