//! The trail: who saw and changed what.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Days, NaiveDate, Utc};

use super::{
    Answer, Area, Form, Office, Oops, Page,
    list::{Column, List, ListSpec},
    when,
};
use crate::{
    desk::people::Permission,
    store::{TrailAsked, TrailRow, TrailSort},
};

pub(super) fn area() -> Area {
    Area::new().menu("Registro", "/ufficio/registro", Permission::SeeAudit).get("/ufficio/registro", Permission::SeeAudit, show).get(
        "/ufficio/registro/{id}",
        Permission::SeeAudit,
        one,
    )
}

static LIST: ListSpec<TrailSort> = ListSpec {
    path: "/ufficio/registro",
    columns: &[
        Column { label: "Quando", sort: Some(("quando", TrailSort::At)), number: false },
        Column { label: "Chi", sort: Some(("chi", TrailSort::Actor)), number: false },
        Column { label: "Che cosa", sort: Some(("cosa", TrailSort::Action)), number: false },
        Column { label: "Su che cosa", sort: None, number: false },
        Column { label: "Da dove", sort: None, number: false },
    ],
    usual: (TrailSort::At, true),
    filters: &["chi", "cosa", "su", "dal", "al"],
};

struct Line {
    row: TrailRow,
    when: String,
}

#[derive(Template)]
#[template(path = "office/trail.html")]
struct Trail<'a> {
    page: &'a Page,
    list: List<TrailSort>,
    form: Form,
    lines: Vec<Line>,
    total: i64,
    actors: Vec<(String, String)>,
    actions: Vec<(String, String)>,
}

fn choices(words: Vec<String>) -> Vec<(String, String)> {
    std::iter::once((String::new(), "Tutti".to_owned())).chain(words.into_iter().map(|w| (w.clone(), w))).collect()
}

async fn show(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Oops> {
    let list = List::of(&LIST, query.as_deref());
    let day = |name: &str| NaiveDate::parse_from_str(list.filter(name), "%Y-%m-%d").ok();
    let midnight = |day: NaiveDate| page.ente.window.instant(day.and_time(chrono::NaiveTime::MIN));
    let asked = TrailAsked {
        from: day("dal").map_or(DateTime::UNIX_EPOCH, midnight),
        to: day("al").and_then(|d| d.checked_add_days(Days::new(1))).map_or_else(far, midnight),
        actor: list.filter("chi"),
        action: list.filter("cosa"),
        subject: list.filter("su"),
        sort: list.sort,
        descending: list.descending,
        limit: list.limit(),
        offset: list.offset(),
    };
    let (rows, total) = office.desk.trail(page.ente.id, &asked).await?;
    let (actions, actors) = office.desk.trail_words(page.ente.id).await?;
    let form = Form::showing(LIST.filters.iter().map(|name| (*name, list.filter(name).to_owned())));
    let lines = rows.into_iter().map(|row| Line { when: when(&page.ente, row.at), row }).collect();
    let page = page.titled("Registro");
    page.show(&Trail { page: &page, list, form, lines, total, actors: choices(actors), actions: choices(actions) })
}

/// Later than any line.
fn far() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(9999, 1, 1).map_or(DateTime::UNIX_EPOCH, |day| day.and_time(chrono::NaiveTime::MIN).and_utc())
}

struct Difference {
    what: String,
    before: String,
    after: String,
}

#[derive(Template)]
#[template(path = "office/trail_line.html")]
struct TrailLine<'a> {
    page: &'a Page,
    row: TrailRow,
    when: String,
    differences: Vec<Difference>,
}

/// A value as people read it: lists without brackets and quotes.
fn in_words(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "–".to_owned(),
        serde_json::Value::Bool(true) => "sì".to_owned(),
        serde_json::Value::Bool(false) => "no".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(values) if values.is_empty() => "–".to_owned(),
        serde_json::Value::Array(values) => values.iter().map(in_words).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

/// What stood before and what after, name by name.
fn differences(row: &TrailRow) -> Vec<Difference> {
    let read = |text: &Option<String>| match text.as_deref().map(serde_json::from_str) {
        Some(Ok(serde_json::Value::Object(map))) => map,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (read(&row.before), read(&row.after));
    let mut names: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
    names.sort();
    names.dedup();
    let shown = |value: Option<&serde_json::Value>| value.map_or_else(|| "–".to_owned(), in_words);
    names.into_iter().map(|what| Difference { before: shown(before.get(&what)), after: shown(after.get(&what)), what }).collect()
}

async fn one(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let row = office.desk.trail_line(page.ente.id, id).await?.ok_or(Oops::NotFound)?;
    let when = when(&page.ente, row.at);
    let page = page.under("Registro", "/ufficio/registro").titled("Voce del registro");
    page.show(&TrailLine { page: &page, differences: differences(&row), row, when })
}
