// Package commands is the program ringback: Caddy's command line with the
// callback module linked in, and commands of its own, one file each. It is what
// the mains of cmd/ringback and of sidecar share.
package commands

import (
	"runtime/debug"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/spf13/cobra"

	_ "github.com/ringback/ringback/caddymodule"
)

// own are the commands beside Caddy's.
var own = []caddycmd.Command{sidecarCommand, demoCommand, secretCommand, rotateKeyCommand}

func init() {
	// Caddy builds its root command when it runs, of all commands in the order
	// in which they were registered; so in the last one the others have a root.
	var first *cobra.Command
	begin, end := own[0].CobraFunc, own[len(own)-1].CobraFunc
	own[0].CobraFunc = func(cmd *cobra.Command) {
		begin(cmd)
		first = cmd
	}
	own[len(own)-1].CobraFunc = func(cmd *cobra.Command) {
		end(cmd)
		tidy(first.Root())
	}
	for _, command := range own {
		caddycmd.RegisterCommand(command)
	}
}

// Main runs the command that the process was started with, and ends the process
// if it fails.
func Main() {
	caddy.CustomBinaryName = name
	caddy.CustomLongDescription = description
	caddy.CustomVersion = version()
	caddycmd.Main()
}

const name = "ringback"

// foreign are commands of Caddy that would replace this binary by one from
// Caddy's download server, which does not know it.
var foreign = []string{"upgrade", "add-package", "remove-package"}

// tidy makes Caddy's commands those of this binary.
func tidy(root *cobra.Command) {
	root.Example = "  $ ringback sidecar --from http://127.0.0.1:8080 --to http://127.0.0.1:3000\n" +
		"  $ ringback run --config Caddyfile\n  $ ringback validate --config Caddyfile\n  $ ringback reload --config Caddyfile"
	var texts []string
	for _, command := range root.Commands() {
		if slices.Contains(foreign, command.Name()) {
			root.RemoveCommand(command)
			continue
		}
		texts = append(texts, "caddy "+command.Name(), name+" "+command.Name())
	}
	rename := strings.NewReplacer(texts...)
	for _, command := range root.Commands() {
		command.Short, command.Long, command.Example = rename.Replace(command.Short), rename.Replace(command.Long), rename.Replace(command.Example)
	}
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
