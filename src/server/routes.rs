//! What is served where.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::time::{Instant, timeout_at};

use super::body::{BodyError, drain, read};
use super::deadline::budget;
use super::{App, Changes, metrics};
use crate::review::Answer;

/// A name in a log line is cut at the length that Kubernetes allows a name, in bytes.
const NAME: usize = 253;

#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Mutate,
    Validate,
}

/// Routes of the TLS port.
pub(super) fn reviews(app: &Arc<App>) -> Router {
    let mutate = |state, request| review(Endpoint::Mutate, state, request);
    let validate = |state, request| review(Endpoint::Validate, state, request);
    health()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .fallback(not_found)
        .with_state(Arc::clone(app))
}

/// Routes of the plain port.
pub(super) fn metrics(app: &Arc<App>) -> Router {
    health().route("/metrics", get(scrape)).fallback(not_found).with_state(Arc::clone(app))
}

fn health() -> Router<Arc<App>> {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready))
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let mut unmet = String::new();
    if app.ending.load(Ordering::Relaxed) {
        unmet.push_str("shutting down\n");
    }
    for (name, condition) in &app.conditions {
        if let Err(reason) = &*condition.borrow() {
            unmet.push_str(name);
            unmet.push_str(": ");
            unmet.push_str(&reason.replace('\n', " "));
            unmet.push('\n');
        }
    }
    if unmet.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, unmet).into_response()
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "nothing is served here\n").into_response()
}

async fn scrape(State(app): State<Arc<App>>) -> Response {
    match app.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        // Writing to a string does not fail.
        Err(_) => Response::new(Body::empty()),
    }
}

async fn review(endpoint: Endpoint, State(app): State<Arc<App>>, request: Request) -> Response {
    let started = Instant::now();
    let in_flight = app.metrics.begin();
    let answered = app.review(endpoint, request, started).await;
    let took = started.elapsed();
    drop(in_flight);
    app.metrics.answered(endpoint.name(), code(&answered), took);
    tell(endpoint, &answered, took);
    match answered {
        Ok(answer) => {
            app.reviewer.answered(&answer);
            let mut response = Response::new(Body::from(answer.body));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err(failure) => failure.response(),
    }
}

/// Why there is no AdmissionReview to answer with.
#[derive(Debug)]
struct Failure {
    code: &'static str,
    status: StatusCode,
    text: String,
}

impl App {
    async fn review(
        &self,
        endpoint: Endpoint,
        request: Request,
        started: Instant,
    ) -> Result<Answer, Failure> {
        let deadline = started + budget(request.uri().query(), self.limits.deadline);
        let (parts, mut body) = request.into_parts();
        let bytes = if is_json(&parts.headers) {
            let until = deadline.min(started + self.limits.body);
            read(&mut body, self.limits.body_bytes, &self.buffered, until)
                .await
                .map_err(|error| Failure::body(&error, Instant::now() >= deadline))
        } else {
            Err(Failure::media_type(parts.headers.get(CONTENT_TYPE)))
        };
        let held = match bytes {
            Ok(held) => held,
            Err(failure) => {
                if failure.status != StatusCode::REQUEST_TIMEOUT {
                    drain(body, self.limits.body_bytes.saturating_mul(2), self.limits.body);
                }
                return Err(failure);
            }
        };

        // Before the first look, so that no change after it is missed.
        let changes = match endpoint {
            Endpoint::Mutate => self.reviewer.changes(),
            Endpoint::Validate => None,
        };
        let answer = self.decide(endpoint, &held.bytes, deadline).await?;
        match changes.filter(|_| answer.may_change()) {
            None => Ok(answer),
            Some(changes) => self.catch_up(answer, changes, &held.bytes, deadline).await,
        }
    }

    /// Decides again while what a refusal misses may still come: the review of a pod that was
    /// applied together with its service may be here before the service is.
    async fn catch_up(
        &self,
        mut answer: Answer,
        mut changes: Changes,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let now = Instant::now();
        let until = now + self.limits.catch_up.min(deadline.saturating_duration_since(now) / 2);
        while answer.may_change() {
            let Ok(Ok(())) = timeout_at(until, changes.changed()).await else { break };
            answer = self.decide(Endpoint::Mutate, body, deadline).await?;
        }
        Ok(answer)
    }

    async fn decide(
        &self,
        endpoint: Endpoint,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let Ok(Ok(_slot)) = timeout_at(deadline, self.slots.acquire()).await else {
            return Err(Failure::deadline());
        };
        // Some 100 µs: handing it to another thread would cost as much.
        let answered = catch_unwind(AssertUnwindSafe(|| match endpoint {
            Endpoint::Mutate => self.reviewer.mutate(body),
            Endpoint::Validate => self.reviewer.validate(body),
        }));
        if Instant::now() >= deadline {
            return Err(Failure::deadline());
        }
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(malformed)) => {
                Err(Failure::new("malformed", StatusCode::BAD_REQUEST, malformed.to_string()))
            }
            Err(_) => Err(Failure::new(
                "internal-error",
                StatusCode::BAD_REQUEST,
                "reading this review failed unexpectedly; this is a defect of the webhook"
                    .to_owned(),
            )),
        }
    }
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }
}

