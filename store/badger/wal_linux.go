package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// badgerSyncs says whether Badger is to sync its log itself. It would also
// sync the value log each time, into which nothing is ever written, and which
// makes the disk flush its cache a second time.
const badgerSyncs = false

// wal syncs the log of the memtable that is written to. A transaction goes
// into one log as a whole, and there is one writer: when it has committed, that
// log is the newest. Syncing a file writes what was changed through a mapping
// of it, too (Linux; POSIX leaves it open).
type wal struct {
	dir  string
	next int // number of the next log
	file *os.File
}

// newWAL is for a directory that Badger has just opened.
func newWAL(dir string) (*wal, error) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return nil, err
	}
	w := &wal{dir: dir}
	for _, log := range logs {
		var number int
		if _, err := fmt.Sscanf(filepath.Base(log), "%d.mem", &number); err == nil {
			w.next = max(w.next, number)
		}
	}
	return w, nil
}

// sync makes durable what was committed.
func (w *wal) sync() error {
	for {
		file, err := os.Open(filepath.Join(w.dir, fmt.Sprintf("%05d.mem", w.next)))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		if w.file != nil {
			w.file.Close()
		}
		w.file = file
		w.next++
	}
	if w.file == nil {
		return fmt.Errorf("no log of the task store is in %s", w.dir)
	}
	for {
		err := unix.Fdatasync(int(w.file.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func (w *wal) close() {
	if w.file != nil {
		w.file.Close()
	}
}
