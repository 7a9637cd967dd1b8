// Command bench measures what Ringback costs, beside what one would compare it
// with: plain Caddy, the same tasks kept in memory only, and a handler that
// puts its work into a queue on Redis.
//
// Everything runs as real processes on loopback: the load generator, a trivial
// backend, the receiver of the callbacks and, one after the other, the
// contestants. They alternate, A B A B, and what is printed is the median over
// the rounds. The work is fixed, not the time, and no figure counts unless all
// of it was done: each accepted task's callback came exactly once, and nothing
// is left in the store.
//
//	go run ./bench                  about ten minutes
//	go run ./bench -quick           about two, and less certain
//	go run ./bench -large           with a million pending tasks: half an hour more
//	go run ./bench -only accept     just some
//	go run ./bench -profile DIR     CPU profiles of Ringback instead of figures
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

// options are what the command line says.
type options struct {
	dir     string         // where the contestants' data is
	rounds  int            // how often each contestant has its turn
	quick   bool           // a tenth of the work
	large   bool           // the scenarios with a million tasks, too
	only    *regexp.Regexp // names of the scenarios to run
	json    string         // file for the results
	profile string         // folder for CPU profiles; empty: none are made
	binary  string         // Ringback; empty: it is built
}

func main() {
	var o options
	var only string
	role := flag.String("role", "", "run as a part of the benchmark (the benchmark does this itself)")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "folder for the contestants' data, on the disk to be measured")
	flag.IntVar(&o.rounds, "rounds", 5, "turns of each contestant")
	flag.BoolVar(&o.quick, "quick", false, "less work and three turns, in about two minutes")
	flag.BoolVar(&o.large, "large", false, "also with a million pending tasks; half an hour more, and 25 GB of disk")
	flag.StringVar(&only, "only", "", "run only the scenarios whose name matches this `regexp`")
	flag.StringVar(&o.json, "json", "", "write all results to this `file`")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles of Ringback to this `folder`; the figures are then not to be trusted")
	flag.StringVar(&o.binary, "ringback", "", "measure this `binary` instead of building one from the source")
	flag.Parse()

	if *role != "" {
		exitOn(serveRole(*role))
		return
	}
	if flag.NArg() > 0 {
		exitOn(fmt.Errorf("unexpected argument %q: all options begin with a dash", flag.Arg(0)))
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		exitOn(fmt.Errorf("-only: %w", err))
	}
	if o.quick {
		o.rounds = min(o.rounds, 3)
	}
	if o.profile != "" {
		o.rounds = 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends it at once
	exitOn(run(ctx, o))
}

func run(ctx context.Context, o options) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	for _, s := range scenarios {
		if s.large && !o.large || !o.only.MatchString(s.name) || o.profile != "" && !s.profiled {
			continue
		}
		b.say("%s: %s", s.name, s.about)
		if err := s.run(b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if o.profile != "" {
		b.say("the profiles are in %s: go tool pprof -top FILE", o.profile)
		return nil
	}
	if o.json != "" {
		if err := b.report.writeJSON(o.json); err != nil {
			return err
		}
	}
	return b.report.writeText(os.Stdout)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
