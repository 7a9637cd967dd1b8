package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	boptions "github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sync/errgroup"

	"github.com/ringback/ringback/store/badger/journal"
)

// What Badger does with a damaged directory is to make the best of it: it cuts
// logs and the manifest where they can't be read, deletes tables that the
// manifest does not list, and takes a block that can't be read for the end of a
// table. So the directory is looked at before Badger is, without changing it.

// inspected is what is known of a database that Badger has not opened yet.
type inspected struct {
	checkpoint *checkpoint // the latest; nil if there is none
	manifest   []byte
	readable   int64 // how much of it
	// memTable is the smallest memtable that the logs fit into.
	memTable int64
}

// inspect looks at a database. An error says what is damaged.
func inspect(dir string, encryptionKey []byte) (*inspected, error) {
	i := new(inspected)
	path := filepath.Join(dir, badger.ManifestFilename)
	tables, readable, err := manifestTables(path)
	if errors.Is(err, os.ErrNotExist) {
		return i, checkNothing(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", path, err)
	}
	i.readable = readable
	if i.manifest, err = os.ReadFile(path); err != nil {
		return nil, err
	}
	registry, err := openKeys(dir, encryptionKey)
	if err != nil {
		return nil, err
	}
	indexes, err := newIndexCache()
	if err != nil {
		return nil, err
	}
	defer indexes.Close()
	found := make([]*checkpoint, len(tables))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for n, listed := range tables {
		group.Go(func() (err error) {
			found[n], err = inspectTable(table.NewFilename(listed.id, dir), listed.TableManifest, registry, indexes)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, c := range found {
		i.note(c)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*"+logExtension))
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		if err := i.readLog(log, registry); err != nil {
			return nil, err
		}
	}
	return i, inspectValueLog(dir, registry)
}

// openKeys reads the data keys, of which there are some if the database was
// encrypted once.
func openKeys(dir string, encryptionKey []byte) (registry *badger.KeyRegistry, err error) {
	defer recovered(filepath.Join(dir, badger.KeyRegistryFileName), &err)
	return badger.OpenKeyRegistry(keyOptions(dir, encryptionKey))
}

// noRotation is so long that Badger does not add a data key.
const noRotation = 100 * 365 * 24 * time.Hour

func keyOptions(dir string, encryptionKey []byte) badger.KeyRegistryOptions {
	return badger.KeyRegistryOptions{Dir: dir, ReadOnly: true, EncryptionKey: encryptionKey, EncryptionKeyRotationDuration: noRotation}
}

// recovered makes an error of a panic, which is how Badger tells of much that
// is damaged.
func recovered(path string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s is damaged: %v", path, strings.SplitN(strings.TrimSpace(fmt.Sprint(p)), "\n", 2)[0])
	}
}

// inspectValueLog looks at the heads of the files of the value log, which are
// all that they have.
func inspectValueLog(dir string, registry *badger.KeyRegistry) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	for _, path := range paths {
		var head [8]byte
		file, openErr := os.Open(path)
		if openErr != nil {
			return openErr
		}
		if _, readErr := file.ReadAt(head[:], 0); readErr == nil {
			_, err = registry.DataKey(binary.BigEndian.Uint64(head[:]))
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("%s is damaged: %w", path, err)
		}
	}
	return err
}

func (i *inspected) note(c *checkpoint) {
	if c != nil && (i.checkpoint == nil || i.checkpoint.record < c.record) {
		i.checkpoint = c
	}
}

// sound returns an error if something is missing of what the database had for
// good when the journal gave it up.
func (i *inspected) sound(dir string, journal *journal.Contents) error {
	var record uint64
	if c := i.checkpoint; c != nil {
		record = c.record
		if !c.manifest.fits(i.manifest, i.readable) {
			return fmt.Errorf("%s is cut off or damaged: it does not begin with the %d bytes that it had", filepath.Join(dir, badger.ManifestFilename), c.manifest.size)
		}
	}
	switch {
	case record < journal.Checkpoint:
		return fmt.Errorf("the database in %s has lost records %d to %d of the journal: a log or a table of it is damaged, missing, or of an older time", dir, record+1, journal.Checkpoint)
	case record > journal.Last:
		return fmt.Errorf("the journal ends with record %d, but the database in %s has got record %d: they are of different times", journal.Last, dir, record)
	}
	return nil
}

// checkNothing returns an error if there is no manifest, but data: Badger would
// delete it.
func checkNothing(dir string) error {
	for _, extension := range []string{tableExtension, logExtension} {
		files, err := filepath.Glob(filepath.Join(dir, "*"+extension))
		if err != nil {
			return err
		}
		if len(files) > 0 {
			return fmt.Errorf("%s has data but no %s", dir, badger.ManifestFilename)
		}
	}
	return nil
}

// listedTable is a table that the manifest lists.
type listedTable struct {
	id uint64
	badger.TableManifest
}

// manifestTables returns the tables that a manifest lists, and up to where it
// can be read.
func manifestTables(path string) (tables []listedTable, readable int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	manifest, readable, err := badger.ReplayManifestFile(file, formatVersion, badger.DefaultOptions("").WithLogger(nil))
	if err != nil {
		return nil, 0, err
	}
	for id, listed := range manifest.Tables {
		tables = append(tables, listedTable{id, listed})
	}
	return tables, readable, nil
}

// indexCache is what Badger insists on for tables that are encrypted.
type indexCache = ristretto.Cache[uint64, *fb.TableIndex]

func newIndexCache() (*indexCache, error) {
	return ristretto.NewCache(&ristretto.Config[uint64, *fb.TableIndex]{NumCounters: 1000, MaxCost: 16 << 20, BufferItems: 64})
}

// inspectTable verifies the checksums of a table, and returns the latest
// checkpoint in it; nil if there is none.
func inspectTable(path string, listed badger.TableManifest, registry *badger.KeyRegistry, indexes *indexCache) (found *checkpoint, err error) {
	damaged := func(reason any) error { return fmt.Errorf("table %s of the database is damaged: %v", path, reason) }
	key, err := registry.DataKey(listed.KeyID)
	if err != nil {
		return nil, damaged(err)
	}
	file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("table %s of the database is missing", path)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close(-1)
	defer recovered(path, &err)
	t, err := table.OpenTable(file, table.Options{
		ReadOnly: true, DataKey: key, Compression: listed.Compression, BlockSize: blockSize,
		IndexCache: indexes, ChkMode: boptions.OnTableRead,
	})
	if err != nil {
		return nil, damaged(err)
	}
	it := t.NewIterator(table.NOCACHE)
	defer it.Close()
	it.Seek(y.KeyWithTs(checkpointKey, 1<<63)) // newest first
	if it.Valid() && slices.Equal(y.ParseKey(it.Key()), checkpointKey) {
		if c, ok := decodeCheckpoint(it.Value().Value); ok {
			found = &c
		}
	}
	return found, nil
}

// log is a log of Badger's, opened to be read.
type log struct {
	file    *z.MmapFile
	content []byte
	key     []byte // nil: it is not encrypted
}

const logHeaderSize = 8 + 12 // number of the data key, and a part of the IV

// openLog opens a log; nil if nothing was written to it.
func openLog(path string, registry *badger.KeyRegistry) (*log, error) {
	if info, err := os.Stat(path); err != nil || info.Size() < logHeaderSize {
		return nil, err
	}
	file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	l := &log{file: file, content: file.Data}
	key, err := registry.DataKey(binary.BigEndian.Uint64(l.content))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log %s of the database is damaged: %w", path, err), l.close())
	}
	if key != nil {
		l.key = key.Data
	}
	return l, nil
}

func (l *log) close() error { return l.file.Close(-1) }

// entryAt reads the entry at an offset. A length of zero: there is none.
func (l *log) entryAt(at int) (e logEntry, length int, err error) {
	if e, length = logEntryAt(l.content[at:]); length == 0 || l.key == nil {
		return e, length, nil
	}
	iv := binary.BigEndian.AppendUint32(slices.Clone(l.content[8:logHeaderSize]), uint32(at))
	plain, err := y.XORBlockAllocate(l.content[at+e.header:at+length-crc32.Size], l.key, iv)
	if err != nil {
		return e, 0, err
	}
	e.key, e.value = plain[:len(e.key)], plain[len(e.key):]
	return e, length, nil
}

// readLog looks for the latest checkpoint in a log, as far as Badger would
// read it, and for the memtable that it takes.
func (i *inspected) readLog(path string, registry *badger.KeyRegistry) error {
	l, err := openLog(path, registry)
	if err != nil || l == nil {
		return err
	}
	defer l.close()
	i.memTable = max(i.memTable, int64(len(l.content)/2))
	var transaction uint64 // of the entries since the last one that was complete
	var pending []*checkpoint
	for at := logHeaderSize; at < len(l.content); {
		e, length, err := l.entryAt(at)
		if err != nil || length == 0 || len(e.key) < 8 {
			return err
		}
		switch {
		case e.meta&ofTransaction != 0:
			if ts := y.ParseTs(e.key); transaction == 0 {
				transaction = ts
			} else if transaction != ts {
				return nil
			}
			if c, ok := decodeCheckpoint(e.value); ok && slices.Equal(y.ParseKey(e.key), checkpointKey) {
				pending = append(pending, &c)
			}
		case e.meta&endOfTransaction != 0:
			if ts, err := strconv.ParseUint(string(e.value), 10, 64); err != nil || ts != transaction {
				return nil
			}
			for _, c := range pending {
				i.note(c)
			}
			transaction, pending = 0, pending[:0]
		default:
			return nil
		}
		at += length
		i.memTable = max(i.memTable, int64(at))
	}
	return nil
}

// Bits of the meta byte of an entry. Badger has one entry after the others of
// a transaction that says that it is complete.
const (
	ofTransaction    = 1 << 6
	endOfTransaction = 1 << 7
)

type logEntry struct {
	meta       byte
	header     int // its length
	key, value []byte
}

// logEntryAt reads the entry that a log begins with: two bytes of meta data,
// lengths of key and value, time of expiry, key, value, checksum. A length of
// zero: there is none, or it was not finished.
func logEntryAt(b []byte) (e logEntry, length int) {
	if len(b) < 2 {
		return e, 0
	}
	e.meta = b[0]
	at := 2
	var numbers [3]uint64
	for n := range numbers {
		number, size := binary.Uvarint(b[at:])
		if size <= 0 {
			return e, 0
		}
		numbers[n], at = number, at+size
	}
	e.header = at
	keyLength, valueLength := numbers[0], numbers[1]
	if keyLength == 0 || keyLength > 1<<16 || valueLength > uint64(len(b)) || keyLength+valueLength+crc32.Size > uint64(len(b)-at) {
		return e, 0
	}
	end := at + int(keyLength+valueLength)
	if crc32.Checksum(b[:end], y.CastagnoliCrcTable) != binary.BigEndian.Uint32(b[end:]) {
		return e, 0
	}
	e.key, e.value = b[at:at+int(keyLength)], b[at+int(keyLength):end]
	return e, end + crc32.Size
}
