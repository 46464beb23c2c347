//! The children's table: a row a child, with up to two adults.

use std::collections::HashMap;

use super::{
    Known, Report, cells,
    columns::{Adult, AdultField, Columns, Field},
    grid::Grid,
    places::Places,
    row::Row,
};
use crate::canteen::{
    fiscal_code::FiscalCode,
    roster::{self, ChildRow, GuardianRow, Guardianship, Origin, fold},
};

/// Children and their adults.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) guardians: Vec<GuardianRow>,
    pub(super) children: Vec<ChildRow>,
}

/// By what an adult of several rows is known to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum SameAdult {
    FiscalCode(FiscalCode),
    /// Folded surname and first name, and an e-mail address or telephone number.
    NameAndContact(String, String, String),
}

/// What must not come twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Unique {
    ExternalId(String),
    FiscalCode(FiscalCode),
    KeypadCode(String),
    /// Folded surname and first name, school, class.
    Name(String, String, String, String),
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    people: People,
    adults: HashMap<SameAdult, usize>,
    /// Where each adult was read first.
    adult_origins: Vec<Origin>,
    seen: HashMap<Unique, (Origin, bool)>,
}

/// Reads the tables of children.
pub(super) fn read<'a>(
    tables: impl Iterator<Item = (&'a Grid, &'a Columns)>,
    places: &Places,
    known: &Known<'_>,
    report: &mut Report,
) -> People {
    let mut reading = Reading::default();
    for (grid, columns) in tables {
        for row in &grid.rows {
            reading.child(&mut Row::new(grid, columns, row), places, known, report);
        }
    }
    reading.people
}

impl Reading {
    fn child(&mut self, row: &mut Row<'_>, places: &Places, known: &Known<'_>, report: &mut Report) {
        let last_name = row.required(Field::LastName, report);
        let first_name = row.required(Field::FirstName, report);
        let external_id = row.text(Field::ExternalId, report);
        let fiscal_code = row.read(Field::FiscalCode, cells::fiscal_code, report);
        let code = row.read(Field::KeypadCode, |cell| cells::keypad_code(cell, known.code_is_valid), report);
        let school = places.required_school(row, report);
        let class = row.required(Field::Class, report);
        let class = school.as_deref().filter(|_| !class.is_empty()).and_then(|school| places.class(school, &class, row, report));
        // Without the column nothing is said of it: a known child keeps its diet.
        let (diet, usual) = match row.text(Field::Diet, report) {
            None if !row.has(Field::Diet) => (String::new(), true),
            text => roster::diet(&text.unwrap_or_default()),
        };
        if !usual {
            row.notice(Some(Field::Diet), format!("la dieta «{diet}» non è tra quelle abituali: accettata così com'è"), report);
        }
        let enrolled_from = row.read(Field::EnrolledFrom, cells::date, report);
        let enrolled_to = row.read(Field::EnrolledTo, cells::date, report);
        if let (Some(from), Some(to)) = (enrolled_from, enrolled_to)
            && to < from
        {
            row.problem(Some(Field::EnrolledTo), "l'iscrizione finisce prima di cominciare", report);
        }
        let guardians = self.guardians(row, fiscal_code.as_ref(), report);

        let mut unique = vec![(Field::LastName, name_key(&last_name, &first_name, school.as_deref(), class.as_deref()))];
        unique.extend(external_id.as_ref().map(|id| (Field::ExternalId, Unique::ExternalId(fold(id)))));
        unique.extend(fiscal_code.clone().map(|code| (Field::FiscalCode, Unique::FiscalCode(code))));
        unique.extend(code.clone().map(|code| (Field::KeypadCode, Unique::KeypadCode(code))));
        // Children of one name in one class are two only where the office tells them apart.
        let told_apart = external_id.is_some() || fiscal_code.is_some();
        for (field, key) in unique {
            match self.seen.get(&key) {
                Some((_, other_told_apart)) if matches!(key, Unique::Name(..)) && told_apart && *other_told_apart => {}
                Some((other, _)) => {
                    let what = match key {
                        Unique::ExternalId(_) => "la stessa matricola è già in",
                        Unique::FiscalCode(_) => "lo stesso codice fiscale è già in",
                        Unique::KeypadCode(_) => "lo stesso codice disdetta è già in",
                        Unique::Name(..) => "lo stesso bambino è già in",
                    };
                    let reason = format!("{what} «{other}»");
                    row.problem(Some(field), reason, report);
                }
                None => {
                    self.seen.insert(key, (row.origin.clone(), told_apart));
                }
            }
        }

        let (Some(school), Some(class), true) = (school, class, row.is_sound()) else { return };
        self.people.children.push(ChildRow {
            origin: Some(row.origin.clone()),
            external_id,
            last_name,
            first_name,
            fiscal_code,
            school,
            class,
            diet,
            code,
            enrolled_from,
            enrolled_to,
            guardians,
        });
    }

