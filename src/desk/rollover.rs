//! A new school year: classes go up, families stay, the last year leaves. Seen before it is done, and undone like an import.

use std::collections::{BTreeMap, HashMap};

use chrono::{Days, NaiveDate};
use serde::Serialize;
use serde_json::json;

use super::{
    Desk, DeskError, ente_of,
    import::{Codes, date, fingerprint, kept},
    trail::{self, Actor},
    undo::keep_batch,
};
use crate::{
    canteen::{
        ChildId, EnteId,
        promotion::{Step, highest, next_year, proposed},
        roster::{CalendarRows, TermRow},
    },
    ops::chance,
    store::{BatchEntry, ChildState, ClassSize, SchoolYearRow, StoreError, Tx, weekdays_to_bits},
};

/// The new year, as the office wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewYear {
    /// Its name, e.g. `2027/2028`.
    pub name: String,
    /// First day of the service, in every school.
    pub first: NaiveDate,
    /// Last day.
    pub last: NaiveDate,
    /// Every child gets a new keypad code.
    pub fresh_codes: bool,
    /// What becomes of a class, where it is not what is proposed.
    pub steps: BTreeMap<i64, Step>,
}

/// A class of the year that ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassMove {
    /// Row.
    pub id: i64,
    /// School.
    pub school: String,
    /// Name.
    pub name: String,
    /// Children in it.
    pub children: i64,
    /// What becomes of them.
    pub step: Step,
}

/// What a roll-over would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolloverPlan {
    /// The year that ends.
    pub from: String,
    /// The new one.
    pub to: String,
    /// Its service.
    pub service: (NaiveDate, NaiveDate),
    /// New codes for all.
    pub fresh_codes: bool,
    /// Class by class.
    pub classes: Vec<ClassMove>,
    /// Children who go on.
    pub going_on: i64,
    /// Children who leave.
    pub leaving: i64,
    /// Children whose suspension has no end: they stay suspended in the new year.
    pub suspended: i64,
    /// What stands in the way, in Italian; it is not done while there is anything.
    pub hindrances: Vec<String>,
}

impl RolloverPlan {
    /// The same for the same roll-over of the same data.
    pub fn fingerprint(&self) -> String {
        fingerprint(self)
    }
}

/// Why a roll-over was refused; nothing is written.
#[derive(Debug, thiserror::Error)]
pub enum RolloverError {
    /// Something stands in the way, in Italian.
    #[error("{}", .0.join("\n"))]
    Hindered(Vec<String>),
    /// It would do something else by now than what was shown.
    #[error("what would be done is not what was shown")]
    Stale,
    /// There is no school year to go on from.
    #[error("there is no school year yet")]
    NoYear,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for RolloverError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// A year later, on the same day of the week.
fn a_year_later(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(364)).unwrap_or(day)
}

impl Desk {
    /// What a form for a new year begins with.
    pub async fn propose_year(&self, ente: EnteId) -> Result<Option<NewYear>, DeskError> {
        let mut tx = self.db.read().await?;
        let Some(year) = tx.latest_school_year(ente).await? else { return Ok(None) };
        let terms = tx.known_terms(year.id).await?;
        let first = terms.iter().map(|t| t.first_day).min().unwrap_or_default();
        let last = terms.iter().map(|t| t.last_day).max().unwrap_or_default();
        Ok(Some(NewYear {
            name: next_year(&year.name).unwrap_or_default(),
            first: a_year_later(first),
            last: a_year_later(last),
            fresh_codes: false,
            steps: BTreeMap::new(),
        }))
    }

