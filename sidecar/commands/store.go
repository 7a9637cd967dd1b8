package commands

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/ringback/ringback/store/badger"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "store",
		Short: "Looks at a task store's folder, or saves what is readable of a damaged one",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(storeCheck(), storeRepair())
		},
	})
}

const keyUsage = "encryption_key of the store, as a placeholder: {env.NAME} or {file./run/secrets/key}"

func storeCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check --data <dir> [--key <placeholder>]",
		Short: "Tells what a task store holds and whether it is sound",
		Long: `
Reads the task store in the folder --data, which no process may have open:
all of it, bodies as well. It tells how many tasks there are and what is
damaged. Nothing in the folder is changed; a copy of the database is made beside
it, and removed again.

The exit code is 0 if the store is sound, and 1 if it is not.
`,
		Args: cobra.NoArgs,
	}
	dir := cmd.Flags().String("data", "./ringback-data", "folder of the task store")
	key := cmd.Flags().String("key", "", keyUsage)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		secret, err := storeKey("--key", *key)
		if err != nil {
			return err
		}
		found, err := badger.Check(*dir, badger.Options{EncryptionKey: secret})
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		tasks := 0
		for _, n := range found.Tasks {
			tasks += n
		}
		fmt.Fprintf(out, "%d tasks are in the task store %s\n", tasks, *dir)
		for _, next := range slices.Sorted(maps.Keys(found.Tasks)) {
			fmt.Fprintf(out, "%8d %s\n", found.Tasks[next], next)
		}
		fmt.Fprintf(out, "%d records of the journal are not in the database yet\n", found.Records)
		return report(cmd, found.Lost)
	}
	return cmd
}

// report lists what can't be read; an error if there is any.
func report(cmd *cobra.Command, lost []error) error {
	if len(lost) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing is damaged")
		return err
	}
	for _, err := range lost {
		fmt.Fprintln(cmd.OutOrStdout(), "damaged:", err)
	}
	return fmt.Errorf("%d things can't be read", len(lost))
}

func storeRepair() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repair --data <dir> --to <dir> [--key <placeholder>]",
		Short: "Saves what is readable of a damaged task store into a new folder",
		Long: `
Makes a task store in the folder --to, which must not be there, of what can
be read in the folder --data, which is not changed and which no process may
have open. What can't be read is listed. A task whose last steps are lost is as
it was before them: its call or its callback may be made once more.
`,
		Args: cobra.NoArgs,
	}
	dir := cmd.Flags().String("data", "./ringback-data", "folder of the damaged task store")
	to := cmd.Flags().String("to", "", "folder of the new one")
	key := cmd.Flags().String("key", "", keyUsage)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *to == "" {
			return errors.New("--to is needed: a folder that is not there yet")
		}
		secret, err := storeKey("--key", *key)
		if err != nil {
			return err
		}
		tasks, lost, err := badger.Repair(*dir, *to, badger.Options{EncryptionKey: secret})
		if err != nil {
			return err
		}
		for _, err := range lost {
			fmt.Fprintln(cmd.OutOrStdout(), "lost:", err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d tasks were saved into %s; %d things could not be read\n", tasks, *to, len(lost))
		return err
	}
	return cmd
}
