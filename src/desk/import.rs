//! Importing roster and calendar (O2): all or nothing, in one transaction.
//!
//! A child is recognised by the office's own number, else by fiscal code, else by names and class;
//! what is recognised is brought up to date and keeps its keypad code unless the file gives another.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rand::Rng;

use super::{Desk, DeskError, closing::live_from, ente_of};
use crate::{
    canteen::{
        ChildId, EnteId,
        code::ChildCode,
        roster::{CalendarRows, ChildRow, ClassRow, GuardianRow, Roster, SchoolRow, Scope, fold},
        window::Window,
    },
    ops::chance,
    store::{ClassKey, EnrolledChild, KnownChild, KnownGuardian, PutChild, PutGuardian, StoreError, Tx},
};

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Schools in the file.
    pub schools: usize,
    /// Classes in the file.
    pub classes: usize,
    /// Closures that were new.
    pub new_closures: usize,
    /// Children entered.
    pub new_children: usize,
    /// Children recognised and brought up to date.
    pub known_children: usize,
}

/// Why an import was refused; nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Rows that only the database could find wrong, in Italian.
    #[error("{}", .0.join("\n"))]
    Rows(Vec<String>),
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// More draws than a free code ever needs while at most half of the 900,000 are given out.
const CODE_DRAWS: usize = 64;

impl Desk {
    /// The schools of an ente and the classes of its latest school year, for reading files that do not repeat them.
    pub async fn known_places(&self, ente: EnteId) -> Result<(Vec<SchoolRow>, Vec<ClassRow>), DeskError> {
        let mut tx = self.db.read().await?;
        let schools = tx.schools(ente).await?.into_iter().map(|s| SchoolRow { code: s.code, name: s.name }).collect();
        let classes = match tx.latest_school_year(ente).await? {
            Some(year) => tx.classes(year.id).await?,
            None => vec![],
        };
        let class = |c: ClassKey| ClassRow { weekdays: c.weekdays(), school: c.school, name: c.name };
        Ok((schools, classes.into_iter().map(class).collect()))
    }

    /// The latest school year's name.
    pub async fn school_year(&self, ente: EnteId) -> Result<Option<String>, DeskError> {
        Ok(self.db.read().await?.latest_school_year(ente).await?.map(|year| year.name))
    }

    /// Creates an ente, or brings its name and settings up to date.
    pub async fn put_ente(&self, slug: &str, name: &str, office_phone: Option<&str>, window: &Window) -> Result<EnteId, DeskError> {
        let mut tx = self.db.write().await?;
        let id = tx.put_ente(slug, name, office_phone, window).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Every child of an ente with its code. For letters and lists; never for logs.
    pub async fn children_with_codes(&self, ente: EnteId) -> Result<Vec<EnrolledChild>, DeskError> {
        Ok(self.db.read().await?.children_with_codes(ente).await?)
    }

    /// Writes an import down, or refuses it whole.
    pub async fn import(&self, ente: EnteId, roster: &Roster) -> Result<Imported, ImportError> {
        let mut tx = self.db.write().await?;
        tx.shut_day(ente.0).await?;
        let at = tx.instant(&self.clock).await?;
        let mut import = Import { tx: &mut tx, ente, at, wrong: Vec::new(), done: Imported::default() };
        import.run(roster, &mut chance::fresh()).await?;
        let Import { wrong, done, .. } = import;
        if !wrong.is_empty() {
            return Err(ImportError::Rows(wrong));
        }
        tx.commit().await?;
        Ok(done)
    }
}

/// One import under way.
struct Import<'t> {
    tx: &'t mut Tx,
    ente: EnteId,
    at: DateTime<Utc>,
    /// What is wrong, collected: the office mends all of it at once.
    wrong: Vec<String>,
    done: Imported,
}