    fn guardians(&mut self, row: &mut Row<'_>, child: Option<&FiscalCode>, report: &mut Report) -> Vec<Guardianship> {
        let mut guardians = Vec::new();
        for adult in [Adult::First, Adult::Second] {
            let Some(read) = read_adult(adult, row, report) else { continue };
            let fiscal_code = Field::Adult(adult, AdultField::FiscalCode);
            if read.fiscal_code.is_some() && read.fiscal_code.as_ref() == child {
                row.problem(Some(fiscal_code), "è il codice fiscale del bambino", report);
            }
            let guardian = self.merge(adult, read, row, report);
            if guardians.iter().any(|(_, other)| *other == guardian) {
                row.problem(Some(fiscal_code), "è lo stesso adulto due volte", report);
            }
            guardians.push((adult, guardian));
        }
        let payer = row.read(Field::Payer, payer, report);
        if let Some(payer) = payer
            && !guardians.iter().any(|(adult, _)| *adult == payer)
        {
            row.problem(Some(Field::Payer), "indica un adulto che nella riga non c'è", report);
        }
        if guardians.is_empty() {
            row.notice(None, "il bambino non ha adulti di riferimento: nessuno potrà ricevere avvisi", report);
        }
        let first = guardians.first().map(|(adult, _)| *adult);
        let payer = payer.or(first);
        guardians.into_iter().map(|(adult, guardian)| Guardianship { guardian, payer: Some(adult) == payer }).collect()
    }

    /// The adult's place in the list: that of the same adult of an earlier row (a sibling's), or a new one.
    fn merge(&mut self, adult: Adult, read: GuardianRow, row: &mut Row<'_>, report: &mut Report) -> usize {
        let name = |contact: &String| SameAdult::NameAndContact(fold(&read.last_name), fold(&read.first_name), contact.clone());
        let mut keys: Vec<SameAdult> = read.fiscal_code.clone().map(SameAdult::FiscalCode).into_iter().collect();
        keys.extend(read.email.iter().chain(&read.phone).map(name));
        let by_contact = |key: &SameAdult| matches!(key, SameAdult::NameAndContact(..));
        let found = keys.iter().find_map(|key| {
            let index = *self.adults.get(key)?;
            // Father and son of one name may share a telephone: two fiscal codes are two persons.
            let other = self.people.guardians.get(index)?.fiscal_code.as_ref();
            let differ = by_contact(key) && read.fiscal_code.is_some() && other.is_some() && other != read.fiscal_code.as_ref();
            (!differ).then_some(index)
        });
        let index = found.unwrap_or(self.people.guardians.len());
        for key in keys {
            self.adults.entry(key).or_insert(index);
        }
        let (Some(known), Some(origin)) = (self.people.guardians.get_mut(index), self.adult_origins.get(index)) else {
            self.people.guardians.push(read);
            self.adult_origins.push(row.origin.clone());
            return index;
        };
        if (fold(&known.last_name), fold(&known.first_name)) != (fold(&read.last_name), fold(&read.first_name)) {
            let reason = format!("lo stesso codice fiscale ha un altro nome in «{origin}»");
            row.problem(Some(Field::Adult(adult, AdultField::FiscalCode)), reason, report);
        }
        known.fiscal_code = known.fiscal_code.take().or(read.fiscal_code);
        for (told, known, read) in [(AdultField::Email, &mut known.email, read.email), (AdultField::Phone, &mut known.phone, read.phone)] {
            match (&known, read) {
                (Some(kept), Some(other)) if *kept != other => {
                    let reason = format!("diverso da quello in «{origin}», che resta valido");
                    row.notice(Some(Field::Adult(adult, told)), reason, report);
                }
                (None, other) => *known = other,
                _ => {}
            }
        }
        index
    }
}

/// An adult of the row, `None` where nothing is told of them.
fn read_adult(adult: Adult, row: &mut Row<'_>, report: &mut Report) -> Option<GuardianRow> {
    let field = |told| Field::Adult(adult, told);
    let last_name = row.text(field(AdultField::LastName), report);
    let first_name = row.text(field(AdultField::FirstName), report);
    let fiscal_code = row.read(field(AdultField::FiscalCode), cells::fiscal_code, report);
    let email = row.read(field(AdultField::Email), cells::email, report);
    let phone = row.read(field(AdultField::Phone), cells::phone, report);
    if let (Some(last_name), Some(first_name)) = (&last_name, &first_name) {
        return Some(GuardianRow { first_name: first_name.clone(), last_name: last_name.clone(), fiscal_code, email, phone });
    }
    if last_name.is_some() || first_name.is_some() || fiscal_code.is_some() || email.is_some() || phone.is_some() {
        let missing = if last_name.is_none() { AdultField::LastName } else { AdultField::FirstName };
        let which = if adult == Adult::First { "primo" } else { "secondo" };
        row.problem(Some(field(missing)), format!("del {which} adulto servono cognome e nome"), report);
    }
    None
}

fn name_key(last_name: &str, first_name: &str, school: Option<&str>, class: Option<&str>) -> Unique {
    Unique::Name(fold(last_name), fold(first_name), school.unwrap_or_default().to_owned(), class.unwrap_or_default().to_owned())
}

/// Who pays: the first or the second adult.
fn payer(cell: &super::grid::Cell) -> Result<Option<Adult>, cells::Reason> {
    let Some(text) = cells::text(cell)? else { return Ok(None) };
    match fold(&text).as_str() {
        "1" | "primo" | "genitore 1" | "madre" => Ok(Some(Adult::First)),
        "2" | "secondo" | "genitore 2" | "padre" => Ok(Some(Adult::Second)),
        _ => Err("scrivere 1 o 2".to_owned()),
    }
}
