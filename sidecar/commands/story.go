package commands

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// story tells what happens, line by line and with the time since it began.
type story struct {
	out    io.Writer
	colour bool

	mu    sync.Mutex
	began time.Time
}

// newStory tells to out, in colour if it is a terminal that has no objection.
func newStory(out io.Writer) *story {
	f, ok := out.(*os.File)
	return &story{out: out, colour: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// begin introduces the cast.
func (s *story) begin(cast string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Now()
	fmt.Fprintf(s.out, "On stage: %s.\n\n", cast)
}

// colours are those of the terminal, by who speaks.
var colours = map[string]string{"client": "36", "backend": "33", "receiver": "32"}

// line tells what somebody did.
func (s *story) line(who, what, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := fmt.Sprintf("%5.2f s", time.Since(s.began).Seconds())
	name := fmt.Sprintf("%-8s", who)
	if s.colour {
		name = "\x1b[" + colours[who] + "m" + name + "\x1b[0m"
		at = "\x1b[2m" + at + "\x1b[0m"
	}
	fmt.Fprintf(s.out, "%s  %s %s\n                    %s\n", at, name, what, detail)
}

// end closes with what to do next.
func (s *story) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\nThe same for your backend:\n\n  ringback sidecar --from http://127.0.0.1:8080 --to http://YOUR-BACKEND --secret $(ringback secret)\n")
}
