//! An invented but lifelike school canteen: the demo's comune, its schools, families and calendar.
//!
//! The same year gives the same data always, on every machine. Nobody in it exists: e-mail addresses
//! end in `.example`, and the fiscal codes are formally valid but name a place of birth that no
//! register knows, so that none can be a living person's.

mod calendar;
mod families;
mod names;
pub mod past;

use chrono::{Datelike, NaiveDate, Weekday, WeekdaySet};

pub use self::names::{BOYS, GIRLS, SURNAMES};
use super::roster::{ClassRow, Roster, SchoolRow};

/// Name of the demo's ente.
pub const ENTE_NAME: &str = "Comune di Borgo Valserena";
/// How many children the demo has.
pub const CHILDREN: usize = 250;

const INFANZIA: &str = "INF-GIRASOLE";
const PRIMARIA: &str = "PRI-RODARI";
const SECONDARIA: &str = "SEC-MONTESSORI";

/// The demo can be made for school years that start from 2000 to 9000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the demo has no school year that starts in {0}")]
pub struct YearOutOfRange(pub i32);

/// A class of the demo: school, name, days of return, age reached in the year in which the school year
/// starts (that of the youngest, where ages mix), children.
struct DemoClass {
    school: &'static str,
    name: &'static str,
    weekdays: &'static [Weekday],
    age: i32,
    /// How many birth years are mixed in it.
    ages: i32,
    seats: usize,
}

const ALL_WEEK: &[Weekday] = &[Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];
const THREE_DAYS: &[Weekday] = &[Weekday::Mon, Weekday::Wed, Weekday::Thu];
const FOUR_DAYS: &[Weekday] = &[Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu];
const TUE_THU: &[Weekday] = &[Weekday::Tue, Weekday::Thu];
const MON_WED: &[Weekday] = &[Weekday::Mon, Weekday::Wed];

#[rustfmt::skip]
const CLASSES: [DemoClass; 12] = [
    DemoClass { school: INFANZIA, name: "Api", weekdays: ALL_WEEK, age: 3, ages: 3, seats: 23 },
    DemoClass { school: INFANZIA, name: "Coccinelle", weekdays: ALL_WEEK, age: 3, ages: 3, seats: 22 },
    DemoClass { school: INFANZIA, name: "Farfalle", weekdays: ALL_WEEK, age: 3, ages: 3, seats: 22 },
    DemoClass { school: PRIMARIA, name: "1A", weekdays: ALL_WEEK, age: 6, ages: 1, seats: 21 },
    DemoClass { school: PRIMARIA, name: "2A", weekdays: ALL_WEEK, age: 7, ages: 1, seats: 20 },
    DemoClass { school: PRIMARIA, name: "3A", weekdays: ALL_WEEK, age: 8, ages: 1, seats: 22 },
    DemoClass { school: PRIMARIA, name: "3B", weekdays: THREE_DAYS, age: 8, ages: 1, seats: 19 },
    DemoClass { school: PRIMARIA, name: "4A", weekdays: FOUR_DAYS, age: 9, ages: 1, seats: 21 },
    DemoClass { school: PRIMARIA, name: "5A", weekdays: FOUR_DAYS, age: 10, ages: 1, seats: 20 },
    DemoClass { school: SECONDARIA, name: "1A", weekdays: TUE_THU, age: 11, ages: 1, seats: 22 },
    DemoClass { school: SECONDARIA, name: "2A", weekdays: TUE_THU, age: 12, ages: 1, seats: 20 },
    DemoClass { school: SECONDARIA, name: "3A", weekdays: MON_WED, age: 13, ages: 1, seats: 18 },
];

/// Year in which the school year that concerns people on `today` starts: from July on the coming one.
pub fn school_year_on(today: NaiveDate) -> i32 {
    if today.month() >= 7 { today.year() } else { today.year() - 1 }
}

/// The demo's roster and calendar for the school year that starts in `first_year`. `code_for` is asked for
/// each child's keypad code, by the child's place in [`Roster::children`]. The first three children are always the
/// same, of three families: Giulia Rossi (3A of the primary school, meals from Monday to Friday), Matteo
/// Bianchi (2A of the middle school, Tuesday and Thursday) and Sofia Esposito (nursery school, every day).
///
/// # Errors
/// [`YearOutOfRange`] for a year before 2000 or after 9000.
pub fn demo_roster(first_year: i32, code_for: impl FnMut(usize) -> String) -> Result<Roster, YearOutOfRange> {
    if !(2000..=9000).contains(&first_year) {
        return Err(YearOutOfRange(first_year));
    }
    let schools = [
        (INFANZIA, "Scuola dell'infanzia Il Girasole"),
        (PRIMARIA, "Scuola primaria Gianni Rodari"),
        (SECONDARIA, "Scuola secondaria di primo grado Maria Montessori"),
    ]
    .map(|(code, name)| SchoolRow { code: code.into(), name: name.into() })
    .to_vec();
    let classes = CLASSES
        .iter()
        .map(|class| ClassRow {
            school: class.school.into(),
            name: class.name.into(),
            weekdays: class.weekdays.iter().copied().collect::<WeekdaySet>(),
        })
        .collect();
    let (guardians, children) = families::families(first_year, code_for)?;
    Ok(Roster { schools, classes, guardians, children, calendar: calendar::calendar(first_year)? })
}

#[cfg(test)]
mod tests;
