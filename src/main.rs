//! The `llmisvc-webhook` binary.

fn main() {}
