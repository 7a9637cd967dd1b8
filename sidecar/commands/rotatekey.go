package commands

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/ringback/ringback/store/badger"
)

var rotateKeyCommand = caddycmd.Command{
	Name:  "rotate-key",
	Usage: "--data <dir> --old-key <placeholder> --new-key <placeholder>",
	Short: "Changes the key that a task store is encrypted with",
	Long: `
Changes the encryption_key of the task store in the folder --data, which no
process may have open: stop ringback first, and start it with the new key.

Keys are 16, 24 or 32 bytes in base64, from openssl rand -base64 32. Give
them as placeholders, {env.NAME} or {file./run/secrets/key}, so that they do
not show in the list of processes. Without --old-key the store is encrypted from
now on; without --new-key, no more.
`,
	CobraFunc: func(cmd *cobra.Command) {
		dir := cmd.Flags().String("data", "./ringback-data", "folder of the task store")
		oldKey := cmd.Flags().String("old-key", "", "the key until now")
		newKey := cmd.Flags().String("new-key", "", "the key from now on")
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			if *oldKey == "" && *newKey == "" {
				return errors.New("--old-key, --new-key or both are needed")
			}
			from, err := storeKey("--old-key", *oldKey)
			if err != nil {
				return err
			}
			to, err := storeKey("--new-key", *newKey)
			if err != nil {
				return err
			}
			if err := badger.RotateKey(*dir, from, to); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the task store in %s has its new key\n", *dir)
			return err
		}
	},
}

// storeKey is the key that a flag names; nil if it names none.
func storeKey(flag, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	text, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64: make one with `openssl rand -base64 32`", flag)
	}
	return key, nil
}
