#!/usr/bin/env bash
# Stops the cluster that up.sh started, whatever state it is in, and removes its state.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/binaries.sh"
state=$here/.state
dir=$state/cluster

# Waits up to $1 seconds until a command fails.
until_not() {
  local deadline=$((SECONDS + $1))
  shift
  while "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

stopped="no cluster runs"
runner=$(cat "$dir/run.pid" 2>/dev/null || true)
if is_ours "$runner" "$dir"; then
  kill -TERM "$runner" 2>/dev/null || true
  until_not 60 is_ours "$runner" "$dir" || kill -KILL "$runner" 2>/dev/null || true
  stopped="the cluster is stopped"
fi
# run.sh's own reaper ends the rest and removes the file, unless somebody ended it too.
if [ -e "$dir/pids" ] && ! until_not 5 test -e "$dir/pids"; then
  while read -r number; do
    if is_ours "$number" "$dir"; then
      kill -KILL "$number" 2>/dev/null || true
      stopped="the cluster is stopped"
    fi
  done <"$dir/pids"
fi
rm -rf "$state"
echo "$stopped"
