# Starts LeaderWorkerSet's and KServe's controllers. A part of run.sh, read where it is asked for them.
# Everything applied here comes out of the Go modules that are built.
# shellcheck shell=bash

# Links the folder of a Go module as DIR/$2, because kustomize takes no absolute path, and says the link.
link_module() {
  local folder
  folder=$(module "$1")
  [ -d "$folder" ] || fail "the Go module $1 is not there"
  ln -sfn "$folder" "$dir/$2"
}

serving_certificates=k8s-webhook-server/serving-certs

start_lws() {
  link_module sigs.k8s.io/lws lws-module
  mkdir -p "$dir/lws/$serving_certificates"
  start_on_a_port lws start_lws_on lws_ready
}

# Its own installation, but for what needs nodes and a network: the Deployment, and the Service's way.
start_lws_on() {
  mkdir -p "$dir/lws-installation"
  ln -sfn ../lws-module "$dir/lws-installation/lws"
  cat >"$dir/lws-installation/kustomization.yaml" <<END
resources:
  - lws/config/default
patches:
  - target: { kind: Deployment }
    patch: |
      \$patch: delete
      apiVersion: apps/v1
      kind: Deployment
      metadata: { name: any }
  - target: { kind: Service, name: lws-webhook-service }
    patch: |
      apiVersion: v1
      kind: Service
      metadata: { name: any }
      spec: { type: ExternalName, externalName: localhost, selector: null, ports: null }
  - target: { group: admissionregistration.k8s.io }
    patch: |
      - { op: add, path: /webhooks/0/clientConfig/service/port, value: $1 }
      - { op: add, path: /webhooks/1/clientConfig/service/port, value: $1 }
END
  quietly apply --server-side -k "$dir/lws-installation"
  quietly wait --for=condition=Established crd --all
  cat >"$dir/lws/config.yaml" <<END
apiVersion: config.lws.x-k8s.io/v1alpha1
kind: Configuration
leaderElection: { leaderElect: false }
internalCertManagement: { enable: true }
webhook: { host: 127.0.0.1, port: $1, certDir: "$dir/lws/$serving_certificates" }
metrics: { bindAddress: "0" }
health: { healthProbeBindAddress: "0" }
END
  start lws env POD_NAMESPACE=lws-system \
    "$(binary lws)" --kubeconfig="$dir/kubeconfig" --config="$dir/lws/config.yaml"
  # It puts a certificate into a Secret, and waits for the files that a kubelet would mount.
  await lws "$started" mount_lws_certificate || true
}

mount_lws_certificate() {
  local key file
  for key in ca.crt ca.key tls.key tls.crt; do
    file=$dir/lws/$serving_certificates/$key
    kubectl get secret --namespace=lws-system lws-webhook-server-cert \
      -o go-template="{{index .data \"$key\" | base64decode}}" >"$file.new" || return 1
    [ -s "$file.new" ] || return 1
    mv "$file.new" "$file"
  done
}

# Its webhooks answer, with a certificate that the API server takes.
lws_ready() {
  kubectl create --dry-run=server -f - <<END
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: { name: asked, namespace: default }
spec:
  leaderWorkerTemplate:
    size: 2
    workerTemplate: { spec: { containers: [{ name: main, image: "main:1" }] } }
END
}

# Files, one after the other.
documents() {
  local file
  for file in "$@"; do
    cat "$file"
    echo ---
  done
}

# KServe's kinds and those that its controller makes, its own configs, and the gateway that it looks for.
apply_kserve() {
  local kserve=$dir/kserve-module gateway=$dir/gateway-module inference=$dir/inference-module
  link_module github.com/kserve/kserve kserve-module
  link_module sigs.k8s.io/gateway-api gateway-module
  link_module sigs.k8s.io/gateway-api-inference-extension inference-module
  # KServe's without the patches, which convert between versions by webhook.
  documents "$kserve"/config/crd/full/llmisvc/serving.kserve.io_*.yaml \
    "$gateway"/config/crd/standard/gateway.networking.k8s.io_{gatewayclasses,gateways,httproutes,referencegrants}.yaml \
    "$inference"/config/crd/bases/*.yaml >"$dir/kserve-crds.yaml"
  quietly create -f "$dir/kserve-crds.yaml"
  quietly wait --for=condition=Established crd --all
  documents - "$kserve"/config/configmap/inferenceservice.yaml \
    "$kserve"/config/llmisvcconfig/config-*.yaml >"$dir/kserve-objects.yaml" <<END
apiVersion: v1
kind: Namespace
metadata: { name: kserve }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: nobody }
spec: { controllerName: example.com/nobody }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: kserve-ingress-gateway, namespace: kserve }
spec:
  gatewayClassName: nobody
  listeners: [{ name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }]
END
  quietly create --namespace=kserve -f "$dir/kserve-objects.yaml"
}

start_kserve() {
  # It registers no webhook here, and wants the files all the same.
  mkdir -p "$dir/llmisvc/$serving_certificates"
  cp "$dir/lws/$serving_certificates"/* "$dir/llmisvc/$serving_certificates/"
  start pod-ips bash "$here/pod-ips.sh" "$dir"
  start_on_a_port llmisvc start_llmisvc_on llmisvc_ready
}

start_llmisvc_on() {
  start llmisvc env POD_NAMESPACE=kserve TMPDIR="$dir/llmisvc" "$(binary llmisvc)" \
    -kubeconfig="$dir/kubeconfig" -metrics-secure=false -metrics-addr=0 -health-probe-addr=0 -webhook-port="$1"
}

llmisvc_ready() {
  grep -q 'Serving webhook server' "$dir/llmisvc.log" &&
    grep 'Starting workers' "$dir/llmisvc.log" | grep -q '"controllerKind":"LLMInferenceService"' &&
    grep 'Starting workers' "$dir/llmisvc.log" | grep -q '"controllerKind":"LLMInferenceServiceConfig"'
}
