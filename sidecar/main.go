// Ringback answers a request that carries a callback URL at once, has the slow
// backend behind it answer in the background, and POSTs the answer to the
// callback URL. The program is Caddy with the callback module linked in.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/ringback/ringback/caddymodule"
)

func main() { caddycmd.Main() }
