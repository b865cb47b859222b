//! `certs`: a CA, and a certificate that it signed, as files.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::tls::{Authority, CERTIFICATE, KEY, service_names};

/// The CA's file, named as in a Secret that cert-manager makes.
const CA: &str = "ca.crt";

/// Makes a CA, and a certificate for the webhook that it signs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  llmisvc-webhook certs certs/
  llmisvc-webhook certs certs/ --namespace kserve --dns-name webhook.example.com --days 90

Exit codes: 0 made; 2 a file is there already or cannot be written.")]
pub(super) struct Args {
    /// Folder for ca.crt, tls.crt and tls.key; made when it does not exist
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Another DNS name or IP address for the certificate
    #[arg(long, value_name = "NAME")]
    dns_name: Vec<String>,

    /// Name of the Service in front of the webhook
    #[arg(long, value_name = "NAME", default_value = "llmisvc-webhook")]
    service_name: String,

    /// Namespace of the Service in front of the webhook
    #[arg(long, value_name = "NAMESPACE", default_value = "llmisvc-system")]
    namespace: String,

    /// Days that the CA and the certificate are valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,

    /// Replace what is there; a server on the folder takes it up
    #[arg(long)]
    force: bool,
}

/// Makes the files and tells of them on standard output.
///
/// # Errors
/// When a file is there already and `--force` is not given, a name cannot stand in a certificate,
/// or a file cannot be written.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let told = make(args)?;
    std::io::stdout().write_all(told.as_bytes()).context("failed to write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn make(args: Args) -> anyhow::Result<String> {
    let Args { dir, dns_name, service_name, namespace, days, force } = args;
    if !force {
        for name in [CA, CERTIFICATE, KEY] {
            let path = dir.join(name);
            anyhow::ensure!(
                fs::symlink_metadata(&path).is_err(),
                "{} is there already; write --force to replace it",
                path.display()
            );
        }
    }
    let names = service_names(&service_name, &namespace, &dns_name);
    let authority = Authority::generate(days)?;
    let issued = authority.issue(&names, days)?;
    let ca = authority.pem();

    fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
    // The key first: a server that reads in between sees a pair that does not belong together,
    // keeps the last one, and reads again.
    write(&dir, KEY, &issued.key, 0o600)?;
    write(&dir, CERTIFICATE, &issued.chain, 0o644)?;
    write(&dir, CA, &ca, 0o644)?;

    let shown = dir.display();
    let mut told = String::new();
    writeln!(told, "{shown}/{CA}  the CA; its key was not kept")?;
    writeln!(told, "{shown}/{CERTIFICATE}  for {}", names.join(", "))?;
    writeln!(told, "{shown}/{KEY}  its key")?;
    writeln!(told, "\nvalid for {days} days; caBundle of the webhook configurations:")?;
    writeln!(told, "{}", STANDARD.encode(&ca))?;
    Ok(told)
}

/// Writes beside and renames, so that nobody reads half of it, and a key is never open to others.
fn write(dir: &Path, name: &str, content: &str, mode: u32) -> anyhow::Result<()> {
    let path = dir.join(name);
    let beside = dir.join(format!(".{name}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(content.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // What remains of it may be half a key.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tls::Watched;

    fn args(dir: &Path, force: bool) -> Args {
        Args {
            dir: dir.to_owned(),
            dns_name: vec!["example.com".to_owned()],
            service_name: "web".to_owned(),
            namespace: "ns".to_owned(),
            days: 1,
            force,
        }
    }

    #[test]
    fn the_files_serve_and_the_key_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("certs");
        let told = make(args(&dir, false)).unwrap();
        assert!(told.contains("web.ns.svc") && told.contains("example.com"), "{told}");
        Watched::open(&dir).unwrap();
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(KEY), 0o600);
        let bundle = told.lines().last().unwrap();
        let ca = fs::read(dir.join(CA)).unwrap();
        assert_eq!(STANDARD.decode(bundle).unwrap(), ca);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
    }

    #[test]
    fn nothing_is_replaced_unless_told() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        make(args(dir, false)).unwrap();
        let before = fs::read(dir.join(KEY)).unwrap();
        let error = make(args(dir, false)).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(fs::read(dir.join(KEY)).unwrap(), before);
        make(args(dir, true)).unwrap();
        assert_ne!(fs::read(dir.join(KEY)).unwrap(), before);
        Watched::open(dir).unwrap();
    }

    #[test]
    fn a_name_that_is_none_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = args(folder.path(), false);
        args.dns_name = vec!["käse".to_owned()];
        assert!(make(args).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
