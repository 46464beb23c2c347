//! The whole calendar of an ente, and what becomes of it when something in it changes (O1, R8).
//!
//! A change is tried on the book first: the difference between the book before and after is what a preview shows, and what is then done.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, WeekdaySet};
use serde::Serialize;

use super::calendar::ServiceCalendar;

/// Where a closure holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Place {
    /// Everywhere.
    Ente,
    /// A school's row.
    School(i64),
    /// A class.
    Class {
        /// Its school's row.
        school: i64,
        /// Its row.
        class: i64,
    },
}

impl Place {
    /// From the two columns.
    pub fn of(school: Option<i64>, class: Option<i64>) -> Self {
        match (school, class) {
            (Some(school), Some(class)) => Self::Class { school, class },
            (Some(school), None) => Self::School(school),
            (None, _) => Self::Ente,
        }
    }

    /// The school's row, where it is not everywhere.
    pub fn school(self) -> Option<i64> {
        match self {
            Self::Ente => None,
            Self::School(school) | Self::Class { school, .. } => Some(school),
        }
    }

    /// The class's row, where it is one class only.
    pub fn class(self) -> Option<i64> {
        match self {
            Self::Class { class, .. } => Some(class),
            _ => None,
        }
    }

    fn touches(self, class: &BookClass) -> bool {
        match self {
            Self::Ente => true,
            Self::School(school) => school == class.school,
            Self::Class { class: only, .. } => only == class.id,
        }
    }
}

/// Why there is no service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ClosureKind {
    /// National, or the patron saint's.
    Holiday,
    /// Lessons are suspended: Christmas, a long weekend.
    Break,
    /// Strike.
    Strike,
    /// The school is a polling station.
    Election,
    /// Weather alert.
    Weather,
    /// Works, or something broken.
    Works,
    /// Anything else; the reason says what.
    Other,
}

impl ClosureKind {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Strike, Self::Election, Self::Weather, Self::Works, Self::Break, Self::Holiday, Self::Other];

    /// The word in the database and in forms.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holiday => "holiday",
            Self::Break => "break",
            Self::Strike => "strike",
            Self::Election => "election",
            Self::Weather => "weather",
            Self::Works => "works",
            Self::Other => "other",
        }
    }

    /// What people read.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Holiday => "Festività",
            Self::Break => "Sospensione delle lezioni",
            Self::Strike => "Sciopero",
            Self::Election => "Elezioni",
            Self::Weather => "Allerta meteo",
            Self::Works => "Lavori o guasto",
            Self::Other => "Altro",
        }
    }
}

impl std::str::FromStr for ClosureKind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or(())
    }
}

/// A closure that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BookClosure {
    /// Row; 0 for one that is only tried.
    pub id: i64,
    /// Where.
    pub place: Place,
    /// First day.
    pub first: NaiveDate,
    /// Last day.
    pub last: NaiveDate,
    /// Why, in one word.
    pub kind: ClosureKind,
    /// Why, as the office wrote it.
    pub reason: String,
}

impl BookClosure {
    /// Is `day` within it?
    pub fn covers(&self, day: NaiveDate) -> bool {
        self.first <= day && day <= self.last
    }

    /// What is left of it without the days from `first` to `last`.
    pub fn without(&self, first: NaiveDate, last: NaiveDate) -> Vec<Self> {
        let before = first.pred_opt().map(|end| (self.first, end.min(self.last)));
        let after = last.succ_opt().map(|start| (start.max(self.first), self.last));
        let part = |(first, last)| (first <= last).then(|| Self { first, last, ..self.clone() });
        if last < self.first || self.last < first || last < first {
            return vec![self.clone()];
        }
        [before, after].into_iter().flatten().filter_map(part).collect()
    }
}

/// A term: of a school, or of every school that has none of its own in that year.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BookTerm {
    /// School year's row.
    pub year: i64,
    /// School's row.
    pub school: Option<i64>,
    /// First day.
    pub first: NaiveDate,
    /// Last day.
    pub last: NaiveDate,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookClass {
    /// Row.
    pub id: i64,
    /// School's row.
    pub school: i64,
    /// School year's row.
    pub year: i64,
    /// Name.
    pub name: String,
    /// School's name.
    pub school_name: String,
    /// Days of return, from the beginning.
    pub weekdays: WeekdaySet,
    /// Days of return from a day on: the row and the days.
    pub returns: BTreeMap<NaiveDate, (i64, WeekdaySet)>,
}

