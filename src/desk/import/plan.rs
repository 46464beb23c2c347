//! What an import would change: pure, from the files' rows and a picture of what stands.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
};

use chrono::{NaiveDate, Weekday, WeekdaySet};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    ImportOptions, Imported,
    known::{KnownAdults, KnownChildren, Picture},
};
use crate::{
    canteen::{
        code::ChildCode,
        roster::{ChildRow, ClassRow, ClosureRow, GuardianRow, NORMAL_DIET, Roster, SchoolRow, Scope, TermRow, fold},
    },
    store::{AdultState, ChildState},
};

/// What a row of a plan is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// A school year.
    Year,
    /// A school.
    School,
    /// A class.
    Class,
    /// First and last day of the service.
    Term,
    /// Days without service.
    Closure,
    /// An adult.
    Adult,
    /// A child.
    Child,
}

/// What would become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Change {
    /// It is entered.
    New,
    /// It is changed.
    Changed,
    /// The child is not in the file and leaves.
    Left,
}

/// A field before and after, as people read it; a keypad code never shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Its Italian name.
    pub name: &'static str,
    /// Before; empty where there was nothing.
    pub before: String,
    /// After.
    pub after: String,
}

/// One thing that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRow {
    /// What it is.
    pub kind: Kind,
    /// What becomes of it.
    pub change: Change,
    /// What people call it.
    pub title: String,
    /// File and line.
    pub origin: Option<String>,
    /// What differs; for what is new, what it will be.
    pub fields: Vec<FieldChange>,
}

/// What an import would do. No `Debug`: it holds keypad codes that a file gives.
#[expect(missing_debug_implementations, reason = "holds keypad codes")]
pub struct Plan {
    /// What would change, in the order of the files.
    pub rows: Vec<PlannedRow>,
    /// Counts.
    pub counts: Imported,
    /// Children whose row says what is known already.
    pub unchanged: usize,
    /// Children of the files' schools who are not in the files, and stay.
    pub absent: Vec<String>,
    pub(super) work: Work,
}

impl Plan {
    /// The same for the same changes, however often they are planned.
    pub fn fingerprint(&self) -> String {
        fingerprint(&(&self.rows, &self.counts))
    }

    /// Would it change nothing?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// SHA-256 in hex of what serialises so.
pub(crate) fn fingerprint<T: Serialize>(of: &T) -> String {
    let json = serde_json::to_vec(of).unwrap_or_default();
    Sha256::digest(json).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A term's row and days, as known.
type KnownDays = (i64, NaiveDate, NaiveDate);

/// What is to be written.
#[derive(Default)]
pub(super) struct Work {
    /// Name of a school year that is not there yet.
    pub(super) new_year: Option<String>,
    pub(super) schools: Vec<(Option<(i64, String)>, SchoolRow)>,
    pub(super) classes: Vec<(Option<(i64, WeekdaySet)>, ClassRow)>,
    pub(super) terms: Vec<(Option<KnownDays>, TermRow)>,
    pub(super) closures: Vec<ClosureRow>,
    /// Adults by their place in the roster.
    pub(super) adults: Vec<(usize, Option<i64>, AdultState)>,
    /// The row of each adult of the roster who is known.
    pub(super) known_adults: Vec<Option<i64>>,
    pub(super) children: Vec<ChildWork>,
}

/// A child to be written.
pub(super) struct ChildWork {
    pub(super) known: Option<i64>,
    /// All but class, code and guardians as it will be.
    pub(super) state: ChildState,
    /// School and class; `None`: it stays where it is.
    pub(super) class: Option<(String, String)>,
    /// A code that the file gives.
    pub(super) code: Option<ChildCode>,
    /// Adults by their place in the roster; `None`: they stay.
    pub(super) links: Option<Vec<(usize, bool)>>,
}

/// Plans.
pub(super) fn plan(roster: &Roster, picture: &Picture, options: ImportOptions) -> Result<Plan, Vec<String>> {
    let mut planner = Planner {
        roster,
        picture,
        schools: picture.schools.iter().map(|s| s.code.clone()).chain(roster.schools.iter().map(|s| s.code.clone())).collect(),
        classes: picture.classes.iter().map(|c| ((c.school.clone(), c.name.clone()), Some(c.id))).collect(),
        wrong: vec![],
        plan: Plan { rows: vec![], counts: Imported::default(), unchanged: 0, absent: vec![], work: Work::default() },
    };
    planner.places();
    planner.people(options);
    if planner.wrong.is_empty() { Ok(planner.plan) } else { Err(planner.wrong) }
}

struct Planner<'a> {
    roster: &'a Roster,
    picture: &'a Picture,
    schools: HashSet<String>,
    /// School and class to its row, `None` where it is to be made.
    classes: HashMap<(String, String), Option<i64>>,
    /// What is wrong, collected: the office mends all of it at once.
    wrong: Vec<String>,
    plan: Plan,
}

impl Planner<'_> {
    fn row(&mut self, kind: Kind, change: Change, title: String, fields: Vec<FieldChange>) {
        self.plan.rows.push(PlannedRow { kind, change, title, origin: None, fields });
    }

