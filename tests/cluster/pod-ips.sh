#!/usr/bin/env bash
# Gives an address to every pod without one, as a kubelet would, in the cluster of a folder.
#
#   pod-ips.sh DIR
#
# For as long as a pod has none, KServe 0.20's controller makes a new 4096-bit key at every reconcile.
set -u
dir=$1

# Tells the reaper its number, then runs kubectl.
watch() {
  # shellcheck disable=SC2016 # for the inner shell
  exec sh -c 'echo $$ 1<>"$0"; exec "$@"' "$dir/processes" "$dir/kubectl" --kubeconfig="$dir/kubeconfig" \
    --cache-dir="$dir/kubectl-cache" get pods --all-namespaces --watch \
    -o jsonpath='{.metadata.namespace} {.metadata.name} {.status.podIP}{"\n"}'
}

count=0
# The API server ends a watch after some time.
while sleep 0.1; do
  while read -r namespace name address; do
    [ -z "$address" ] || continue
    count=$((count + 1))
    address=10.$((RANDOM % 256)).$((count / 250 % 256)).$((count % 250 + 1))
    # It may be gone.
    "$dir/kubectl" --kubeconfig="$dir/kubeconfig" --cache-dir="$dir/kubectl-cache" --request-timeout=30s \
      patch pod --namespace="$namespace" "$name" --subresource=status --type=merge \
      -p "{\"status\":{\"podIP\":\"$address\",\"podIPs\":[{\"ip\":\"$address\"}]}}" </dev/null || true
  done < <(watch)
done
