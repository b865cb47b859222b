//! Connections: accepted within a number, watched while they live, ended without losing an answer.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::activity::{Activity, Observed, Overdue};
use super::{App, Limits};

/// Pause after a failed accept: the system is out of descriptors, and trying again at once does
/// not give it more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may be idle while others wait for its place.
const CROWDED_IDLE: Duration = Duration::from_secs(1);
/// Time for an idle connection to take its leave.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a connection is silent before the end of the listener closes it.
const LAST_CALL: Duration = Duration::from_secs(1);
/// Bound on a request's headers, in bytes. The API server's have less than 1 KiB.
const HEAD_BYTES: u32 = 32 * 1024;
/// Read buffer of an HTTP/1 connection, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;
/// How much a client may send ahead on one HTTP/2 stream, and on all of a connection's, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// One port.
pub(super) struct Listener {
    tcp: TcpListener,
    shared: Arc<Shared>,
}

/// What the connections of a port share.
struct Shared {
    tls: Option<TlsAcceptor>,
    router: Router,
    app: Arc<App>,
    places: Arc<Semaphore>,
    http1: Builder<TokioExecutor>,
    http2: Builder<TokioExecutor>,
}

impl Listener {
    pub(super) fn new(
        tcp: TcpListener,
        tls: Option<TlsAcceptor>,
        router: Router,
        app: &Arc<App>,
    ) -> Self {
        let limits = &app.limits;
        let builder = builder(limits);
        let places = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            tcp,
            shared: Arc::new(Shared {
                tls,
                router,
                app: Arc::clone(app),
                places: Arc::new(Semaphore::new(places)),
                http1: builder.clone().http1_only(),
                http2: builder.http2_only(),
            }),
        }
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts until `end` says so, then waits for the connections to end; the number of those that
    /// had to be cut off after [`Limits::drain`].
    pub(super) async fn run(self, end: watch::Receiver<bool>) -> usize {
        let Self { tcp, shared } = self;
        let mut connections = JoinSet::new();
        let mut ending = end.clone();
        loop {
            tokio::select! {
                _ = ending.wait_for(|end| *end) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = accept(&tcp, &shared) => {
                    if let Some((stream, place)) = accepted {
                        let connection = Arc::clone(&shared).connection(stream, place, end.clone());
                        connections.spawn(connection);
                    }
                }
            }
        }
        // Closed first: a client that comes now is told so, and tries another replica.
        drop(tcp);
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(shared.app.limits.drain, all).await;
        connections.len()
    }
}

/// The next connection that there is a place for. Cancelled, it loses at most the connection that
/// it was about to give a place, and it is cancelled only at the end, or to be called again.
async fn accept(tcp: &TcpListener, shared: &Shared) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let limits = &shared.app.limits;
    // The place comes first: while there is none, the system queues.
    let places = &shared.places;
    let waited = timeout(limits.connection_wait, Arc::clone(places).acquire_owned()).await;
    let place = waited.ok().and_then(Result::ok);
    let stream = match tcp.accept().await {
        Ok((stream, _)) => stream,
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            sleep(ACCEPT_PAUSE).await;
            return None;
        }
    };
    // It may have come long after the wait was over.
    let place = place.or_else(|| Arc::clone(places).try_acquire_owned().ok());
    if place.is_none() {
        shared.app.metrics.rejected_connections.inc();
    }
    Some((stream, place?))
}

impl Shared {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        _place: OwnedSemaphorePermit,
        end: watch::Receiver<bool>,
    ) {
        // Small answers should not wait for more; where it cannot be set, they do.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.serve(stream, false, end).await;
        };
        match timeout(self.app.limits.handshake, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.serve(stream, http2, end).await;
            }
            failed => {
                self.app.metrics.handshake_failures.inc();
                let error = failed.ok().and_then(Result::err);
                let error = error.map_or("too slow".to_owned(), |error| error.to_string());
                tracing::debug!(error, "TLS handshake failed");
            }
        }
    }

    async fn serve<S>(&self, stream: S, http2: bool, mut end: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.app.limits;
        let activity = Activity::new();
        let observer = (!http2).then(|| Arc::clone(&activity));
        let io = TokioIo::new(Observed::new(stream, observer));
        let keeps = !http2 && self.tls.is_some();
        let service = service_fn(|request| {
            let busy = activity.begin();
            let answer = self.router.clone().oneshot(request);
            let app = Arc::clone(&self.app);
            async move {
                let mut answer = answer.await;
                drop(busy);
                // A client that hears so with its answer goes elsewhere with its next request. One
                // whose connection is closed in between may have sent it already, and a review is
                // not sent twice.
                if keeps
                    && app.ending.load(Ordering::Relaxed)
                    && let Ok(answer) = &mut answer
                {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        });
        let builder = if http2 { &self.http2 } else { &self.http1 };
        let mut connection = pin!(builder.serve_connection(io, service));
        let farewell = tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "connection failed");
                }
                return;
            }
            () = self.last_call(&mut end, &activity, http2) => limits.drain,
            overdue = self.overdue(&activity) => match overdue {
                Overdue::Head => return,
                Overdue::Idle => FAREWELL,
            },
        };
        // GOAWAY, or `connection: close`: what is under way is answered, nothing new is taken.
        connection.as_mut().graceful_shutdown();
        let _ = timeout(farewell, connection).await;
    }

    /// Resolves after the end of the listener, on HTTP/1 once nothing was asked for a while: what is
    /// on its way then is still answered. HTTP/2 has GOAWAY, which says what was not read.
    async fn last_call(&self, end: &mut watch::Receiver<bool>, activity: &Activity, http2: bool) {
        // Closed, it has ended as well.
        let _ = end.wait_for(|end| *end).await;
        if http2 {
            return;
        }
        let silence = LAST_CALL.min(self.app.limits.drain / 2);
        while activity.quiet_for() < silence {
            sleep(silence.saturating_sub(activity.quiet_for())).await;
        }
    }

    /// Resolves when the connection has done nothing for too long.
    async fn overdue(&self, activity: &Activity) -> Overdue {
        let Limits { head, idle, .. } = *self.app.limits;
        let look = CROWDED_IDLE.min(head / 4).min(idle / 4).max(Duration::from_millis(5));
        loop {
            sleep(look).await;
            let crowded = self.places.available_permits() == 0;
            let idle = if crowded { idle.min(CROWDED_IDLE) } else { idle };
            if let Some(overdue) = activity.overdue(head, idle) {
                return overdue;
            }
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // The watcher's: hyper's own would count an idle connection's silence as a slow head.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}
