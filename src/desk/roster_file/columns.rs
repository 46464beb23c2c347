//! What the headings mean: which table it is, and which column holds what.

use std::collections::HashMap;

use chrono::Weekday;

use super::{
    Report,
    cells::quoted,
    grid::{Cell, Grid},
};
use crate::canteen::roster::fold;

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Schools,
    Classes,
    Children,
    Calendar,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field {
    SchoolCode,
    SchoolName,
    School,
    Class,
    Weekdays,
    Day(Weekday),
    ExternalId,
    LastName,
    FirstName,
    FiscalCode,
    Diet,
    KeypadCode,
    EnrolledFrom,
    EnrolledTo,
    Payer,
    Adult(Adult, AdultField),
    EntryKind,
    From,
    To,
    Reason,
}

/// Which of the two adults of a child's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Adult {
    First,
    Second,
}

/// What is told of an adult.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AdultField {
    LastName,
    FirstName,
    FiscalCode,
    Email,
    Phone,
}

/// Names of the columns, folded, in the order in which the guide lists them.
const SCHOOL_COLUMNS: &[(&str, Field)] = &[
    ("codice", Field::SchoolCode),
    ("codice scuola", Field::SchoolCode),
    ("codice meccanografico", Field::SchoolCode),
    ("sigla", Field::SchoolCode),
    ("nome", Field::SchoolName),
    ("nome scuola", Field::SchoolName),
    ("denominazione", Field::SchoolName),
    ("scuola", Field::SchoolName),
    ("plesso", Field::SchoolName),
];

const CLASS_COLUMNS: &[(&str, Field)] = &[
    ("scuola", Field::School),
    ("plesso", Field::School),
    ("codice scuola", Field::School),
    ("classe", Field::Class),
    ("sezione", Field::Class),
    ("classe sezione", Field::Class),
    ("rientri", Field::Weekdays),
    ("giorni", Field::Weekdays),
    ("giorni di rientro", Field::Weekdays),
    ("giorni di mensa", Field::Weekdays),
    ("giorni mensa", Field::Weekdays),
    ("lun", Field::Day(Weekday::Mon)),
    ("lunedi", Field::Day(Weekday::Mon)),
    ("mar", Field::Day(Weekday::Tue)),
    ("martedi", Field::Day(Weekday::Tue)),
    ("mer", Field::Day(Weekday::Wed)),
    ("mercoledi", Field::Day(Weekday::Wed)),
    ("gio", Field::Day(Weekday::Thu)),
    ("giovedi", Field::Day(Weekday::Thu)),
    ("ven", Field::Day(Weekday::Fri)),
    ("venerdi", Field::Day(Weekday::Fri)),
    ("sab", Field::Day(Weekday::Sat)),
    ("sabato", Field::Day(Weekday::Sat)),
];

const CHILD_COLUMNS: &[(&str, Field)] = &[
    ("matricola", Field::ExternalId),
    ("id", Field::ExternalId),
    ("codice alunno", Field::ExternalId),
    ("codice bambino", Field::ExternalId),
    ("cognome", Field::LastName),
    ("nome", Field::FirstName),
    ("codice fiscale", Field::FiscalCode),
    ("cod fiscale", Field::FiscalCode),
    ("cod fisc", Field::FiscalCode),
    ("cf", Field::FiscalCode),
    ("c f", Field::FiscalCode),
    ("scuola", Field::School),
    ("plesso", Field::School),
    ("codice scuola", Field::School),
    ("classe", Field::Class),
    ("sezione", Field::Class),
    ("classe sezione", Field::Class),
    ("rientri", Field::Weekdays),
    ("giorni di rientro", Field::Weekdays),
    ("giorni mensa", Field::Weekdays),
    ("dieta", Field::Diet),
    ("regime alimentare", Field::Diet),
    ("menu", Field::Diet),
    ("codice disdetta", Field::KeypadCode),
    ("codice telefonico", Field::KeypadCode),
    ("codice tastiera", Field::KeypadCode),
    ("iscritto dal", Field::EnrolledFrom),
    ("iscritta dal", Field::EnrolledFrom),
    ("inizio iscrizione", Field::EnrolledFrom),
    ("data inizio", Field::EnrolledFrom),
    ("iscritto al", Field::EnrolledTo),
    ("iscritto fino al", Field::EnrolledTo),
    ("iscritta al", Field::EnrolledTo),
    ("fine iscrizione", Field::EnrolledTo),
    ("data fine", Field::EnrolledTo),
    ("pagante", Field::Payer),
    ("intestatario", Field::Payer),
    ("paga", Field::Payer),
];

