package journal

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
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
	var files []salvaged
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
		case ok:
			checkpoint = max(checkpoint, h.checkpoint)
			files = append(files, salvaged{h, path, content})
		case isNamed(path) || len(bytes.TrimRight(content, "\x00")) > 0:
			lost = append(lost, &DamageError{Path: path, Reason: "its header can't be read, and so nothing of it"})
		}
	}
	// What is in a later file as well as in an earlier one was refused first.
	slices.SortFunc(files, func(a, b salvaged) int { return cmp.Compare(a.first, b.first) })
	byNumber := make(map[uint64][]byte)
	for _, f := range files {
		lost = append(lost, f.salvage(secret, byNumber)...)
	}
	next := checkpoint + 1
	for _, number := range slices.Sorted(maps.Keys(byNumber)) {
		if number < next {
			continue
		}
		if number > next && (checkpoint > 0 || len(records) > 0) {
			lost = append(lost, &DamageError{Path: dir, Reason: fmt.Sprintf("records %d to %d of the journal can't be read", next, number-1)})
		}
		records, next = append(records, byNumber[number]), number+1
	}
	return records, lost
}

// salvaged is a file whose header can be read.
type salvaged struct {
	header
	path    string
	content []byte
}

// salvage collects the records of a file.
func (f *salvaged) salvage(secret []byte, byNumber map[uint64][]byte) (lost []error) {
	seal, err := newSealer(&f.header, secret)
	if err != nil {
		return []error{fmt.Errorf("journal %s: %w", f.path, err)}
	}
	most := f.first + uint64(len(f.content)/f.headSize())
	for at, next := f.length(), f.first; at+f.headSize() <= len(f.content); {
		r, ok := f.recordAt(f.content, at, next, most)
		if !ok {
			at++
			continue
		}
		if r.number > next {
			lost = append(lost, &DamageError{Path: f.path, Offset: at, Reason: fmt.Sprintf("records %d to %d before this can't be read", next, r.number-1)})
		}
		next = r.number
		at += r.length
		if r.isEnd {
			continue
		}
		content, err := seal.open(r.content, r.number)
		if err == nil {
			byNumber[r.number] = content
		} else {
			lost = append(lost, &DamageError{Path: f.path, Offset: at - r.length, Reason: err.Error()})
		}
		next++
	}
	return lost
}
