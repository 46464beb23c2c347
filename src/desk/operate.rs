//! Taking an operation: one transaction from the judged instant to the receipt (R7, R10, S3).

use chrono::{DateTime, NaiveDate, Utc};

use super::{Desk, DeskError, ente_of};
use crate::{
    canteen::{
        ChildId, EnteId,
        calendar::ServiceCalendar,
        marks::Marks,
        rule::{Decision, Request, decide},
        window::Window,
    },
    ops::chance,
    store::{NewOperation, Tx, Verdict},
};

/// An operation, as it comes in from any channel.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Whose canteen.
    pub ente: EnteId,
    /// Whose meal.
    pub child: ChildId,
    /// What, and for the web on which day.
    pub request: Request,
    /// Who asks, for the record: the calling number, a user.
    pub actor: &'a str,
    /// The call, where it comes by phone.
    pub call_id: Option<&'a str>,
    /// The same order sent twice carries the same key and is done once.
    pub key: &'a str,
    /// The day that was confirmed, where the rule finds the day: if the operation would fall on
    /// another one by now, it is not done ([`Verdict::DayChanged`]).
    pub expected: Option<NaiveDate>,
}

impl<'a> Order<'a> {
    fn record(&self, at: DateTime<Utc>) -> NewOperation<'a> {
        NewOperation {
            ente: self.ente,
            child: self.child,
            channel: self.request.channel().word(),
            actor: self.actor,
            call_id: self.call_id,
            key: self.key,
            at,
            choice: self.request.choice(),
            until: self.request.until(),
            note: None,
            late: false,
        }
    }
}

/// How an order was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Done, or why not.
    pub verdict: Verdict,
    /// The number under which it is kept, refusals too (R10).
    pub number: String,
}

impl Desk {
    /// Takes an order. When this returns `Ok` the answer is durable, and every channel sees it.
    pub async fn operate(&self, order: &Order<'_>) -> Result<Receipt, DeskError> {
        match self.try_operate(order).await {
            // The answer of a commit can get lost while the commit itself stands. The key tells.
            Err(DeskError::Store(lost)) => match self.receipt_of(order).await {
                Ok(Some(receipt)) => Ok(receipt),
                _ => Err(lost.into()),
            },
            answer => answer,
        }
    }

    async fn try_operate(&self, order: &Order<'_>) -> Result<Receipt, DeskError> {
        let mut tx = self.db.write().await?;
        tx.hold_day_open(order.ente.0).await?;
        tx.lock_child(order.child).await?;
        if let Some(done) = receipt_in(&mut tx, order).await? {
            return Ok(done);
        }
        let at = tx.instant(&self.clock).await?;
        let ground = ground(&mut tx, order.ente, order.child).await?;
        let decision = ground.judge(at, order.request);
        let verdict = verdict_of(&decision, order.expected);
        let (operation, number) = tx.add_operation(&order.record(at), verdict, &mut chance::fresh()).await?;
        if let (Verdict::Accepted(_), Decision::Accepted { marks: after, .. }) = (verdict, &decision) {
            tx.put_marks(order.child, operation, &ground.marks, after).await?;
        }
        tx.commit().await?;
        Ok(Receipt { verdict, number })
    }

    async fn receipt_of(&self, order: &Order<'_>) -> Result<Option<Receipt>, DeskError> {
        receipt_in(&mut self.db.read().await?, order).await
    }

    /// What the rule would say now. A refusal is written down (R10): what has been refused nobody confirms, so that no order follows in which it would be.
    pub async fn preview_or_refuse(&self, order: &Order<'_>) -> Result<Verdict, DeskError> {
        let verdict = self.preview(order.ente, order.child, order.request).await?;
        if !matches!(verdict, Verdict::Refused(..)) {
            return Ok(verdict);
        }
        let mut tx = self.db.write().await?;
        tx.hold_day_open(order.ente.0).await?;
        tx.lock_child(order.child).await?;
        let at = tx.instant(&self.clock).await?;
        // Judged again under the lock: what is accepted by now is not done, as it has not been confirmed.
        let verdict = Verdict::from(&ground(&mut tx, order.ente, order.child).await?.judge(at, order.request));
        if matches!(verdict, Verdict::Refused(..)) {
            tx.add_operation(&order.record(at), verdict, &mut chance::fresh()).await?;
            tx.commit().await?;
        }
        Ok(verdict)
    }

    /// What the rule would say now; writes nothing.
    pub async fn preview(&self, ente: EnteId, child: ChildId, request: Request) -> Result<Verdict, DeskError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        Ok(Verdict::from(&ground(&mut tx, ente, child).await?.judge(at, request)))
    }
}

async fn receipt_in(tx: &mut Tx, order: &Order<'_>) -> Result<Option<Receipt>, DeskError> {
    let done = tx.operation_by_key(order.key).await?;
    Ok(done.map(|o| Receipt { verdict: o.verdict, number: o.receipt }))
}

/// What an order is judged by, beside the instant.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// The ente's window.
    pub window: Window,
    /// The child's calendar.
    pub calendar: ServiceCalendar,
    /// What stands for the child.
    pub marks: Marks,
}

impl Ground {
    /// What the rule says.
    pub(super) fn judge(&self, at: DateTime<Utc>, request: Request) -> Decision {
        decide(at, &self.window, request, &self.calendar, &self.marks)
    }
}

pub(super) async fn ground(tx: &mut Tx, ente: EnteId, child: ChildId) -> Result<Ground, DeskError> {
    let window = ente_of(tx, ente).await?.window;
    let calendar = calendar_of(tx, child).await?;
    Ok(Ground { window, calendar, marks: tx.marks_of(child).await? })
}

/// How a decision is answered to somebody who has confirmed a day.
pub(super) fn verdict_of(decision: &Decision, expected: Option<NaiveDate>) -> Verdict {
    match (decision, expected) {
        (Decision::Accepted { day, .. } | Decision::Refused { day: Some(day), .. }, Some(expected)) if *day != expected => {
            Verdict::DayChanged(*day)
        }
        _ => Verdict::from(decision),
    }
}

/// The child's calendar; where its school has no term yet, one without a single served day.
pub(super) async fn calendar_of(tx: &mut Tx, child: ChildId) -> Result<ServiceCalendar, DeskError> {
    Ok(tx.calendar_of(child, None).await?.unwrap_or_else(ServiceCalendar::never))
}
