package badger

import (
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringback/ringback/task"
)

// giants knows the records that take more than one value, which are few, so
// that deleting a record need not look for the rest of it.
type giants struct {
	mu     sync.Mutex
	chunks map[giant]int
}

type giant struct {
	id     task.ID
	letter byte
}

// read finds the giants of a database.
func (g *giants) read(db *badger.DB) error {
	g.chunks = make(map[giant]int)
	return db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{chunkKey}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			k := it.Item().Key()
			if len(k) != len(keyOfChunk(0, task.ID{}, 0)) {
				continue
			}
			id, letter, n := idOf(k[:len(k)-2]), k[len(k)-2], int(k[len(k)-1])
			g.note(id, letter, n+1)
		}
		return nil
	})
}

// note says that a record has, or is about to have, so many chunks.
func (g *giants) note(id task.ID, letter byte, chunks int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := giant{id, letter}
	g.chunks[name] = max(g.chunks[name], chunks)
}

// drop makes the step delete the chunks of a record. Another try of a step
// that fails need not: they are deleted with the task at the latest, or at the
// latest found again when the store is opened.
func (g *giants) drop(p *step, letter byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := range g.chunks[giant{p.id, letter}] {
		p.writes.delete(keyOfChunk(letter, p.id, byte(n)))
	}
}

// forget is for when a task is gone.
func (g *giants) forget(id task.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, letter := range []byte{taskKey, requestKey, responseKey} {
		delete(g.chunks, giant{id, letter})
	}
}
