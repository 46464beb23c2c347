//! Which ways calls took through the dialplan, over some days.

use chrono::NaiveDate;

use super::{Desk, DeskError};
use crate::canteen::EnteId;
pub use crate::store::{CountedPlan, Traffic};

/// Versions of a plan that are offered.
const MOST_PLANS: i64 = 20;

impl Desk {
    /// The plans under which calls were counted from `first` to `last`, the newest first.
    pub async fn counted_plans(&self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<CountedPlan>, DeskError> {
        Ok(self.db.read().await?.counted_plans(ente, first, last, MOST_PLANS).await?)
    }

    /// What was counted from `first` to `last` under the plan of this row.
    pub async fn traffic(&self, ente: EnteId, plan: i64, first: NaiveDate, last: NaiveDate) -> Result<Vec<Traffic>, DeskError> {
        Ok(self.db.read().await?.traffic(ente, plan, first, last).await?)
    }

    /// A plan's text, as it was when calls went by it.
    pub async fn dialplan(&self, plan: i64) -> Result<Option<super::calls::PlanText>, DeskError> {
        Ok(self.db.read().await?.dialplan(plan).await?)
    }
}
