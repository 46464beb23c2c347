//! HTTP: health, metrics, the page that says how to call, the office, and the JSON API. No rules, no SQL (design §2).

pub mod api;
mod metrics;
pub mod office;
pub mod status;

use std::sync::{Arc, atomic::AtomicU64};

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use chrono::TimeDelta;
use tracing::warn;

use crate::{
    canteen::EnteId,
    desk::{Desk, explain::day_in_words},
    telephony::sip::Monitor,
};

/// What the pages need.
#[derive(Debug, Clone)]
pub struct Web {
    /// The desk.
    pub desk: Desk,
    /// The SIP endpoint.
    pub sip: Monitor,
    /// How to call, where there is something to tell (the demo).
    pub guide: Option<Arc<Guide>>,
    /// Call records that are only in the log.
    pub unwritten_records: Arc<AtomicU64>,
    /// When the process started.
    pub started: std::time::Instant,
    /// The enti served here, by name.
    pub enti: Vec<(EnteId, String)>,
}

/// How to call the demo.
#[derive(Debug, Clone)]
pub struct Guide {
    /// SIP URI of the line.
    pub uri: String,
    /// A few children with their codes.
    pub children: Vec<GuideChild>,
}

/// A child of the demo.
#[derive(Debug, Clone)]
pub struct GuideChild {
    /// Name.
    pub name: String,
    /// School and class.
    pub class: String,
    /// Keypad code.
    pub code: String,
}

/// The pages.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .route("/status", get(status::status))
        .with_state(Arc::new(web))
}

/// Ready: the database answers and new calls are taken.
async fn ready(State(web): State<Arc<Web>>) -> Response {
    if web.sip.stats().draining {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match web.desk.enti().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "index.html")]
struct Index<'a> {
    guide: Option<&'a Guide>,
    enti: Vec<EnteToday>,
    calls: u64,
    capacity: u64,
}

struct EnteToday {
    name: String,
    today: String,
    time: String,
    open: bool,
    opens: String,
    closes: String,
    wrong: Vec<WrongLine>,
}

struct WrongLine {
    caller: String,
    wrong: i64,
    guesses: i64,
    shut_out: bool,
}

/// A number with its last digits covered: enough to recognise, not enough to call.
fn masked(number: &str) -> String {
    if number.is_empty() {
        return "numero nascosto".to_owned();
    }
    let shown = number.chars().count().saturating_sub(3);
    number.chars().take(shown).chain(std::iter::repeat_n('•', number.chars().count() - shown)).collect()
}

async fn index(State(web): State<Arc<Web>>) -> Response {
    let mut enti = Vec::with_capacity(web.enti.len());
    for (ente, name) in &web.enti {
        match today(&web.desk, *ente, name).await {
            Ok(today) => enti.push(today),
            Err(error) => {
                warn!(%error, "page");
                return (StatusCode::SERVICE_UNAVAILABLE, "Il servizio non è al momento disponibile. Riprovi fra poco.\n").into_response();
            }
        }
    }
    let stats = web.sip.stats();
    let page = Index { guide: web.guide.as_deref(), enti, calls: stats.active, capacity: stats.capacity };
    match page.render() {
        Ok(html) => {
            let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
            ([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
        }
        Err(error) => {
            warn!(%error, "template");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn today(desk: &Desk, ente: EnteId, name: &str) -> Result<EnteToday, crate::desk::DeskError> {
    let (window, now) = desk.window(ente).await?;
    let local = window.local(now);
    let wrong = desk.wrong_callers(ente, TimeDelta::hours(24)).await?;
    Ok(EnteToday {
        name: name.to_owned(),
        today: day_in_words(local.date()),
        time: local.format("%H:%M").to_string(),
        open: window.search_start(now).is_some(),
        opens: window.opens.format("%H:%M").to_string(),
        closes: window.cutoff.format("%H:%M").to_string(),
        wrong: wrong
            .into_iter()
            .map(|(w, shut_out)| WrongLine { caller: masked(&w.caller), wrong: w.wrong, guesses: w.guesses, shut_out })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_covered() {
        assert_eq!(masked("0182970000"), "0182970•••");
        assert_eq!(masked("12"), "••");
        assert_eq!(masked(""), "numero nascosto");
    }
}
