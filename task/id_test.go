package task

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzParseID(f *testing.F) {
	f.Add(NewID(time.Now()).String())
	f.Add("../../etc/passwd")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil {
			require.Equal(t, s, id.String(), "one text, one id")
		}
	})
}
