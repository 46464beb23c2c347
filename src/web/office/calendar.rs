//! The calendar: the school year as a picture, a day and what can be done with it. Every change is shown before it is done (`calendar_change`).

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::extract::{Path, Query, State};
use chrono::{Datelike, NaiveDate};

use super::{Answer, Area, Office, Oops, Page, calendar_change, today::parsed};
use crate::{
    canteen::{
        book::{Book, BookClass, BookClosure, ClosureKind},
        calendar::ServiceCalendar,
        words::day_in_words,
    },
    desk::{
        calendar::{place_name, words::span_in_words},
        kitchen::DayCount,
        people::Permission,
    },
    store::SchoolYearRow,
};

pub(super) const HERE: &str = "/ufficio/calendario";
/// The longest school year that is drawn, in months.
const MOST_MONTHS: usize = 14;

pub(super) fn area() -> Area {
    let area = Area::new().menu("Calendario", HERE, Permission::SeeCalendar).get(HERE, Permission::SeeCalendar, year).get(
        "/ufficio/calendario/giorno/{day}",
        Permission::SeeCalendar,
        day,
    );
    calendar_change::routes(area)
}

/// What a day is, for the classes that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayKind {
    /// All that have it as a day of return eat.
    Open,
    /// Some do not.
    Part,
    /// Closed.
    Shut,
    /// Holiday.
    Feast,
    /// Nobody's day of return.
    None,
    /// Outside the term.
    Outside,
}

impl DayKind {
    fn css(self) -> &'static str {
        match self {
            Self::Open => "vg-open",
            Self::Part => "vg-part",
            Self::Shut => "vg-shut",
            Self::Feast => "vg-feast",
            Self::None | Self::Outside => "vg-none",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Open => "●",
            Self::Part => "◐",
            Self::Shut => "✕",
            Self::Feast => "★",
            Self::None => "–",
            Self::Outside => "",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Open => "mensa",
            Self::Part => "mensa solo per alcune classi",
            Self::Shut => "chiusura",
            Self::Feast => "festività",
            Self::None => "nessun rientro",
            Self::Outside => "fuori dal periodo di servizio",
        }
    }

    const LEGEND: [Self; 5] = [Self::Open, Self::Part, Self::Shut, Self::Feast, Self::None];
}

/// What `day` is for these classes.
fn kind_of(book: &Book, classes: &[(&BookClass, ServiceCalendar)], day: NaiveDate) -> DayKind {
    let (mut eats, mut shut, mut feast, mut inside) = (0, 0, false, false);
    for (class, calendar) in classes {
        if day < calendar.first || calendar.last < day {
            continue;
        }
        inside = true;
        if calendar.is_service_day(day) {
            eats += 1;
        } else if calendar.weekdays_on(day).contains(day.weekday()) {
            shut += 1;
            feast |= book.closures_on(class, day).any(|c| c.kind == ClosureKind::Holiday);
        }
    }
    match (eats, shut) {
        (0, 0) if inside => DayKind::None,
        (0, 0) => DayKind::Outside,
        (0, _) if feast => DayKind::Feast,
        (0, _) => DayKind::Shut,
        (_, 0) => DayKind::Open,
        _ => DayKind::Part,
    }
}

struct Cell {
    day: NaiveDate,
    kind: DayKind,
    is_today: bool,
}

struct Month {
    name: String,
    weeks: Vec<Vec<Option<Cell>>>,
}