    /// What a roll-over would do; writes nothing.
    pub async fn plan_rollover(&self, ente: EnteId, new: &NewYear) -> Result<RolloverPlan, RolloverError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        let today = ente_of(&mut tx, ente).await?.window.local(at).date();
        let year = tx.latest_school_year(ente).await?.ok_or(RolloverError::NoYear)?;
        plan(&mut tx, ente, &year, new, today).await
    }

    /// Rolls over, in one transaction. `shown` is the fingerprint of the plan that was agreed to. Gives its record, by which it can be undone.
    pub async fn apply_rollover(&self, actor: &Actor, new: &NewYear, shown: &str) -> Result<i64, RolloverError> {
        let ente = actor.ente;
        let mut tx = self.db.write().await?;
        tx.shut_day(ente.0).await?;
        let at = tx.instant(&self.clock).await?;
        let today = ente_of(&mut tx, ente).await?.window.local(at).date();
        let year = tx.latest_school_year(ente).await?.ok_or(RolloverError::NoYear)?;
        let plan = plan(&mut tx, ente, &year, new, today).await?;
        if !plan.hindrances.is_empty() {
            return Err(RolloverError::Hindered(plan.hindrances));
        }
        if plan.fingerprint() != shown {
            return Err(RolloverError::Stale);
        }
        let mut rows = Vec::new();
        let year_row = tx.put_school_year(ente, &new.name).await?;
        rows.push(entry("year", year_row, &new.name, None, json!(new.name).to_string()));
        let classes = new_classes(&mut tx, year.id, year_row, &plan, &mut rows).await?;
        tx.index_classes(ente).await?;
        let term = tx.put_term(year_row, None, new.first, new.last).await?;
        rows.push(entry("term", term, "periodo di servizio", None, json!([new.first, new.last]).to_string()));
        let mut calendar = CalendarRows {
            school_year: Some(new.name.clone()),
            terms: vec![TermRow { school: None, first: new.first, last: new.last }],
            closures: vec![],
        };
        calendar.add_national_holidays();
        for closure in calendar.closures {
            if let Some(id) = tx.add_closure(ente, None, None, closure.first, closure.last, &closure.reason, at).await? {
                rows.push(entry("closure", id, &closure.reason, None, json!([closure.first, closure.last]).to_string()));
            }
        }
        move_children(&mut tx, ente, &year, &plan, &classes, &mut rows).await?;
        let title = format!("anno scolastico {}", new.name);
        let summary = json!({ "going_on": plan.going_on, "leaving": plan.leaving, "fresh_codes": plan.fresh_codes });
        let batch = keep_batch(&mut tx, actor, at, "rollover", &title, &summary, &rows).await?;
        let subject = trail::Subject { kind: "importazione", id: Some(batch), name: &title };
        trail::record(&mut tx, at, actor, "ha aperto un nuovo anno scolastico", subject, None, Some(summary)).await?;
        tx.commit().await?;
        Ok(batch)
    }
}

fn entry(kind: &str, row_id: i64, title: &str, before_state: Option<String>, after_state: String) -> BatchEntry {
    BatchEntry { kind: kind.to_owned(), row_id, title: title.to_owned(), before_state, after_state }
}

async fn plan(tx: &mut Tx, ente: EnteId, year: &SchoolYearRow, new: &NewYear, today: NaiveDate) -> Result<RolloverPlan, RolloverError> {
    let sizes = tx.class_sizes(year.id).await?;
    let top = |school: i64| highest(sizes.iter().filter(|c| c.school_id == school).map(|c| c.name.as_str()));
    let step = |class: &ClassSize| new.steps.get(&class.id).cloned().unwrap_or_else(|| proposed(&class.name, top(class.school_id)));
    let classes: Vec<ClassMove> = sizes
        .iter()
        .map(|c| ClassMove { id: c.id, school: c.school.clone(), name: c.name.clone(), children: c.children, step: step(c) })
        .collect();
    let count = |leaves: bool| classes.iter().filter(|c| (c.step == Step::Leave) == leaves).map(|c| c.children).sum();
    Ok(RolloverPlan {
        from: year.name.clone(),
        to: new.name.clone(),
        service: (new.first, new.last),
        fresh_codes: new.fresh_codes,
        going_on: count(false),
        leaving: count(true),
        suspended: tx.open_suspensions(year.id).await?,
        hindrances: hindrances(tx, ente, year, new, today).await?,
        classes,
    })
}

