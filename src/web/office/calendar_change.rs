//! Changes of the calendar: a form, what it would do, and then the doing. One preview and one confirmation for all of them.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::extract::{Path, Query, State};
use chrono::{NaiveDate, Weekday, WeekdaySet};

use super::{
    Answer, Area, FlashKind, Form, Office, Oops, Page,
    calendar::{HERE, Listed, listed},
    today::{channel_in_words, parsed},
};
use crate::{
    canteen::{
        book::{Book, Change, ClosureKind, Place},
        words::{date_in_words, day_in_words},
    },
    desk::{
        calendar::{
            CalendarError, LONGEST_CLOSURE, Plan,
            holidays::{Patron, Proposal, Standing},
            words::{in_words, notice, span_in_words},
        },
        people::Permission,
    },
};

/// Cancellations that a preview lists.
const MOST_LISTED: usize = 200;
/// Fields that a preview carries on to the confirmation.
const CARRIED: [&str; 12] = ["cosa", "luogo", "dal", "al", "tipo", "motivo", "chiusura", "prenota", "anno", "scuola", "classe", "torna"];
const WEEKDAYS: [(&str, &str); 7] =
    [("0", "lunedì"), ("1", "martedì"), ("2", "mercoledì"), ("3", "giovedì"), ("4", "venerdì"), ("5", "sabato"), ("6", "domenica")];

pub(super) fn routes(area: Area) -> Area {
    area.get("/ufficio/calendario/chiusura", Permission::ChangeCalendar, new_closure)
        .get("/ufficio/calendario/chiusure/{id}", Permission::ChangeCalendar, closure)
        .get("/ufficio/calendario/chiusure/{id}/avviso", Permission::SeeCalendar, tell)
        .get("/ufficio/calendario/periodi", Permission::ChangeCalendar, terms)
        .get("/ufficio/calendario/rientri", Permission::ChangeCalendar, returns)
        .get("/ufficio/calendario/festivita", Permission::ChangeCalendar, holidays)
        .post("/ufficio/calendario/anteprima", Permission::ChangeCalendar, preview)
        .post("/ufficio/calendario/fatto", Permission::ChangeCalendar, done)
        .post("/ufficio/calendario/festivita/tralascia", Permission::ChangeCalendar, leave_out)
        .post("/ufficio/calendario/patrono", Permission::ChangeCalendar, patron)
}

/// The forms.
#[derive(Template)]
#[template(path = "office/calendar_form.html")]
struct FormPage<'a> {
    page: &'a Page,
    form: &'a Form,
    what: &'a str,
    title: &'a str,
    places: Vec<(String, String)>,
    kinds: Vec<(String, String)>,
    schools: Vec<(String, String)>,
    years: Vec<(String, String)>,
    classes: Vec<(String, String)>,
    now: Vec<(String, String)>,
    closure: Option<Listed>,
    proposals: Vec<Proposal>,
    patron: Option<Patron>,
}

#[derive(Template)]
#[template(path = "office/calendar_preview.html")]
struct PreviewPage<'a> {
    page: &'a Page,
    form: &'a Form,
    carried: Vec<(String, String)>,
    title: String,
    told: Vec<String>,
    plan: &'a Plan,
    rows: Vec<(String, String, &'static str, String, &'static str)>,
    more: usize,
    stale: bool,
}

#[derive(Template)]
#[template(path = "office/calendar_notice.html")]
struct NoticePage<'a> {
    page: &'a Page,
    title: String,
    text: String,
    closure: i64,
    may_write: bool,
}

/// "martedì 8 dicembre 2026", for templates.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as templates call it")]
fn day_of(day: &NaiveDate) -> String {
    day_in_words(*day)
}

fn title_of(what: &str) -> &'static str {
    match what {
        "chiusura" => "Inserisci una chiusura",
        "riapertura" => "Togli una chiusura",
        "periodo" => "Periodo di servizio",
        "rientri" => "Giorni di rientro",
        "festivita" => "Festività",
        _ => "Calendario",
    }
}

async fn new_closure(State(office): State<Arc<Office>>, page: Page, Query(query): Query<HashMap<String, String>>) -> Answer {
    let day = query.get("giorno").and_then(|d| parsed(d).ok()).map_or_else(String::new, |d| d.to_string());
    let form = Form::showing([("dal", day.clone()), ("al", day), ("luogo", "tutte".to_owned())]);
    show_form(&office, page, "chiusura", &form, false).await
}

async fn closure(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let book = office.desk.calendar_book(page.ente.id).await?;
    let found = book.closures.iter().find(|c| c.id == id).ok_or(Oops::NotFound)?;
    let form = Form::showing([("chiusura", id.to_string()), ("dal", found.first.to_string()), ("al", found.last.to_string())]);
    show_form(&office, page, "riapertura", &form, false).await
}

