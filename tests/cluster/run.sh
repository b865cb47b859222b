#!/usr/bin/env bash
# Runs a Kubernetes control plane without nodes: etcd, kube-apiserver and kube-controller-manager.
#
#   run.sh [--with lws|kserve] [--remove] DIR
#
# All state, logs and the file `kubeconfig` (cluster-admin) are in DIR, which has to be empty or absent;
# with --remove it is removed in the end.
# When everything is ready it prints `ready DIR/kubeconfig`, and runs until its standard input closes or
# it is told to stop. Whatever ends it, SIGKILL too, nothing that it started stays behind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/binaries.sh"

# A start takes seconds. This many pass only where something is wrong, or a machine is very busy.
patience=180

usage="usage: run.sh [--with lws|kserve] [--remove] DIR"
with=
remove=
while [ $# -gt 1 ]; do
  case $1 in
    --with)
      with=$2
      case $with in
        lws | kserve) ;;
        *) fail "--with is \"$with\": write lws or kserve" ;;
      esac
      shift 2
      ;;
    --remove)
      remove=--remove
      shift
      ;;
    *) fail "$usage" ;;
  esac
done
[ $# -eq 1 ] || fail "$usage"
[ $((BASH_VERSINFO[0] * 10 + BASH_VERSINFO[1])) -ge 43 ] ||
  fail "bash is too old here ($BASH_VERSION): install 4.3 or newer"
need_openssl
wanted="etcd kube-apiserver kube-controller-manager kubectl"
if [ -n "$with" ]; then
  need_go
  wanted="$wanted lws"
  [ "$with" = lws ] || wanted="$wanted llmisvc"
fi
for name in $wanted; do
  [ -x "$(binary "$name")" ] || fail "$name is not built yet: run \`make cluster-binaries\`"
done
# Keys and an administrator's token are in there.
umask 077
mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ -z "$(ls -A "$dir")" ] || fail "$dir is not empty"

# Every process is ended by one other, which outlives this script: reap.sh reads their numbers from
# descriptor 3, and its end means that this script has ended.
mkfifo "$dir/processes"
bash "$here/reap.sh" $remove "$dir" <"$dir/processes" >/dev/null 2>&1 &
reaper=$!
exec 3>"$dir/processes"
echo $$ >"$dir/run.pid"

finish() {
  local status=$?
  trap '' INT TERM HUP
  # The shell would tell of each process that was killed.
  exec 3>&- 2>/dev/null
  wait "$reaper" || true
  exit "$status"
}
trap finish EXIT
trap stop INT TERM HUP

stop() {
  [ -n "${ready:-}" ] || fail "told to stop before the cluster was ready"
  exit 0
}

# Tells this script when its standard input closes.
exec 4<&0 </dev/null
# shellcheck disable=SC2016 # for the inner shell
sh -c 'echo $$ >&3; exec 3>&-; while read -r _; do :; done; kill -TERM "$0"' $$ <&4 >/dev/null 2>&1 &
exec 4<&-

# Starts a program in the background, its log in DIR/$1.log, its number in `started`. The number is
# told before the program runs: there is no moment at which it could be left behind.
start() {
  local name=$1
  shift
  # shellcheck disable=SC2016 # for the inner shell
  sh -c 'echo $$ >&3; exec "$@" 3>&-' sh "$@" </dev/null >>"$dir/$name.log" 2>&1 &
  started=$!
  running="${running:-} $name:$started"
}

# Fails with the end of a log.
broken() {
  echo "run.sh: $1 $2; the end of its log:" >&2
  tail -n 20 "$dir/$1.log" >&2 || true
  exit 1
}

# Waits until a command succeeds, while the program $1, number $2, lives; returns 1 once it does not.
await() {
  local name=$1 number=$2 deadline=$((SECONDS + patience))
  shift 2
  until "$@" >"$dir/await.out" 2>&1; do
    alive "$number" || return 1
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "run.sh: waited $patience s for: $*" >&2
      cat "$dir/await.out" >&2
      broken "$name" "is not ready"
    fi
    sleep 0.2
  done
  # The answer may have come from another cluster's program, which has the port that this one wanted.
  alive "$number"
}

