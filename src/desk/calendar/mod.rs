//! The calendar as the office keeps it (O1, R8): every change is planned first, shown, and then done as it was shown.
//!
//! [`Desk::plan_calendar`] says what a change does; [`Desk::change_calendar`] plans it again in the transaction that does it, and does it only if the
//! plan is still the one that was shown. After the cut-off meal records stay as they are: what changes is written beside them (`meal_correction`).

pub mod holidays;
mod plan;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

pub use self::plan::{Counts, DayEffect, Move, Plan, Planned};
use super::{
    Desk, DeskError,
    closing::last_past_day,
    ente_of,
    kitchen::queue_change,
    trail::{Action, Actor, Subject, record},
};
use crate::{
    canteen::{
        ChildId, DayState, EnteId,
        book::{Book, BookClosure, Change, Place},
    },
    store::{ClosureRow, NewCorrection, SchoolYearRow, StoreError, Tx},
};

/// The longest closure, in days: longer is a slip of the finger, or a term.
pub const LONGEST_CLOSURE: i64 = 120;

/// Why the calendar was not changed.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// The last day is before the first.
    #[error("the last day is before the first")]
    Backwards,
    /// A closure of more than [`LONGEST_CLOSURE`] days.
    #[error("too many days")]
    TooLong,
    /// A term without end, or of more than a year.
    #[error("a term of more than a year")]
    LongTerm,
    /// No such school, class or school year of this ente.
    #[error("there is no such place")]
    NoPlace,
    /// No such closure, or it was taken back meanwhile.
    #[error("there is no such closure")]
    NoClosure,
    /// Days of return and terms do not change days whose meals are counted already; holds the first such day.
    #[error("{0} is counted already")]
    Counted(NaiveDate),
    /// A day's closing is under way; try again.
    #[error("a day is being closed")]
    Behind,
    /// Nothing would change.
    #[error("nothing would change")]
    Nothing,
    /// What was shown is not what would happen now; holds what would.
    #[error("something has changed meanwhile")]
    Stale(Box<Plan>),
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for CalendarError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

impl Desk {
    /// What these changes would do; writes nothing but the closing of days that are due.
    pub async fn plan_calendar(&self, ente: EnteId, changes: &[Change]) -> Result<Plan, CalendarError> {
        self.close_days(ente, None, |_, _| {}).await?;
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        plan::plan(&mut tx, ente, at, changes).await
    }

    /// Does the changes, all or none. `shown` is the fingerprint of the plan that was shown; where it would not happen like that any
    /// more, nothing is done ([`CalendarError::Stale`]).
    pub async fn change_calendar(&self, actor: &Actor, changes: &[Change], shown: Option<&str>) -> Result<Plan, CalendarError> {
        for _ in 0..5 {
            self.close_days(actor.ente, None, |_, _| {}).await?;
            let mut tx = self.db.write().await?;
            tx.shut_day(actor.ente.0).await?;
            let at = tx.instant(&self.clock).await?;
            // A cut-off went by since: that day is closed first, by what was known at it.
            if is_behind(&mut tx, actor.ente, at).await? {
                continue;
            }
            let plan = plan::plan(&mut tx, actor.ente, at, changes).await?;
            if shown.is_some_and(|shown| shown != plan.fingerprint) {
                return Err(CalendarError::Stale(Box::new(plan)));
            }
            let reason = apply(&mut tx, actor, at, &plan).await?;
            if self.has_mail() {
                tell_kitchen(&mut tx, actor.ente, at, &plan, &reason).await?;
            }
            tx.commit().await?;
            return Ok(plan);
        }
        Err(CalendarError::Behind)
    }

    /// The ente's calendar as it stands.
    pub async fn calendar_book(&self, ente: EnteId) -> Result<Book, DeskError> {
        Ok(self.db.read().await?.calendar_book(ente, None).await?)
    }