async fn terms(State(office): State<Arc<Office>>, page: Page) -> Answer {
    show_form(&office, page, "periodo", &Form::empty(), false).await
}

async fn returns(State(office): State<Arc<Office>>, page: Page, Query(query): Query<HashMap<String, String>>) -> Answer {
    let form = Form::showing([("classe", query.get("classe").cloned().unwrap_or_default())]);
    show_form(&office, page, "rientri", &form, false).await
}

async fn holidays(State(office): State<Arc<Office>>, page: Page) -> Answer {
    show_form(&office, page, "festivita", &Form::empty(), false).await
}

async fn show_form(office: &Office, page: Page, what: &str, form: &Form, again: bool) -> Answer {
    let ente = page.ente.id;
    let book = office.desk.calendar_book(ente).await?;
    let years: Vec<(i64, String)> = office.desk.school_years(ente).await?.into_iter().map(|year| (year.id, year.name)).collect();
    let schools = office.desk.schools(ente).await?;
    let latest = years.first().map_or(0, |(id, _)| *id);
    let text = |rows: &[(i64, String)]| rows.iter().map(|(id, name)| (id.to_string(), name.clone())).collect::<Vec<_>>();
    let classes: Vec<_> = book.classes.iter().filter(|c| c.year == latest).collect();
    let mut places = vec![("tutte".to_owned(), "tutte le scuole".to_owned())];
    for (id, name) in &schools {
        places.push((format!("s{id}"), name.clone()));
        places.extend(classes.iter().filter(|c| c.school == *id).map(|c| (format!("c{}", c.id), format!("classe {} ({name})", c.name))));
    }
    let now = match what {
        "periodo" => standing_terms(&book, &years, &schools),
        "rientri" => classes.iter().map(|c| (format!("{} ({})", c.name, c.school_name), returns_in_words(c))).collect(),
        _ => vec![],
    };
    let (proposals, patron) = if what == "festivita" { office.desk.proposed_holidays(ente, latest).await? } else { (vec![], None) };
    let id: i64 = form.value("chiusura").parse().unwrap_or(0);
    let closure = book.closures.iter().find(|c| c.id == id && what == "riapertura").map(|c| listed(&book, c));
    let title = title_of(what);
    let page = page.under("Calendario", HERE).titled(title);
    let shown = FormPage {
        page: &page,
        form,
        what,
        title,
        places,
        kinds: ClosureKind::ALL.iter().map(|k| (k.word().to_owned(), k.label().to_owned())).collect(),
        schools: text(&schools),
        years: text(&years),
        classes: classes.iter().map(|c| (c.id.to_string(), format!("{} ({})", c.name, c.school_name))).collect(),
        now,
        closure,
        proposals,
        patron,
    };
    if again { page.show_again(&shown) } else { page.show(&shown) }
}

fn standing_terms(book: &Book, years: &[(i64, String)], schools: &[(i64, String)]) -> Vec<(String, String)> {
    let name = |rows: &[(i64, String)], id| rows.iter().find(|(row, _)| *row == id).map_or_else(String::new, |(_, name)| name.clone());
    let whom = |school: Option<i64>| school.map_or_else(|| "tutte le scuole senza un periodo proprio".to_owned(), |id| name(schools, id));
    let row = |t: &crate::canteen::book::BookTerm| {
        (format!("{}, {}", name(years, t.year), whom(t.school)), format!("dal {} al {}", date_in_words(t.first), date_in_words(t.last)))
    };
    book.terms.iter().map(row).collect()
}

fn weekdays_in_words(days: WeekdaySet) -> String {
    let named: Vec<&str> =
        days.iter(Weekday::Mon).filter_map(|d| WEEKDAYS.get(d.num_days_from_monday() as usize).map(|(_, name)| *name)).collect();
    if named.is_empty() { "nessun giorno".to_owned() } else { named.join(", ") }
}

fn returns_in_words(class: &crate::canteen::book::BookClass) -> String {
    let from = class.returns.iter().map(|(day, (_, days))| format!("dal {}: {}", date_in_words(*day), weekdays_in_words(*days)));
    std::iter::once(weekdays_in_words(class.weekdays)).chain(from).collect::<Vec<_>>().join("; ")
}

