// Ringback makes a slow HTTP backend asynchronous without changing it: a
// request that carries a callback URL is answered 202 at once, the backend is
// called in the background, and its answer is POSTed to the callback URL.
//
// This is the binary for go run ./sidecar; cmd/ringback is the same under its
// own name.
package main

import "github.com/ringback/ringback/sidecar/commands"

func main() { commands.Main() }