impl Failure {
    fn new(code: &'static str, status: StatusCode, text: String) -> Self {
        Self { code, status, text }
    }

    fn media_type(found: Option<&HeaderValue>) -> Self {
        let found = match found {
            None => "no content type".to_owned(),
            Some(value) => format!("content type {:?}", value.to_str().unwrap_or("unreadable")),
        };
        let text = format!("{found}; send application/json");
        Self::new("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }

    fn body(error: &BodyError, passed: bool) -> Self {
        let (code, status) = match error {
            BodyError::TooLarge(_) => ("too-large", StatusCode::PAYLOAD_TOO_LARGE),
            BodyError::Late if passed => return Self::deadline(),
            BodyError::Late => ("body-timeout", StatusCode::REQUEST_TIMEOUT),
            BodyError::Broken => ("body-broken", StatusCode::BAD_REQUEST),
        };
        Self::new(code, status, error.to_string())
    }

    fn deadline() -> Self {
        let text = "no answer within the time that the request allows";
        Self::new("deadline", StatusCode::GATEWAY_TIMEOUT, text.to_owned())
    }

    fn response(self) -> Response {
        let body = Bytes::from(format!("{}\n", self.text));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn code(answered: &Result<Answer, Failure>) -> &'static str {
    match answered {
        Ok(answer) => answer.code,
        Err(failure) => failure.code,
    }
}

/// One line a review: who and what was decided, and nothing else of the object.
fn tell(endpoint: Endpoint, answered: &Result<Answer, Failure>, took: Duration) {
    let path = endpoint.name();
    let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    match answered {
        Ok(answer) => tracing::info!(
            path,
            uid = short(&answer.uid),
            namespace = short(&answer.namespace),
            name = short(&answer.name),
            decision = answer.code,
            allowed = answer.allowed,
            dry_run = answer.dry_run,
            microseconds,
            "review"
        ),
        Err(failure) => tracing::info!(
            path,
            decision = failure.code,
            status = failure.status.as_u16(),
            error = failure.text,
            microseconds,
            "review"
        ),
    }
}

fn short(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME)).unwrap_or(name)
}

/// Parameters may follow; the charset of JSON is UTF-8 whatever they say.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_with_parameters_and_in_any_case() {
        for (value, json) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("Application/JSON;charset=utf-8", true),
            ("application/jsonp", false),
            ("application/json-patch+json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_json(&headers), json, "{value:?}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_name_is_cut_at_a_character() {
        assert_eq!(short("web"), "web");
        let long = "é".repeat(200);
        assert_eq!(short(&long).len(), 252);
    }
}