impl Import<'_> {
    async fn run(&mut self, roster: &Roster, rng: &mut (impl Rng + Send)) -> Result<(), ImportError> {
        let window = ente_of(self.tx, self.ente).await?.window;
        for school in &roster.schools {
            self.tx.put_school(self.ente, &school.code, &school.name, live_from(&window, self.at)).await?;
        }
        self.done.schools = roster.schools.len();
        let schools: HashMap<String, i64> = self.tx.schools(self.ente).await?.into_iter().map(|s| (s.code, s.id)).collect();

        let Some(year) = self.school_year(&roster.calendar).await? else {
            if !roster.classes.is_empty() || !roster.children.is_empty() || !roster.calendar.closures.is_empty() {
                self.wrong.push("Non c'è ancora nessun anno scolastico: importi prima (o insieme) il calendario.".to_owned());
            }
            return Ok(());
        };
        for class in &roster.classes {
            match schools.get(&class.school) {
                Some(school) => {
                    self.tx.put_class(*school, year, &class.name, class.weekdays).await?;
                    self.done.classes += 1;
                }
                None => self.wrong.push(format!("Classe {}: la scuola «{}» non esiste.", class.name, class.school)),
            }
        }
        let classes: HashMap<(String, String), i64> =
            self.tx.classes(year).await?.into_iter().map(|c| ((c.school, c.name), c.id)).collect();
        self.calendar(&roster.calendar, year, &schools, &classes).await?;
        self.children(roster, &classes, rng).await
    }

    async fn school_year(&mut self, calendar: &CalendarRows) -> Result<Option<i64>, ImportError> {
        Ok(match &calendar.school_year {
            Some(name) => Some(self.tx.put_school_year(self.ente, name).await?),
            None => self.tx.latest_school_year(self.ente).await?.map(|year| year.id),
        })
    }

    async fn calendar(
        &mut self,
        calendar: &CalendarRows,
        year: i64,
        schools: &HashMap<String, i64>,
        classes: &HashMap<(String, String), i64>,
    ) -> Result<(), ImportError> {
        for term in &calendar.terms {
            match term.school.as_ref().map(|code| schools.get(code).ok_or(code)).transpose() {
                Ok(school) => self.tx.put_term(year, school.copied(), term.first, term.last).await?,
                Err(code) => self.wrong.push(format!("Periodo di servizio: la scuola «{code}» non esiste.")),
            }
        }
        for closure in &calendar.closures {
            let place = match &closure.scope {
                Scope::Ente => Some((None, None)),
                Scope::School { school } => schools.get(school).map(|id| (Some(*id), None)),
                Scope::Class { school, class } => {
                    let class = classes.get(&(school.clone(), class.clone()));
                    schools.get(school).zip(class).map(|(school, class)| (Some(*school), Some(*class)))
                }
            };
            let Some((school, class)) = place else {
                self.wrong.push(format!(
                    "Chiusura del {} ({}): scuola o classe inesistente.",
                    closure.first.format("%d/%m/%Y"),
                    closure.reason
                ));
                continue;
            };
            let new = self.tx.add_closure(self.ente, school, class, closure.first, closure.last, &closure.reason, self.at).await?;
            self.done.new_closures += usize::from(new);
        }
        Ok(())
    }

    async fn children(
        &mut self,
        roster: &Roster,
        classes: &HashMap<(String, String), i64>,
        rng: &mut (impl Rng + Send),
    ) -> Result<(), ImportError> {
        let mut known = KnownChildren::new(self.tx.known_children(self.ente).await?);
        // A code that was replaced is nobody's: an old letter must not cancel another child's meal.
        known.codes.extend(self.tx.retired_codes(self.ente).await?.into_iter().map(|code| (code, None)));
        let mut guardians = KnownGuardians::new(self.tx.known_guardians(self.ente).await?);
        // A guardian shared by siblings is written once.
        let mut rows: Vec<Option<i64>> = vec![None; roster.guardians.len()];
        for child in &roster.children {
            let Some(class) = classes.get(&(child.school.clone(), child.class.clone())) else {
                self.wrong.push(at_row(child, &format!("la classe «{}» della scuola «{}» non esiste", child.class, child.school)));
                continue;
            };
            let row = known.find(child, *class);
            let code = match known.code_for(child, row.as_ref(), rng) {
                Ok(code) => code,
                Err(why) => {
                    self.wrong.push(at_row(child, why));
                    continue;
                }
            };
            let put = PutChild {
                class_id: *class,
                external_ref: child.external_id.as_deref(),
                last_name: &child.last_name,
                first_name: &child.first_name,
                fiscal_code: child.fiscal_code.as_ref().map(super::super::canteen::fiscal_code::FiscalCode::as_str),
                diet: &child.diet,
                code: &code,
                enrolled_first: child.enrolled_from,
                enrolled_last: child.enrolled_to,
            };
            let id = if let Some(row) = row {
                let id = ChildId(row.id);
                self.tx.update_child(id, &put).await?;
                self.done.known_children += 1;
                id
            } else {
                self.done.new_children += 1;
                self.tx.add_child(self.ente, &put, self.at).await?
            };
            let mut links = Vec::with_capacity(child.guardians.len());
            for link in &child.guardians {
                let Some(guardian) = roster.guardians.get(link.guardian) else { continue };
                let row = match rows.get(link.guardian).copied().flatten() {
                    Some(row) => row,
                    None => guardians.put(self.tx, self.ente, guardian).await?,
                };
                if let Some(slot) = rows.get_mut(link.guardian) {
                    *slot = Some(row);
                }
                links.push((row, link.payer));
            }
            self.tx.put_guardians_of(id, &links).await?;
        }
        Ok(())
    }
}

fn at_row(child: &ChildRow, what: &str) -> String {
    match &child.origin {
        Some(origin) => format!("{origin}: {what}."),
        None => format!("{} {}: {what}.", child.last_name, child.first_name),
    }
}

/// The children that are there, found by each of their keys.
struct KnownChildren {
    by_ref: HashMap<String, usize>,
    by_fiscal_code: HashMap<String, usize>,
    by_name: HashMap<(String, String, i64), usize>,
    codes: HashMap<String, Option<ChildId>>,
    /// Emptied as lines of the file are matched with them.
    rows: Vec<Option<KnownChild>>,
}

