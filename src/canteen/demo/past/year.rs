//! A school year of the past: its roster, and what closed its schools unforeseen.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Weekday};

use super::{
    super::{CLASSES, INFANZIA, PRIMARIA, SECONDARIA, YearOutOfRange, calendar},
    Closure,
};
use crate::canteen::{
    book::{Book, BookClass, BookClosure, BookTerm, ClosureKind, Place},
    roster::{ChildRow, ClassRow, Roster, Scope},
};

/// A year.
#[derive(Debug, Clone)]
pub(super) struct Year {
    /// The year it starts in.
    pub autumn: i32,
    /// Its roster.
    pub roster: Roster,
    /// For each child of the roster, its place in this year's.
    pub children: Vec<usize>,
}

/// The year in which the roster's school year starts.
pub(super) fn autumn(roster: &Roster) -> Result<i32, YearOutOfRange> {
    let name = roster.calendar.school_year.as_deref().unwrap_or_default();
    name.split('/').next().and_then(|year| year.parse().ok()).ok_or(YearOutOfRange(0))
}

impl Year {
    /// This year.
    pub fn of(roster: Roster, autumn: i32) -> Self {
        let children = (0..roster.children.len()).collect();
        Self { autumn, roster, children }
    }

    /// First day of service.
    pub fn first_day(&self) -> NaiveDate {
        self.roster.calendar.terms.iter().map(|term| term.first).min().unwrap_or_default()
    }

    /// When its roster was imported: on a school day some two weeks before.
    pub fn import_day(&self) -> NaiveDate {
        workday_before(self.first_day() - TimeDelta::days(11))
    }

    /// Puts this year into the calendar; classes get the ids `base`, `base + 1` …, schools their places, both as the roster orders them.
    pub fn enter(&self, book: &mut Book, id: i64, base: i64) {
        let rows = &self.roster.calendar;
        book.terms.extend(rows.terms.iter().map(|term| BookTerm {
            year: id,
            school: term.school.as_ref().map(|school| school_id(&self.roster, school)),
            first: term.first,
            last: term.last,
        }));
        book.classes.extend(self.roster.classes.iter().zip(base..).map(|(class, row)| BookClass {
            id: row,
            school: school_id(&self.roster, &class.school),
            year: id,
            name: class.name.clone(),
            school_name: class.school.clone(),
            weekdays: class.weekdays,
            returns: std::collections::BTreeMap::new(),
        }));
        book.closures.extend(rows.closures.iter().map(|closure| BookClosure {
            id: 0,
            place: place(&self.roster, &closure.scope, base),
            first: closure.first,
            last: closure.last,
            kind: ClosureKind::Other,
            reason: String::new(),
        }));
    }

    /// What nobody had foreseen: when the office entered it, and what.
    pub fn surprises(&self) -> Vec<(NaiveDate, NaiveTime, Closure)> {
        let (autumn, spring) = (self.autumn, self.autumn + 1);
        let at = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default();
        let ente = || Scope::Ente;
        let school = |school: &str| Scope::School { school: school.to_owned() };
        let mut all = Vec::new();
        let mut add = |near: Option<NaiveDate>, before: u64, time, scope, kind, reason| {
            if let Some(day) = near.and_then(|day| self.open_day(day)) {
                let entered = day.checked_sub_days(Days::new(before)).unwrap_or(day);
                all.push((entered, time, Closure { scope, first: day, last: day, kind, reason }));
            }
        };
        let day = NaiveDate::from_ymd_opt;
        add(
            day(autumn, 10, 22),
            1,
            at(17, 10),
            ente(),
            ClosureKind::Weather,
            "Allerta meteo arancione: scuole chiuse per ordinanza del sindaco",
        );
        // The late one: the kitchen has cooked, nobody is billed.
        add(
            day(autumn, 11, 13),
            0,
            at(10, 5),
            school(PRIMARIA),
            ClosureKind::Strike,
            "Adesione totale allo sciopero nazionale, comunicata in mattinata",
        );
        add(day(spring, 2, 3), 0, at(7, 35), school(INFANZIA), ClosureKind::Works, "Guasto alla caldaia");
        add(day(spring, 3, 6), 4, at(11, 40), ente(), ClosureKind::Strike, "Sciopero nazionale del comparto scuola");
        add(
            day(spring, 5, 7),
            8,
            at(12, 15),
            class(SECONDARIA, "2A"),
            ClosureKind::Other,
            "Visita d'istruzione a Torino con pranzo al sacco",
        );
        all
    }

    /// The first weekday from `day` on on which no closure of the whole ente stands.
    fn open_day(&self, day: NaiveDate) -> Option<NaiveDate> {
        let closed =
            |day: NaiveDate| self.roster.calendar.closures.iter().any(|c| c.scope == Scope::Ente && c.first <= day && day <= c.last);
        day.iter_days().take(14).find(|day| !is_weekend(*day) && !closed(*day))
    }
}

