//! Taking an operation: one transaction from the judged instant to the receipt (R7, R10, S3).

use chrono::{DateTime, NaiveDate, Utc};

use super::{Desk, DeskError, ente_of};
use crate::{
    canteen::{
        Channel, ChildId, EnteId,
        calendar::ServiceCalendar,
        marks::Marks,
        rule::{Decision, Request, decide},
    },
    ops::{chance, clock::Clock},
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
        let (order, clock) = (Kept::of(order), self.clock);
        self.db.together(move |tx| Box::pin(async move { order_in(tx, &clock, &order.order()).await })).await
    }

    async fn receipt_of(&self, order: &Order<'_>) -> Result<Option<Receipt>, DeskError> {
        receipt_in(&mut self.db.read().await?, order).await
    }

    /// What the rule would say now; writes nothing.
    pub async fn preview(&self, ente: EnteId, child: ChildId, request: Request) -> Result<Verdict, DeskError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        Ok(Verdict::from(&judge(&mut tx, at, ente, child, request).await?.0))
    }
}

/// How a channel is kept.
fn channel_word(channel: Channel) -> &'static str {
    match channel {
        Channel::Phone => "phone",
        Channel::Web => "web",
        Channel::Office => "office",
    }
}

/// An order that outlives who gave it: it may wait for others, to be done with them.
struct Kept {
    ente: EnteId,
    child: ChildId,
    request: Request,
    actor: String,
    call_id: Option<String>,
    key: String,
    expected: Option<NaiveDate>,
}

impl Kept {
    fn of(order: &Order<'_>) -> Self {
        let Order { ente, child, request, actor, call_id, key, expected } = *order;
        Self { ente, child, request, actor: actor.to_owned(), call_id: call_id.map(str::to_owned), key: key.to_owned(), expected }
    }

    fn order(&self) -> Order<'_> {
        let Self { ente, child, request, actor, call_id, key, expected } = self;
        Order { ente: *ente, child: *child, request: *request, actor, call_id: call_id.as_deref(), key, expected: *expected }
    }
}

/// Takes an order in a transaction that is committed afterwards.
async fn order_in(tx: &mut Tx, clock: &Clock, order: &Order<'_>) -> Result<Receipt, DeskError> {
    tx.hold_day_open(order.ente.0).await?;
    tx.lock_child(order.child).await?;
    if let Some(done) = receipt_in(tx, order).await? {
        return Ok(done);
    }
    let at = tx.instant(clock).await?;
    let (decision, before) = judge(tx, at, order.ente, order.child, order.request).await?;
    let verdict = match (&decision, order.expected) {
        (Decision::Accepted { day, .. } | Decision::Refused { day: Some(day), .. }, Some(expected)) if *day != expected => {
            Verdict::DayChanged(*day)
        }
        _ => Verdict::from(&decision),
    };
    let new = NewOperation {
        ente: order.ente,
        child: order.child,
        channel: channel_word(order.request.channel()),
        actor: order.actor,
        call_id: order.call_id,
        key: order.key,
        at,
        choice: order.request.choice(),
        until: order.request.until(),
        note: None,
        late: false,
    };
    let (operation, number) = tx.add_operation(&new, verdict, &mut chance::fresh()).await?;
    if let (Verdict::Accepted(_), Decision::Accepted { marks: after, .. }) = (verdict, &decision) {
        tx.put_marks(order.child, operation, &before, after).await?;
    }
    Ok(Receipt { verdict, number })
}

async fn receipt_in(tx: &mut Tx, order: &Order<'_>) -> Result<Option<Receipt>, DeskError> {
    let done = tx.operation_by_key(order.key).await?;
    Ok(done.map(|o| Receipt { verdict: o.verdict, number: o.receipt }))
}

/// What the rule says, and what stood before.
async fn judge(tx: &mut Tx, at: DateTime<Utc>, ente: EnteId, child: ChildId, request: Request) -> Result<(Decision, Marks), DeskError> {
    let window = ente_of(tx, ente).await?.window;
    let calendar = calendar_of(tx, child).await?;
    let marks = tx.marks_of(child).await?;
    Ok((decide(at, &window, request, &calendar, &marks), marks))
}

/// The child's calendar; where its school has no term yet, one without a single served day.
pub(super) async fn calendar_of(tx: &mut Tx, child: ChildId) -> Result<ServiceCalendar, DeskError> {
    Ok(tx.calendar_of(child, None).await?.unwrap_or_else(ServiceCalendar::never))
}