/// What a form asks for; its mistakes are noted in it.
fn changes_from(form: &mut Form, book: &Book, proposals: &[Proposal]) -> Vec<Change> {
    match form.value("cosa") {
        "chiusura" => {
            let (first, last) = span(form);
            let place = match form.value("luogo").split_at_checked(1) {
                Some(("s", id)) => id.parse().ok().map(Place::School),
                Some(("c", id)) => {
                    let class = book.classes.iter().find(|c| Some(c.id) == id.parse().ok());
                    class.map(|c| Place::Class { school: c.school, class: c.id })
                }
                _ if form.value("luogo") == "tutte" => Some(Place::Ente),
                _ => None,
            };
            if place.is_none() {
                form.wrong("luogo", "Dove", "Scelga una voce dell'elenco.");
            }
            let kind: Option<ClosureKind> = form.take_choice("tipo", "Tipo");
            let reason = form.take_optional_text("motivo", "Motivo", 200).unwrap_or_default();
            if kind == Some(ClosureKind::Other) && reason.is_empty() {
                form.wrong("motivo", "Motivo", "Scriva il motivo.");
            }
            match (place, kind) {
                (Some(place), Some(kind)) => vec![Change::Close { place, first, last, kind, reason }],
                _ => vec![],
            }
        }
        "riapertura" => {
            let (first, last) = span(form);
            vec![Change::Reopen { closure: form.value("chiusura").parse().unwrap_or(0), first, last, book: form.ticked("prenota") }]
        }
        "periodo" => {
            let year = form.value("anno").parse().unwrap_or(0);
            let school = form.value("scuola").parse().ok();
            let days =
                if form.value("dal").is_empty() && form.value("al").is_empty() && school.is_some() { None } else { Some(span(form)) };
            vec![Change::Term { year, school, days }]
        }
        "rientri" => {
            let class = form.value("classe").parse().unwrap_or(0);
            let from = form.take_day("dal", "Dal");
            let days = form.values("giorni").filter_map(|d| d.parse::<u8>().ok().and_then(|d| Weekday::try_from(d).ok())).collect();
            vec![Change::Returns { class, from, weekdays: Some(days) }]
        }
        "festivita" => {
            let chosen: Vec<Change> = proposals.iter().filter(|p| form.has("festa", &p.day.to_string())).map(Proposal::change).collect();
            if chosen.is_empty() {
                form.wrong_whole("Scelga almeno una festività.");
            }
            chosen
        }
        _ => {
            form.wrong_whole("Questo modulo non è completo: torni al calendario e ricominci.");
            vec![]
        }
    }
}

fn span(form: &mut Form) -> (NaiveDate, NaiveDate) {
    let first = form.take_day("dal", "Dal");
    let last = form.take_optional_day("al", "Al").unwrap_or(first);
    (first, last)
}

/// What is wrong, at the field where it can be mended; what cannot is passed on.
fn explain(form: &mut Form, error: CalendarError) -> Result<(), Oops> {
    match error {
        CalendarError::Backwards => form.wrong("al", "Al", "L'ultimo giorno viene prima del primo."),
        CalendarError::TooLong => form.wrong("al", "Al", format!("Sono troppi giorni: al massimo {LONGEST_CLOSURE}.")),
        CalendarError::LongTerm => form.wrong("al", "Al", "Il periodo di servizio dura al massimo un anno."),
        CalendarError::NoPlace => form.wrong_whole("Questa scuola, classe o anno scolastico non esiste."),
        CalendarError::NoClosure => form.wrong_whole("Questa chiusura non c'è più: qualcuno l'ha già tolta."),
        CalendarError::Counted(day) => form.wrong(
            "dal",
            "Dal",
            format!(
                "{} è già contato: i pasti di quel giorno non cambiano così. Scelga un giorno dopo, o inserisca una chiusura.",
                day_in_words(day)
            ),
        ),
        CalendarError::Nothing => form.wrong_whole("Non cambierebbe nulla: è già così."),
        CalendarError::Behind => form.wrong_whole("Un giorno si sta chiudendo proprio ora: riprovi tra qualche secondo."),
        CalendarError::Stale(_) => form.wrong_whole("Nel frattempo qualcosa è cambiato: controlli di nuovo."),
        CalendarError::Desk(error) => return Err(error.into()),
    }
    Ok(())
}

async fn read_changes(office: &Office, page: &Page, form: &mut Form) -> Result<Vec<Change>, Oops> {
    let book = office.desk.calendar_book(page.ente.id).await?;
    let proposals = if form.value("cosa") == "festivita" {
        let latest = office.desk.school_years(page.ente.id).await?.first().map_or(0, |year| year.id);
        office.desk.proposed_holidays(page.ente.id, latest).await?.0
    } else {
        vec![]
    };
    Ok(changes_from(form, &book, &proposals))
}

async fn preview(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let changes = read_changes(&office, &page, &mut form).await?;
    if !form.is_bad() {
        match office.desk.plan_calendar(page.ente.id, &changes).await {
            Ok(plan) => return show_plan(page, &form, &plan, false),
            Err(error) => explain(&mut form, error)?,
        }
    }
    let what = form.value("cosa").to_owned();
    show_form(&office, page, &what, &form, true).await
}

