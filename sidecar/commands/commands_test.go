package commands

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// ringback runs a command of the program to its end.
func ringback(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RINGBACK_TEST_MAIN=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The commands are those of this binary: its help names it, and what would
// replace it by another is not there.
func TestCommands(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {}, {"run", "--help"}, {"reload", "--help"}, {"sidecar", "--help"}} {
		out, err := ringback(t, args...)
		require.NoError(t, err, out)
		require.Contains(t, out, "ringback")
		require.NotRegexp(t, `caddy (run|start|stop|reload|adapt|upgrade)`, out)
		require.NotContains(t, out, "add-package")
	}
	for _, command := range foreign {
		out, err := ringback(t, command, "github.com/x/y")
		require.Error(t, err)
		require.Contains(t, out, `unknown command "`+command+`" for "ringback"`)
	}
	out, err := ringback(t, "version")
	require.NoError(t, err)
	require.Contains(t, out, "ringback")
}
