package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Salvage returns the records that can be read in the directory of a damaged
// journal and that the database may not have, in the order in which they were
// appended, and what could not be read.
func Salvage(dir string, secret []byte) (records [][]byte, lost []error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+extension))
	if err != nil {
		return nil, []error{err}
	}
	byNumber := make(map[uint64][]byte)
	var checkpoint uint64
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			lost = append(lost, err)
			continue
		}
		h, ok, err := decodeHeader(content)
		switch {
		case err != nil:
			lost = append(lost, fmt.Errorf("journal %s: %w", path, err))
			continue
		case !ok && isNamed(path):
			lost = append(lost, &DamageError{Path: path, Reason: "its header can't be read, and so nothing of it"})
			continue
		case !ok:
			continue
		}
		checkpoint = max(checkpoint, h.checkpoint)
		lost = append(lost, h.salvage(path, content, secret, byNumber)...)
	}
	numbers := make([]uint64, 0, len(byNumber))
	for number := range byNumber {
		if number > checkpoint {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	for i, number := range numbers {
		if i > 0 && number != numbers[i-1]+1 {
			lost = append(lost, &DamageError{Path: dir, Reason: fmt.Sprintf("records %d to %d of the journal can't be read", numbers[i-1]+1, number-1)})
		}
		records = append(records, byNumber[number])
	}
	return records, lost
}

// salvage collects the records of a file.
func (h *header) salvage(path string, content, secret []byte, byNumber map[uint64][]byte) (lost []error) {
	seal, err := newSealer(h, secret)
	if err != nil {
		return []error{fmt.Errorf("journal %s: %w", path, err)}
	}
	for at, next := h.length(), h.first; at+recordHeader <= len(content); {
		number, record, ok := h.valid(content, at)
		if !ok || number < next || isEndMark(content[at:]) {
			at++
			continue
		}
		length := recordHeader + len(record)
		if number > next {
			lost = append(lost, &DamageError{Path: path, Offset: at, Reason: fmt.Sprintf("records %d to %d before this can't be read", next, number-1)})
		}
		if record, err = seal.open(record, number); err == nil {
			byNumber[number] = record
		} else {
			lost = append(lost, &DamageError{Path: path, Offset: at, Reason: err.Error()})
		}
		at, next = at+length, number+1
	}
	return lost
}
