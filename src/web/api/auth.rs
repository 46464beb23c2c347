//! What stands before every route: headers, whose token it is, whether it holds and may do this, and how fast it asks.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Api, Gate, Problem};
use crate::{
    canteen::EnteId,
    desk::{
        DeskError,
        access::{self, Scope, Shown, Token},
        people::Secret,
        trail::Action,
    },
    web::office::Client,
};

impl Api {
    /// The gate. Nothing is done while it is held but counting.
    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks; each handler takes one.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token, which holds.
    pub token: Token,
    /// Where the request came from.
    pub address: String,
    api: Arc<Api>,
}

impl Caller {
    /// Whose canteen everything is of.
    pub fn ente(&self) -> EnteId {
        self.token.ente
    }

    /// May it have that beside? For fields; routes are guarded by themselves.
    pub fn may(&self, scope: Scope) -> bool {
        self.token.may(scope)
    }

    /// Notes, once an hour, that this system reads about children.
    pub async fn note(&self, scope: Scope, action: Action) -> Result<(), DeskError> {
        let news = self.api.gate().is_news(self.token.row.id, scope, Instant::now());
        if news { self.api.desk.note_read(&self.token, &self.address, action).await } else { Ok(()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Only missing where a route was made without the guard.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| missing(""))
    }
}

fn missing(text: &str) -> Problem {
    if text.is_empty() { Problem::token("token_missing", "Send the header Authorization: Bearer TOKEN.") } else { unknown() }
}

fn unknown() -> Problem {
    Problem::token("token_unknown", "This token is none of ours.")
}

/// Around everything under `/api`: sets the headers.
pub(super) async fn around(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if api.settings.url.as_deref().is_some_and(|url| url.starts_with("https:")) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

/// Before each route: whose token is it, does it hold, may it do this, is it not too fast?
pub(super) async fn guard(State((api, scope)): State<(Arc<Api>, Scope)>, mut request: Request, next: Next) -> Response {
    let address = Client::of(&api.settings, &request).address;
    // A request cannot be lent to another thread; what it says of itself can.
    let secret = bearer(request.headers());
    match caller(&api, scope, secret, address).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The token of the request's one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Secret, Problem> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let text = sent.next().map(|value| value.to_str().unwrap_or("?")).unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || sent.next().is_some() {
        return Err(missing(text));
    }
    access::parse(token.trim()).ok_or_else(unknown)
}

async fn caller(api: &Arc<Api>, scope: Scope, secret: Result<Secret, Problem>, address: String) -> Result<Caller, Problem> {
    // What cannot be a token is refused without a question to the database, and is no guess.
    let secret = secret?;
    if !api.gate().may_show(&address, Instant::now()) {
        return Err(Problem::too_fast(std::time::Duration::from_secs(10)));
    }
    let token = match api.desk.show_token(&secret, &address).await? {
        Shown::Good(token) => token,
        Shown::Over(token) => {
            api.gate().was_none(&address, Instant::now());
            return Err(if token.row.revoked_at.is_some() {
                Problem::token("token_revoked", "This token has been revoked.")
            } else {
                Problem::token("token_expired", "This token has expired. Ask the office for a new one.")
            });
        }
        Shown::Unknown => {
            api.gate().was_none(&address, Instant::now());
            return Err(unknown());
        }
    };
    api.gate().was_good(token.row.id, &address, Instant::now()).map_err(Problem::too_fast)?;
    if !token.may(scope) {
        return Err(Problem::scope(scope));
    }
    Ok(Caller { token, address, api: Arc::clone(api) })
}