async fn hindrances(tx: &mut Tx, ente: EnteId, year: &SchoolYearRow, new: &NewYear, today: NaiveDate) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let ends = tx.known_terms(year.id).await?.iter().map(|t| t.last_day).max();
    if let Some(ends) = ends {
        if today <= ends {
            found.push(format!(
                "Il servizio dell'anno {} finisce il {}: il passaggio si può fare dal giorno dopo, perché le classi di oggi servono fino ad allora.",
                year.name,
                date(ends)
            ));
        } else {
            let late = |s: &crate::store::SchoolToClose| s.live_from <= ends && s.closed_until.is_none_or(|until| until < ends);
            if tx.schools_to_close(ente).await?.iter().any(late) {
                found.push(format!("Ci sono ancora giorni dell'anno {} da chiudere: riprovi tra qualche minuto.", year.name));
            }
        }
        if new.first <= ends {
            found.push(format!("Il nuovo servizio comincerebbe prima della fine di quello in corso ({}).", date(ends)));
        }
    }
    if new.last < new.first {
        found.push("Il nuovo servizio finirebbe prima di cominciare.".to_owned());
    }
    if new.name.as_str() <= year.name.as_str() {
        found.push(format!(
            "Il nome del nuovo anno deve venire dopo «{}»: per esempio {}.",
            year.name,
            next_year(&year.name).unwrap_or_default()
        ));
    }
    Ok(found)
}

/// Every class of the old year again, empty, and those that children go up into; gives their rows by school and name.
async fn new_classes(
    tx: &mut Tx,
    old_year: i64,
    new_year: i64,
    plan: &RolloverPlan,
    rows: &mut Vec<BatchEntry>,
) -> Result<HashMap<(i64, String), i64>, StoreError> {
    let sizes = tx.class_sizes(old_year).await?;
    let mut wanted: BTreeMap<(i64, String), chrono::WeekdaySet> = BTreeMap::new();
    for (size, class) in sizes.iter().zip(&plan.classes) {
        if let Step::Promote(name) = &class.step {
            wanted.entry((size.school_id, name.clone())).or_insert_with(|| size.weekdays());
        }
    }
    // A class that was there keeps its own days of return: they go with the year of the school, not with the children.
    for size in &sizes {
        wanted.insert((size.school_id, size.name.clone()), size.weekdays());
    }
    let mut classes = HashMap::new();
    for ((school, name), weekdays) in wanted {
        let id = tx.put_class(school, new_year, &name, weekdays).await?;
        rows.push(entry("class", id, &name, None, json!(weekdays_to_bits(weekdays)).to_string()));
        classes.insert((school, name), id);
    }
    Ok(classes)
}

async fn move_children(
    tx: &mut Tx,
    ente: EnteId,
    year: &SchoolYearRow,
    plan: &RolloverPlan,
    classes: &HashMap<(i64, String), i64>,
    rows: &mut Vec<BatchEntry>,
) -> Result<(), RolloverError> {
    let schools: HashMap<i64, i64> = tx.class_sizes(year.id).await?.into_iter().map(|c| (c.id, c.school_id)).collect();
    let moves: HashMap<i64, &ClassMove> = plan.classes.iter().map(|c| (c.id, c)).collect();
    let ends = tx.known_terms(year.id).await?.iter().map(|t| t.last_day).max();
    let children = tx.child_states(ente).await?;
    let retired = tx.retired_codes(ente).await?.into_iter().map(|(code, _)| code);
    let mut codes = Codes::of(children.values().map(|c| c.code.clone()).chain(retired));
    let mut rng = chance::fresh();
    for (id, before) in children {
        let (Some(class), Some(school)) = (moves.get(&before.class), schools.get(&before.class)) else { continue };
        // Who left during the year does not come back with the new one.
        let gone = before.enrolled_last.is_some_and(|last| ends.is_none_or(|ends| last <= ends));
        let target = match &class.step {
            Step::Promote(name) => Some(name),
            Step::Stay => Some(&class.name),
            Step::Leave => None,
        };
        let mut after: ChildState = before.clone();
        match target.filter(|_| !gone).and_then(|name| classes.get(&(*school, name.clone()))) {
            Some(new) => {
                after.class = *new;
                if plan.fresh_codes {
                    let code = codes.draw(&mut rng);
                    let code = code.ok_or_else(|| RolloverError::Hindered(vec!["Non si trovano codici disdetta liberi.".to_owned()]))?;
                    code.as_str().clone_into(&mut after.code);
                }
                // The beginning of an enrolment within the old year says nothing of the new one.
                tx.move_child(ChildId(id), *new, &after.code).await?;
            }
            None if after.enrolled_last.is_none() => {
                after.enrolled_last = ends;
                tx.put_child(ente, ChildId(id), &after).await?;
            }
            None => continue,
        }
        let title = format!("{} {}", before.last_name, before.first_name);
        rows.push(entry("child", id, &title, Some(kept(&before)?), kept(&after)?));
    }
    Ok(())
}
