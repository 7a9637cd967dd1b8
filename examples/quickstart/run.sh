#!/usr/bin/env bash
# Runs a slow backend, a receiver and Ringback, sends a request, and shows the
# 202 and the callback. Needs Go and curl, and the ports 8080, 9000 and 9001.
set -euo pipefail
cd "$(dirname "$0")/../.."

tmp=$(mktemp -d)
pids=()
stop() {
	trap - EXIT
	kill "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$tmp"
}
trap stop EXIT
trap 'exit 130' INT TERM

echo "building"
go build -o "$tmp/" ./cmd/ringback ./examples/quickstart/backend ./examples/quickstart/receiver

start() { "$@" & pids+=($!); }
start "$tmp/backend"
start "$tmp/receiver" >"$tmp/callback" 2>&1
RINGBACK_DATA=$tmp/data start "$tmp/ringback" run --config examples/quickstart/Caddyfile 2>"$tmp/log"
curl --silent --output /dev/null --retry 30 --retry-connrefused --retry-delay 1 http://localhost:8080/ ||
	{ cat "$tmp/log"; exit 1; }

echo "== a request with a callback URL"
curl --include --silent --show-error http://localhost:8080/reports/2026 \
	--header 'Callback-Url: http://localhost:9001/hook' \
	--header 'Content-Type: application/json' \
	--data '{"year": 2026}'

echo
echo "== the backend takes five seconds, then comes the callback"
for _ in {1..20}; do
	grep -q 'Webhook-Id' "$tmp/callback" && break
	sleep 0.5
done
cat "$tmp/callback"
grep -q 'Webhook-Id' "$tmp/callback" || { cat "$tmp/log"; exit 1; }