    fn places(&mut self) {
        let (roster, picture) = (self.roster, self.picture);
        self.plan.counts.schools = roster.schools.len();
        for school in &roster.schools {
            let known = picture.schools.iter().find(|s| s.code == school.code);
            match known {
                Some(known) if known.name == school.name => continue,
                Some(known) => {
                    let field = field("nome", known.name.clone(), school.name.clone());
                    self.row(Kind::School, Change::Changed, school.name.clone(), vec![field]);
                }
                None => self.row(Kind::School, Change::New, school.name.clone(), vec![]),
            }
            self.plan.work.schools.push((known.map(|k| (k.id, k.name.clone())), school.clone()));
        }
        if picture.year.is_none() {
            match &roster.calendar.school_year {
                Some(name) => {
                    self.row(Kind::Year, Change::New, name.clone(), vec![]);
                    self.plan.work.new_year = Some(name.clone());
                }
                None if !roster.classes.is_empty() || !roster.children.is_empty() || !roster.calendar.closures.is_empty() => {
                    self.wrong.push("Non c'è ancora nessun anno scolastico: importi prima (o insieme) il calendario.".to_owned());
                }
                None => {}
            }
        }
        self.classes();
        self.calendar();
    }

    fn classes(&mut self) {
        let (roster, picture) = (self.roster, self.picture);
        for class in &roster.classes {
            if !self.schools.contains(&class.school) {
                self.wrong.push(format!("Classe {}: la scuola «{}» non esiste.", class.name, class.school));
                continue;
            }
            self.plan.counts.classes += 1;
            let title = self.class_title(&class.school, &class.name);
            let known = picture.classes.iter().find(|c| c.school == class.school && c.name == class.name);
            match known {
                Some(known) if known.weekdays() == class.weekdays => continue,
                Some(known) => {
                    let field = field("rientri", days_in_words(known.weekdays()), days_in_words(class.weekdays));
                    self.row(Kind::Class, Change::Changed, title, vec![field]);
                }
                None => {
                    let field = field("rientri", String::new(), days_in_words(class.weekdays));
                    self.row(Kind::Class, Change::New, title, vec![field]);
                    self.classes.insert((class.school.clone(), class.name.clone()), None);
                }
            }
            self.plan.work.classes.push((known.map(|k| (k.id, k.weekdays())), class.clone()));
        }
    }