fn class(school: &str, class: &str) -> Scope {
    Scope::Class { school: school.to_owned(), class: class.to_owned() }
}

/// A school's id in the calendar.
fn school_id(roster: &Roster, code: &str) -> i64 {
    roster.schools.iter().zip(1..).find(|(school, _)| school.code == code).map_or(0, |(_, id)| id)
}

/// Where a closure holds, in the calendar's ids.
pub(super) fn place(roster: &Roster, scope: &Scope, base: i64) -> Place {
    match scope {
        Scope::Ente => Place::Ente,
        Scope::School { school } => Place::School(school_id(roster, school)),
        Scope::Class { school, class } => {
            let found = roster.classes.iter().zip(base..).find(|(row, _)| row.school == *school && row.name == *class);
            Place::Class { school: school_id(roster, school), class: found.map_or(-1, |(_, id)| id) }
        }
    }
}

/// Is it a Saturday or Sunday?
pub(super) fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

/// The day itself or the last one before it that is neither Saturday nor Sunday.
pub(super) fn workday_before(day: NaiveDate) -> NaiveDate {
    match day.weekday() {
        Weekday::Sat => day - TimeDelta::days(1),
        Weekday::Sun => day - TimeDelta::days(2),
        _ => day,
    }
}

/// The school a year before: whoever was there already, in the class below. (Who has left since was never in this system.)
pub(super) fn before(this_year: &Roster, autumn: i32) -> Result<Year, YearOutOfRange> {
    let mut roster = Roster {
        schools: this_year.schools.clone(),
        classes: this_year.classes.iter().filter(|class| !(class.school == SECONDARIA && class.name == "3A")).cloned().collect(),
        guardians: this_year.guardians.clone(),
        children: Vec::new(),
        calendar: calendar::calendar(autumn - 1)?,
    };
    // Where the third classes are two, the second ones were.
    let beside = roster.classes.iter().find(|class| class.school == PRIMARIA && class.name == "3B").map(|class| class.weekdays);
    let after = roster.classes.iter().rposition(|class| class.school == PRIMARIA && class.name == "2A");
    if let (Some(weekdays), Some(after)) = (beside, after) {
        roster.classes.insert(after + 1, ClassRow { school: PRIMARIA.to_owned(), name: "2B".to_owned(), weekdays });
        roster.classes.retain(|class| !(class.school == PRIMARIA && class.name == "3B"));
    }
    roster.calendar.closures.retain(|closure| match &closure.scope {
        Scope::Class { school, class } => roster.classes.iter().any(|row| row.school == *school && row.name == *class),
        _ => true,
    });
    let mut children = Vec::new();
    for (place, child) in this_year.children.iter().enumerate() {
        let Some((school, class)) = class_before(child, place, autumn) else { continue };
        let was = ChildRow { school: school.to_owned(), class: class.to_owned(), enrolled_from: None, enrolled_to: None, ..child.clone() };
        roster.children.push(was);
        children.push(place);
    }
    Ok(Year { autumn: autumn - 1, roster, children })
}

/// School and class of a child in the year before.
fn class_before(child: &ChildRow, place: usize, autumn: i32) -> Option<(&'static str, &'static str)> {
    if child.enrolled_from.is_some() {
        return None;
    }
    let nursery = || CLASSES.iter().filter(|class| class.school == INFANZIA).map(|class| class.name).nth(place % 3);
    let school = CLASSES.iter().find(|class| class.school == child.school && class.name == child.class)?;
    match (school.school, school.name) {
        (INFANZIA, name) => {
            // Three-year-olds are new. Of those whose year of birth is not known every third is.
            let youngest = (autumn - 3).rem_euclid(100);
            let born = child.fiscal_code.as_ref().and_then(|code| code.as_str().get(6..8)?.parse::<i32>().ok());
            let new = born.map_or(place.is_multiple_of(3), |year| year == youngest);
            (!new).then_some((INFANZIA, name))
        }
        (PRIMARIA, "1A") => nursery().map(|name| (INFANZIA, name)),
        (PRIMARIA, "2A") => Some((PRIMARIA, "1A")),
        (PRIMARIA, "3A") => Some((PRIMARIA, "2A")),
        (PRIMARIA, "3B") => Some((PRIMARIA, "2B")),
        (PRIMARIA, "4A") => Some((PRIMARIA, "3A")),
        (PRIMARIA, "5A") => Some((PRIMARIA, "4A")),
        (SECONDARIA, "1A") => Some((PRIMARIA, "5A")),
        (SECONDARIA, "2A") => Some((SECONDARIA, "1A")),
        (SECONDARIA, "3A") => Some((SECONDARIA, "2A")),
        _ => None,
    }
}
