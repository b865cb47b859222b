#!/usr/bin/env bash
# Builds the programs of the test cluster into the folder bin beside it, once.
#
#   build.sh [kubernetes|controllers]...     both, when none is named
#
# What is there and was built from the same go.mod, go.sum and flags is kept.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/binaries.sh"

version=v1.36.3

# What a module's programs are built from, in one word.
stamp_of() {
  { cat "$here/$1/go.mod" "$here/$1/go.sum"; flags "$1"; } | openssl dgst -sha256 -r | cut -c 1-64
}

# The flags of `go build`, one a line.
flags() {
  echo -trimpath
  case $1 in
    # Without a version Kubernetes calls itself v0.0.0, and clients believe it.
    kubernetes)
      local set=k8s.io/component-base/version
      echo "-ldflags=-s -w -X $set.gitVersion=$version -X $set.gitMajor=1 -X $set.gitMinor=36"
      ;;
    controllers) echo "-ldflags=-s -w" ;;
  esac
}

# The programs of a module: name, package, and the name that Go gives it.
programs() {
  case $1 in
    kubernetes)
      echo "etcd go.etcd.io/etcd/server/v3 server"
      echo "kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver"
      echo "kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager kube-controller-manager"
      echo "kubectl k8s.io/kubernetes/cmd/kubectl kubectl"
      ;;
    controllers)
      echo "lws sigs.k8s.io/lws/cmd cmd"
      echo "llmisvc github.com/kserve/kserve/cmd/llmisvc llmisvc"
      ;;
  esac
}

build() {
  local module=$1 stamp=$bin/$1.stamp name package built flag work
  local -a packages=() names=() arguments=()
  if [ "$(cat "$stamp" 2>/dev/null)" != "$(stamp_of "$module")" ]; then
    while read -r name package built; do rm -f "$bin/$name"; done < <(programs "$module")
  fi
  while read -r name package built; do
    if [ "$(binary "$name")" != "$bin/$name" ]; then
      echo "$name: $(binary "$name")"
    elif [ ! -x "$bin/$name" ]; then
      packages+=("$package")
      names+=("$built:$name")
    fi
  done < <(programs "$module")
  [ "${#packages[@]}" -gt 0 ] || return 0

  need_go
  if [ "$module" = kubernetes ] && [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    echo "not in KUBEBUILDER_ASSETS, $KUBEBUILDER_ASSETS, so built here: ${names[*]#*:}"
  fi
  case $module in
    kubernetes) echo "building Kubernetes $version: about six minutes, once" ;;
    controllers) echo "building LeaderWorkerSet's and KServe's controllers: about four minutes, once" ;;
  esac
  while read -r flag; do arguments+=("$flag"); done < <(flags "$module")
  # Complete programs are moved into place: an interrupted build leaves none that is half done.
  work=$(mktemp -d "$bin/.build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$here/$module" && go build "${arguments[@]}" -o "$work/" "${packages[@]}")
  for name in "${names[@]}"; do
    mv "$work/${name%%:*}" "$bin/${name#*:}"
  done
  rm -rf "$work"
  # Its variable ends with this function.
  trap - EXIT
  stamp_of "$module" >"$stamp"
}

[ $# -gt 0 ] || set -- kubernetes controllers
for module in "$@"; do
  case $module in
    kubernetes | controllers) ;;
    *) fail "no module is called $module: write kubernetes or controllers" ;;
  esac
done
need_openssl
mkdir -p "$bin"
for module in "$@"; do build "$module"; done
