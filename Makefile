# `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help build run test lint bench bench-cluster cluster cluster-down cluster-binaries check-image clean tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: tools ## build the release binary, target/release/llmisvc-webhook
	cargo build --release --locked

run: tools ## serve the examples over TLS, send their reviews, show what each pod becomes
	cargo build --locked
	bash examples/run.sh $${CARGO_TARGET_DIR:-target}/debug/llmisvc-webhook

test: lint check-image cluster-binaries ## check formatting and lints, run all tests
	cargo test --locked --all-targets

lint: tools
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings

bench: build ## measure reviews per second over TLS against a handler that answers a constant
	cargo bench --locked --bench reviews

bench-cluster: build cluster-binaries ## measure what the webhook adds to the creation of a pod on a real API server
	cargo bench --locked --bench cluster

cluster: cluster-binaries ## start a cluster to try things on; WITH=lws or WITH=kserve adds those controllers
	@tests/cluster/up.sh $(WITH)

cluster-down: ## stop it
	@tests/cluster/down.sh

cluster-binaries: ## build Kubernetes and the controllers that the tests run against, once
	@tests/cluster/build.sh

check-image: ## check what can be checked of the Dockerfile without a container engine
	@tests/cluster/check-image.sh

clean: ## remove what was built
	cargo clean

# Says what is missing instead of failing half-way.
tools:
	@command -v cargo >/dev/null || { \
	  echo "cargo is not installed: install rustup (the toolchain is named in rust-toolchain.toml)" >&2; exit 1; }
	@cargo fmt --version >/dev/null 2>&1 || { \
	  echo "rustfmt is not installed: rustup component add rustfmt" >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { \
	  echo "clippy is not installed: rustup component add clippy" >&2; exit 1; }
	@command -v cc >/dev/null || { \
	  echo "a C compiler is not installed: the TLS library needs one to build (apt-get install gcc)" >&2; exit 1; }
