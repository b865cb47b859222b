#!/usr/bin/env bash
# Serves the examples on loopback, sends each review of theirs over TLS, shows what the pod becomes,
# and stops the server again. The argument is the binary.
set -euo pipefail
binary=$1
examples=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)

"$binary" serve --objects "$examples" --bind 127.0.0.1:0 --metrics-bind 127.0.0.1:0 \
  --drain-delay 0 --write-ca "$work/ca.crt" --log-format json 2>"$work/log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

# The log says which port it took.
for _ in $(seq 100); do
  address=$(sed -n 's/.*"address":"\(127\.0\.0\.1:[0-9]*\)".*/\1/p' "$work/log" | head -n 1)
  [ -n "$address" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 2; }
  sleep 0.1
done
[ -n "$address" ] || { cat "$work/log" >&2; exit 2; }
echo "serving on https://$address"

for review in "$examples"/reviews/*.json; do
  printf '\n=== %s\n' "$(basename "$review")"
  "$binary" review "$review" --diff --url "https://$address/mutate" --ca-file "$work/ca.crt"
done
