// Package destination decides which callback URLs may be called, so that a
// client can't make this server fetch what only this server can reach
// (server-side request forgery, CWE-918).
//
// With no rules, a callback may go by https to public addresses, and nowhere
// else. [Rules] widen that (Allow) and narrow it (Only).
//
// There are two checks, with the same rules:
//
//   - [Policy.Check], before the 202, so that a client learns early and in
//     clear words that its URL is no good. It resolves names, but what a name
//     resolves to may change until the callback is sent, so this is a courtesy.
//     A name is refused if every address that it has is; if it can't be
//     resolved at the moment, it passes.
//   - [Policy.Transport], when a callback is sent, on every address that is
//     about to be dialled, between the name's resolution and the connection.
//     This is the guard. Of a name with a public and a private address, only
//     the public one is ever dialled.
//
// Addresses are taken for what they are, however they are written: IPv6 forms
// that carry an IPv4 address (mapped, compatible, translated, NAT64, 6to4,
// Teredo, ISATAP) are judged by both. Which ranges are public is IANA's word, by
// way of code.dny.dev/ssrf.
package destination
