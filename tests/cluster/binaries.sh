# Where the cluster's programs are. Read by the scripts beside it, after they have set `here`.
# shellcheck shell=bash

bin=$here/bin

# Where the program $1 is: Kubernetes' may be ready in KUBEBUILDER_ASSETS, the rest is built here.
binary() {
  case $1 in
    etcd | kube-* | kubectl)
      if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then
        echo "$KUBEBUILDER_ASSETS/$1"
        return
      fi
      ;;
  esac
  echo "$bin/$1"
}

# The folder of the Go module $1, one of those that controllers/go.mod pins.
module() {
  local folder
  folder=$(cd "$here/controllers" && go list -m -f '{{.Dir}}' "$1")
  if [ -z "$folder" ]; then
    (cd "$here/controllers" && go mod download "$1")
    folder=$(cd "$here/controllers" && go list -m -f '{{.Dir}}' "$1")
  fi
  echo "$folder"
}

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Ends with a message unless the program $1 is there; $2 says how to get it.
need() {
  command -v "$1" >/dev/null || fail "$1 is not installed: $2"
}

need_go() {
  need go "install Go 1.26 or newer (it builds Kubernetes for the tests, and fetches its sources)"
}

need_openssl() {
  need openssl "install it (apt-get install openssl): it makes the cluster's keys"
}

alive() {
  kill -0 "$1" 2>/dev/null
}

# Whether the process $1 lives and its command line names $2: a number may be another's by now.
is_ours() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  local arguments
  if [ -d /proc/self ]; then
    arguments=$(tr '\0' ' ' <"/proc/$1/cmdline") || return 1
  else
    arguments=$(ps -p "$1" -o args=) || return 1
  fi 2>/dev/null
  case $arguments in *"$2"*) ;; *) return 1 ;; esac
}
