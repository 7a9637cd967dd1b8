package task

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The types of problems, the codes of failures and the headers are part of the
// wire contract: the protocol's page has all of them.
func TestProtocolIsComplete(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	require.NoError(t, err)
	for typ, title := range problemTitle {
		require.NotEmpty(t, title)
		require.Contains(t, string(page), "`"+strings.TrimPrefix(typ, "urn:ringback:problem:")+"`")
	}
	for _, code := range []string{CodeBackendUnreachable, CodeBackendError, CodeBackendTimeout, CodeResponseTooLarge, CodeNoHandler,
		CodeInterrupted, CodeDeadlineExceeded, CodeCanceled, CodeRequestLost} {
		require.Contains(t, string(page), "`"+code+"`")
	}
	for _, header := range possibleHeaders {
		require.Contains(t, string(page), "`"+header+"`")
	}
	// Options have the names that the Caddyfile has, not those of JSON.
	for _, name := range []string{"no_poll", "key_id", "host_secrets", "allow_origins"} {
		require.NotContains(t, string(page), name)
	}
}
