//! The line tried in the browser: the very dialplan and the very rules at a chosen day and hour, on a desk that writes nothing.
//!
//! With script, a keypad and a loudspeaker over a WebSocket ([`call`]); without, the keys are typed beforehand and the conversation is read.

mod call;
mod places;

use std::sync::Arc;

use arc_swap::ArcSwap;
use askama::Template;
use axum::{
    extract::{RawQuery, State, WebSocketUpgrade},
    http::HeaderMap,
    response::Response,
};
use chrono::{DateTime, Utc};
use tokio::time::Instant;

pub use self::places::Trials;
use super::{Answer, Area, Form, Office, Oops, Page, files, guard, line};
use crate::{
    canteen::{EnteId, words::day_in_words},
    desk::{line::Caller, people::Permission, trail::Subject},
    voice::{
        plan::Plan,
        prompts::{PromptLibrary, Shelf, wav},
        simulate::{self, Line},
    },
};

pub(super) const HERE: &str = "/ufficio/linea/prova";
/// Where a sound is fetched.
const SOUND: &str = "/ufficio/linea/prova/voce.wav";
/// The most prompts in one sound.
const MOST_PROMPTS: usize = 150;
/// The most keys typed beforehand.
const MOST_KEYS: usize = 200;
/// The longest calling number.
const LONGEST_NUMBER: usize = 20;
/// The number that calls where nothing else is said: of a block that nobody has.
const SOME_NUMBER: &str = "3330000000";

/// The line as the office's pages need it.
#[derive(Debug, Clone)]
pub struct LineRoom {
    /// What calls hear.
    pub shelf: Arc<Shelf>,
    /// The called numbers.
    pub numbers: Vec<LineNumber>,
}

/// A called number and its dialplan.
#[derive(Debug, Clone)]
pub struct LineNumber {
    /// As the provider sends it.
    pub called: String,
    /// The trunk whose number it is; `None` for all trunks'.
    pub trunk: Option<String>,
    /// Whose canteen.
    pub ente: EnteId,
    /// What is spoken there.
    pub plan: Arc<ArcSwap<Plan>>,
}

impl LineRoom {
    /// An ente's numbers, each with its place in the list.
    pub(super) fn numbers_of(&self, ente: EnteId) -> impl Iterator<Item = (usize, &LineNumber)> {
        self.numbers.iter().enumerate().filter(move |(_, number)| number.ente == ente)
    }
}

pub(super) fn area() -> Area {
    Area::new()
        .get(HERE, Permission::SeeLine, show)
        .post(HERE, Permission::SeeLine, read)
        .get("/ufficio/linea/prova/filo", Permission::SeeLine, connect)
        .get(SOUND, Permission::SeeLine, sound)
}

/// A trial as it was asked for.
struct Asked {
    at: DateTime<Utc>,
    plan: Arc<Plan>,
    caller: Caller,
    called: String,
}

impl Asked {
    /// Reads it from a form; `None`, and the form says why, where it cannot be.
    fn take(form: &mut Form, page: &Page, line: &LineRoom) -> Option<Self> {
        let day = form.take_day("giorno", "Giorno");
        let time = form.take_time("ora", "Ora");
        let caller = form.take_optional_text("chiamante", "Numero di chi chiama", LONGEST_NUMBER);
        let caller = caller.map(|number| number.replace([' ', '-', '.'], ""));
        if caller.as_ref().is_some_and(|n| !n.strip_prefix('+').unwrap_or(n).bytes().all(|b| b.is_ascii_digit())) {
            form.wrong("chiamante", "Numero di chi chiama", "Scriva solo cifre; lo lasci vuoto per un numero nascosto.");
        }
        let wanted: Option<usize> = form.value("numero").parse().ok();
        let number = line.numbers_of(page.ente.id).find(|(at, _)| wanted == Some(*at)).map(|(_, number)| number);
        if number.is_none() {
            form.wrong("numero", "Numero da chiamare", "Scelga un numero dell'elenco.");
        }
        if form.is_bad() {
            return None;
        }
        let number = number?;
        Some(Self {
            at: page.ente.window.instant(day.and_time(time)),
            plan: number.plan.load_full(),
            caller: Caller { call_id: "prova".to_owned(), ente: page.ente.id, number: caller },
            called: number.called.clone(),
        })
    }

    /// The trial goes into the trail before it begins.
    async fn note(&self, office: &Office, page: &Page) -> Result<(), Oops> {
        let subject = Subject { kind: "linea", id: None, name: &self.called };
        Ok(office.desk.note_seen(&page.actor(), "ha provato la linea", subject).await?)
    }

    /// "giovedì 15 ottobre 2026, ore 8:00".
    fn when(&self, page: &Page) -> String {
        let local = page.ente.window.local(self.at);
        format!("{}, ore {}", day_in_words(local.date()), local.format("%-H:%M"))
    }
}

/// What a play says, as people read it.
fn said(library: &PromptLibrary, prompts: &[String]) -> String {
    let texts: Vec<_> = prompts.iter().map(|name| library.text(name).unwrap_or(name)).collect();
    texts.join(" ")
}

