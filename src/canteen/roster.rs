//! What one import brings: schools, classes, children, guardians and the calendar, as plain rows.
//!
//! Files are read into these rows by `desk::roster_file`; the demo invents them (`canteen::demo`); the
//! desk writes them down in one transaction. Rows refer to each other by what the office knows: a
//! school by its code, a class by school and name, a guardian by place in [`Roster::guardians`].

use std::{fmt, sync::Arc};

use chrono::{NaiveDate, WeekdaySet};

use super::{fiscal_code::FiscalCode, holidays};

/// One import. Any part may be empty: a roster without calendar, a calendar alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// The schools.
    pub schools: Vec<SchoolRow>,
    /// Their classes, with the days of return.
    pub classes: Vec<ClassRow>,
    /// The adults; siblings share theirs.
    pub guardians: Vec<GuardianRow>,
    /// The children.
    pub children: Vec<ChildRow>,
    /// School year, terms and closures.
    pub calendar: CalendarRows,
}

/// A school.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchoolRow {
    /// Short name by which the other rows (and the office) know it, e.g. `PRIM-RODARI` or the ministry's code; unique.
    pub code: String,
    /// Full name, e.g. "Scuola primaria Gianni Rodari".
    pub name: String,
}

/// A class and its days of return ("rientri").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRow {
    /// Code of its school.
    pub school: String,
    /// Name, unique in the school, e.g. `3A`.
    pub name: String,
    /// Weekdays on which the class eats at school (R1).
    pub weekdays: WeekdaySet,
}

/// A child enrolled in the canteen.
#[derive(Clone, PartialEq, Eq)]
pub struct ChildRow {
    /// Where the row was read, for messages about what only the database can tell.
    pub origin: Option<Origin>,
    /// The office's own number of the child ("matricola"), unique where given.
    pub external_id: Option<String>,
    /// Surname.
    pub last_name: String,
    /// First name.
    pub first_name: String,
    /// Fiscal code, where known (B4 asks for it before paying).
    pub fiscal_code: Option<FiscalCode>,
    /// Code of the school.
    pub school: String,
    /// Name of the class.
    pub class: String,
    /// Diet, as the kitchen reads it: one of [`KNOWN_DIETS`] or the office's own words; empty where the file does not say.
    pub diet: String,
    /// Keypad code ("codice disdetta"), seven digits; `None`: one is to be drawn. A secret.
    pub code: Option<String>,
    /// First day of enrolment, `None`: from the beginning of the term.
    pub enrolled_from: Option<NaiveDate>,
    /// Last day of enrolment, `None`: to the end of the term.
    pub enrolled_to: Option<NaiveDate>,
    /// The adults who answer for the child.
    pub guardians: Vec<Guardianship>,
}

impl fmt::Debug for ChildRow {
    /// Shows everything but the keypad code (S4) and the names' owner's fiscal code, which masks itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildRow")
            .field("origin", &self.origin)
            .field("external_id", &self.external_id)
            .field("last_name", &self.last_name)
            .field("first_name", &self.first_name)
            .field("fiscal_code", &self.fiscal_code)
            .field("school", &self.school)
            .field("class", &self.class)
            .field("diet", &self.diet)
            .field("code", &self.code.as_ref().map(|_| "****"))
            .field("enrolled_from", &self.enrolled_from)
            .field("enrolled_to", &self.enrolled_to)
            .field("guardians", &self.guardians)
            .finish()
    }
}

/// File (and sheet) and line of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// File name, followed by the sheet's where there is one.
    pub file: Arc<str>,
    /// Line, counted from 1, headings included.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, riga {}", self.file, self.line)
    }
}

/// An adult's place beside a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guardianship {
    /// Index into [`Roster::guardians`].
    pub guardian: usize,
    /// Receives the payment notices for this child (B1). One adult a child does.
    pub payer: bool,
}

/// An adult. Which of the children they pay for is told by [`Guardianship::payer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardianRow {
    /// First name.
    pub first_name: String,
    /// Surname.
    pub last_name: String,
    /// Fiscal code, where known.
    pub fiscal_code: Option<FiscalCode>,
    /// E-mail address, lower case.
    pub email: Option<String>,
    /// Telephone number: digits with a leading `+` where the country is told.
    pub phone: Option<String>,
}

/// The service calendar of one school year (O1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CalendarRows {
    /// Name of the school year, e.g. `2026/2027`; `None` where the import brings no terms.
    pub school_year: Option<String>,
    /// First and last day of the service.
    pub terms: Vec<TermRow>,
    /// Days without service.
    pub closures: Vec<ClosureRow>,
}

/// First and last day of the service in a school year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermRow {
    /// Code of the school, `None`: every school without a term of its own.
    pub school: Option<String>,
    /// First day.
    pub first: NaiveDate,
    /// Last day, included.
    pub last: NaiveDate,
}

/// Whom a closure concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Every school of the ente.
    Ente,
    /// A school.
    School {
        /// Its code.
        school: String,
    },
    /// A class.
    Class {
        /// Code of its school.
        school: String,
        /// Its name.
        class: String,
    },
}

/// Days on which the service is not provided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosureRow {
    /// To whom.
    pub scope: Scope,
    /// First day.
    pub first: NaiveDate,
    /// Last day, included; the same as `first` for a single day.
    pub last: NaiveDate,
    /// Why, in Italian, as families read it.
    pub reason: String,
}

