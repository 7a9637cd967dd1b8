package badger

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
	boptions "github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"

	"github.com/ringback/ringback/store/badger/journal"
)

// Options are the options of a store. The zero value works.
type Options struct {
	// Logger gets what goes wrong in the background. Nil: nothing is logged.
	Logger *zap.Logger

	// EncryptionKey encrypts everything on disk with AES (the database), AES-GCM
	// (the journal) and ChaCha20-Poly1305 (large bodies): 16, 24 or 32 random
	// bytes. Nil: no encryption. It must be the key of the directory; see
	// RotateKey to change it.
	EncryptionKey []byte
	// EncryptionKeyRotation is how long a data key is used for new files;
	// data keys are kept in the directory, encrypted with EncryptionKey.
	// Zero: 10 days.
	EncryptionKeyRotation time.Duration

	// MinFree is the free disk space in bytes that is left alone: with less,
	// new tasks and bodies are refused with task.ErrNoSpace. On top of it the
	// store keeps free what it may need to rearrange itself. Zero: 64 MiB.
	// Negative: nothing is checked, and a full disk then kills the process,
	// since Badger writes to mapped memory.
	MinFree int64
	// MaxBytes bounds the size of the directory: beyond it, new tasks and
	// bodies are refused with task.ErrNoSpace. At least three times MemTableSize:
	// the store itself takes that. Zero: no bound.
	MaxBytes int64

	// MemTableSize is how many bytes of new records are held in memory, two and
	// a half times at most, before they are sorted into files. More is faster
	// under sustained load (64 MiB is good) and takes that much memory. It also
	// bounds the size of one record, to about a seventh. A smaller one than that of
	// a process that was killed holds after the next clean end. At least 1 MiB.
	// Zero: 16 MiB.
	MemTableSize int64

	// OnFailure is called once, from any goroutine, when the disk fails, after
	// which the store takes no more steps until the process is started again.
	// Nil: it is only logged.
	OnFailure func(error)

	wrapJournal func(name string, f journal.File) journal.File // for tests
}

// DefaultMemTableSize is the MemTableSize of options that have none.
const DefaultMemTableSize = 16 << 20

const (
	defaultMinFree  = 64 << 20
	minMemTableSize = 1 << 20

	// formatVersion is written to the directory; another one is not opened.
	// "RB" and a number to be raised when keys or values change their meaning.
	formatVersion = 'R'<<8 | 'B' + 1

	maxValueThreshold = 1 << 20 // Badger's
	blockSize         = 16 << 10
)

func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.MinFree == 0 {
		o.MinFree = defaultMinFree
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = DefaultMemTableSize
	}
	if o.MemTableSize < minMemTableSize {
		return o, fmt.Errorf("memtable size is %d bytes: want at least %d", o.MemTableSize, minMemTableSize)
	}
	if o.MaxBytes > 0 && o.MaxBytes < 3*o.MemTableSize {
		return o, fmt.Errorf("max bytes is %d: want at least three times the memtable size, which is %d", o.MaxBytes, o.MemTableSize)
	}
	switch len(o.EncryptionKey) {
	case 0, 16, 24, 32:
	default:
		return o, fmt.Errorf("encryption key has %d bytes: want 16, 24 or 32", len(o.EncryptionKey))
	}
	if o.EncryptionKeyRotation < 0 {
		return o, errors.New("encryption key rotation is negative: want a duration, or zero for 10 days")
	}
	return o, nil
}

// badgerOptions are Badger's: small, and nothing ever in the value log. That
// is because Badger only logs when it fails to sync the value log, and its
// garbage collection gives back next to nothing.
func (o Options) badgerOptions(dir string) badger.Options {
	b := badger.DefaultOptions(filepath.Join(dir, dbDir)).
		WithSyncWrites(false). // see doc.go
		WithLogger(logger{o.Logger}).
		WithMemTableSize(o.MemTableSize).
		WithNumMemtables(2).
		// Badger fills a table until it is large when compressed, and holds several
		// times that meanwhile: under a memory limit the garbage collector then
		// takes more time than all else.
		WithCompression(boptions.None).
		WithValueThreshold(o.valueThreshold()).
		WithValueLogFileSize(1 << 20).
		WithBlockSize(blockSize). // the index of a table is a quarter of what it is with 4 KiB
		WithBlockCacheSize(16 << 20).
		WithIndexCacheSize(16 << 20).
		WithNumCompactors(0). // see compactor
		WithNumLevelZeroTables(1).
		WithNumLevelZeroTablesStall(math.MaxInt32). // see tooManyTables
		WithDetectConflicts(false).                 // there is one writer
		WithBypassLockGuard(locks).                 // see look
		WithMetricsEnabled(false).
		WithExternalMagic(formatVersion)
	if len(o.EncryptionKey) > 0 {
		b = b.WithEncryptionKey(o.EncryptionKey)
	}
	if o.EncryptionKeyRotation > 0 {
		b = b.WithEncryptionKeyRotationDuration(o.EncryptionKeyRotation)
	}
	return b
}

// valueThreshold is the size from which on Badger would put a value into the
// value log. It can't be more than a transaction, which is 15 % of a memtable.
func (o Options) valueThreshold() int64 {
	return min(maxValueThreshold, o.MemTableSize*15/100)
}

// journalFileSize is the size of each of the two files of the journal, and so
// of a generation of what is recent.
func (o Options) journalFileSize() int64 { return o.MemTableSize / 4 }

// logger is a zap logger for Badger. What Badger calls information is detail
// to everyone else, and what it calls debugging comes several times per write.
type logger struct{ log *zap.Logger }

func (l logger) Errorf(format string, args ...any)   { l.log.Sugar().Errorf("badger: "+format, args...) }
func (l logger) Warningf(format string, args ...any) { l.log.Sugar().Warnf("badger: "+format, args...) }
func (l logger) Infof(format string, args ...any)    { l.log.Sugar().Debugf("badger: "+format, args...) }
func (logger) Debugf(string, ...any)                 {}

var _ badger.Logger = logger{}