const ADULT_COLUMNS: &[(&str, AdultField)] = &[
    ("cognome", AdultField::LastName),
    ("nome", AdultField::FirstName),
    ("codice fiscale", AdultField::FiscalCode),
    ("cod fiscale", AdultField::FiscalCode),
    ("cf", AdultField::FiscalCode),
    ("email", AdultField::Email),
    ("e mail", AdultField::Email),
    ("mail", AdultField::Email),
    ("posta elettronica", AdultField::Email),
    ("telefono", AdultField::Phone),
    ("tel", AdultField::Phone),
    ("cellulare", AdultField::Phone),
    ("cell", AdultField::Phone),
];

const CALENDAR_COLUMNS: &[(&str, Field)] = &[
    ("tipo", Field::EntryKind),
    ("voce", Field::EntryKind),
    ("scuola", Field::School),
    ("plesso", Field::School),
    ("codice scuola", Field::School),
    ("classe", Field::Class),
    ("sezione", Field::Class),
    ("dal", Field::From),
    ("dal giorno", Field::From),
    ("data", Field::From),
    ("giorno", Field::From),
    ("inizio", Field::From),
    ("data inizio", Field::From),
    ("al", Field::To),
    ("al giorno", Field::To),
    ("fine", Field::To),
    ("data fine", Field::To),
    ("motivo", Field::Reason),
    ("descrizione", Field::Reason),
];

/// Words beside a child's column that say nothing more: "cognome alunno", "nome del bambino".
const CHILD_WORDS: [&str; 14] =
    ["alunno", "alunna", "bambino", "bambina", "studente", "minore", "figlio", "figlia", "dell", "del", "della", "di", "d", "il"];

/// The columns of a table.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) kind: Kind,
    places: HashMap<Field, usize>,
}

impl Columns {
    /// Where a column stands, if it is there.
    pub(super) fn place(&self, field: Field) -> Option<usize> {
        self.places.get(&field).copied()
    }

    /// Is there such a column?
    pub(super) fn has(&self, field: Field) -> bool {
        self.places.contains_key(&field)
    }
}

/// Finds out what a table holds and where; reports what is missing, double or ignored. `None` also for
/// a workbook's sheet of explanations.
pub(super) fn recognise(grid: &Grid, report: &mut Report) -> Option<Columns> {
    let explanations = ["istruzioni", "leggimi", "note", "guida"];
    if grid.sheet.as_ref().is_some_and(|sheet| explanations.contains(&fold(sheet).as_str())) {
        return None;
    }
    let headings: Vec<String> = grid
        .headings
        .cells
        .iter()
        .map(|cell| match cell {
            Cell::Text(text) => text.clone(),
            _ => String::new(),
        })
        .collect();
    let origin = grid.origin(grid.headings.line);
    let Some(kind) = kind(&headings) else {
        report.problem(
            &origin,
            None,
            "dalle intestazioni non si capisce che cosa contiene la tabella: servono «Cognome» e «Nome» per i bambini, «Classe» e \
             «Rientri» per le classi, «Codice» e «Nome» per le scuole, «Tipo» e «Dal» per il calendario"
                .to_owned(),
        );
        return None;
    };
    let mut places = HashMap::new();
    let mut sound = true;
    for (place, heading) in headings.iter().enumerate().filter(|(_, heading)| !heading.is_empty()) {
        let Some(field) = field(kind, heading) else {
            report.notice(&origin, Some(heading), "colonna non riconosciuta: ignorata".to_owned());
            continue;
        };
        if let Some(other) = places.insert(field, place) {
            report.problem(&origin, Some(heading), format!("ripete la colonna «{}»", headings[other]));
            sound = false;
        }
    }
    let missing: Vec<&str> = required(kind).iter().filter(|(field, _)| !places.contains_key(field)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        report.problem(&origin, None, format!("mancano le colonne {}", quoted(missing)));
        sound = false;
    }
    // Cells beside the headings would be lost without a word.
    for row in &grid.rows {
        let beyond = |(place, cell): (usize, &Cell)| *cell != Cell::Empty && headings.get(place).is_none_or(String::is_empty);
        if row.cells.iter().enumerate().any(beyond) {
            report.problem(&grid.origin(row.line), None, "la riga ha un valore in una colonna senza intestazione".to_owned());
            sound = false;
        }
    }
    sound.then_some(Columns { kind, places })
}

