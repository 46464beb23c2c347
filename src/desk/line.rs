//! What the telephone line asks of the desk, and what it is answered.
//!
//! The dialplan machine (`voice`) speaks only these words; the desk implements [`LineDesk`] over
//! the database, tests implement it over a `Vec`.

use std::future::Future;

use chrono::{NaiveDate, NaiveTime};

use crate::canteen::{ChildId, Choice, DayState, EnteId, Reason, offer::Offered};

/// Who is on the line, as far as the desk needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Our own id of the call (UUID text); half of every idempotency key.
    pub call_id: String,
    /// The ente whose number was dialled.
    pub ente: EnteId,
    /// The calling number as the trunk gave it, `None` when withheld.
    pub number: Option<String>,
}

/// Is the line taking operations now (R2)?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineHours {
    /// Inside the window at the moment of asking.
    pub open: bool,
    /// Local time at which the window opens (18:00 by default).
    pub opens: NaiveTime,
    /// Local time of the cut-off at which it closes (09:00 by default).
    pub closes: NaiveTime,
    /// What the ente offers on the telephone.
    pub offered: Offered,
}

/// A child whose code was typed correctly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified {
    /// The child.
    pub child: ChildId,
}

/// The answer to a typed code (S4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identification {
    /// The code is a child's of this ente.
    Known(Identified),
    /// No such code. The caller is answered only after `delay_ms` (guessing is slowed).
    Unknown {
        /// How long to hold the answer back, in ms.
        delay_ms: u32,
    },
    /// Too many wrong codes from this caller or altogether: no code is looked at for a while.
    ShutOut,
}

/// What an operation would do, or has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineOutcome {
    /// Would be, or has been, accepted for this day; `receipt` is there only once committed.
    Accepted {
        /// The day it falls on.
        day: NaiveDate,
        /// Receipt number, check digit included, digits only; `None` on a preview.
        receipt: Option<String>,
    },
    /// Refused, with the day it would have fallen on where there is one.
    Refused {
        /// Why.
        reason: Reason,
        /// The day it would have fallen on (`None` for `outside_window` and `no_service_day`).
        day: Option<NaiveDate>,
    },
    /// Between hearing the day and confirming it the first useful day changed (09:00 or 18:00
    /// went by, or the office closed the school). Nothing was done; the caller must be asked again.
    DayChanged {
        /// The day it would fall on now.
        day: NaiveDate,
    },
}

/// One of the next served days and what stands on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayOutlook {
    /// The day.
    pub day: NaiveDate,
    /// What stands.
    pub state: DayState,
}

/// The desk could not do it (database away, time-out). The caller must hear that nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the desk is unavailable: {0}")]
pub struct DeskUnavailable(pub String);

/// The desk as the telephone line sees it.
pub trait LineDesk: Send + Sync + 'static {
    /// Is the window open now?
    fn hours(&self, ente: EnteId) -> impl Future<Output = Result<LineHours, DeskUnavailable>> + Send;

    /// Looks a typed code up and counts wrong ones (S4). `code` is digits only, any length.
    fn identify(&self, caller: &Caller, code: &str) -> impl Future<Output = Result<Identification, DeskUnavailable>> + Send;

    /// What `choice` would do now. Does nothing, but a refusal is written down: no order follows it (R10).
    fn preview(&self, caller: &Caller, child: ChildId, choice: Choice)
    -> impl Future<Output = Result<LineOutcome, DeskUnavailable>> + Send;

    /// Does `choice`, if it still falls on `expected`; returns only after the commit. `sequence`
    /// numbers the operations of one call: the same (call, sequence) is done once however often it is sent.
    fn operate(
        &self,
        caller: &Caller,
        child: ChildId,
        choice: Choice,
        expected: Option<NaiveDate>,
        sequence: u32,
    ) -> impl Future<Output = Result<LineOutcome, DeskUnavailable>> + Send;

    /// What stands on the next `days` served days, today included while it can be changed.
    fn outlook(
        &self,
        caller: &Caller,
        child: ChildId,
        days: usize,
    ) -> impl Future<Output = Result<Vec<DayOutlook>, DeskUnavailable>> + Send;
}
