//! The listener: TLS, routes, limits, metrics, and an end that loses no review.
//!
//! Nothing a client sends makes the server fail: each input has a bound in size and in time, and
//! what is wrong with it is told in an AdmissionReview or a 4xx. The one 5xx is 504, for a deadline
//! that has passed.

mod activity;
mod body;
mod deadline;
mod decisions;
mod listener;
mod metrics;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::cluster::Condition;
use crate::tls::Certificates;
pub use decisions::{Changes, Decisions, Reviewer};
use listener::Listener;
use metrics::Metrics;

/// A condition of readiness, and what it is called in `/readyz` and in the metrics.
pub type Named = (&'static str, Condition);

/// Where to listen, and within which bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Reviews and health, over TLS. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Metrics and health, over plain HTTP. Port 0 takes a free one.
    pub metrics_bind: SocketAddr,
    /// The bounds.
    pub limits: Limits,
}

/// Bounds on what clients may ask for, and how long they may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body, in bytes; one more is answered with 413.
    pub body_bytes: usize,
    /// Bytes of bodies held at once, over all connections; above it a body waits to be read.
    pub buffered_bytes: usize,
    /// Reviews decided at once; above it a review waits.
    pub reviews: usize,
    /// Connections of each of the two ports. When all are taken, those that idle are closed early.
    pub connections: usize,
    /// How long a new connection waits for another to end before it is closed.
    pub connection_wait: Duration,
    /// HTTP/2 streams of one connection.
    pub streams: u32,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time from a request's first byte to the end of its headers.
    pub head: Duration,
    /// Time from the end of the headers to the end of the body.
    pub body: Duration,
    /// How long a connection may be kept without a request. Longer than the 90 seconds of Go's
    /// client, the API server's, so that it is the client that closes and no request is lost.
    pub idle: Duration,
    /// Time for a review that does not say its own as `?timeout=`.
    pub deadline: Duration,
    /// How long a review that is refused for what is not there waits for the catalog to change; at
    /// most half of the time that its deadline leaves.
    pub catch_up: Duration,
    /// How long `/readyz` says no before the listener closes, for endpoints to learn of it.
    pub drain_delay: Duration,
    /// Time for the reviews that are under way when the listener closes.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 8 * 1024 * 1024,
            buffered_bytes: 128 * 1024 * 1024,
            reviews: 64,
            connections: 512,
            connection_wait: Duration::from_secs(5),
            streams: 128,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(10),
            body: Duration::from_secs(8),
            idle: Duration::from_mins(2),
            deadline: Duration::from_secs(10),
            catch_up: Duration::from_secs(1),
            drain_delay: Duration::from_secs(3),
            drain: Duration::from_secs(15),
        }
    }
}

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// After [`Limits::drain_delay`], during which reviews are still answered.
    Gradually,
    /// At once: no new connections, and what is under way is finished.
    Now,
}

/// A server whose two ports are bound.
pub struct Server {
    reviews: Listener,
    metrics: Listener,
    app: Arc<App>,
}

impl Server {
    /// Binds both ports; connections queue from here on and are served by [`Server::serve`].
    /// `/readyz` says yes while all of the conditions hold.
    ///
    /// # Errors
    /// When an address cannot be listened on, or TLS cannot be set up.
    pub async fn bind(
        options: Options,
        reviewer: Arc<dyn Reviewer>,
        certificates: &Certificates,
        conditions: Vec<Named>,
    ) -> anyhow::Result<Self> {
        let Options { bind, metrics_bind, limits } = options;
        let tls = TlsAcceptor::from(Arc::new(certificates.server_config()?));
        let reviews = listen(bind).await?;
        let metrics = listen(metrics_bind).await?;
        let limits = Arc::new(limits);
        let metrics_of = Metrics::new(&conditions, reviewer.as_ref());
        let app = Arc::new(App {
            reviewer,
            metrics: metrics_of,
            conditions,
            ending: AtomicBool::new(false),
            buffered: Semaphore::new(limits.buffered_bytes.min(Semaphore::MAX_PERMITS)),
            slots: Semaphore::new(limits.reviews.clamp(1, Semaphore::MAX_PERMITS)),
            limits: Arc::clone(&limits),
        });
        Ok(Self {
            reviews: Listener::new(reviews, Some(tls), routes::reviews(&app), &app),
            metrics: Listener::new(metrics, None, routes::metrics(&app), &app),
            app,
        })
    }

    /// Where reviews are served.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.reviews.address()
    }

    /// Where metrics are served.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn metrics_address(&self) -> std::io::Result<SocketAddr> {
        self.metrics.address()
    }

    /// Serves until `stop` resolves, then finishes what is under way.
    ///
    /// # Errors
    /// When a listener ended by itself.
    pub async fn serve(self, stop: impl Future<Output = Stop> + Send) -> anyhow::Result<()> {
        let Self { reviews, metrics, app } = self;
        tracing::info!(
            address = %reviews.address()?,
            metrics = %metrics.address()?,
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        let (end_reviews, reviews_end) = watch::channel(false);
        let (end_metrics, metrics_end) = watch::channel(false);
        let mut reviews = tokio::spawn(reviews.run(reviews_end));
        let mut metrics = tokio::spawn(metrics.run(metrics_end));

        let how = tokio::select! {
            how = stop => how,
            ended = &mut reviews => anyhow::bail!("the listener ended: {ended:?}"),
            ended = &mut metrics => anyhow::bail!("the metrics listener ended: {ended:?}"),
        };
        app.ending.store(true, Ordering::Relaxed);
        tracing::info!(?how, "shutting down");
        if how == Stop::Gradually {
            tokio::time::sleep(app.limits.drain_delay).await;
        }
        // Metrics and health last, so that the end can be watched.
        end_reviews.send_replace(true);
        let cut = reviews.await.context("the listener failed")?;
        end_metrics.send_replace(true);
        metrics.await.context("the metrics listener failed")?;
        tracing::info!(connections_cut = cut, "stopped");
        Ok(())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// What the handlers share.
struct App {
    reviewer: Arc<dyn Reviewer>,
    metrics: Metrics,
    conditions: Vec<Named>,
    /// Told to stop.
    ending: AtomicBool,
    /// A permit a byte of a body held in memory.
    buffered: Semaphore,
    /// A permit a review being decided.
    slots: Semaphore,
    limits: Arc<Limits>,
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))
}
