//! Data that belongs to others and is not part of this repository.

use std::path::{Path, PathBuf};

/// A file or folder of that data: below the folder that `LLMISVC_SHARED` names, else below `shared`
/// beside the checkout. Where it is absent this says so on standard error, and the test that asked
/// has nothing to compare with.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LLMISVC_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent", path.display());
    None
}
