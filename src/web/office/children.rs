//! Children: search, and a page for each.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderValue, header},
    response::IntoResponse,
};
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};

use super::{
    Answer, Area, Form, Office, Oops, Page, behalf, child_edit, imports,
    list::{Column, List, ListSpec},
    new_year,
    tickets::TicketsOf,
};
use crate::{
    canteen::{ChildId, DayState, window::Window},
    desk::{
        calls::masked,
        explain::{choice_in_words, day_in_words, no_service_in_words, reason_in_words},
        family::{ChildFile, Choices, MonthDay},
        people::Permission,
        trail::Subject,
    },
    store::{ChildFilter, ListedChild, Order, Page as Part, StoredOperation, Verdict},
};

/// Rows of a search: whoever wants more types more.
const FOUND: i64 = 50;

pub(super) fn area() -> Area {
    let area = Area::new()
        .menu("Bambini", "/ufficio/bambini", Permission::SeeFamilies)
        .get("/ufficio/bambini", Permission::SeeFamilies, list)
        .post("/ufficio/bambini/cerca", Permission::SeeFamilies, search)
        .get("/ufficio/bambini/archivio", Permission::Export, archive)
        .get("/ufficio/bambini/{id}", Permission::SeeFamilies, show)
        .get("/ufficio/bambini/{id}/perche/{operazione}", Permission::SeeFamilies, why)
        .post("/ufficio/bambini/{id}/codice", Permission::SendLetters, show_code)
        .get("/ufficio/bambini/{id}/archivio", Permission::Export, archive_one);
    new_year::routes(imports::routes(behalf::routes(child_edit::routes(area))))
}

static SPEC: ListSpec<Order> = ListSpec {
    path: "/ufficio/bambini",
    columns: &[
        Column { label: "Cognome e nome", sort: Some(("nome", Order::Name)), number: false },
        Column { label: "Classe", sort: Some(("classe", Order::Class)), number: false },
        Column { label: "Dieta", sort: Some(("dieta", Order::Diet)), number: false },
        Column { label: "Iscrizione", sort: None, number: false },
    ],
    usual: (Order::Name, false),
    filters: &["anno", "scuola", "classe", "dieta"],
};

/// A row of the list.
struct Row {
    id: i64,
    name: String,
    class: String,
    diet: String,
    enrolment: String,
}

#[derive(Template)]
#[template(path = "office/children.html")]
struct ListPage<'a> {
    page: &'a Page,
    form: &'a Form,
    list: &'a List<Order>,
    rows: &'a [Row],
    total: i64,
    searched: bool,
    /// What the filters offer: value and words.
    years: Vec<(String, String)>,
    schools: Vec<(String, String)>,
    classes: Vec<(String, String)>,
    diets: Vec<(String, String)>,
    anyone: bool,
}

impl<'a> ListPage<'a> {
    fn new(page: &'a Page, form: &'a Form, list: &'a List<Order>, rows: &'a [Row], total: i64, choices: &Choices) -> Self {
        Self {
            page,
            form,
            list,
            rows,
            total,
            searched: false,
            years: choices.years.iter().map(|y| (y.id.to_string(), y.name.clone())).collect(),
            schools: choices.schools.iter().map(|s| (s.id.to_string(), s.name.clone())).collect(),
            classes: choices.classes.iter().map(|c| (c.id.to_string(), format!("{}, {}", c.name, c.school))).collect(),
            diets: choices.diets.iter().map(|d| (d.clone(), d.clone())).collect(),
            anyone: total > 0 || list.is_filtered(),
        }
    }

    fn may_change(&self) -> bool {
        self.page.may(Permission::ChangeFamilies)
    }

    fn may_export(&self) -> bool {
        self.page.may(Permission::Export)
    }
}

fn row(child: ListedChild, latest: &str) -> Row {
    let enrolment = match child.enrolled_last {
        Some(last) => format!("fino al {}", last.format("%d/%m/%Y")),
        None if child.year != latest => format!("uscito ({})", child.year),
        None => "in corso".to_owned(),
    };
    Row {
        id: child.id,
        name: format!("{} {}", child.last_name, child.first_name),
        class: format!("{}, {}", child.class, child.school),
        diet: child.diet,
        enrolment,
    }
}

