package commands

import (
	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

var sidecarCommand = caddycmd.Command{
	Name:  "sidecar",
	Usage: "--from <address> --to <address>",
	Short: "Puts callbacks in front of a backend, with no configuration file",
	Long: `
Takes requests at --from and passes them to --to. A request that carries a
callback URL is answered with 202 at once; the backend's answer is POSTed to
that URL when it is there.

Callbacks go by https to public addresses only, unless --allow says otherwise,
and are signed if there is a --secret (make one with ringback secret).

Each flag can also be set in the environment, as RINGBACK_FROM, RINGBACK_TO,
RINGBACK_MAX_BODY and so on; lists have commas or spaces between their values.
A secret may be a placeholder: {env.NAME} or {file./run/secrets/callback}.

Pending tasks are in the folder --data, and go on after a restart.
`,
	CobraFunc: func(cmd *cobra.Command) {
		o := new(options)
		o.register(cmd.Flags())
		cmd.Args = cobra.NoArgs
		cmd.Example = "  $ ringback sidecar --from http://127.0.0.1:8080 --to http://127.0.0.1:3000\n" +
			"  $ ringback sidecar --from example.com --to app:3000 --match '/reports/*' --allow private"
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			if err := environment(cmd.Flags()); err != nil {
				return err
			}
			return o.run()
		}
	},
}

// run runs the sidecar until a signal ends the process.
func (o *options) run() error {
	caddy.TrapSignals()
	// As `ringback run` does: what the container, or else the machine, has. An
	// error leaves the limit as it is; GOMEMLIMIT in the environment comes first.
	_, _ = memlimit.Set(memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	config, err := o.config()
	if err != nil {
		return err
	}
	if err := caddy.Run(config); err != nil {
		return err
	}
	caddy.Log().Info("ringback sidecar is running", zap.String("from", o.from), zap.Strings("to", o.to), zap.String("data", o.data))
	select {}
}
