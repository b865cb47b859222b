#!/usr/bin/env bash
# Starts a cluster that stays until down.sh stops it, its state in the folder .state beside this script.
#
#   up.sh [lws|kserve]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/binaries.sh"
with=${1:-}
state=$here/.state
dir=$state/cluster

tell() {
  local tail="${with:+ with $with}"
  echo "$1$tail: $dir/kubeconfig"
  echo "export KUBECONFIG=$dir/kubeconfig"
  [ "$(command -v kubectl)" ] || echo "export PATH=\$PATH:$dir"
}

if is_ours "$(cat "$dir/run.pid" 2>/dev/null)" "$dir"; then
  ran=$(cat "$state/with")
  [ "$ran" = "$with" ] ||
    fail "a cluster ${ran:+with $ran }already runs, and WITH is \"$with\": \`make cluster-down\` first"
  grep -q '^ready ' "$state/run.log" || fail "a cluster is being started already"
  tell "a cluster already runs"
  exit 0
fi

"$here/down.sh" >/dev/null
case $with in
  '') set -- ;;
  lws) echo "starting a cluster with LeaderWorkerSet: about half a minute" ;;
  kserve) echo "starting a cluster with LeaderWorkerSet and KServe: about a minute" ;;
  *) fail "WITH is \"$with\": write lws or kserve, or leave it out" ;;
esac
mkdir -p "$state"
echo "$with" >"$state/with"
mkfifo "$state/stdin"
# Its standard input is a pipe that it holds open itself: it never closes.
nohup "$here/run.sh" ${with:+--with "$with"} "$dir" <>"$state/stdin" >"$state/run.log" 2>&1 &
runner=$!
until grep -q '^ready ' "$state/run.log"; do
  alive "$runner" || { cat "$state/run.log" >&2; exit 1; }
  sleep 0.1
done
tell "a cluster runs"