#[derive(Template)]
#[template(path = "office/trial.html")]
struct Trial<'a> {
    page: &'a Page,
    form: &'a Form,
    numbers: Vec<(String, String)>,
    /// The conversation that was read beforehand: who, what.
    conversation: Option<(String, Vec<(&'static str, String)>)>,
}

fn page_of(page: &Page, line: Option<&LineRoom>, form: &Form, conversation: Option<(String, Vec<(&'static str, String)>)>) -> Answer {
    let name = |(at, number): (usize, &LineNumber)| {
        let trunk = number.trunk.as_ref().map(|t| format!(" ({t})")).unwrap_or_default();
        (at.to_string(), format!("{}{trunk}: {}", number.called, number.plan.load().title))
    };
    let numbers = line.into_iter().flat_map(|line| line.numbers_of(page.ente.id)).map(name).collect();
    let template = Trial { page, form, numbers, conversation };
    if form.is_bad() { page.show_again(&template) } else { page.show(&template) }
}

fn titled(page: Page) -> Page {
    page.under("Linea", line::HERE).titled("Prova della linea")
}

async fn show(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let page = titled(page);
    let now = page.ente.window.local(office.desk.clock().now());
    let first = office.line.as_ref().and_then(|line| line.numbers_of(page.ente.id).next()).map(|(at, _)| at.to_string());
    let form = Form::showing([
        ("giorno", now.format("%Y-%m-%d").to_string()),
        ("ora", now.format("%H:%M").to_string()),
        ("numero", first.unwrap_or_default()),
        ("chiamante", SOME_NUMBER.to_owned()),
    ]);
    page_of(&page, office.line.as_ref(), &form, None)
}

/// Without script: the keys are typed beforehand.
async fn read(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let page = titled(page);
    let Some(line) = office.line.as_ref() else { return page_of(&page, None, &form, None) };
    let keys = form.take_optional_text("tasti", "Tasti", MOST_KEYS).unwrap_or_default().replace([' ', '-'], "");
    if !keys.chars().all(|key| matches!(key, '0'..='9' | '*' | '#' | ',')) {
        form.wrong("tasti", "Tasti", "Scriva solo cifre, asterisco, cancelletto, e la virgola per un silenzio.");
    }
    let asked = Asked::take(&mut form, &page, line);
    let Some(asked) = asked.filter(|_| !form.is_bad()) else { return page_of(&page, Some(line), &form, None) };
    let Some(_place) = office.trials.begin(page.person.id, Instant::now()) else { return Err(Oops::Busy) };
    asked.note(&office, &page).await?;
    let desk = office.desk.dry_run(asked.at);
    let library = line.shelf.library(page.ente.id);
    let lines = simulate::call(Arc::clone(&asked.plan), &desk, &asked.caller, &keys).await;
    office.trials.note_wrong(page.person.id, desk.wrong_codes(), Instant::now());
    let told = lines.into_iter().map(|line| match line {
        Line::Heard(prompts) => ("Linea", said(&library, &prompts)),
        Line::Cut => ("", "(il messaggio è interrotto da un tasto)".to_owned()),
        Line::Pressed(key) => ("Chi chiama", format!("preme {key}")),
        Line::Silence => ("Chi chiama", "non preme nulla".to_owned()),
        Line::HungUp => ("Linea", "riaggancia".to_owned()),
        Line::CallerHungUp => ("Chi chiama", "riaggancia".to_owned()),
    });
    page_of(&page, Some(line), &form, Some((asked.when(&page), told.collect())))
}

/// The WebSocket. Browsers let any site open one to us, cookies and all: so where it comes from is looked at here, and must be told.
async fn connect(
    State(office): State<Arc<Office>>,
    page: Page,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Answer {
    let Ok(socket) = socket else { return Err(Oops::Bad("no WebSocket")) };
    if !headers.contains_key("origin") || !guard::is_same_site(&office, &headers) {
        return Err(Oops::Forged);
    }
    let place = office.trials.begin(page.person.id, Instant::now()).ok_or(Oops::Busy)?;
    let socket = socket.max_message_size(call::LONGEST_MESSAGE).max_frame_size(call::LONGEST_MESSAGE);
    let answer: Response = socket.on_upgrade(move |socket| call::run(office, page, place, socket));
    Ok(answer)
}

/// Where the sound of a play is fetched.
fn sound_of(prompts: &[String]) -> String {
    format!("{SOUND}?p={}", prompts.join("."))
}

/// Some prompts one after the other, as a caller hears them.
async fn sound(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let line = office.line.as_ref().ok_or(Oops::NotFound)?;
    let library = line.shelf.library(page.ente.id);
    let names = query.as_deref().and_then(|query| query.strip_prefix("p=")).unwrap_or_default();
    let clips: Vec<_> = names.split('.').take(MOST_PROMPTS).filter_map(|name| library.clip(name)).collect();
    if clips.is_empty() {
        return Err(Oops::NotFound);
    }
    files::shown(files::FileKind::Wav, "voce", wav(&clips))
}