    /// The closures that touch a span of days, those taken back too.
    pub async fn closures_between(&self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<ClosureRow>, DeskError> {
        Ok(self.db.read().await?.closures_between(ente, first, last).await?)
    }

    /// School years, the latest first: row and name.
    pub async fn school_years(&self, ente: EnteId) -> Result<Vec<SchoolYearRow>, DeskError> {
        Ok(self.db.read().await?.school_years(ente).await?)
    }

    /// Schools: row and name.
    pub async fn schools(&self, ente: EnteId) -> Result<Vec<(i64, String)>, DeskError> {
        Ok(self.db.read().await?.schools(ente).await?.into_iter().map(|s| (s.id, s.name)).collect())
    }
}

/// Is there a day past its cut-off that is not closed?
async fn is_behind(tx: &mut Tx, ente: EnteId, at: DateTime<Utc>) -> Result<bool, DeskError> {
    let last = last_past_day(&ente_of(tx, ente).await?.window, at);
    Ok(tx.schools_to_close(ente).await?.iter().any(|s| s.live_from <= last && s.closed_until.is_none_or(|day| day < last)))
}

/// Writes a plan down.
async fn apply(tx: &mut Tx, actor: &Actor, at: DateTime<Utc>, plan: &Plan) -> Result<String, DeskError> {
    let mut closure_rows = Vec::new();
    let mut reasons = BTreeSet::new();
    for change in &plan.changes {
        let (action, subject): (Action, String) = match change {
            Change::Close { place, first, last, kind, reason } => {
                let closure = BookClosure { id: 0, place: *place, first: *first, last: *last, kind: *kind, reason: reason.clone() };
                closure_rows.push(tx.put_closure(actor.ente, &closure, at, &actor.name).await?);
                reasons.insert(reason_of(&closure));
                ("ha inserito una chiusura", name_of(&plan.book, &closure))
            }
            Change::Reopen { closure, first, last, .. } => {
                let Some(was) = plan.book.closures.iter().find(|c| c.id == *closure) else { continue };
                tx.withdraw_closure(*closure, at, &actor.name).await?;
                for rest in was.without(*first, *last) {
                    tx.put_closure(actor.ente, &rest, at, &actor.name).await?;
                }
                closure_rows.push(*closure);
                reasons.insert(format!("Chiusura tolta ({})", reason_of(was)));
                ("ha tolto una chiusura", name_of(&plan.book, was))
            }
            Change::Term { year, school, days } => {
                if let Some((first, last)) = days {
                    tx.put_term(*year, *school, *first, *last).await?;
                } else {
                    tx.drop_term(*year, *school).await?;
                }
                ("ha cambiato il periodo di servizio", place_name(&plan.book, school.map_or(Place::Ente, Place::School)))
            }
            Change::Returns { class, from, weekdays } => {
                tx.put_returns(*class, *from, *weekdays, at, &actor.name).await?;
                let school = plan.book.classes.iter().find(|c| c.id == *class).map_or(0, |c| c.school);
                ("ha cambiato i giorni di rientro", place_name(&plan.book, Place::Class { school, class: *class }))
            }
        };
        let subject = Subject { kind: "calendario", id: closure_rows.last().copied(), name: &subject };
        let totals = plan.totals();
        let after = json!({
            "cambiamento": change,
            "bambini": plan.children,
            "pasti in meno": totals.lost.meals(),
            "pasti in più": totals.gained.meals(),
            "rettifiche": plan.corrections.len(),
        });
        record(tx, at, actor, action, subject, None, Some(after)).await?;
    }
    let reason = reasons.into_iter().collect::<Vec<_>>().join("; ");
    for planned in &plan.corrections {
        tx.add_correction(&NewCorrection {
            child: ChildId(planned.child),
            day: planned.day,
            school: planned.school,
            class: planned.class,
            diet: &planned.diet,
            was: planned.was,
            becomes: planned.becomes,
            reason: &reason,
            actor: &actor.name,
            at,
            closure: closure_rows.first().copied(),
            operation: None,
        })
        .await?;
    }
    Ok(reason)
}

/// Tells the kitchen what changed of today's count, which it has been sent already.
async fn tell_kitchen(tx: &mut Tx, ente: EnteId, at: DateTime<Utc>, plan: &Plan, reason: &str) -> Result<(), DeskError> {
    let today = ente_of(tx, ente).await?.window.local(at).date();
    let eaten = |state| i64::from(matches!(state, DayState::Served | DayState::White));
    let mut changes: BTreeMap<i64, i64> = BTreeMap::new();
    for planned in plan.corrections.iter().filter(|c| c.day == today) {
        *changes.entry(planned.school).or_default() += eaten(planned.becomes) - eaten(planned.was);
    }
    queue_change(tx, ente, today, at, &changes, reason).await?;
    Ok(())
}

fn reason_of(closure: &BookClosure) -> String {
    if closure.reason.is_empty() { closure.kind.label().to_owned() } else { format!("{}: {}", closure.kind.label(), closure.reason) }
}

/// What a closure is called in the trail.
fn name_of(book: &Book, closure: &BookClosure) -> String {
    let (first, last) = (closure.first.format("%d/%m/%Y"), closure.last.format("%d/%m/%Y"));
    let days = if closure.first == closure.last { first.to_string() } else { format!("{first}–{last}") };
    format!("{} · {days} · {}", closure.kind.label(), place_name(book, closure.place))
}

/// What a place is called.
pub fn place_name(book: &Book, place: Place) -> String {
    let school = |id| book.classes.iter().find(|c| c.school == id).map_or_else(|| "scuola".to_owned(), |c| c.school_name.clone());
    match place {
        Place::Ente => "tutte le scuole".to_owned(),
        Place::School(id) => school(id),
        Place::Class { school: of, class } => {
            let name = book.classes.iter().find(|c| c.id == class).map_or("?", |c| c.name.as_str());
            format!("{name}, {}", school(of))
        }
    }
}
