package memory_test

import (
	"testing"

	"github.com/ringback/ringback/store/memory"
	"github.com/ringback/ringback/store/storetest"
	"github.com/ringback/ringback/task"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Opener {
		return storetest.Opener{
			Open:     func() (task.Store, error) { return memory.Open() },
			Volatile: true,
		}
	})
}
