// Ringback makes a slow HTTP backend asynchronous without changing it: a
// request that carries a callback URL is answered 202 at once, the backend is
// called in the background, and its answer is POSTed to the callback URL.
//
// The binary is Caddy with the callback module linked in, and a few commands
// more: sidecar, demo, secret and rotate-key.
package main

import "github.com/ringback/ringback/sidecar/commands"

func main() { commands.Main() }
