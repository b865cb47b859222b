//! Admission webhook that turns labelled pods into prefill and decode workers.
//!
//! Bytes come in as an AdmissionReview, a decision is made by pure functions over JSON, bytes go
//! out as a patch. `docs/architecture.md` draws the rooms; a room knows those on its own floor and on
//! the floors above it in this list, and nothing below.

/// A review is many small allocations that live as long as it does: with glibc's allocator it takes a
/// third longer (`make bench`), for the same memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// Floor 0: text and JSON.
pub mod arguments;
pub mod json;
pub mod nearest;
pub mod quantity;
pub mod release;
pub mod sidecar;
pub mod template;
pub mod vllm;
pub mod yaml;

// Floor 1: the two kinds.
pub mod api;
pub mod presets;

// Floor 2: the decision.
pub mod catalog;
pub mod compose;
pub mod decision;
pub mod inject;
pub mod render;
pub mod rules;
pub mod workload;

// Floor 3: the wire format.
pub mod review;

// Floor 4: certificates, and the cluster.
pub mod cluster;
pub mod tls;

// Floor 5: what runs.
pub mod cli;
pub mod server;

// The integration tests read the same data.
#[cfg(test)]
#[path = "../tests/support/shared.rs"]
mod shared;
