#!/usr/bin/env bash
# Checks what can be checked of the Dockerfile without a container engine.
#
#   check-image.sh [--build]
#
# With --build it also builds the binary as the Dockerfile does, of the files that the image's build
# sees, and runs it alone in an empty folder: minutes, and Debian with the Dockerfile's Rust.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

# The image holds the binary and nothing else.
limit=20000000

problems=0
problem() {
  echo "Dockerfile: $*" >&2
  problems=$((problems + 1))
}

# Instructions, one a line, without comments.
instructions=$(sed -e '/^[[:space:]]*#/d' -e '/^[[:space:]]*$/d' Dockerfile | sed -e ':a' -e '/\\$/N; s/\\\n//; ta')

# The arguments of each instruction $1.
of() {
  sed -n "s/^$1[[:space:]]\{1,\}//p" <<<"$instructions"
}

# Those of the last stage.
last() {
  awk '/^FROM / { stage = "" } { stage = stage $0 "\n" } END { printf "%s", stage }' <<<"$instructions" |
    sed -n "s/^$1[[:space:]]\{1,\}//p"
}

stages=$(of FROM)
[ "$(wc -l <<<"$stages")" -ge 2 ] || problem "has one stage: build in one, and copy the binary into another"
while read -r image as name; do
  [ -z "$as" ] || [ "$as" = AS ] || problem "\"FROM $image $as $name\": write AS"
  case $image in
    scratch) ;;
    *:latest) problem "base image $image: name a version, not latest" ;;
    *:*) ;;
    *) problem "base image $image has no tag: name a version" ;;
  esac
done <<<"$stages"
case $(tail -n 1 <<<"$stages") in
  scratch | gcr.io/distroless/*:*) ;;
  *) problem "the last stage is \"$(tail -n 1 <<<"$stages")\": take scratch or a distroless image" ;;
esac
wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
grep -q "^rust:$wanted-" <<<"$stages" ||
  problem "does not build with Rust $wanted, which rust-toolchain.toml names"

user=$(last USER)
case $user in
  '') problem "the last stage has no USER: write a number, so that runAsNonRoot can be checked" ;;
  0 | 0:* | *[!0-9:]*) problem "USER is \"$user\": write a number that is not 0" ;;
esac
for instruction in ENTRYPOINT CMD; do
  case $(last $instruction) in
    '['*']') ;;
    *) problem "$instruction is \"$(last $instruction)\": write the form with brackets, there is no shell" ;;
  esac
done
[ -z "$(last RUN)" ] || problem "RUN in the last stage, where there is no shell"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is copied has to be there, and to be let through .dockerignore. The same files are what the
# build sees, in a folder of their own here.
mkdir "$work/src"
while read -r -a words; do
  case ${words[0]} in --from=*) continue ;; esac
  for source in "${words[@]:0:${#words[@]}-1}"; do
    if [ -e "$source" ]; then
      cp -R "$source" "$work/src/"
    else
      problem "copies $source, which does not exist"
    fi
    grep -qxF "!$source" .dockerignore || problem "copies $source, which .dockerignore keeps out"
  done
done < <(of COPY)
# Cargo looks at all that the manifest names before it finds that there is no such program.
told=$(cd "$work/src" && cargo build --locked --offline --bin none 2>&1) || true
case $told in
  *'no bin target named'*) ;;
  *) problem "what it copies is not enough to build: $told" ;;
esac

# The ports of `serve`, when nothing else is asked for.
ports=$(sed -n '/^pub(super) struct Args/,/^}/s/.*default_value = "[0-9.]*:\([0-9]*\)".*/\1/p' src/cli/serve.rs | sort | xargs)
exposed=$(last EXPOSE | tr ' ' '\n' | sort | xargs)
[ -n "$ports" ] || problem "found no default ports in src/cli/serve.rs"
[ "$ports" = "$exposed" ] || problem "exposes $exposed, and \`serve\` listens on $ports"

# Size, and that nothing is loaded when it starts.
check_binary() {
  local size
  size=$(wc -c <"$1")
  [ "$size" -lt "$limit" ] || problem "$1 has $size bytes: the image has to stay under $limit"
  echo "$1: $size bytes"
}

target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac
if [ "${1:-}" = --build ]; then
  host=$(rustc -vV | sed -n 's/^host: //p')
  echo "building as the Dockerfile does: some minutes"
  (cd "$work/src" && RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR="$target/image" \
    cargo build --release --locked --bin llmisvc-webhook --target "$host")
  binary=$target/image/$host/release/llmisvc-webhook
  check_binary "$binary"
  # `ldd` fails where nothing is to be loaded.
  ! ldd "$binary" >/dev/null 2>&1 || ldd "$binary" | grep -q 'statically linked' ||
    problem "$binary is not static: $(ldd "$binary")"
  if [ "$(id -u)" = 0 ]; then
    mkdir "$work/image"
    cp "$binary" "$work/image/"
    chroot --userspec=65532:65532 "$work/image" /llmisvc-webhook --version ||
      problem "the binary does not run alone"
  fi
elif [ -e "$target/release/llmisvc-webhook" ]; then
  check_binary "$target/release/llmisvc-webhook"
fi

[ "$problems" -eq 0 ] || exit 1
echo "Dockerfile: as it should be"
