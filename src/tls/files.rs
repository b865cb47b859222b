//! A pair in a folder, read again when it changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Certificates, TlsError};

/// The chain's file, as in a Secret of type `kubernetes.io/tls`.
pub const CERTIFICATE: &str = "tls.crt";
/// The key's file.
pub const KEY: &str = "tls.key";

/// A folder whose pair is served, and kept up with.
pub struct Watched {
    folder: PathBuf,
    certificates: Certificates,
    /// What was last read, good or not: a broken pair is told once.
    seen: Content,
}

/// The bytes themselves. A Secret volume changes by a symbolic link, and a file's times tell little.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Watched {
    /// Reads the folder's `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// [`TlsError`] when the pair cannot be read or does not belong together.
    pub fn open(folder: &Path) -> Result<Self, TlsError> {
        let seen = Content::read(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            certificates: Certificates::from_pem(&seen.chain, &seen.key)?,
            seen,
        })
    }

    /// The pair, as the server takes it.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// Looks at the folder once every `interval`, forever. A pair that cannot be served is logged,
    /// and the last good one stays.
    pub async fn keep_up(mut self, interval: Duration) {
        let mut unreadable = false;
        loop {
            tokio::time::sleep(interval).await;
            let folder = self.folder.clone();
            let read = tokio::task::spawn_blocking(move || Content::read(&folder)).await;
            match read {
                Ok(Ok(content)) => {
                    unreadable = false;
                    self.take(content);
                }
                Ok(Err(error)) if !unreadable => {
                    unreadable = true;
                    tracing::warn!(%error, "certificate not reloaded; serving the last good one");
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, content: Content) {
        if content == self.seen {
            return;
        }
        match self.certificates.replace(&content.chain, &content.key) {
            Ok(()) => tracing::info!(folder = %self.folder.display(), "certificate reloaded"),
            Err(error) => {
                tracing::warn!(%error, "certificate not reloaded; serving the last good one");
            }
        }
        self.seen = content;
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Content {
    fn read(folder: &Path) -> Result<Self, TlsError> {
        let file = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|reason| TlsError::Read { path, reason })
        };
        Ok(Self { chain: file(CERTIFICATE)?, key: file(KEY)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Authority, Issued};

    fn write(folder: &Path, chain: &str, key: &str) {
        std::fs::write(folder.join(CERTIFICATE), chain).unwrap();
        std::fs::write(folder.join(KEY), key).unwrap();
    }

    fn issued() -> Issued {
        let authority = Authority::generate(1).unwrap();
        authority.issue(&["localhost".to_owned()], 1).unwrap()
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Watched::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tls.crt"), "{error}");
    }

    #[test]
    fn a_change_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (issued(), issued());
        write(folder.path(), &one.chain, &one.key);
        let mut watched = Watched::open(folder.path()).unwrap();
        let served = |w: &Watched| w.certificates.current.0.load_full().unwrap().cert.clone();
        let first = served(&watched);

        write(folder.path(), &other.chain, &one.key);
        watched.take(Content::read(folder.path()).unwrap());
        assert_eq!(served(&watched), first);

        write(folder.path(), &other.chain, &other.key);
        watched.take(Content::read(folder.path()).unwrap());
        assert_ne!(served(&watched), first);
    }
}