fn kind(headings: &[String]) -> Option<Kind> {
    let has = |kind, wanted: &[Field]| wanted.iter().all(|field| headings.iter().any(|heading| self::field(kind, heading) == Some(*field)));
    let any_day = || headings.iter().any(|heading| matches!(field(Kind::Classes, heading), Some(Field::Weekdays | Field::Day(_))));
    if has(Kind::Children, &[Field::LastName, Field::FirstName]) {
        Some(Kind::Children)
    } else if has(Kind::Calendar, &[Field::EntryKind, Field::From]) {
        Some(Kind::Calendar)
    } else if has(Kind::Classes, &[Field::Class]) && any_day() {
        Some(Kind::Classes)
    } else if has(Kind::Schools, &[Field::SchoolCode, Field::SchoolName]) {
        Some(Kind::Schools)
    } else {
        None
    }
}

fn required(kind: Kind) -> &'static [(Field, &'static str)] {
    match kind {
        Kind::Schools => &[(Field::SchoolCode, "Codice"), (Field::SchoolName, "Nome")],
        Kind::Classes => &[(Field::School, "Scuola"), (Field::Class, "Classe")],
        Kind::Children => &[(Field::LastName, "Cognome"), (Field::FirstName, "Nome"), (Field::School, "Scuola"), (Field::Class, "Classe")],
        Kind::Calendar => &[(Field::EntryKind, "Tipo"), (Field::From, "Dal"), (Field::To, "Al")],
    }
}

fn field(kind: Kind, heading: &str) -> Option<Field> {
    let folded = fold(heading);
    let (columns, child) = match kind {
        Kind::Schools => (SCHOOL_COLUMNS, false),
        Kind::Classes => (CLASS_COLUMNS, false),
        Kind::Children => (CHILD_COLUMNS, true),
        Kind::Calendar => (CALENDAR_COLUMNS, false),
    };
    let look_up = |name: &str| columns.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
    look_up(&folded).or_else(|| {
        if !child {
            return None;
        }
        adult_field(&folded).or_else(|| {
            let rest: Vec<&str> = folded.split(' ').filter(|word| !CHILD_WORDS.contains(word)).collect();
            look_up(&rest.join(" "))
        })
    })
}

/// "Cognome genitore 1", "Genitore 2 - e-mail", "Telefono madre": the mother is the first adult, the father the second.
fn adult_field(folded: &str) -> Option<Field> {
    let mut adult = None;
    let mut named = false;
    let mut rest = Vec::new();
    for word in folded.split(' ') {
        let stem = word.trim_end_matches(['1', '2']);
        match stem {
            "genitore" | "tutore" | "adulto" | "responsabile" => named = true,
            "madre" | "mamma" => (named, adult) = (true, Some(Adult::First)),
            "padre" | "papa" => (named, adult) = (true, Some(Adult::Second)),
            "primo" => adult = Some(Adult::First),
            "secondo" => adult = Some(Adult::Second),
            "" | "del" | "della" | "di" => {}
            _ => rest.push(stem),
        }
        match &word[stem.len()..] {
            "1" => adult = Some(Adult::First),
            "2" => adult = Some(Adult::Second),
            _ => {}
        }
    }
    if !named {
        return None;
    }
    let name = rest.join(" ");
    let (_, field) = ADULT_COLUMNS.iter().find(|(known, _)| *known == name)?;
    Some(Field::Adult(adult.unwrap_or(Adult::First), *field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adults_are_named_in_many_ways() {
        for (heading, adult, told) in [
            ("Cognome genitore 1", Adult::First, AdultField::LastName),
            ("Genitore1 - Nome", Adult::First, AdultField::FirstName),
            ("E-mail secondo genitore", Adult::Second, AdultField::Email),
            ("Telefono padre", Adult::Second, AdultField::Phone),
            ("Codice fiscale tutore", Adult::First, AdultField::FiscalCode),
            ("CELL. MADRE", Adult::First, AdultField::Phone),
        ] {
            assert_eq!(field(Kind::Children, heading), Some(Field::Adult(adult, told)), "{heading}");
        }
    }

    #[test]
    fn the_child_is_named_in_many_ways() {
        for (heading, meant) in [
            ("COGNOME", Field::LastName),
            ("Nome dell'alunno", Field::FirstName),
            ("Codice alunno", Field::ExternalId),
            ("Cod. fiscale bambino", Field::FiscalCode),
            ("Codice Disdetta", Field::KeypadCode),
            ("Menù", Field::Diet),
        ] {
            assert_eq!(field(Kind::Children, heading), Some(meant), "{heading}");
        }
        assert_eq!(field(Kind::Children, "Nome nonno"), None);
    }
}