/// The months from the first day to the last, week by week.
fn months(book: &Book, classes: &[(&BookClass, ServiceCalendar)], today: NaiveDate) -> Vec<Month> {
    let terms = || classes.iter().map(|(_, c)| c).filter(|c| c.first <= c.last);
    let (Some(first), Some(last)) = (terms().map(|c| c.first).min(), terms().map(|c| c.last).max()) else { return Vec::new() };
    let mut months = Vec::new();
    let mut start = first.with_day(1).unwrap_or(first);
    while start <= last && months.len() < MOST_MONTHS {
        let mut weeks: Vec<Vec<Option<Cell>>> = Vec::new();
        for day in start.iter_days().take_while(|d| d.month() == start.month()) {
            let column = day.weekday().num_days_from_monday() as usize;
            if column == 0 || weeks.is_empty() {
                weeks.push((0..7).map(|_| None).collect());
            }
            if let Some(place) = weeks.last_mut().and_then(|week| week.get_mut(column)) {
                *place = Some(Cell { day, kind: kind_of(book, classes, day), is_today: day == today });
            }
        }
        let name = crate::canteen::words::date_in_words(start);
        months.push(Month { name: name.split_once(' ').map_or(name.clone(), |(_, month)| month.to_owned()), weeks });
        let Some(next) = start.checked_add_months(chrono::Months::new(1)) else { break };
        start = next;
    }
    months
}

/// A closure as it is listed.
pub(super) struct Listed {
    pub(super) id: i64,
    pub(super) days: String,
    pub(super) place: String,
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

pub(super) fn listed(book: &Book, closure: &BookClosure) -> Listed {
    Listed {
        id: closure.id,
        days: span_in_words(closure.first, closure.last),
        place: place_name(book, closure.place),
        kind: closure.kind.label(),
        reason: closure.reason.clone(),
    }
}

#[derive(Template)]
#[template(path = "office/calendar.html")]
struct YearPage<'a> {
    page: &'a Page,
    years: &'a [SchoolYearRow],
    year: i64,
    year_name: String,
    schools: &'a [(i64, String)],
    classes: Vec<(i64, String)>,
    school: i64,
    class: i64,
    whom: String,
    months: Vec<Month>,
    closures: Vec<Listed>,
}

async fn year(State(office): State<Arc<Office>>, page: Page, Query(query): Query<HashMap<String, String>>) -> Answer {
    let number = |name: &str| query.get(name).and_then(|v| v.parse::<i64>().ok());
    let years = office.desk.school_years(page.ente.id).await?;
    let book = office.desk.calendar_book(page.ente.id).await?;
    let schools = office.desk.schools(page.ente.id).await?;
    let year = number("anno").filter(|y| years.iter().any(|known| known.id == *y)).or(years.first().map(|y| y.id)).unwrap_or(0);
    let school = number("scuola").filter(|s| schools.iter().any(|(id, _)| id == s));
    let class = number("classe").filter(|c| book.classes.iter().any(|k| k.id == *c && k.year == year));
    let looked_at: Vec<_> = book
        .classes
        .iter()
        .filter(|c| c.year == year && school.is_none_or(|s| s == c.school) && class.is_none_or(|k| k == c.id))
        .filter_map(|c| Some((c, book.calendar_of(c)?)))
        .collect();
    let today = page.ente.window.local(office.desk.clock().now()).date();
    let months = months(&book, &looked_at, today);
    let whom = match (class, school) {
        (Some(id), _) => book.classes.iter().find(|c| c.id == id).map_or_else(String::new, |c| format!("{}, {}", c.name, c.school_name)),
        (None, Some(id)) => schools.iter().find(|(s, _)| *s == id).map_or_else(String::new, |(_, name)| name.clone()),
        (None, None) => "tutte le scuole".to_owned(),
    };
    let touches = |c: &&BookClosure| looked_at.iter().any(|(k, _)| book.closures_on(k, c.first).any(|d| d.id == c.id));
    let closures = book.closures.iter().filter(|c| c.last >= today).filter(touches).take(100).map(|c| listed(&book, c)).collect();
    let classes = book.classes.iter().filter(|c| c.year == year && school.is_none_or(|s| s == c.school));
    let classes = classes.map(|c| (c.id, format!("{} ({})", c.name, c.school_name))).collect();
    let year_name = years.iter().find(|y| y.id == year).map_or_else(String::new, |y| y.name.clone());
    let page = page.titled("Calendario");
    page.show(&YearPage {
        page: &page,
        years: &years,
        year,
        year_name,
        schools: &schools,
        classes,
        school: school.unwrap_or(0),
        class: class.unwrap_or(0),
        whom,
        months,
        closures,
    })
}

