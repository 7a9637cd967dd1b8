package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/ringback/ringback/suggest"
)

// parseApp parses the global option
//
//	callback {
//		store        badger [<dir>] { … } | memory | <another module in callback.stores>
//		grace_period <duration>
//		max_pending  <n>
//		retention    <duration>|off
//		on_store_failure stay|exit
//	}
func parseApp(d *caddyfile.Dispenser, previous any) (any, error) {
	if previous != nil {
		return nil, d.Err("the global option callback is there twice")
	}
	a := new(App)
	if err := a.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "callback", Value: caddyconfig.JSON(a, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the global option.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "store":
			if !d.NextArg() {
				return d.Errf("store wants a kind of store: %s", strings.Join(storeNames(), ", "))
			}
			name := d.Val()
			if _, err := caddy.GetModule("callback.stores." + name); err != nil {
				return d.Errf("store is %q: want %s%s", name, strings.Join(storeNames(), ", "), suggest.DidYouMean(name, storeNames()))
			}
			module, err := caddyfile.UnmarshalModule(d, "callback.stores."+name)
			if err != nil {
				return err
			}
			a.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
			continue
		case "grace_period":
			err = duration(d, &a.GracePeriod)
		case "max_pending":
			err = number(d, &a.MaxPending)
		case "retention":
			err = retention(d, &a.Retention)
		case "on_store_failure":
			if err = text(d, &a.OnStoreFailure); err == nil && a.OnStoreFailure != "stay" && a.OnStoreFailure != "exit" {
				err = d.Errf("on_store_failure is %q: want stay or exit", a.OnStoreFailure)
			}
		default:
			err = unknown(d, "the global option callback", []string{"store", "grace_period", "max_pending", "retention"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// storeNames are the kinds of stores in this binary.
func storeNames() (names []string) {
	for _, module := range caddy.GetModules("callback.stores") {
		names = append(names, module.ID.Name())
	}
	return names
}

// UnmarshalCaddyfile sets up the store from the rest of a store subdirective.
func (s *BadgerStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	d.Next()
	if d.NextArg() {
		s.Dir = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "encryption_key":
			if err = text(d, &s.EncryptionKey); err == nil && !strings.Contains(s.EncryptionKey, "{") {
				_, err = parseStoreKey(s.EncryptionKey)
				err = wrap(d, err)
			}
		case "max_bytes":
			err = size(d, &s.MaxBytes)
		case "min_free":
			err = size(d, &s.MinFree)
		case "memtable_size":
			err = size(d, &s.MemTableSize)
		default:
			err = unknown(d, "store badger", []string{"encryption_key", "max_bytes", "min_free", "memtable_size"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalCaddyfile sets up the store; it has no options.
func (s *MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		return d.Err("store memory has no options")
	}
	return nil
}

var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*BadgerStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