/// The calendar of an ente.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book {
    /// Terms.
    pub terms: Vec<BookTerm>,
    /// Classes, in the order of schools and names.
    pub classes: Vec<BookClass>,
    /// Closures, by first day.
    pub closures: Vec<BookClosure>,
}

/// Something to be changed in the calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// No service from a day to another.
    Close {
        /// Where.
        place: Place,
        /// First day.
        first: NaiveDate,
        /// Last day.
        last: NaiveDate,
        /// Why, in one word.
        kind: ClosureKind,
        /// Why, in the office's words.
        reason: String,
    },
    /// A closure taken back, or some of its days.
    Reopen {
        /// Row.
        closure: i64,
        /// First day.
        first: NaiveDate,
        /// Last day.
        last: NaiveDate,
        /// After the cut-off, where nobody was counted because the closure was known by then: are the children booked all the same?
        book: bool,
    },
    /// When meals are served.
    Term {
        /// School year's row.
        year: i64,
        /// School's row; `None` for every school without a term of its own.
        school: Option<i64>,
        /// First and last day; `None` takes a school's own term back, so that everybody's holds.
        days: Option<(NaiveDate, NaiveDate)>,
    },
    /// Days of return of a class from a day on.
    Returns {
        /// Class's row.
        class: i64,
        /// From this day on.
        from: NaiveDate,
        /// The days; `None` takes what was entered for that day back.
        #[serde(serialize_with = "bits")]
        weekdays: Option<WeekdaySet>,
    },
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn bits<S: serde::Serializer>(days: &Option<WeekdaySet>, to: S) -> Result<S::Ok, S::Error> {
    days.map(|d| d.to_string()).serialize(to)
}

impl Book {
    /// The class's calendar; `None` where its school has no term that year.
    pub fn calendar_of(&self, class: &BookClass) -> Option<ServiceCalendar> {
        let of = |school| self.terms.iter().find(|t| t.year == class.year && t.school == school);
        let term = of(Some(class.school)).or_else(|| of(None))?;
        let touching = self.closures.iter().filter(|c| c.place.touches(class));
        let days = |c: &BookClosure| {
            let last = c.last.min(term.last);
            c.first.max(term.first).iter_days().take_while(move |day| *day <= last)
        };
        Some(ServiceCalendar {
            first: term.first,
            last: term.last,
            weekdays: class.weekdays,
            weekdays_from: class.returns.iter().map(|(day, (_, weekdays))| (*day, *weekdays)).collect(),
            closed: touching.flat_map(days).collect::<BTreeSet<_>>(),
        })
    }

    /// Every class's calendar; one without a single day where its school has no term.
    pub fn calendars(&self) -> BTreeMap<i64, ServiceCalendar> {
        self.classes.iter().map(|c| (c.id, self.calendar_of(c).unwrap_or_else(ServiceCalendar::never))).collect()
    }

    /// The closures that touch a class on a day.
    pub fn closures_on<'a>(&'a self, class: &'a BookClass, day: NaiveDate) -> impl Iterator<Item = &'a BookClosure> {
        self.closures.iter().filter(move |c| c.covers(day) && c.place.touches(class))
    }

    /// The book as it is after a change. What the change names and the book does not have is left out.
    #[must_use]
    pub fn with(&self, change: &Change) -> Self {
        let mut book = self.clone();
        match change {
            Change::Close { place, first, last, kind, reason } => {
                let closure = BookClosure { id: 0, place: *place, first: *first, last: *last, kind: *kind, reason: reason.clone() };
                book.closures.push(closure);
            }
            Change::Reopen { closure, first, last, .. } => {
                let (gone, mut rest): (Vec<_>, Vec<_>) = book.closures.into_iter().partition(|c| c.id == *closure);
                rest.extend(gone.iter().flat_map(|c| c.without(*first, *last)));
                book.closures = rest;
            }
            Change::Term { year, school, days } => {
                book.terms.retain(|t| (t.year, t.school) != (*year, *school));
                book.terms.extend(days.map(|(first, last)| BookTerm { year: *year, school: *school, first, last }));
            }
            Change::Returns { class, from, weekdays } => {
                for found in book.classes.iter_mut().filter(|c| c.id == *class) {
                    match weekdays {
                        Some(days) => found.returns.insert(*from, (0, *days)),
                        None => found.returns.remove(from),
                    };
                }
            }
        }
        book
    }
}