    fn calendar(&mut self) {
        let (roster, picture) = (self.roster, self.picture);
        let school_row = |code: &str| picture.schools.iter().find(|s| s.code == code).map(|s| s.id);
        for term in &roster.calendar.terms {
            if let Some(code) = term.school.as_ref().filter(|code| !self.schools.contains(*code)) {
                self.wrong.push(format!("Periodo di servizio: la scuola «{code}» non esiste."));
                continue;
            }
            let row = term.school.as_deref().map(school_row);
            let known = picture.terms.iter().find(|t| row.is_none_or(|row| row.is_some()) && t.school_id == row.flatten());
            let title = term.school.as_deref().map_or_else(|| "tutte le scuole".to_owned(), |code| self.school_title(code));
            let days = |first, last| format!("dal {} al {}", date(first), date(last));
            match known {
                Some(known) if (known.first_day, known.last_day) == (term.first, term.last) => continue,
                Some(known) => {
                    let field = field("servizio", days(known.first_day, known.last_day), days(term.first, term.last));
                    self.row(Kind::Term, Change::Changed, title, vec![field]);
                }
                None => self.row(Kind::Term, Change::New, title, vec![field("servizio", String::new(), days(term.first, term.last))]),
            }
            self.plan.work.terms.push((known.map(|k| (k.id, k.first_day, k.last_day)), term.clone()));
        }
        for closure in &roster.calendar.closures {
            let missing = match &closure.scope {
                Scope::Ente => false,
                Scope::School { school } => !self.schools.contains(school),
                Scope::Class { school, class } => !self.classes.contains_key(&(school.clone(), class.clone())),
            };
            if missing {
                self.wrong.push(format!("Chiusura del {} ({}): scuola o classe inesistente.", date(closure.first), closure.reason));
                continue;
            }
            let place = match &closure.scope {
                Scope::Ente => Some((None, None)),
                Scope::School { school } => school_row(school).map(|id| (Some(id), None)),
                Scope::Class { school, class } => {
                    let class = self.classes.get(&(school.clone(), class.clone())).copied().flatten();
                    school_row(school).zip(class).map(|(school, class)| (Some(school), Some(class)))
                }
            };
            let there = place.is_some_and(|place| {
                let same = |k: &crate::store::KnownClosure| {
                    (k.school_id, k.class_id) == place && (k.first_day, k.last_day) == (closure.first, closure.last)
                };
                picture.closures.iter().any(same)
            });
            if there || self.plan.work.closures.iter().any(|c| (&c.scope, c.first, c.last) == (&closure.scope, closure.first, closure.last))
            {
                continue;
            }
            self.plan.counts.new_closures += 1;
            let days = if closure.first == closure.last {
                date(closure.first)
            } else {
                format!("dal {} al {}", date(closure.first), date(closure.last))
            };
            self.row(Kind::Closure, Change::New, format!("{days}: {}", closure.reason), vec![]);
            self.plan.work.closures.push(closure.clone());
        }
    }

    fn people(&mut self, options: ImportOptions) {
        let (roster, picture) = (self.roster, self.picture);
        let mut known = KnownChildren::new(&picture.children);
        let adults = KnownAdults::new(&picture.adults);
        // A code that was replaced stays its child's: an old letter must not cancel another child's meal.
        let retired = picture.retired.iter().map(|(code, id)| (code.as_str(), Some(*id)));
        let mut codes: HashMap<&str, Option<i64>> =
            retired.chain(picture.children.iter().map(|(id, c)| (c.code.as_str(), Some(*id)))).collect();
        let mut rows: Vec<Option<i64>> = vec![None; roster.guardians.len()];
        let mut seen: Vec<bool> = vec![false; roster.guardians.len()];
        for child in &roster.children {
            let key = (child.school.clone(), child.class.clone());
            let Some(class) = self.classes.get(&key).copied() else {
                self.wrong.push(at_row(child, &format!("la classe «{}» della scuola «{}» non esiste", child.class, child.school)));
                continue;
            };
            let id = known.find(child, class);
            let before = id.and_then(|id| picture.children.get(&id));
            let code = match given_code(child, id, &codes) {
                Ok(code) => code,
                Err(why) => {
                    self.wrong.push(at_row(child, why));
                    continue;
                }
            };
            if child.code.is_some() {
                codes.insert(child.code.as_deref().unwrap_or_default(), id);
            }
            for link in &child.guardians {
                let (Some(adult), Some(done)) = (roster.guardians.get(link.guardian), seen.get_mut(link.guardian)) else { continue };
                if !std::mem::replace(done, true) {
                    let row = adults.find(adult, before).filter(|row| !rows.contains(&Some(*row)));
                    self.adult(link.guardian, adult, row);
                    if let Some(slot) = rows.get_mut(link.guardian) {
                        *slot = row;
                    }
                }
            }
            self.child(child, id, before, class, code, &rows);
        }
        self.plan.work.known_adults = rows;
        self.absent(&known, options);
    }

