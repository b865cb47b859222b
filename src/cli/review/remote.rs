//! Asks a running webhook over TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An API server waits 30 s at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Sends a review and returns the body of the answer.
///
/// The webhook's certificate must be signed by one of `ca_file` and made out to `server_name`, or
/// to the host of the address.
pub(super) fn ask(
    url: &Uri,
    server_name: Option<&str>,
    ca_file: &Path,
    body: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let host = match (url.scheme_str(), url.host()) {
        (Some("https"), Some(host)) => host.trim_start_matches('[').trim_end_matches(']'),
        _ => bail!("--url {url}: write https://HOST:PORT/mutate"),
    };
    let name = server_name.unwrap_or(host);
    let target = Target {
        url,
        host,
        name: ServerName::try_from(name.to_owned())
            .with_context(|| format!("{name:?} is neither a host name nor an address"))?,
        tls: trusting(ca_file).with_context(|| format!("--ca-file {}", ca_file.display()))?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, target.post(body))
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()))
            .with_context(|| format!("cannot ask {url}"))
    })
}

struct Target<'a> {
    url: &'a Uri,
    host: &'a str,
    name: ServerName<'static>,
    tls: ClientConfig,
}

impl Target<'_> {
    async fn post(self, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        let Self { url, host, name, tls } = self;
        let port = url.port_u16().unwrap_or(443);
        let stream = TcpStream::connect((host, port)).await?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let authority = url.authority().map_or(host, |authority| authority.as_str());
        let request = Request::post(path)
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::copy_from_slice(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?
            .to_bytes();
        connection.abort();
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&answer).trim());
        }
        Ok(answer.to_vec())
    }
}

fn trusting(ca_file: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        bail!("there is no certificate in it");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
