//! A request's body, within its bounds.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

/// Up to this much is set aside for a body on the word of its Content-Length.
const TRUSTED: u64 = 64 * 1024;

/// Why a body was not read to its end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    Late,
    #[error("the body ended early")]
    Broken,
}

/// A body, and the permits that count its bytes for as long as it is held.
pub(super) struct Held<'a> {
    pub(super) bytes: Vec<u8>,
    permit: Option<SemaphorePermit<'a>>,
}

/// Reads a body of at most `limit` bytes. One that says to be larger is not read at all.
pub(super) async fn read<'a>(
    body: &mut Body,
    limit: usize,
    budget: &'a Semaphore,
    until: Instant,
) -> Result<Held<'a>, BodyError> {
    let least = body.size_hint().lower();
    if usize::try_from(least).is_ok_and(|least| least > limit) {
        return Err(BodyError::TooLarge(limit));
    }
    let capacity = usize::try_from(least.min(TRUSTED)).unwrap_or_default();
    let mut held = Held { bytes: Vec::with_capacity(capacity), permit: None };
    loop {
        let frame = match timeout_at(until, body.frame()).await {
            Err(_) => return Err(BodyError::Late),
            Ok(None) => return Ok(held),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if held.bytes.len().saturating_add(data.len()) > limit {
            return Err(BodyError::TooLarge(limit));
        }
        held.count(budget, data.len(), until).await?;
        held.bytes.extend_from_slice(&data);
    }
}

/// Reads on and throws away, so that a client that is still sending comes to read its answer
/// instead of a reset connection. Bounded in bytes and time; what goes on after is cut off.
pub(super) fn drain(mut body: Body, limit: usize, time: Duration) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(timeout(time, async move {
        let mut left = limit;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, axum::body::Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }));
}

impl<'a> Held<'a> {
    async fn count(
        &mut self,
        budget: &'a Semaphore,
        bytes: usize,
        until: Instant,
    ) -> Result<(), BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::Late)?;
        let Ok(Ok(permit)) = timeout_at(until, budget.acquire_many(bytes)).await else {
            return Err(BodyError::Late);
        };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_in(body: &'static str, limit: usize, budget: usize) -> Result<usize, BodyError> {
        let budget = Semaphore::new(budget);
        let until = Instant::now() + Duration::from_millis(20);
        let held = read(&mut Body::from(body), limit, &budget, until).await?;
        Ok(held.bytes.len())
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        assert_eq!(read_in("12345", 5, 100).await, Ok(5));
        assert_eq!(read_in("123456", 5, 100).await, Err(BodyError::TooLarge(5)));
        assert_eq!(read_in("", 5, 100).await, Ok(0));
    }

    #[tokio::test]
    async fn a_body_waits_for_its_share_of_memory_and_gives_it_back() {
        assert_eq!(read_in("12345", 5, 4).await, Err(BodyError::Late));
        let budget = Semaphore::new(5);
        let until = Instant::now() + Duration::from_mins(1);
        for _ in 0..3 {
            assert!(read(&mut Body::from("12345"), 5, &budget, until).await.is_ok());
        }
        assert_eq!(budget.available_permits(), 5);
    }
}
