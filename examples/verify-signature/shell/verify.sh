#!/bin/sh
# Checks a callback that was saved to a file, by hand:
#
#     CALLBACK_SECRET=whsec_… sh verify.sh body.json 'sha256=…'   # the X-Callback-Signature
#
# Not for a receiver: openssl's arguments, and with them the secret, can be seen
# by other users of the machine.
set -eu
: "${CALLBACK_SECRET:?set it}"
test "sha256=$(openssl dgst -sha256 -hmac "$CALLBACK_SECRET" -r <"$1" | cut -d' ' -f1)" = "$2"
