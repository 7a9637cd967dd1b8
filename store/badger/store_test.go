package badger

import (
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/ringback/ringback/store/storetest"
	"github.com/ringback/ringback/task"
)

func TestStore(t *testing.T) {
	for name, options := range map[string]Options{
		"plain":     {},
		"encrypted": {EncryptionKey: []byte("0123456789abcdef0123456789abcdef")},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Opener {
				dir := t.TempDir()
				options.Logger = zaptest.NewLogger(t)
				return storetest.Opener{Open: func() (task.Store, error) { return Open(dir, options) }}
			})
		})
	}
}
