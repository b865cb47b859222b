#!/usr/bin/env bash
# Reads numbers of processes until its standard input ends, then ends those processes.
#
#   reap.sh [--remove] DIR <NUMBERS
#
# run.sh holds the other end open: however that ends, this sees it. DIR/pids keeps the numbers for the
# case that somebody ends this too; with --remove, DIR is removed in the end.
set -u
remove=
if [ "$1" = --remove ]; then
  remove=yes
  shift
fi
dir=$1
numbers=
trap '' INT TERM HUP
while read -r number; do
  echo "$number" >>"$dir/pids"
  # The last to start is the first to end.
  numbers="$number $numbers"
done
# The state goes with the cluster: there is nothing to be finished in order.
for number in $numbers; do
  kill -KILL "$number" 2>/dev/null
done
# Who waits for this one waits for their end. A dead process that nobody collects would stay in the list.
for _ in {1..50}; do
  # shellcheck disable=SC2086 # a list of numbers
  kill -0 $numbers 2>/dev/null || break
  sleep 0.1
done
rm -f "$dir/pids" "$dir/run.pid"
[ -z "$remove" ] || rm -rf "$dir"