struct DaySchool {
    name: String,
    eats: Vec<String>,
    not: Vec<String>,
}

#[derive(Template)]
#[template(path = "office/calendar_day.html")]
struct DayPage<'a> {
    page: &'a Page,
    day: NaiveDate,
    counted: bool,
    schools: Vec<DaySchool>,
    closures: Vec<Listed>,
    count: &'a DayCount,
    before: NaiveDate,
    after: NaiveDate,
}

async fn day(State(office): State<Arc<Office>>, page: Page, Path(day): Path<String>) -> Answer {
    let day = parsed(&day)?;
    let book = office.desk.calendar_book(page.ente.id).await?;
    let (count, _) = office.desk.count_day(page.ente.id, day).await?;
    let mut schools: Vec<DaySchool> = Vec::new();
    for class in &book.classes {
        let Some(calendar) = book.calendar_of(class).filter(|c| c.first <= day && day <= c.last) else { continue };
        if schools.last().is_none_or(|s| s.name != class.school_name) {
            schools.push(DaySchool { name: class.school_name.clone(), eats: vec![], not: vec![] });
        }
        let Some(school) = schools.last_mut() else { continue };
        if calendar.is_service_day(day) {
            school.eats.push(class.name.clone());
        } else {
            let why = book.closures_on(class, day).next().map_or("nessun rientro", |c| c.kind.label());
            school.not.push(format!("{} ({})", class.name, why.to_lowercase()));
        }
    }
    let closures = book.closures.iter().filter(|c| c.covers(day)).map(|c| listed(&book, c)).collect();
    let counted = count.schools.iter().any(|s| s.is_final);
    let (before, after) = (day.pred_opt().ok_or(Oops::NotFound)?, day.succ_opt().ok_or(Oops::NotFound)?);
    let page = page.under("Calendario", HERE).titled(&day_in_words(day));
    page.show(&DayPage { page: &page, day, counted, schools, closures, count: &count, before, after })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::canteen::book::{BookTerm, Change, Place};

    #[test]
    fn the_year_as_it_is_read() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let class = |id, name: &str| BookClass {
            id,
            school: 1,
            year: 1,
            name: name.into(),
            school_name: "Primaria".into(),
            weekdays: (0u8..5).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect(),
            returns: BTreeMap::new(),
        };
        let close = |place, first, last, kind| Change::Close { place, first: day(first), last: day(last), kind, reason: String::new() };
        let book = Book {
            terms: vec![BookTerm { year: 1, school: None, first: day("2026-12-03"), last: day("2026-12-22") }],
            classes: vec![class(1, "1A"), class(2, "2A")],
            closures: vec![],
        }
        .with(&close(Place::Ente, "2026-12-08", "2026-12-08", ClosureKind::Holiday))
        .with(&close(Place::Class { school: 1, class: 2 }, "2026-12-10", "2026-12-10", ClosureKind::Other))
        .with(&close(Place::School(1), "2026-12-14", "2026-12-15", ClosureKind::Strike));
        let classes: Vec<_> = book.classes.iter().map(|c| (c, book.calendar_of(c).unwrap())).collect();
        let drawn: Vec<String> = months(&book, &classes, day("2026-12-03"))
            .iter()
            .flat_map(|m| {
                let weeks = m.weeks.iter().map(|w| {
                    w.iter()
                        .map(|c| c.as_ref().map_or("    ".to_owned(), |c| format!("{:>2}{:1} ", c.day.day(), c.kind.sign())))
                        .collect::<String>()
                });
                std::iter::once(m.name.clone()).chain(weeks.map(|w| w.trim_end().to_owned())).collect::<Vec<_>>()
            })
            .collect();
        insta::assert_snapshot!(drawn.join("\n"));
    }
}
