//! Reads the roster and the calendar from the files an office has: CSV and XLSX.
//!
//! What the columns are called and what may stand in them is described, in Italian, for the office in
//! `docs/office-files.md`. All or nothing: every row with a mistake is reported with file, line and
//! reason, and a roster comes back only when there is none. Everything is bounded ([`limits`]): a file may come
//! from anyone who can reach the upload form.

mod calendar;
mod cells;
mod children;
mod columns;
mod csv_file;
mod grid;
pub mod limits;
mod places;
mod row;
mod xlsx_file;

use std::{fmt, sync::Arc};

use columns::Kind;
use grid::Grid;
use places::Places;

use crate::canteen::roster::{ClassRow, Origin, Roster, SchoolRow};

/// A file as it was given to us.
#[derive(Debug, Clone, Copy)]
pub struct SourceFile<'a> {
    /// Its name, for messages only: the content tells the format.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// What the database knows already, so that a later import need not repeat it.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Schools of the ente.
    pub schools: &'a [SchoolRow],
    /// Their classes.
    pub classes: &'a [ClassRow],
    /// Is the check digit of a seven-digit keypad code right?
    pub code_is_valid: &'a dyn Fn(&str) -> bool,
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("schools", &self.schools).field("classes", &self.classes).finish_non_exhaustive()
    }
}

/// A roster read without a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRoster {
    /// What the files bring.
    pub roster: Roster,
    /// What the office should know, though it is no mistake: ignored columns, new diets, children without adults.
    pub notices: Vec<Problem>,
}

/// A mistake (or a notice) and its place. Never repeats a keypad code or a fiscal code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, sheet and line; line 0 means the file or sheet as a whole.
    pub origin: Origin,
    /// Heading of the column, where it is one column's matter.
    pub column: Option<String>,
    /// What is the matter, in Italian.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin.line {
            0 => f.write_str(&self.origin.file)?,
            _ => write!(f, "{}", self.origin)?,
        }
        if let Some(column) = &self.column {
            write!(f, ", colonna «{column}»")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The files had mistakes: nothing of them is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Rejected {
    /// Every mistake, by file and line.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        writeln!(f, "{}; non è stato importato nulla.", if count == 1 { "1 errore".to_owned() } else { format!("{count} errori") })?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

/// Reads all files of one import together: they may refer to each other, in any order.
///
/// # Errors
/// [`Rejected`], with every mistake of every file.
pub fn read(files: &[SourceFile<'_>], known: &Known<'_>) -> Result<ReadRoster, Rejected> {
    let mut report = Report::default();
    let mut grids = Vec::new();
    if files.len() > limits::FILES {
        report.problem(&file_origin("importazione"), None, format!("troppi file in una volta: al massimo {}", limits::FILES));
    }
    for file in files.iter().take(limits::FILES) {
        grids.extend(open(file, &mut report));
    }

    let mut tables = Vec::new();
    for grid in &grids {
        if let Some(columns) = columns::recognise(grid, &mut report) {
            tables.push((grid, columns));
        }
    }
    if tables.is_empty() && report.problems.is_empty() {
        report.problem(&file_origin("importazione"), None, "i file non contengono righe".to_owned());
    }

    let of = |kind: Kind| tables.iter().filter(move |(_, columns)| columns.kind == kind).map(|(grid, columns)| (*grid, columns));
    let mut places = Places::new(known);
    places.read_schools(of(Kind::Schools), &mut report);
    places.read_classes(of(Kind::Classes), &mut report);
    places.read_classes_of_children(of(Kind::Children), &mut report);
    let people = children::read(of(Kind::Children), &places, known, &mut report);
    let calendar = calendar::read(of(Kind::Calendar), &places, &mut report);

    if !report.problems.is_empty() {
        report.problems.sort_by(|one, other| one.origin.cmp(&other.origin));
        return Err(Rejected { problems: report.problems });
    }
    report.notices.sort_by(|one, other| one.origin.cmp(&other.origin));
    let (schools, classes) = places.into_rows();
    let roster = Roster { schools, classes, guardians: people.guardians, children: people.children, calendar };
    Ok(ReadRoster { roster, notices: report.notices })
}

/// Mistakes and notices as they are found.
#[derive(Debug, Default)]
struct Report {
    problems: Vec<Problem>,
    notices: Vec<Problem>,
}

impl Report {
    fn problem(&mut self, origin: &Origin, column: Option<&str>, reason: String) {
        self.problems.push(Problem { origin: origin.clone(), column: column.map(str::to_owned), reason });
    }

    fn notice(&mut self, origin: &Origin, column: Option<&str>, reason: String) {
        self.notices.push(Problem { origin: origin.clone(), column: column.map(str::to_owned), reason });
    }
}

fn file_origin(name: &str) -> Origin {
    Origin { file: Arc::from(name), line: 0 }
}

/// The tables of a file: one of a CSV, one a sheet of an XLSX.
fn open(file: &SourceFile<'_>, report: &mut Report) -> Vec<Grid> {
    let origin = file_origin(file.name);
    let refuse = |report: &mut Report, reason: &str| {
        report.problem(&origin, None, reason.to_owned());
        Vec::new()
    };
    if file.bytes.len() > limits::FILE_BYTES {
        return refuse(report, &format!("il file supera {} MB", limits::FILE_BYTES / 1_000_000));
    }
    if file.bytes.starts_with(b"PK\x03\x04") {
        return xlsx_file::read(file, report);
    }
    if file.bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        return refuse(
            report,
            "è un file Excel del vecchio formato (.xls) o protetto da password: salvarlo come «Cartella di lavoro di Excel (.xlsx)», senza password",
        );
    }
    csv_file::read(file, report)
}

#[cfg(test)]
mod tests;
