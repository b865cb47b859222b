//! Field paths, Kubernetes' strategic merge and RFC 6902 patches, over plain JSON values.
//!
//! Nothing here knows a typed pod: a field newer than this program passes through unchanged.

mod access;
mod merge;
mod patch;
mod path;
mod schema;
mod walk;

pub use access::{at, at_mut_or_insert, list, named, named_mut, text};
pub use merge::{Layer, MergeError, Side, fill, ignored_empties, merge};
pub use patch::{Operation, PatchError, patch};
pub use path::{FieldPath, ParsePathError, Segment};
pub use schema::{Schema, pod, pod_spec, service_spec};
pub use walk::{MAX_DEPTH, find_directive};