    /// An adult of the files, who is entered or brought up to date where something differs.
    fn adult(&mut self, place: usize, adult: &GuardianRow, row: Option<i64>) {
        let before = row.and_then(|row| self.picture.adults.get(&row));
        let after = AdultState {
            last_name: name_after(before.map(|b| &b.last_name), &adult.last_name),
            first_name: name_after(before.map(|b| &b.first_name), &adult.first_name),
            fiscal_code: said_or(adult.fiscal_code.as_ref().map(|f| f.as_str().to_owned()), before.map(|b| &b.fiscal_code)),
            email: said_or(adult.email.clone(), before.map(|b| &b.email)),
            phone: said_or(adult.phone.clone(), before.map(|b| &b.phone)),
            address: before.and_then(|b| b.address.clone()),
        };
        if before == Some(&after) {
            return;
        }
        let title = format!("{} {}", after.last_name, after.first_name);
        let mut fields = adult_fields(before, &after);
        if before.is_none() {
            fields.retain(|f| f.name != "cognome" && f.name != "nome");
        }
        self.row(Kind::Adult, if before.is_some() { Change::Changed } else { Change::New }, title, fields);
        self.plan.work.adults.push((place, row, after));
    }

    fn child(
        &mut self,
        child: &ChildRow,
        id: Option<i64>,
        before: Option<&ChildState>,
        class: Option<i64>,
        code: Option<ChildCode>,
        rows: &[Option<i64>],
    ) {
        let diet = Some(child.diet.clone()).filter(|diet| !diet.is_empty());
        let links: Option<Vec<(usize, bool)>> =
            (!child.guardians.is_empty()).then(|| child.guardians.iter().map(|g| (g.guardian, g.payer)).collect());
        let state = ChildState {
            class: class.unwrap_or_default(),
            external_ref: said_or(child.external_id.clone(), before.map(|b| &b.external_ref)),
            last_name: name_after(before.map(|b| &b.last_name), &child.last_name),
            first_name: name_after(before.map(|b| &b.first_name), &child.first_name),
            fiscal_code: said_or(child.fiscal_code.as_ref().map(|f| f.as_str().to_owned()), before.map(|b| &b.fiscal_code)),
            diet: diet.or_else(|| before.map(|b| b.diet.clone())).unwrap_or_else(|| NORMAL_DIET.to_owned()),
            code: before.map(|b| b.code.clone()).unwrap_or_default(),
            enrolled_first: child.enrolled_from.or(before.and_then(|b| b.enrolled_first)),
            enrolled_last: child.enrolled_to.or(before.and_then(|b| b.enrolled_last)),
            guardians: before.map(|b| b.guardians.clone()).unwrap_or_default(),
            delegates: before.map(|b| b.delegates.clone()).unwrap_or_default(),
        };
        let new_class = class.is_none() || before.is_some_and(|b| Some(b.class) != class);
        let place = self.class_title(&child.school, &child.class);
        let mut fields = Vec::new();
        if new_class || before.is_none() {
            let old = before.map(|b| self.class_title_of(b.class)).unwrap_or_default();
            fields.push(field("classe", old, place.clone()));
        }
        fields.extend(child_fields(before, &state));
        if let Some(links) = &links {
            let as_rows: Option<Vec<(i64, bool)>> =
                links.iter().map(|(slot, payer)| Some((rows.get(*slot).copied().flatten()?, *payer))).collect();
            if before.is_none_or(|b| as_rows.as_ref() != Some(&b.guardians)) {
                fields.push(field(
                    "adulti",
                    before.map(|b| self.adults_in_words(&b.guardians)).unwrap_or_default(),
                    self.links_in_words(links),
                ));
            }
        }
        if before.is_some_and(|b| code.as_ref().is_some_and(|code| code.as_str() != b.code)) {
            fields.push(field("codice disdetta", "quello di prima".to_owned(), "un altro, scritto nel file".to_owned()));
        }
        if before.is_some() {
            self.plan.counts.known_children += 1;
            if fields.is_empty() {
                self.plan.unchanged += 1;
                return;
            }
            self.plan.counts.changed_children += 1;
        } else {
            fields.retain(|f| f.name != "cognome" && f.name != "nome" && f.name != "classe");
            self.plan.counts.new_children += 1;
        }
        self.plan.rows.push(PlannedRow {
            kind: Kind::Child,
            change: if before.is_some() { Change::Changed } else { Change::New },
            title: format!("{} {}, {place}", state.last_name, state.first_name),
            origin: child.origin.as_ref().map(ToString::to_string),
            fields,
        });
        let class = Some((child.school.clone(), child.class.clone()));
        self.plan.work.children.push(ChildWork { known: id, state, class, code, links });
    }