async fn list(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let list = List::of(&SPEC, query.as_deref());
    let choices = office.desk.filters(page.ente.id).await?;
    let number = |name: &str| list.filter(name).parse::<i64>().ok();
    let latest = choices.years.first().map(|y| y.id);
    let filter = ChildFilter {
        text: String::new(),
        year: number("anno").or(latest),
        school: number("scuola"),
        class: number("classe"),
        diet: Some(list.filter("dieta").to_owned()).filter(|diet| !diet.is_empty()),
    };
    let part = Part { offset: list.offset(), limit: list.limit(), descending: list.descending };
    let (found, total) = office.desk.list_children(page.ente.id, &filter, list.sort, part).await?;
    let newest = choices.years.first().map(|y| y.name.clone()).unwrap_or_default();
    let rows: Vec<_> = found.into_iter().map(|child| row(child, &newest)).collect();
    let mut form = Form::showing(["scuola", "classe", "dieta"].map(|name| (name, list.filter(name).to_owned())));
    form.set("anno", filter.year.map(|y| y.to_string()).unwrap_or_default());
    let page = page.titled("Bambini");
    page.show(&ListPage::new(&page, &form, &list, &rows, total, &choices))
}

/// By words or by number. Sent as a form: what was typed is in no address and no log.
async fn search(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let text = form.take_optional_text("testo", "Che cosa cerca", 100).unwrap_or_default();
    let choices = office.desk.filters(page.ente.id).await?;
    let newest = choices.years.first().map(|y| y.name.clone()).unwrap_or_default();
    if crate::canteen::roster::fold(&text).chars().count() < 2 {
        form.wrong("testo", "Cerca", "Scriva almeno due lettere.");
        let page = page.under("Bambini", "/ufficio/bambini").titled("Ricerca");
        return page.show(&ListPage { searched: true, ..ListPage::new(&page, &form, &List::of(&SPEC, None), &[], 0, &choices) });
    }
    let exact = office.desk.child_by_number(page.ente.id, &text).await?;
    let (found, total) = if let Some(child) = exact {
        let found = office.desk.listed_child(page.ente.id, child).await?;
        (found.into_iter().collect::<Vec<_>>(), 1)
    } else {
        let filter = ChildFilter { text, ..ChildFilter::default() };
        let part = Part { offset: 0, limit: FOUND, descending: false };
        office.desk.list_children(page.ente.id, &filter, Order::Name, part).await?
    };
    let rows: Vec<_> = found.into_iter().map(|child| row(child, &newest)).collect();
    let list = List::of(&SPEC, None);
    let page = page.under("Bambini", "/ufficio/bambini").titled("Ricerca");
    page.show(&ListPage { searched: true, ..ListPage::new(&page, &form, &list, &rows, total, &choices) })
}

/// A cell of the calendar.
struct Cell {
    day: Option<NaiveDate>,
    number: u32,
    symbol: &'static str,
    word: &'static str,
    css: &'static str,
    title: String,
    /// May it be changed here?
    open: bool,
    corrected: bool,
    today: bool,
}

/// A state in a word, with its sign and its class of style: never by colour alone.
pub(super) fn state_in_words(state: DayState) -> (&'static str, &'static str, &'static str) {
    match state {
        DayState::Served => ("✓", "Pasto", "served"),
        DayState::Cancelled => ("✕", "Disdetto", "cancelled"),
        DayState::White => ("○", "In bianco", "white"),
        DayState::Suspended => ("‖", "Sospeso", "suspended"),
        DayState::NoService => ("–", "Niente", "none"),
    }
}

/// An operation as the page shows it.
struct Done {
    id: i64,
    at: String,
    channel: &'static str,
    actor: String,
    what: String,
    outcome: String,
    refused: bool,
    receipt: String,
    note: Option<String>,
}

/// How a channel is called.
fn channel_in_words(channel: &str) -> &'static str {
    match channel {
        "phone" => "telefono",
        "web" => "portale",
        "office" => "ufficio",
        _ => "altro",
    }
}

fn local(window: &Window, at: DateTime<Utc>) -> String {
    let local = window.local(at);
    format!("{}, {}", local.format("%d/%m/%Y"), local.format("%-H:%M:%S"))
}