/// The days on which one calendar serves and the other does not: those lost and those gained from `before` to `after`.
pub fn difference(before: &ServiceCalendar, after: &ServiceCalendar) -> (Vec<NaiveDate>, Vec<NaiveDate>) {
    let days = |of: &ServiceCalendar, not: &ServiceCalendar| -> Vec<NaiveDate> {
        if of.first > of.last {
            return Vec::new();
        }
        of.service_days_from(of.first).filter(|day| !not.is_service_day(*day)).collect()
    };
    (days(before, after), days(after, before))
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;
    use proptest::prelude::*;

    use super::*;

    fn day(n: u64) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 9, 14).unwrap() + chrono::Days::new(n)
    }

    fn class(id: i64, school: i64) -> BookClass {
        BookClass {
            id,
            school,
            year: 1,
            name: format!("{id}A"),
            school_name: "Primaria".into(),
            weekdays: (0u8..5).filter_map(|d| Weekday::try_from(d).ok()).collect(),
            returns: BTreeMap::new(),
        }
    }

    fn book() -> Book {
        Book {
            terms: vec![BookTerm { year: 1, school: None, first: day(0), last: day(60) }],
            classes: vec![class(1, 10), class(2, 10), class(3, 20)],
            closures: vec![],
        }
    }

    fn close(place: Place, first: u64, last: u64) -> Change {
        Change::Close { place, first: day(first), last: day(last), kind: ClosureKind::Strike, reason: String::new() }
    }

    #[test]
    fn a_closure_touches_its_place_only() {
        let book = book();
        let lost = |change: &Change| -> Vec<usize> {
            let after = book.with(change).calendars();
            book.calendars().iter().map(|(id, before)| difference(before, &after[id]).0.len()).collect()
        };
        assert_eq!(lost(&close(Place::Ente, 0, 1)), [2, 2, 2]);
        assert_eq!(lost(&close(Place::School(10), 0, 1)), [2, 2, 0]);
        assert_eq!(lost(&close(Place::Class { school: 10, class: 2 }, 4, 7)), [0, 2, 0]);
    }

    #[test]
    fn a_day_taken_out_of_a_closure_leaves_both_its_ends() {
        let closure =
            BookClosure { id: 1, place: Place::Ente, first: day(2), last: day(8), kind: ClosureKind::Break, reason: String::new() };
        let spans = |first, last| closure.without(day(first), day(last)).iter().map(|c| (c.first, c.last)).collect::<Vec<_>>();
        assert_eq!(spans(4, 5), [(day(2), day(3)), (day(6), day(8))]);
        assert_eq!(spans(0, 3), [(day(4), day(8))]);
        assert_eq!(spans(8, 20), [(day(2), day(7))]);
        assert_eq!(spans(0, 20), []);
        assert_eq!(spans(20, 21), [(day(2), day(8))]);
    }

    #[test]
    fn days_of_return_hold_from_their_day_on() {
        let days: WeekdaySet = [Weekday::Tue].into_iter().collect();
        let book = book().with(&Change::Returns { class: 1, from: day(7), weekdays: Some(days) });
        let calendar = &book.calendars()[&1];
        assert!(calendar.is_service_day(day(0)) && !calendar.is_service_day(day(7)) && calendar.is_service_day(day(8)));
        let back = book.with(&Change::Returns { class: 1, from: day(7), weekdays: None });
        assert!(back.calendars()[&1].is_service_day(day(7)));
    }

    proptest! {
        /// Closing and then taking the same days back changes nothing, whatever else is closed.
        #[test]
        fn what_is_taken_back_is_as_it_was(spans in prop::collection::vec((0u64..60, 0u64..9), 0..6), (first, len) in (0u64..60, 0u64..9)) {
            let mut before = book();
            for (first, len) in spans {
                before = before.with(&close(Place::School(10), first, first + len));
            }
            let mut closed = before.with(&close(Place::Ente, first, first + len));
            closed.closures.last_mut().unwrap().id = 7;
            let after = closed.with(&Change::Reopen { closure: 7, first: day(first), last: day(first + len), book: false });
            prop_assert_eq!(after.calendars(), before.calendars());
        }
    }
}
