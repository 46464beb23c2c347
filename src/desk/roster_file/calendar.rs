//! The calendar's table: terms and closures, a row each.

use std::collections::HashMap;

use chrono::{Datelike, TimeDelta};

use super::{
    Report, cells,
    columns::{Columns, Field},
    grid::Grid,
    places::Places,
    row::Row,
};
use crate::canteen::roster::{CalendarRows, ClosureRow, Origin, Scope, TermRow, fold};

/// What a row of the calendar is called when it is a term.
const TERM_WORDS: [&str; 6] = ["termine", "servizio", "periodo", "anno scolastico", "apertura", "lezioni"];
/// And when it is a closure; these words also serve as the reason where none is given.
const CLOSURE_WORDS: [&str; 14] = [
    "festa",
    "festivita",
    "vacanza",
    "vacanze",
    "ponte",
    "elezioni",
    "sciopero",
    "allerta",
    "allerta meteo",
    "gita",
    "uscita",
    "uscita didattica",
    "sospensione",
    "disinfestazione",
];
/// The plain word for a closure, which says nothing of the reason.
const CLOSURE: [&str; 2] = ["chiusura", "chiuso"];
/// Longer than a school year is a slip of the pen.
const LONGEST: TimeDelta = TimeDelta::days(366);

/// Reads the tables of the calendar and adds the national holidays.
pub(super) fn read<'a>(tables: impl Iterator<Item = (&'a Grid, &'a Columns)>, places: &Places, report: &mut Report) -> CalendarRows {
    let mut calendar = CalendarRows::default();
    let mut terms: HashMap<Option<String>, Origin> = HashMap::new();
    for (grid, columns) in tables {
        for row in &grid.rows {
            let mut row = Row::new(grid, columns, row);
            let word = row.required(Field::EntryKind, report);
            let kind = fold(&word);
            if TERM_WORDS.contains(&kind.as_str()) {
                let Some(term) = term(&mut row, places, report) else { continue };
                if let Some(other) = terms.insert(term.school.clone(), row.origin.clone()) {
                    row.problem(Some(Field::School), format!("il periodo di servizio è già in «{other}»"), report);
                }
                let year = school_year(&term);
                if calendar.school_year.as_ref().is_some_and(|other| *other != year) {
                    row.problem(Some(Field::From), "è di un altro anno scolastico rispetto alle righe precedenti", report);
                }
                calendar.school_year.get_or_insert(year);
                calendar.terms.push(term);
            } else if CLOSURE.contains(&kind.as_str()) || CLOSURE_WORDS.contains(&kind.as_str()) {
                let default = CLOSURE_WORDS.contains(&kind.as_str()).then_some(word);
                let Some(closure) = closure(&mut row, default, places, report) else { continue };
                if calendar.closures.contains(&closure) {
                    row.problem(None, "la riga è già presente", report);
                } else {
                    calendar.closures.push(closure);
                }
            } else if !kind.is_empty() {
                row.problem(Some(Field::EntryKind), format!("«{word}» non è previsto: scrivere «servizio» o «chiusura»"), report);
            }
        }
    }
    calendar.add_national_holidays();
    calendar
}

/// The school year runs from July to June, e.g. `2026/2027`.
fn school_year(term: &TermRow) -> String {
    let first = if term.first.month() >= 7 { term.first.year() } else { term.first.year() - 1 };
    format!("{first}/{}", first + 1)
}

fn term(row: &mut Row<'_>, places: &Places, report: &mut Report) -> Option<TermRow> {
    let school = places.optional_school(row, report);
    let first = row.read(Field::From, cells::date, report);
    let last = row.read(Field::To, cells::date, report);
    if row.text(Field::Class, report).is_some() {
        row.problem(Some(Field::Class), "il periodo di servizio vale per una scuola o per tutte, non per una classe", report);
    }
    for (field, day) in [(Field::From, first), (Field::To, last)] {
        if day.is_none() && row.is_sound() {
            row.problem(Some(field), "manca", report);
        }
    }
    let (first, last) = (first?, last?);
    check_span(row, last - first, report);
    row.is_sound().then_some(TermRow { school, first, last })
}

fn closure(row: &mut Row<'_>, default: Option<String>, places: &Places, report: &mut Report) -> Option<ClosureRow> {
    let school = places.optional_school(row, report);
    let class = row.text(Field::Class, report);
    let scope = match (school, class) {
        (None, None) => Scope::Ente,
        (Some(school), None) => Scope::School { school },
        (Some(school), Some(class)) => {
            let class = places.class(&school, &class, row, report)?;
            Scope::Class { school, class }
        }
        (None, Some(_)) => {
            // An unknown school has been reported already.
            if row.is_sound() {
                row.problem(Some(Field::Class), "per chiudere una sola classe bisogna indicare anche la scuola", report);
            }
            return None;
        }
    };
    let first = row.read(Field::From, cells::date, report);
    let last = row.read(Field::To, cells::date, report).or(first);
    let reason = row.text(Field::Reason, report).or(default);
    if reason.is_none() && row.is_sound() {
        row.problem(Some(Field::Reason), "manca il motivo della chiusura", report);
    }
    if first.is_none() && row.is_sound() {
        row.problem(Some(Field::From), "manca", report);
    }
    let (first, last) = (first?, last?);
    check_span(row, last - first, report);
    row.is_sound().then_some(ClosureRow { scope, first, last, reason: reason? })
}

fn check_span(row: &mut Row<'_>, length: TimeDelta, report: &mut Report) {
    if length < TimeDelta::zero() {
        row.problem(Some(Field::To), "la fine viene prima dell'inizio", report);
    } else if length > LONGEST {
        row.problem(Some(Field::To), "il periodo supera un anno", report);
    }
}