    /// The children of this year whom the files, which tell of their school, do not name.
    fn absent(&mut self, known: &KnownChildren<'_>, options: ImportOptions) {
        let told: HashSet<&str> = self.roster.children.iter().map(|c| c.school.as_str()).collect();
        let classes: BTreeMap<i64, &str> =
            self.picture.classes.iter().filter(|c| told.contains(c.school.as_str())).map(|c| (c.id, c.name.as_str())).collect();
        for (id, child) in &self.picture.children {
            let Some(class) = classes.get(&child.class).filter(|_| !known.was_found(*id)) else { continue };
            let title = format!("{} {}, {class}", child.last_name, child.first_name);
            match options.absent_leave_on {
                Some(last) if child.enrolled_last.is_none_or(|known| known > last) => {
                    let state = ChildState { enrolled_last: Some(last), ..child.clone() };
                    self.row(Kind::Child, Change::Left, title, child_fields(Some(child), &state));
                    self.plan.counts.left_children += 1;
                    self.plan.work.children.push(ChildWork { known: Some(*id), state, class: None, code: None, links: None });
                }
                None if child.enrolled_last.is_none() => self.plan.absent.push(title),
                _ => {}
            }
        }
    }

    fn school_title(&self, code: &str) -> String {
        let new = self.roster.schools.iter().find(|s| s.code == code).map(|s| &s.name);
        let known = || self.picture.schools.iter().find(|s| s.code == code).map(|s| &s.name);
        new.or_else(known).cloned().unwrap_or_else(|| code.to_owned())
    }

    fn class_title(&self, school: &str, class: &str) -> String {
        format!("{class} ({})", self.school_title(school))
    }

    fn class_title_of(&self, row: i64) -> String {
        let class = self.picture.classes.iter().find(|c| c.id == row);
        class.map_or_else(|| "di un altro anno scolastico".to_owned(), |c| self.class_title(&c.school, &c.name))
    }

    fn adults_in_words(&self, adults: &[(i64, bool)]) -> String {
        let name = |id: &i64| self.picture.adults.get(id).map(|a| format!("{} {}", a.last_name, a.first_name)).unwrap_or_default();
        adults.iter().map(|(id, payer)| with_payer(&name(id), *payer)).collect::<Vec<_>>().join(", ")
    }

    fn links_in_words(&self, links: &[(usize, bool)]) -> String {
        let name = |slot: usize| self.roster.guardians.get(slot).map(|a| format!("{} {}", a.last_name, a.first_name)).unwrap_or_default();
        links.iter().map(|(slot, payer)| with_payer(&name(*slot), *payer)).collect::<Vec<_>>().join(", ")
    }
}

fn with_payer(name: &str, payer: bool) -> String {
    if payer { format!("{name} (paga)") } else { name.to_owned() }
}

