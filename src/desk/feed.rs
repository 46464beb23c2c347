//! What other systems read of children and operations (O7).

use chrono::{Days, NaiveDate};

use super::{
    Desk, DeskError, ente_of,
    family::{MonthDay, days_of},
};
use crate::{
    canteen::{ChildId, EnteId},
    store::{FeedChild, FeedOperation, SchoolKey, SchoolYearRow},
};

impl Desk {
    /// Children whose rows come after `after`, of one school or class where one is given; at most `limit`.
    pub async fn feed_children(
        &self,
        ente: EnteId,
        school: Option<i64>,
        class: Option<i64>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<FeedChild>, DeskError> {
        Ok(self.db.read().await?.feed_children(ente, school, class, after, limit).await?)
    }

    /// One child of this ente.
    pub async fn feed_child(&self, ente: EnteId, child: ChildId) -> Result<FeedChild, DeskError> {
        self.db.read().await?.feed_child(ente, child).await?.ok_or(DeskError::NoChild)
    }

    /// What stands for a child of this ente on so many days from `first` on (`None`: today), as on its page in the office.
    pub async fn feed_days(&self, ente: EnteId, child: ChildId, first: Option<NaiveDate>, days: u32) -> Result<Vec<MonthDay>, DeskError> {
        let mut tx = self.db.read().await?;
        tx.feed_child(ente, child).await?.ok_or(DeskError::NoChild)?;
        let first = match first {
            Some(first) => first,
            None => ente_of(&mut tx, ente).await?.window.local(tx.instant(&self.clock).await?).date(),
        };
        days_of(&mut tx, child, first, last_of(first, days)).await
    }

    /// Operations whose rows come after `after`, of one child where one is given; at most `limit`. Who reads on from the last row of each answer
    /// misses none.
    pub async fn feed_operations(
        &self,
        ente: EnteId,
        child: Option<ChildId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<FeedOperation>, DeskError> {
        Ok(self.db.read_settled(ente).await?.operations_after(ente, child, after, limit).await?)
    }

    /// The operation with this receipt number.
    pub async fn receipt(&self, ente: EnteId, number: &str) -> Result<Option<FeedOperation>, DeskError> {
        Ok(self.db.read().await?.operation_by_receipt(ente, number).await?)
    }

    /// Schools with their short names, and school years, the latest first.
    pub async fn feed_schools(&self, ente: EnteId) -> Result<(Vec<SchoolKey>, Vec<SchoolYearRow>), DeskError> {
        let mut tx = self.db.read().await?;
        Ok((tx.schools(ente).await?, tx.school_years(ente).await?))
    }
}

/// The last day that both databases can hold.
const LAST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(9999, 12, 31);

/// The last of so many days from `first` on.
pub fn last_of(first: NaiveDate, days: u32) -> NaiveDate {
    let last = first.checked_add_days(Days::new(u64::from(days.saturating_sub(1))));
    last.min(LAST_DAY).or(LAST_DAY).unwrap_or(first).max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_so_many_days_and_ends_with_the_calendar() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(last_of(day("2026-10-12"), 1), day("2026-10-12"));
        assert_eq!(last_of(day("2026-10-12"), 31), day("2026-11-11"));
        assert_eq!(last_of(day("9999-12-30"), 400), day("9999-12-31"));
        assert_eq!(last_of(day("2026-10-12"), 0), day("2026-10-12"));
    }
}
