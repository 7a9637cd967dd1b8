// Ringback makes a slow HTTP backend asynchronous without changing it: a
// request that carries a callback URL is answered 202 at once, the backend is
// called in the background, and its answer is POSTed to the callback URL.
//
// The binary is Caddy with the callback module linked in, and a few commands
// more: sidecar, demo, secret and rotate-key.
package main

import (
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/ringback/ringback/caddymodule"
)

func main() {
	caddy.CustomBinaryName = "ringback"
	caddy.CustomLongDescription = description
	caddy.CustomVersion = version()
	caddycmd.Main()
}

const description = `Ringback answers a slow HTTP request with 202 at once, calls the unchanged
backend in the background, and POSTs its answer to the callback URL that the
request carried: signed, retried, never lost.

See it work:

	$ ringback demo

Put it in front of a backend:

	$ ringback sidecar --from http://127.0.0.1:8080 --to http://127.0.0.1:3000

Or configure it as the Caddy that it is, with the callback directive:

	$ ringback run --config Caddyfile
	$ ringback validate --config Caddyfile`

// version is the version of Ringback, as it is set when the binary is built
// from a module or a repository (see runtime/debug). Caddy adds its own.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "ringback (devel), Caddy"
	}
	return "ringback " + info.Main.Version + ", Caddy"
}