/// The code that the file gives, where it may be this child's.
fn given_code(child: &ChildRow, id: Option<i64>, codes: &HashMap<&str, Option<i64>>) -> Result<Option<ChildCode>, &'static str> {
    let Some(given) = &child.code else { return Ok(None) };
    let code = ChildCode::parse(given).map_err(|_| "il codice disdetta non è valido: la cifra di controllo non torna")?;
    match codes.get(code.as_str()) {
        Some(owner) if owner.is_none() || *owner != id => Err("il codice disdetta è già di un altro bambino"),
        _ => Ok(Some(code)),
    }
}

/// What a file says, or what was known: an empty cell takes nothing away.
fn said_or(said: Option<String>, before: Option<&Option<String>>) -> Option<String> {
    said.or_else(|| before.cloned().flatten())
}

/// The name as the file writes it, unless it only writes the known one in capitals.
fn name_after(before: Option<&String>, said: &str) -> String {
    match before {
        Some(before) if fold(before) == fold(said) && !said.chars().any(char::is_lowercase) => before.clone(),
        _ => said.to_owned(),
    }
}

pub(crate) fn field(name: &'static str, before: String, after: String) -> FieldChange {
    FieldChange { name, before, after }
}

/// What differs between two states of a child, class, code and adults aside.
pub(crate) fn child_fields(before: Option<&ChildState>, after: &ChildState) -> Vec<FieldChange> {
    let text = |of: fn(&ChildState) -> String| (before.map(of).unwrap_or_default(), of(after));
    let day = |day: Option<NaiveDate>| day.map(date).unwrap_or_default();
    let pairs = [
        ("cognome", text(|c| c.last_name.clone())),
        ("nome", text(|c| c.first_name.clone())),
        ("matricola", text(|c| c.external_ref.clone().unwrap_or_default())),
        ("codice fiscale", text(|c| c.fiscal_code.clone().unwrap_or_default())),
        ("dieta", text(|c| c.diet.clone())),
        ("iscritto dal", (day(before.and_then(|b| b.enrolled_first)), day(after.enrolled_first))),
        ("iscritto fino al", (day(before.and_then(|b| b.enrolled_last)), day(after.enrolled_last))),
    ];
    pairs.into_iter().filter(|(_, (before, after))| before != after).map(|(name, (before, after))| field(name, before, after)).collect()
}

/// What differs between two states of an adult.
pub(crate) fn adult_fields(before: Option<&AdultState>, after: &AdultState) -> Vec<FieldChange> {
    let text = |of: fn(&AdultState) -> String| (before.map(of).unwrap_or_default(), of(after));
    let pairs = [
        ("cognome", text(|a| a.last_name.clone())),
        ("nome", text(|a| a.first_name.clone())),
        ("codice fiscale", text(|a| a.fiscal_code.clone().unwrap_or_default())),
        ("e-mail", text(|a| a.email.clone().unwrap_or_default())),
        ("telefono", text(|a| a.phone.clone().unwrap_or_default())),
        ("indirizzo", text(|a| a.address.clone().unwrap_or_default())),
    ];
    pairs.into_iter().filter(|(_, (before, after))| before != after).map(|(name, (before, after))| field(name, before, after)).collect()
}

pub(crate) fn date(day: NaiveDate) -> String {
    day.format("%d/%m/%Y").to_string()
}

/// "lun, mer, gio".
pub(crate) fn days_in_words(days: WeekdaySet) -> String {
    const NAMES: [&str; 7] = ["lun", "mar", "mer", "gio", "ven", "sab", "dom"];
    let names: Vec<_> = days.iter(Weekday::Mon).filter_map(|d| NAMES.get(d.num_days_from_monday() as usize).copied()).collect();
    if names.is_empty() { "nessuno".to_owned() } else { names.join(", ") }
}

fn at_row(child: &ChildRow, what: &str) -> String {
    match &child.origin {
        Some(origin) => format!("{origin}: {what}."),
        None => format!("{} {}: {what}.", child.last_name, child.first_name),
    }
}