impl KnownChildren {
    fn new(rows: Vec<KnownChild>) -> Self {
        let index = |key: fn(&KnownChild) -> Option<String>| rows.iter().enumerate().filter_map(move |(i, r)| Some((key(r)?, i)));
        Self {
            by_ref: index(|r| r.external_ref.clone()).collect(),
            by_fiscal_code: index(|r| r.fiscal_code.clone()).collect(),
            by_name: rows.iter().enumerate().map(|(i, r)| ((fold(&r.last_name), fold(&r.first_name), r.class_id), i)).collect(),
            codes: rows.iter().map(|r| (r.code.clone(), Some(ChildId(r.id)))).collect(),
            rows: rows.into_iter().map(Some).collect(),
        }
    }

    /// The row of this child. By names only where neither side has a fiscal code that says otherwise.
    fn find(&mut self, child: &ChildRow, class: i64) -> Option<KnownChild> {
        let fiscal_code = child.fiscal_code.as_ref().map(super::super::canteen::fiscal_code::FiscalCode::as_str);
        let by_ref = child.external_id.as_ref().and_then(|r| self.by_ref.get(r));
        let by_fiscal = || fiscal_code.and_then(|f| self.by_fiscal_code.get(f));
        let by_name = || {
            let found = self.by_name.get(&(fold(&child.last_name), fold(&child.first_name), class))?;
            let row = self.rows.get(*found)?.as_ref()?;
            let differ = |a: Option<&str>, b: Option<&str>| a.zip(b).is_some_and(|(a, b)| a != b);
            let other =
                differ(row.fiscal_code.as_deref(), fiscal_code) || differ(row.external_ref.as_deref(), child.external_id.as_deref());
            (!other).then_some(found)
        };
        let found = *by_ref.or_else(by_fiscal).or_else(by_name)?;
        // Two lines that look like the same child are two children: the first takes the row.
        self.rows.get_mut(found)?.take()
    }

    /// The code that the child keeps, is given by the file, or draws.
    fn code_for(&mut self, child: &ChildRow, known: Option<&KnownChild>, rng: &mut impl Rng) -> Result<ChildCode, &'static str> {
        let id = known.map(|row| ChildId(row.id));
        if let Some(given) = &child.code {
            let code = ChildCode::parse(given).map_err(|_| "il codice disdetta non è valido: la cifra di controllo non torna")?;
            let owner = self.codes.get(code.as_str());
            if owner.is_some_and(|owner| owner.is_none() || *owner != id) {
                return Err("il codice disdetta è già di un altro bambino");
            }
            self.codes.insert(code.as_str().to_owned(), id);
            return Ok(code);
        }
        if let Some(code) = known.and_then(|row| ChildCode::parse(&row.code).ok()) {
            return Ok(code);
        }
        for _ in 0..CODE_DRAWS {
            let code = ChildCode::random(rng);
            if !self.codes.contains_key(code.as_str()) {
                self.codes.insert(code.as_str().to_owned(), id);
                return Ok(code);
            }
        }
        Err("non si trova un codice disdetta libero")
    }
}

/// The guardians that are there.
struct KnownGuardians {
    by_fiscal_code: HashMap<String, i64>,
    by_contact: HashMap<(String, String, Option<String>, Option<String>), i64>,
}

impl KnownGuardians {
    fn new(rows: Vec<KnownGuardian>) -> Self {
        Self {
            by_fiscal_code: rows.iter().filter_map(|r| Some((r.fiscal_code.clone()?, r.id))).collect(),
            by_contact: rows.into_iter().map(|r| ((fold(&r.last_name), fold(&r.first_name), r.email, r.phone), r.id)).collect(),
        }
    }

    /// Writes the guardian, recognised by fiscal code, else by names and contacts together.
    async fn put(&mut self, tx: &mut Tx, ente: EnteId, guardian: &GuardianRow) -> Result<i64, StoreError> {
        let fiscal_code = guardian.fiscal_code.as_ref().map(super::super::canteen::fiscal_code::FiscalCode::as_str);
        let contact = (fold(&guardian.last_name), fold(&guardian.first_name), guardian.email.clone(), guardian.phone.clone());
        let known = match fiscal_code {
            Some(fiscal_code) => self.by_fiscal_code.get(fiscal_code),
            None => self.by_contact.get(&contact),
        };
        let put = PutGuardian {
            last_name: &guardian.last_name,
            first_name: &guardian.first_name,
            fiscal_code,
            email: guardian.email.as_deref(),
            phone: guardian.phone.as_deref(),
        };
        let row = tx.put_guardian(ente, known.copied(), &put).await?;
        if let Some(fiscal_code) = fiscal_code {
            self.by_fiscal_code.insert(fiscal_code.to_owned(), row);
        }
        self.by_contact.insert(contact, row);
        Ok(row)
    }
}
