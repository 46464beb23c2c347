//! What a request is answered that cannot be done: `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::{
    desk::{DeskError, access::Scope},
    store::StoreError,
};

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done: what every handler's error is. Boxed, as it is seldom and answers are many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Told>);

/// Why a request was not done. `code` stays the same for the same cause; texts may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Told {
    /// The kind of problem, as a URI made from `code`.
    #[serde(rename = "type")]
    #[schema(example = "urn:voceguida:problem:too_late")]
    kind: String,
    /// What it is called, in English.
    title: String,
    /// The HTTP status.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: u16,
    /// For machines: one word that does not change.
    #[schema(pattern = "^[a-z_]+$", example = "too_late")]
    code: String,
    /// What is wrong with this request. Where the rule refused it: in Italian, for the family.
    detail: String,
    /// Where the rule refused it: its steps, in Italian.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    steps: Option<Vec<String>>,
    /// Where the rule refused it: the receipt number under which the refusal is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    receipt: Option<String>,
    #[serde(skip)]
    retry_after: Option<u64>,
    #[serde(skip)]
    challenge: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Told {
            kind: format!("urn:voceguida:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            steps: None,
            receipt: None,
            retry_after: None,
            challenge: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Told)) -> Self {
        change(&mut self.0);
        self
    }

    /// 404: nothing is there, or it is somebody else's.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", "There is nothing at this address, or it is not yours.")
    }

    /// 405.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", "This address does not take this method.")
    }

    /// 400: the path, the query or a header is not what the description says.
    pub fn bad(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "Bad request", detail)
    }

    /// The body is not what the description says.
    pub fn body(status: StatusCode, detail: impl Into<String>) -> Self {
        let (code, title) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "Body too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media_type", "Not application/json"),
            StatusCode::REQUEST_TIMEOUT => ("too_slow", "Body too slow"),
            StatusCode::UNPROCESSABLE_ENTITY => ("invalid_body", "Invalid body"),
            _ => return Self::new(StatusCode::BAD_REQUEST, "invalid_json", "Invalid JSON", detail),
        };
        Self::new(status, code, title, detail)
    }

    /// 401: no token, or one that does not hold.
    pub fn token(code: &str, detail: &str) -> Self {
        let error = if code == "token_missing" { "" } else { ", error=\"invalid_token\"" };
        Self::new(StatusCode::UNAUTHORIZED, code, "A token is needed", detail)
            .with(|told| told.challenge = Some(format!("Bearer realm=\"voceguida\"{error}")))
    }

    /// 403: the token does not have this scope.
    pub fn scope(scope: Scope) -> Self {
        let challenge = format!("Bearer realm=\"voceguida\", error=\"insufficient_scope\", scope=\"{scope}\"");
        Self::new(StatusCode::FORBIDDEN, "scope_missing", "Not allowed", format!("This token does not have the scope {scope}."))
            .with(|told| told.challenge = Some(challenge))
    }

    /// 429: too fast; try again after so long.
    pub fn too_fast(wait: Duration) -> Self {
        // Rounded up: whoever comes then is let in.
        let seconds = wait.as_secs() + 1;
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", format!("Try again in {seconds} s."))
            .with(|told| told.retry_after = Some(seconds))
    }

    /// 409: the rule has refused it.
    pub fn refused(reason: &str, conclusion: String, steps: Vec<String>, receipt: String) -> Self {
        Self::new(StatusCode::CONFLICT, reason, "Refused by the rule", conclusion)
            .with(|told| (told.steps, told.receipt) = (Some(steps), Some(receipt)))
    }

    /// 500: an answer that cannot be written.
    pub fn unreadable() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", "Something is broken", "The answer cannot be written.")
    }

    /// 409: the key was used for another order.
    pub fn key_reused() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "idempotency_key_reused",
            "Idempotency key reused",
            "Another order was sent under this Idempotency-Key. Nothing was done.",
        )
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::NoChild | DeskError::NoEnte => Self::not_found(),
            DeskError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(cause: StoreError) -> Self {
        error!("api: {cause}");
        if cause.is_lasting() {
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", "Something is broken", "It is in the server's log.");
        }
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available", "The database does not answer. Try again shortly.")
            .with(|told| told.retry_after = Some(5))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(told) = self;
        let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(seconds) = told.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = told.challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
