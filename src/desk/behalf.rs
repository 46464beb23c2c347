//! What the office does on a family's behalf: by the same rule, and with a written reason after a day's cut-off too.
//!
//! A day that is closed keeps its meal record and its head count; what the office changes afterwards is appended as a correction, which
//! billing reads in place of the record (R8, R9).

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

use super::{
    Desk, DeskError, ente_of,
    operate::{Receipt, calendar_of},
    trail::{self, Actor},
};
use crate::{
    canteen::{
        Channel, ChildId, Choice, DayState,
        calendar::ServiceCalendar,
        marks::Marks,
        rule::{Decision, Request, decide},
    },
    ops::chance,
    store::{NewCorrection, NewOperation, Tx, Verdict},
};

/// What the office wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfficeOrder<'a> {
    /// For whom.
    pub child: ChildId,
    /// What.
    pub choice: Choice,
    /// On which day, or from which day on.
    pub day: NaiveDate,
    /// Last day of a suspension; `None` for open-ended.
    pub until: Option<NaiveDate>,
    /// Why, in writing: must be there where the day's cut-off has passed.
    pub note: Option<&'a str>,
}

/// A day that an order changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayChange {
    /// The day.
    pub day: NaiveDate,
    /// What stands.
    pub was: DayState,
    /// What will stand.
    pub becomes: DayState,
    /// The day is closed: the meal is corrected afterwards, the kitchen has cooked.
    pub closed: bool,
}

/// What an order would do, or has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The rule's answer.
    pub verdict: Verdict,
    /// The cut-off of its day has passed: a written reason is needed.
    pub late: bool,
    /// The days that change, in order.
    pub days: Vec<DayChange>,
    /// It has no end: the days are those until the term's.
    pub open_ended: bool,
}

impl Desk {
    /// What an order would do now, a written reason assumed; writes nothing.
    pub async fn preview_for(&self, actor: &Actor, order: &OfficeOrder<'_>) -> Result<Outlook, DeskError> {
        let mut tx = self.db.read().await?;
        tx.child_state(actor.ente, order.child).await?.ok_or(DeskError::NoChild)?;
        let at = tx.instant(&self.clock).await?;
        let (outlook, _) = weigh(&mut tx, at, actor, order, true).await?;
        Ok(outlook)
    }

    /// Does it, once for each `key`. When this returns `Ok` the answer is durable.
    pub async fn operate_for(&self, actor: &Actor, order: &OfficeOrder<'_>, key: &str) -> Result<(Receipt, Outlook), DeskError> {
        // A day whose cut-off has passed is closed first, with what was known then.
        self.close_days(actor.ente, Some(order.day), |_, _| {}).await?;
        let mut tx = self.db.write().await?;
        tx.hold_day_open(actor.ente.0).await?;
        tx.lock_child(order.child).await?;
        let found = tx.child_state(actor.ente, order.child).await?.ok_or(DeskError::NoChild)?;
        let at = tx.instant(&self.clock).await?;
        let (outlook, marks) = weigh(&mut tx, at, actor, order, order.note.is_some()).await?;
        if let Some(done) = tx.operation_by_key(key).await? {
            return Ok((Receipt { verdict: done.verdict, number: done.receipt }, Outlook { verdict: done.verdict, ..outlook }));
        }
        let new = NewOperation {
            ente: actor.ente,
            child: order.child,
            channel: Channel::Office.word(),
            actor: &actor.name,
            call_id: None,
            key,
            at,
            choice: order.choice,
            until: order.until,
            note: order.note,
            late: outlook.late,
        };
        let (operation, number) = tx.add_operation(&new, outlook.verdict, &mut chance::fresh()).await?;
        if let Some((before, after)) = marks {
            tx.put_marks(order.child, operation, &before, &after).await?;
            for change in outlook.days.iter().filter(|change| change.closed) {
                let reason = order.note.unwrap_or_default();
                let Some((school, class, diet)) = tx.place_of_meal(order.child, change.day).await? else { continue };
                let correction = NewCorrection {
                    child: order.child,
                    day: change.day,
                    school,
                    class,
                    diet: &diet,
                    was: change.was,
                    becomes: change.becomes,
                    reason,
                    actor: &actor.name,
                    at,
                    closure: None,
                    operation: Some(operation),
                };
                tx.add_correction(&correction).await?;
            }
        }
        let name = format!("{} {}", found.state.last_name, found.state.first_name);
        let subject = trail::Subject { kind: "bambino", id: Some(order.child.0), name: &name };
        let done = json!({ "operazione": order.choice, "giorno": order.day, "ricevuta": number, "motivo": order.note });
        trail::record(&mut tx, at, actor, "ha fatto un'operazione per la famiglia", subject, None, Some(done)).await?;
        tx.commit().await?;
        Ok((Receipt { verdict: outlook.verdict, number }, outlook))
    }
}

/// The decision, what it changes, and the marks before and after where it stands.
async fn weigh(
    tx: &mut Tx,
    at: DateTime<Utc>,
    actor: &Actor,
    order: &OfficeOrder<'_>,
    reasoned: bool,
) -> Result<(Outlook, Option<(Marks, Marks)>), DeskError> {
    let window = ente_of(tx, actor.ente).await?.window;
    let calendar = calendar_of(tx, order.child).await?;
    let before = tx.marks_of(order.child).await?;
    let late = !window.day_is_open(order.day, at);
    let request = Request::Office { choice: order.choice, day: order.day, until: order.until, late: reasoned };
    let decision = decide(at, &window, request, &calendar, &before);
    let verdict = Verdict::from(&decision);
    let open_ended = order.until.is_none() && matches!(order.choice, Choice::Suspend);
    let Decision::Accepted { marks: after, .. } = decision else {
        return Ok((Outlook { verdict, late, days: vec![], open_ended }, None));
    };
    let days = changes(tx, order, &calendar, &before, &after).await?;
    Ok((Outlook { verdict, late, days, open_ended }, Some((before, after))))
}

/// The days on which something else stands afterwards.
async fn changes(
    tx: &mut Tx,
    order: &OfficeOrder<'_>,
    calendar: &ServiceCalendar,
    before: &Marks,
    after: &Marks,
) -> Result<Vec<DayChange>, DeskError> {
    let recorded = tx.closed_days_of(order.child, order.day, calendar.last.max(order.day)).await?;
    let mut days = Vec::new();
    for day in calendar.service_days_from(order.day) {
        let (stood, stands) = (before.state_on(day, calendar), after.state_on(day, calendar));
        if stood == stands {
            continue;
        }
        let meal = recorded.get(&day).map(|(state, _)| *state);
        let was = meal.unwrap_or(stood);
        if was != stands {
            days.push(DayChange { day, was, becomes: stands, closed: meal.is_some() });
        }
    }
    Ok(days)
}