fn done(operation: StoredOperation, window: &Window) -> Done {
    let (outcome, refused) = match operation.verdict {
        Verdict::Accepted(day) => (format!("Accolta per {}", day_in_words(day)), false),
        Verdict::Refused(reason, day) => (format!("Rifiutata: {}", reason_in_words(reason, day, window)), true),
        Verdict::DayChanged(day) => (format!("Non eseguita: il giorno era diventato {}", day_in_words(day)), true),
    };
    let actor = match operation.actor.as_str() {
        "withheld" => "numero riservato".to_owned(),
        number if operation.channel == "phone" => masked(number),
        name => name.to_owned(),
    };
    let until = operation.until.map(|day| format!(" fino a {}", day_in_words(day))).unwrap_or_default();
    Done {
        id: operation.id,
        at: local(window, operation.at),
        channel: channel_in_words(&operation.channel),
        actor,
        what: format!("{}{until}", capitalised(choice_in_words(operation.choice))),
        outcome,
        refused,
        receipt: operation.receipt,
        note: operation.note,
    }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A call in which something was done.
struct Call {
    id: String,
    at: String,
    caller: String,
    operations: i64,
}

/// A correction of a closed day.
struct Corrected {
    day: String,
    becomes: &'static str,
    reason: String,
    actor: String,
    at: String,
}

#[derive(Template)]
#[template(path = "office/child.html")]
struct ChildPage<'a> {
    page: &'a Page,
    form: &'a Form,
    file: &'a ChildFile,
    name: &'a str,
    month: &'a str,
    before: &'a str,
    after: &'a str,
    weeks: &'a [Vec<Cell>],
    operations: &'a [Done],
    calls: &'a [Call],
    corrections: &'a [Corrected],
    code: Option<&'a str>,
    tickets: Option<TicketsOf>,
}

impl ChildPage<'_> {
    fn may_change(&self) -> bool {
        self.page.may(Permission::ChangeFamilies)
    }

    fn may_see_code(&self) -> bool {
        self.page.may(Permission::SendLetters)
    }

    fn may_see_line(&self) -> bool {
        self.page.may(Permission::SeeLine)
    }

    fn may_export(&self) -> bool {
        self.page.may(Permission::Export)
    }

    fn enrolment(&self) -> String {
        let day = |day: NaiveDate| day.format("%d/%m/%Y").to_string();
        match (self.file.found.state.enrolled_first, self.file.found.state.enrolled_last) {
            (None, None) => "per tutto il servizio".to_owned(),
            (Some(first), None) => format!("dal {}", day(first)),
            (None, Some(last)) => format!("fino al {}", day(last)),
            (Some(first), Some(last)) => format!("dal {} al {}", day(first), day(last)),
        }
    }
}

/// The first of the month that the address asks for, or of today's.
fn month_asked(query: Option<&str>, today: NaiveDate) -> NaiveDate {
    let asked = query.and_then(|query| {
        let (_, month) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "mese")?;
        NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").ok()
    });
    asked.filter(|month| (2000..=2200).contains(&month.year())).unwrap_or(today).with_day(1).unwrap_or(today)
}

fn cell(day: MonthDay, today: NaiveDate) -> Cell {
    let (symbol, word, css) = state_in_words(day.state);
    let mut title = format!("{}: {}", day_in_words(day.day), word.to_lowercase());
    if day.state == DayState::NoService {
        title = format!("{}: niente mensa", day_in_words(day.day));
        if let Some(why) = day.why {
            title = format!("{title}, {}", no_service_in_words(why));
        }
    }
    if day.corrected {
        title.push_str(", corretto dopo il termine");
    }
    Cell {
        day: Some(day.day),
        number: day.day.day(),
        symbol,
        word,
        css,
        title,
        open: day.state != DayState::NoService || (day.closed && day.why.is_none()),
        corrected: day.corrected,
        today: day.day == today,
    }
}

/// The weeks of a month, from Monday.
fn weeks(days: &[MonthDay], today: NaiveDate) -> Vec<Vec<Cell>> {
    let empty =
        || Cell { day: None, number: 0, symbol: "", word: "", css: "", title: String::new(), open: false, corrected: false, today: false };
    let lead = days.first().map_or(0, |d| d.day.weekday().num_days_from_monday() as usize);
    let mut cells: Vec<Cell> = (0..lead).map(|_| empty()).collect();
    cells.extend(days.iter().map(|day| cell(*day, today)));
    while !cells.len().is_multiple_of(7) {
        cells.push(empty());
    }
    let mut weeks = Vec::new();
    while !cells.is_empty() {
        let rest = cells.split_off(7.min(cells.len()));
        weeks.push(std::mem::replace(&mut cells, rest));
    }
    weeks
}

async fn show(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, RawQuery(query): RawQuery) -> Answer {
    child_page(&office, page, id, query.as_deref(), None).await
}

async fn show_code(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let code = office.desk.show_code(&page.actor(), ChildId(id)).await?;
    child_page(&office, page, id, None, Some(&code)).await
}

