//! What a connection is doing: answering, receiving a request's head, or nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Shared by a connection's stream, its service and its watcher.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// When the last request ended, or the connection was opened.
    idle_since: Instant,
    /// When the first byte came that belongs to no request yet.
    head_since: Option<Instant>,
}

/// What has gone on for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request.
    Idle,
    /// A request's head that does not end.
    Head,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            in_flight: 0,
            idle_since: Instant::now(),
            head_since: None,
        })))
    }

    /// A request has begun; it ends when the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        let mut state = self.state();
        state.in_flight += 1;
        state.head_since = None;
        drop(state);
        Busy(Arc::clone(self))
    }

    /// What is overdue now. A request that is being answered never is: its handler has deadlines.
    pub(super) fn overdue(&self, head: Duration, idle: Duration) -> Option<Overdue> {
        let state = self.state();
        if state.in_flight > 0 {
            return None;
        }
        if state.head_since.is_some_and(|since| since.elapsed() >= head) {
            return Some(Overdue::Head);
        }
        (state.idle_since.elapsed() >= idle).then_some(Overdue::Idle)
    }

    /// How long no request has ended or begun to come in; nothing while one is under way.
    pub(super) fn quiet_for(&self) -> Duration {
        let state = self.state();
        if state.in_flight > 0 || state.head_since.is_some() {
            return Duration::ZERO;
        }
        state.idle_since.elapsed()
    }

    fn received(&self) {
        let mut state = self.state();
        if state.in_flight == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.idle_since = Instant::now();
        state.head_since = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A stream that tells of the bytes that come in.
#[derive(Debug)]
pub(super) struct Observed<S> {
    stream: S,
    /// None for HTTP/2, where bytes come in that belong to no request.
    activity: Option<Arc<Activity>>,
}

impl<S> Observed<S> {
    pub(super) fn new(stream: S, activity: Option<Arc<Activity>>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before
            && let Some(activity) = &self.activity
        {
            activity.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_mins(2);

    #[tokio::test(start_paused = true)]
    async fn a_head_is_overdue_sooner_than_a_silence() {
        let activity = Activity::new();
        tokio::time::advance(HEAD).await;
        assert_eq!(activity.overdue(HEAD, IDLE), None);
        activity.received();
        tokio::time::advance(HEAD / 2).await;
        activity.received();
        assert_eq!(activity.overdue(HEAD, IDLE), None);
        tokio::time::advance(HEAD / 2).await;
        assert_eq!(activity.overdue(HEAD, IDLE), Some(Overdue::Head));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_never_overdue_and_starts_the_silence_anew() {
        let activity = Activity::new();
        activity.received();
        let busy = activity.begin();
        activity.received();
        tokio::time::advance(IDLE * 2).await;
        assert_eq!(activity.overdue(HEAD, IDLE), None);
        drop(busy);
        assert_eq!(activity.overdue(HEAD, IDLE), None);
        tokio::time::advance(IDLE).await;
        assert_eq!(activity.overdue(HEAD, IDLE), Some(Overdue::Idle));
    }
}
