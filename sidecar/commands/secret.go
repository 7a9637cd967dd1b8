package commands

import (
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/ringback/ringback/task/signature"
)

var secretCommand = caddycmd.Command{
	Name:  "secret",
	Usage: "[--keypair]",
	Short: "Prints a new secret to sign callbacks with",
	Long: `
Prints a Standard Webhooks secret (whsec_…), which signs callbacks and which
their receivers verify them with.

With --keypair it prints an ed25519 key pair: a private key (whsk_…), which
signs, and a public one (whpk_…) for the receivers.
`,
	CobraFunc: func(cmd *cobra.Command) {
		pair := cmd.Flags().Bool("keypair", false, "print an ed25519 key pair")
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if !*pair {
				_, err := fmt.Fprintln(out, signature.GenerateSecret())
				return err
			}
			private, public := signature.GenerateKeyPair()
			_, err := fmt.Fprintf(out, "private %s\npublic  %s\n", private, public)
			return err
		}
	},
}