# A port of loopback that nobody has now; below those that the kernel gives to connections.
free_port() {
  local port
  while :; do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
    (exec 9<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# Calls `$2 PORT` to start the program $1 on a free port and `$3` to see whether it is ready; another
# may take the port in between, then once more.
start_on_a_port() {
  local name=$1 attempt
  for attempt in 1 2 3 4 5 6 7 8; do
    port=$(free_port)
    "$2" "$port"
    await "$name" "$started" "$3" && return
    grep -q 'address already in use' "$dir/$name.log" || broken "$name" "has ended"
    mv "$dir/$name.log" "$dir/$name.log.$attempt"
    running=${running% *}
  done
  fail "found no free port for $name in $attempt attempts"
}

kubectl() {
  "$dir/kubectl" --kubeconfig="$dir/kubeconfig" --cache-dir="$dir/kubectl-cache" --request-timeout=30s "$@" 3>&-
}

# Runs kubectl and says what it said only if it fails.
quietly() {
  kubectl "$@" >"$dir/quietly.out" 2>&1 || {
    cat "$dir/quietly.out" >&2
    fail "kubectl $* failed"
  }
}

etcd_address() {
  etcd=$(sed -n 's/.*"serving client traffic insecurely.*"address":"\([^"]*\)".*/\1/p' "$dir/etcd.log")
  [ -n "$etcd" ]
}

start_etcd() {
  # The kernel chooses the ports, and the log names the one for clients.
  local any=http://127.0.0.1:0
  start etcd "$(binary etcd)" --data-dir="$dir/etcd" --unsafe-no-fsync --enable-grpc-gateway=false \
    --listen-client-urls=$any --advertise-client-urls=$any \
    --listen-peer-urls=$any --initial-advertise-peer-urls=$any --initial-cluster=default=$any
  await etcd "$started" etcd_address || broken etcd "has ended"
}

write_kubeconfig() {
  cat >"$dir/kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: test
contexts:
  - name: test
    context: { cluster: test, user: admin }
clusters:
  - name: test
    cluster:
      server: https://127.0.0.1:$1
      certificate-authority: $dir/pki/apiserver.crt
users:
  - name: admin
    user: { token: $token }
END
}

start_apiserver() {
  write_kubeconfig "$1"
  # The advertised address is one that documentation uses: nothing dials it, and a machine without
  # a network has no other.
  start kube-apiserver "$(binary kube-apiserver)" --etcd-servers="http://$etcd" \
    --bind-address=127.0.0.1 --secure-port="$1" --advertise-address=192.0.2.1 --cert-dir="$dir/pki" \
    --service-cluster-ip-range=10.96.0.0/24 \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$dir/pki/service-accounts.key" \
    --service-account-signing-key-file="$dir/pki/service-accounts.key" \
    --authorization-mode=RBAC --token-auth-file="$dir/pki/tokens.csv" --allow-privileged=true
}

apiserver_ready() {
  kubectl get --raw /readyz
}

start_controller_manager() {
  # It serves nothing. Its clients' own limit of 20 requests a second would be the tests' limit too.
  start kube-controller-manager "$(binary kube-controller-manager)" --kubeconfig="$dir/kubeconfig" \
    --secure-port=0 --leader-elect=false --controllers='*' --use-service-account-credentials=true \
    --service-account-private-key-file="$dir/pki/service-accounts.key" \
    --root-ca-file="$dir/pki/apiserver.crt" --kube-api-qps=1000 --kube-api-burst=2000
  # Controllers made both.
  await kube-controller-manager "$started" controllers_work || broken kube-controller-manager "has ended"
}

controllers_work() {
  kubectl get --namespace=default serviceaccount/default configmap/kube-root-ca.crt
}

# Says nothing while all live.
check_all() {
  local each
  for each in $running; do
    alive "${each#*:}" || broken "${each%:*}" "has ended"
  done
}

mkdir "$dir/pki"
ln -s "$(binary kubectl)" "$dir/kubectl"
token=$(openssl rand -hex 16)
echo "$token,admin,admin,\"system:masters\"" >"$dir/pki/tokens.csv"
openssl genrsa -out "$dir/pki/service-accounts.key" 2048 2>"$dir/openssl.log" ||
  { cat "$dir/openssl.log" >&2; fail "openssl made no key"; }
start_etcd
start_on_a_port kube-apiserver start_apiserver apiserver_ready
start_controller_manager
if [ -n "$with" ]; then
  . "$here/controllers.sh"
  [ "$with" = lws ] || apply_kserve
  start_lws
  [ "$with" = lws ] || start_kserve
fi
check_all
ready=yes
echo "ready $dir/kubeconfig"

# Until the signal.
while wait -n; do check_all; done
check_all
fail "a process that runs this cluster has ended"