impl CalendarRows {
    /// Adds the national holidays that fall into the terms, as closures of the whole ente; those that a
    /// closure of the whole ente covers already stay as the office worded them.
    pub fn add_national_holidays(&mut self) {
        let Some(first) = self.terms.iter().map(|term| term.first).min() else { return };
        let Some(last) = self.terms.iter().map(|term| term.last).max() else { return };
        for holiday in holidays::national_holidays_between(first, last) {
            let covered = |closure: &ClosureRow| closure.scope == Scope::Ente && (closure.first..=closure.last).contains(&holiday.day);
            if !self.closures.iter().any(covered) {
                self.closures.push(ClosureRow {
                    scope: Scope::Ente,
                    first: holiday.day,
                    last: holiday.day,
                    reason: holiday.name.to_owned(),
                });
            }
        }
        self.closures.sort_by(|one, other| (one.first, one.last, &one.scope).cmp(&(other.first, other.last, &other.scope)));
    }
}

/// Diet of a child for whom nothing else is said.
pub const NORMAL_DIET: &str = "normale";

/// Diets that canteens commonly know, in the words the kitchen reads. Others are free text.
pub const KNOWN_DIETS: [&str; 10] = [
    NORMAL_DIET,
    "vegetariana",
    "vegana",
    "senza glutine",
    "senza lattosio",
    "senza uova",
    "senza pesce",
    "senza frutta a guscio",
    "senza maiale",
    "senza carne",
];

/// Other words for the known diets: folded text, index into [`KNOWN_DIETS`].
const DIET_SYNONYMS: [(&str, usize); 28] = [
    ("", 0),
    ("nessuna", 0),
    ("standard", 0),
    ("comune", 0),
    ("no", 0),
    ("vegetariano", 1),
    ("veg", 1),
    ("vegano", 2),
    ("celiaco", 3),
    ("celiaca", 3),
    ("celiachia", 3),
    ("no glutine", 3),
    ("gluten free", 3),
    ("intollerante al glutine", 3),
    ("no lattosio", 4),
    ("intollerante al lattosio", 4),
    ("senza latte", 4),
    ("no latte", 4),
    ("no uova", 5),
    ("senza uovo", 5),
    ("no pesce", 6),
    ("senza frutta secca", 7),
    ("no frutta a guscio", 7),
    ("no maiale", 8),
    ("senza carne di maiale", 8),
    ("no carne di maiale", 8),
    ("senza carne suina", 8),
    ("no carne", 9),
];

/// The diet in the kitchen's words: a known one under any of its names, else the text itself, cleaned.
/// The second value tells whether it is a known one.
pub fn diet(text: &str) -> (String, bool) {
    let folded = fold(text);
    let known = KNOWN_DIETS
        .iter()
        .position(|known| fold(known) == folded)
        .or_else(|| DIET_SYNONYMS.iter().find(|(word, _)| *word == folded).map(|(_, index)| *index));
    match known.and_then(|index| KNOWN_DIETS.get(index)) {
        Some(known) => ((*known).to_owned(), true),
        None => (text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase(), false),
    }
}

/// Text as people mean it: lower case, without accents, everything but letters and digits as one space.
/// Headings, names of schools and duplicates are compared so.
pub fn fold(text: &str) -> String {
    use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
    let plain = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    let spaced: String = plain.map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).expect("a date")
    }

    #[test]
    fn diets_are_known_under_their_many_names() {
        for (text, meant) in [
            ("", "normale"),
            ("Normale", "normale"),
            ("CELIACO", "senza glutine"),
            ("Senza-glutine", "senza glutine"),
            ("no  maiale", "senza maiale"),
        ] {
            assert_eq!(diet(text), (meant.to_owned(), true), "{text}");
        }
        assert_eq!(diet("  Senza  KIWI e nocciole "), ("senza kiwi e nocciole".to_owned(), false));
    }

    #[test]
    fn folding_forgives_case_accents_and_signs() {
        assert_eq!(fold("  Attività:  DAL_giorno (n°1) "), "attivita dal giorno n 1");
        assert_eq!(fold("3ª A"), "3a a");
    }

    #[test]
    fn national_holidays_are_added_once() {
        let mut calendar = CalendarRows {
            school_year: Some("2026/2027".into()),
            terms: vec![TermRow { school: None, first: day(2026, 9, 14), last: day(2027, 6, 8) }],
            closures: vec![ClosureRow {
                scope: Scope::Ente,
                first: day(2026, 12, 23),
                last: day(2027, 1, 6),
                reason: "Vacanze di Natale".into(),
            }],
        };
        calendar.add_national_holidays();
        let once = calendar.clone();
        calendar.add_national_holidays();
        assert_eq!(calendar, once, "adding them again changes nothing");
        let days: Vec<_> = calendar.closures.iter().map(|closure| closure.first.to_string()).collect();
        assert_eq!(
            days,
            ["2026-10-04", "2026-11-01", "2026-12-08", "2026-12-23", "2027-03-28", "2027-03-29", "2027-04-25", "2027-05-01", "2027-06-02"]
        );
    }

    #[test]
    fn the_keypad_code_is_not_in_the_debug_output() {
        let child = ChildRow {
            origin: None,
            external_id: None,
            last_name: "Rossi".into(),
            first_name: "Giulia".into(),
            fiscal_code: None,
            school: "P".into(),
            class: "1A".into(),
            diet: NORMAL_DIET.into(),
            code: Some("1234567".into()),
            enrolled_from: None,
            enrolled_to: None,
            guardians: vec![],
        };
        assert!(!format!("{child:?}").contains("1234567"));
    }
}
