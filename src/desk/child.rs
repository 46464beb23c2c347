//! What stands for a child, day by day (R6).

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    Desk, DeskError, ente_of,
    line::DayOutlook,
    operate::{Ground, calendar_of, ground},
};
use crate::{
    canteen::{ChildId, DayState, EnteId, calendar::NoService, window::Window},
    store::{ChildRow, StoredOperation},
};

/// The longest span of days shown at once: a school year and its summer.
pub const MOST_DAYS: i64 = 400;

/// A child as shown: who, what stands, what was asked.
#[derive(Debug, Clone)]
pub struct ChildView {
    /// Who.
    pub child: ChildRow,
    /// What stands on each day asked for.
    pub days: Vec<DayView>,
    /// Every operation, oldest first.
    pub operations: Vec<StoredOperation>,
}

/// A day and what stands on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayView {
    /// The day.
    pub day: NaiveDate,
    /// What stands.
    pub state: DayState,
    /// Why there is no service, where there is none.
    pub no_service: Option<NoService>,
}

impl Ground {
    /// The next served days that can still be changed at `now`, and what stands on them.
    pub(super) fn outlook(&self, now: DateTime<Utc>, days: usize) -> Vec<DayOutlook> {
        let today = self.window.local(now).date();
        let open = self.calendar.service_days_from(today).filter(|day| self.window.day_is_open(*day, now));
        open.take(days).map(|day| DayOutlook { day, state: self.marks.state_on(day, &self.calendar) }).collect()
    }
}

impl Desk {
    /// The next served days that can still be changed, and what stands on them.
    pub async fn next_days(&self, child: ChildId, days: usize) -> Result<Vec<DayOutlook>, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let row = tx.child(child).await?.ok_or(DeskError::NoChild)?;
        Ok(ground(&mut tx, EnteId(row.ente_id), child).await?.outlook(now, days))
    }

    /// Everything about a child, with its days from `first` to `last` (at most [`MOST_DAYS`]).
    pub async fn view_child(&self, child: ChildId, first: NaiveDate, last: NaiveDate) -> Result<ChildView, DeskError> {
        let mut tx = self.db.read().await?;
        let row = tx.child(child).await?.ok_or(DeskError::NoChild)?;
        let calendar = calendar_of(&mut tx, child).await?;
        let marks = tx.marks_of(child).await?;
        let day_view = |day| DayView { day, state: marks.state_on(day, &calendar), no_service: calendar.no_service(day) };
        let days = first.iter_days().take_while(|day| *day <= last).take(MOST_DAYS as usize).map(day_view).collect();
        Ok(ChildView { child: row, days, operations: tx.operations_of(child).await? })
    }

    /// The ente's window, and the instant now.
    pub async fn window(&self, ente: EnteId) -> Result<(Window, DateTime<Utc>), DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        Ok((ente_of(&mut tx, ente).await?.window, now))
    }
}