async fn child_page(office: &Office, page: Page, id: i64, query: Option<&str>, code: Option<&str>) -> Answer {
    let (window, now) = office.desk.window(page.ente.id).await?;
    let today = window.local(now).date();
    let first = month_asked(query, today);
    let last = first.checked_add_months(Months::new(1)).and_then(|next| next.pred_opt()).unwrap_or(first);
    let mut file = office.desk.child_file(page.ente.id, ChildId(id), first, last).await?;
    let name = format!("{} {}", file.row.last_name, file.row.first_name);
    let subject = Subject { kind: "bambino", id: Some(id), name: &name };
    office.desk.note_seen(&page.actor(), "ha guardato la pagina di un bambino", subject).await?;
    let weeks = weeks(&file.days, today);
    let operations: Vec<_> = std::mem::take(&mut file.operations).into_iter().map(|o| done(o, &window)).collect();
    let call = |c: &crate::store::ChildCall| Call {
        id: c.id.clone(),
        at: local(&window, c.started_at),
        caller: c.caller.as_deref().map_or_else(|| "numero riservato".to_owned(), masked),
        operations: c.operations,
    };
    let calls: Vec<_> = file.calls.iter().map(call).collect();
    let mut corrections = Vec::new();
    for c in &file.corrections {
        let (_, becomes, _) = state_in_words(c.becomes);
        corrections.push(Corrected {
            day: day_in_words(c.day),
            becomes,
            reason: c.reason.clone(),
            actor: c.actor.clone(),
            at: local(&window, c.at),
        });
    }
    let month_link = |day: Option<NaiveDate>| day.map(|day| day.format("%Y-%m").to_string()).unwrap_or_default();
    let in_words = day_in_words(first);
    let month = in_words.splitn(3, ' ').nth(2).unwrap_or_default();
    let form = Form::showing([("_version", file.found.version.to_string())]);
    let tickets = office.desk.tickets_of_child(page.ente.id, ChildId(id)).await?;
    let page = page.under("Bambini", "/ufficio/bambini").titled(&name);
    page.show(&ChildPage {
        page: &page,
        form: &form,
        file: &file,
        name: &name,
        month,
        before: &month_link(first.checked_sub_months(Months::new(1))),
        after: &month_link(first.checked_add_months(Months::new(1))),
        weeks: &weeks,
        operations: &operations,
        calls: &calls,
        corrections: &corrections,
        code,
        tickets: TicketsOf::new(&page, tickets, &format!("bambino={id}")),
    })
}

#[derive(Template)]
#[template(path = "office/child_why.html")]
struct WhyPage<'a> {
    page: &'a Page,
    operation: &'a Done,
    steps: &'a [String],
    conclusion: &'a str,
    back: &'a str,
}

async fn why(State(office): State<Arc<Office>>, page: Page, Path((id, operation)): Path<(i64, i64)>) -> Answer {
    let found = office.desk.explain_operation(page.ente.id, ChildId(id), operation).await?;
    let (operation, words) = found.ok_or(Oops::NotFound)?;
    let (window, _) = office.desk.window(page.ente.id).await?;
    let back = format!("/ufficio/bambini/{id}");
    let operation = done(operation, &window);
    let steps: Vec<_> = words.steps.iter().map(|step| capitalised(step)).collect();
    let page = page.under("Bambini", "/ufficio/bambini").under("Scheda", &back).titled("Perché");
    page.show(&WhyPage { page: &page, operation: &operation, steps: &steps, conclusion: &words.conclusion, back: &back })
}

async fn archive(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let subject = Subject { kind: "archivio", id: None, name: "tutti i bambini" };
    office.desk.note_seen(&page.actor(), "ha scaricato l'archivio", subject).await?;
    Ok(zip_of(office, &page, None))
}

async fn archive_one(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let child = ChildId(id);
    let found = office.desk.listed_child(page.ente.id, child).await?.ok_or(Oops::NotFound)?;
    let name = format!("{} {}", found.last_name, found.first_name);
    let subject = Subject { kind: "bambino", id: Some(id), name: &name };
    office.desk.note_seen(&page.actor(), "ha scaricato i dati di un bambino", subject).await?;
    Ok(zip_of(office, &page, Some(child)))
}

/// The archive as it is written: a few parts wait at most, whoever reads slowly holds the writing up.
fn zip_of(office: Arc<Office>, page: &Page, child: Option<ChildId>) -> axum::response::Response {
    let (to, from) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    let ente = page.ente.id;
    tokio::spawn(async move {
        if let Err(error) = office.desk.archive(ente, child, &to).await {
            tracing::warn!(%error, "archive");
        }
    });
    let parts = futures_util::stream::unfold(from, async |mut from| {
        let part = from.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(part), from))
    });
    let mut response = axum::body::Body::from_stream(parts).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"archivio-mensa.zip\""));
    response
}
