//! The office: the school secretary's pages under `/ufficio/`. Handlers and forms only; rules are in `canteen`, use cases in `desk`.
//!
//! # How to add a page
//!
//! Each area has a file here and its templates in `templates/office/`; [`areas`] lists them all, and nothing else needs to know of a new page.
//!
//! ```ignore
//! // chiusure.rs: the area's routes, each with the permission it needs. The guard asks for it before the handler runs; a test tries every role.
//! pub(super) fn area() -> Area {
//!     Area::new()
//!         .menu("Chiusure", "/ufficio/chiusure", Permission::SeeCalendar)
//!         .get("/ufficio/chiusure", Permission::SeeCalendar, list)
//!         .get("/ufficio/chiusure/nuova", Permission::ChangeCalendar, new)
//!         .post("/ufficio/chiusure/nuova", Permission::ChangeCalendar, add)
//! }
//!
//! #[derive(Template)]
//! #[template(path = "office/closure_new.html")]  // {% extends "office/layout.html" %}, blocks title and content
//! struct NewClosure<'a> { page: &'a Page, form: &'a Form }
//!
//! async fn new(page: Page) -> Answer {
//!     let page = page.under("Chiusure", "/ufficio/chiusure").titled("Nuova chiusura");
//!     page.show(&NewClosure { page: &page, form: &Form::empty() })
//! }
//!
//! async fn add(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
//!     let day = form.take_day("giorno", "Giorno");
//!     let reason = form.take_text("motivo", "Motivo", 200);
//!     if !form.is_bad() {
//!         match office.desk.close_school(&page.actor(), day, &reason).await {   // writes to the trail in its own transaction
//!             Ok(_) => return page.done("/ufficio/chiusure", "La chiusura è registrata."),
//!             Err(CloseError::Overlaps) => form.wrong("giorno", "Giorno", "C'è già una chiusura in questo giorno."),
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//!     let page = page.under("Chiusure", "/ufficio/chiusure").titled("Nuova chiusura");
//!     page.show_again(&NewClosure { page: &page, form: &form })
//! }
//! ```
//!
//! The template's form: `<form method="post">{{ page.csrf() }}{{ form.summary() }}{{ form.day("giorno", "Giorno").required() }}<button class="btn btn-primary">Salva</button></form>`.
//!
//! - Everything is of `page.ente.id`: an id from the address is looked up together with it, or another office's row is read.
//! - Two people and one row: `{{ form.version(version) }}` in the form, [`Form::take_version`] in the handler; where the desk says that it is stale, show the form again with
//!   what stands now beside what was typed, and the new version.
//! - Lists: [`list`]. Live parts: [`live`]. Files: [`files`] (`.files` instead of `.post` for uploads, [`files::download`] to send one).
//! - No inline script or style: the content policy forbids them. Wide tables go into `<div class="vg-scroll" tabindex="0" role="region" aria-label="…">`, or become cards on
//!   a phone with `class="vg-table vg-cards"` and a `data-label` in each cell. Empty lists: `<div class="vg-empty">` with a sentence and what to do.
//! - A page that shows a child's data calls [`crate::desk::Desk::note_seen`].

mod area;
pub mod assets;
mod chart;
mod errors;
mod fields;
pub mod files;
mod form;
mod guard;
mod html;
pub mod list;
pub mod live;
mod login;
mod mail;
mod page;
mod seal;

// Areas: one line each here and in `areas`.
mod behalf;
mod calendar;
mod calendar_change;
mod canned;
mod child_edit;
mod children;
mod families;
mod imports;
mod keys;
mod letters;
mod line;
mod line_calls;
mod line_flow;
mod new_year;
mod news;
mod news_decide;
mod people;
mod profile;
mod prompts;
mod settings;
mod ticket_new;
mod tickets;
mod today;
mod trail;
mod trial;

use std::sync::Arc;

use anyhow::Context;
use axum::{Router, middleware, routing::any};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use self::trial::Trials;
pub use self::{
    area::{Area, MenuItem, RouteRule, Takes},
    errors::{Answer, Oops},
    fields::Field,
    form::{FieldError, Form},
    guard::Client,
    html::{Html, escaped},
    page::{Crumb, Flash, FlashKind, Page, redirect},
    seal::Sealer,
    trial::{LineNumber, LineRoom},
};
use crate::{
    desk::{Desk, explain::day_in_words, people::Limits},
    store::Ente,
    telephony::sip::Monitor,
    voice::live::LineWatch,
};