async fn done(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let changes = read_changes(&office, &page, &mut form).await?;
    if !form.is_bad() {
        let shown = form.value("_piano").to_owned();
        match office.desk.change_calendar(&page.actor(), &changes, Some(&shown)).await {
            Ok(plan) => return finished(&office, &page, &plan).await,
            Err(CalendarError::Stale(plan)) => return show_plan(page, &form, &plan, true),
            Err(error) => explain(&mut form, error)?,
        }
    }
    let what = form.value("cosa").to_owned();
    show_form(&office, page, &what, &form, true).await
}

/// After a closure: on to what families could be told; else back to the calendar.
async fn finished(office: &Office, page: &Page, plan: &Plan) -> Answer {
    let text = "Fatto. Il calendario è aggiornato per la linea, il portale e la cucina.";
    if let [Change::Close { place, first, last, kind, .. }] = plan.changes.as_slice() {
        let book = office.desk.calendar_book(page.ente.id).await?;
        let new = book.closures.iter().rev().find(|c| (c.place, c.first, c.last, c.kind) == (*place, *first, *last, *kind));
        if let Some(new) = new {
            return page.on_with(&format!("/ufficio/calendario/chiusure/{}/avviso", new.id), FlashKind::Done, text);
        }
    }
    page.done(HERE, text)
}

fn show_plan(page: Page, form: &Form, plan: &Plan, stale: bool) -> Answer {
    let what = form.value("cosa");
    let mut carried: Vec<(String, String)> =
        CARRIED.iter().filter(|name| form.ticked(name)).map(|name| ((*name).to_owned(), form.value(name).to_owned())).collect();
    carried.extend(["giorni", "festa"].iter().flat_map(|name| form.values(name).map(|v| ((*name).to_owned(), v.to_owned()))));
    let all = plan.falling.iter().map(|r| (r, "perde effetto")).chain(plan.returning.iter().map(|r| (r, "torna a valere")));
    let row = |(r, becomes): (&crate::store::StandingRow, &'static str)| {
        let kind = if r.kind == "cancelled" { "disdetta" } else { "pasto in bianco" };
        (
            format!("{} {}", r.last_name, r.first_name),
            day_in_words(r.day),
            kind,
            format!("{} · {}", channel_in_words(&r.channel), r.receipt),
            becomes,
        )
    };
    let rows: Vec<_> = all.clone().take(MOST_LISTED).map(row).collect();
    let more = all.count().saturating_sub(rows.len());
    let page = page.under("Calendario", HERE).titled("Che cosa succede");
    page.show(&PreviewPage { page: &page, form, carried, title: headline(plan, what), told: in_words(plan), plan, rows, more, stale })
}

fn headline(plan: &Plan, what: &str) -> String {
    match plan.changes.as_slice() {
        [Change::Close { place, first, last, kind, .. }] => {
            format!("{}: {}, {}", kind.label(), span_in_words(*first, *last), crate::desk::calendar::place_name(&plan.book, *place))
        }
        [Change::Reopen { first, last, .. }] => format!("Riapertura: {}", span_in_words(*first, *last)),
        [Change::Returns { from, weekdays: Some(days), .. }] => {
            format!("Rientri dal {}: {}", date_in_words(*from), weekdays_in_words(*days))
        }
        _ => title_of(what).to_owned(),
    }
}

async fn tell(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let book = office.desk.calendar_book(page.ente.id).await?;
    let closure = book.closures.iter().find(|c| c.id == id).ok_or(Oops::NotFound)?;
    let notice = notice(&book, closure);
    let page = page.under("Calendario", HERE).titled("Avviso alle famiglie");
    page.show(&NoticePage { page: &page, title: notice.title, text: notice.text, closure: id, may_write: page.may(Permission::WriteNews) })
}

async fn leave_out(State(office): State<Arc<Office>>, page: Page, form: Form) -> Answer {
    let day = parsed(form.value("giorno"))?;
    let out = form.value("come") != "riproponi";
    office.desk.leave_holiday_out(&page.actor(), day, out).await?;
    let text = if out { "La festività è tralasciata: quel giorno la mensa c'è." } else { "La festività è di nuovo proposta." };
    page.done("/ufficio/calendario/festivita", text)
}

async fn patron(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let name = form.take_text("nome", "Nome", 100);
    let day = form.take_number("giorno", "Giorno", 1, 31);
    let month = form.take_number("mese", "Mese", 1, 12);
    if !form.is_bad() {
        if office.desk.set_patron(&page.actor(), month as u32, day as u32, &name).await? {
            return page.done("/ufficio/calendario/festivita", "La festa del patrono è salvata.");
        }
        form.wrong("giorno", "Giorno", "Questo giorno non esiste.");
    }
    show_form(&office, page, "festivita", &form, true).await
}
