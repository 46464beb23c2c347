//! The mail log: what was sent to whom, what the server said, trying again.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use chrono::{DateTime, Utc};

use super::{
    Answer, Area, FlashKind, Form, Office, Page,
    list::{Column, List, ListSpec},
};
use crate::{
    canteen::words::day_in_words,
    desk::{
        mail::{MailFilter, MailOrder, MailRow},
        people::Permission,
    },
};

const HERE: &str = "/ufficio/posta";

pub(super) fn routes(area: Area) -> Area {
    area.menu("Posta", HERE, Permission::SeeLetters)
        .get(HERE, Permission::SeeLetters, list)
        .post("/ufficio/posta/{id}/riprova", Permission::SendLetters, retry)
        .post("/ufficio/posta/{id}/ritira", Permission::SendLetters, withdraw)
}

/// States as the database has them, and as people read them.
const STATES: [(&str, &str); 6] = [
    ("queued", "in coda"),
    ("sending", "in spedizione"),
    ("sent", "inviata"),
    ("refused", "rifiutata"),
    ("given_up", "rinuncia"),
    ("withdrawn", "ritirata"),
];

/// A state for people.
pub(super) fn in_words(state: &str) -> &'static str {
    STATES.iter().find(|(word, _)| *word == state).map_or("sconosciuta", |(_, words)| words)
}

/// "giovedì 12 ottobre 2026, ore 8:55".
pub(super) fn moment(page: &Page, at: DateTime<Utc>) -> String {
    let local = page.ente.window.local(at);
    format!("{}, ore {}", day_in_words(local.date()), local.format("%-H:%M"))
}

static LIST: ListSpec<MailOrder> = ListSpec {
    path: HERE,
    columns: &[
        Column { label: "Quando", sort: Some(("quando", MailOrder::Time)), number: false },
        Column { label: "Destinatario", sort: Some(("destinatario", MailOrder::Recipient)), number: false },
        Column { label: "Oggetto", sort: Some(("oggetto", MailOrder::Subject)), number: false },
        Column { label: "Stato", sort: None, number: false },
        Column { label: "Azioni", sort: None, number: false },
    ],
    usual: (MailOrder::Time, true),
    filters: &["stato"],
};

/// A mail as it is listed.
struct Line {
    id: i64,
    at: String,
    recipient: String,
    recipient_name: String,
    subject: String,
    actor: String,
    state: &'static str,
    answer: Option<String>,
    next: Option<String>,
    attempts: i64,
    can_retry: bool,
    can_withdraw: bool,
}

impl Line {
    fn of(row: MailRow, page: &Page) -> Self {
        let may = page.may(Permission::SendLetters);
        let waits = row.state == "queued";
        Self {
            id: row.id,
            at: moment(page, row.queued_at),
            state: in_words(&row.state),
            next: (waits && row.attempts > 0).then(|| moment(page, row.next_at)),
            can_retry: may && (matches!(row.state.as_str(), "refused" | "given_up") || (waits && row.attempts > 0)),
            can_withdraw: may && waits,
            recipient: row.recipient,
            recipient_name: row.recipient_name,
            subject: row.subject,
            actor: row.actor,
            answer: row.answer,
            attempts: row.attempts,
        }
    }
}

#[derive(Template)]
#[template(path = "office/mail.html")]
struct Mails<'a> {
    page: &'a Page,
    list: List<MailOrder>,
    rows: Vec<Line>,
    total: i64,
    states: Vec<(&'static str, &'static str, i64)>,
    state: &'a str,
    has_mail: bool,
}

async fn list(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let page = page.titled("Posta");
    let list = List::of(&LIST, query.as_deref());
    let state = STATES.iter().map(|(word, _)| *word).find(|word| *word == list.filter("stato"));
    let filter = MailFilter { state, recipient: None, order: list.sort, descending: list.descending };
    let (rows, total) = office.desk.mails(page.ente.id, filter, list.offset(), list.limit()).await?;
    let counts = office.desk.mail_states(page.ente.id).await?;
    let count = |word: &str| counts.iter().find(|(state, _)| state == word).map_or(0, |(_, n)| *n);
    page.show(&Mails {
        page: &page,
        rows: rows.into_iter().map(|row| Line::of(row, &page)).collect(),
        list,
        total,
        states: STATES.iter().map(|(word, words)| (*word, *words, count(word))).collect(),
        state: state.unwrap_or_default(),
        has_mail: office.desk.has_mail(),
    })
}

async fn retry(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, form: Form) -> Answer {
    if form.is_bad() {
        return page.on_with(HERE, FlashKind::Warning, "La sessione era finita: prema di nuovo «Riprova».");
    }
    if office.desk.retry_mail(&page.actor(), id).await? {
        page.done(HERE, "Il messaggio è di nuovo in coda e parte fra poco.")
    } else {
        page.on_with(
            HERE,
            FlashKind::Failed,
            "Il messaggio non si può più spedire: il suo testo non è più conservato. Ne prepari uno nuovo.",
        )
    }
}

async fn withdraw(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, form: Form) -> Answer {
    if form.is_bad() {
        return page.on_with(HERE, FlashKind::Warning, "La sessione era finita: prema di nuovo «Ritira».");
    }
    if office.desk.withdraw_mail(&page.actor(), id).await? {
        page.done(HERE, "Il messaggio è ritirato: non sarà spedito.")
    } else {
        page.on_with(HERE, FlashKind::Failed, "Il messaggio non si può più ritirare: è già partito.")
    }
}