/// The areas, in the order of the menu.
fn areas() -> Vec<Area> {
    vec![
        today::area(),
        calendar::area(),
        children::area(),
        families::area(),
        letters::area(),
        line::area(),
        prompts::area(),
        trial::area(),
        news::area(),
        tickets::area(),
        people::area(),
        keys::area(),
        trail::area(),
        settings::area(),
        profile::area(),
    ]
}

/// Uploads that are read at once: each may take 10 MB.
const UPLOADS: usize = 8;
/// Documents that are set at once.
const PRESSES: usize = 2;
/// Recordings that are decoded at once.
const DECODERS: usize = 2;
/// Live parts at once.
const STREAMS: usize = 500;

/// How the office is reached, and how long a login lasts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfficeSettings {
    /// Where people find it, e.g. `https://mensa.comune.example`. With https, cookies are for https only.
    pub url: Option<String>,
    /// Proxies of ours, whose word for a client's address is believed.
    pub proxies: Vec<IpNet>,
    /// Lock-out and sessions.
    pub limits: Limits,
}

/// What the office's handlers share: `State(office): State<Arc<Office>>`.
#[derive(Debug)]
pub struct Office {
    /// The desk.
    pub desk: Desk,
    /// The SIP endpoint; `None` where there is none (tests).
    pub sip: Option<Monitor>,
    /// Settings.
    pub settings: OfficeSettings,
    sealer: Sealer,
    menu: Vec<MenuItem>,
    uploads: Semaphore,
    /// Letters that are set at once: each takes a processor.
    presses: Semaphore,
    streams: Arc<Semaphore>,
    /// The line that this node speaks; `None` where it speaks none (tests).
    line: Option<LineRoom>,
    trials: Arc<Trials>,
    /// Recordings that are decoded at once: each takes a processor.
    decoders: Semaphore,
    /// What is seen of the line's calls.
    calls: line::Room,
}

impl Office {
    /// An office over the desk.
    pub async fn new(desk: Desk, sip: Option<Monitor>, settings: OfficeSettings) -> anyhow::Result<Arc<Self>> {
        Self::with_line(desk, sip, settings, None).await
    }

    /// The same over the desk and the line.
    pub async fn with_line(
        desk: Desk,
        sip: Option<Monitor>,
        settings: OfficeSettings,
        line: Option<LineRoom>,
    ) -> anyhow::Result<Arc<Self>> {
        let sealer = Sealer::new(&desk.office_key("ufficio").await?).context("the office's key")?;
        let menu = areas().into_iter().flat_map(|area| area.items).collect();
        Ok(Arc::new(Self {
            desk,
            sip,
            settings,
            sealer,
            menu,
            uploads: Semaphore::new(UPLOADS),
            presses: Semaphore::new(PRESSES),
            streams: Arc::new(Semaphore::new(STREAMS)),
            line,
            trials: Arc::default(),
            decoders: Semaphore::new(DECODERS),
            calls: line::Room::default(),
        }))
    }

    /// The line of this node, for the pages that show it. Told once, when it takes calls.
    pub fn watch_line(&self, watch: LineWatch) {
        self.calls.watch(watch);
    }
}

/// An instant as people read it, in the ente's time zone: "giovedì 12 ottobre 2026, 8:55".
pub fn when(ente: &Ente, at: DateTime<Utc>) -> String {
    let local = ente.window.local(at);
    format!("{}, {}", day_in_words(local.date()), local.format("%-H:%M"))
}

/// Every route with what it needs, for the test that tries each role.
pub fn rules() -> Vec<RouteRule> {
    areas().into_iter().flat_map(|area| area.routes).map(|(rule, _)| rule).collect()
}

/// The pages. Serve them with `into_make_service_with_connect_info::<SocketAddr>`: tries to log in are counted by address.
pub fn router(office: &Arc<Office>) -> Router {
    let mut router = Router::new();
    for (rule, handler) in areas().into_iter().flat_map(|area| area.routes) {
        let path = rule.path;
        let guard = middleware::from_fn_with_state((Arc::clone(office), rule), guard::guard);
        router = router.route(path, handler.route_layer(guard));
    }
    router
        .merge(login::routes())
        .route("/ufficio", any(|| async { redirect("/ufficio/") }))
        .route("/ufficio/risorse/{hash}/{name}", axum::routing::get(assets::serve))
        .route("/ufficio/{*rest}", any(|| async { Oops::NotFound }))
        .method_not_allowed_fallback(|| async { Oops::Method })
        .layer(middleware::from_fn_with_state(Arc::clone(office), guard::around))
        .with_state(Arc::clone(office))
}
