//! Call detail records.

use chrono::{Days, NaiveDate, NaiveTime};

use super::{Desk, DeskError, ente_of};
use crate::canteen::EnteId;
pub use crate::store::CallRow;

/// Records read at once for an export.
const PAGE: i64 = 2_000;

impl Desk {
    /// Writes call detail records, all in one transaction; the same call twice is kept once.
    pub async fn record_calls(&self, calls: &[CallRow]) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        for call in calls {
            tx.add_call(call).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The last calls of an ente, newest first.
    pub async fn calls(&self, ente: EnteId, limit: i64) -> Result<Vec<CallRow>, DeskError> {
        Ok(self.db.read().await?.calls(ente, limit).await?)
    }

    /// The calls of an ente that began on these days of its time zone, oldest first, a page at a time: however many there are, a page
    /// is all that is held. `take` returns whether it wants more.
    pub async fn calls_between(
        &self,
        ente: EnteId,
        first: NaiveDate,
        last: NaiveDate,
        mut take: impl FnMut(&[CallRow]) -> bool,
    ) -> Result<(), DeskError> {
        let window = ente_of(&mut self.db.read().await?, ente).await?.window;
        let midnight = |day: NaiveDate| window.instant(day.and_time(NaiveTime::MIN));
        let until = midnight(last.checked_add_days(Days::new(1)).unwrap_or(last));
        let mut after = (midnight(first), String::new());
        loop {
            let page = self.db.read().await?.calls_after(ente, (after.0, &after.1), until, PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = (end.started_at, end.id.clone());
            if !take(&page) || (page.len() as i64) < PAGE {
                return Ok(());
            }
        }
    }
}

/// A caller's number for those who need not know it: its beginning (which network, which area), stars for the rest.
pub fn masked(number: &str) -> String {
    let wanted = if number.starts_with('+') { 6 } else { 4 };
    let shown = wanted.min(number.chars().count() / 2);
    number.chars().enumerate().map(|(index, c)| if index < shown { c } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn a_masked_number_tells_the_network_and_not_the_family() {
        for (number, shown) in
            [("3471234567", "3471******"), ("+393471234567", "+39347*******"), ("0182970000", "0182******"), ("112", "1**"), ("", "")]
        {
            assert_eq!(masked(number), shown);
        }
    }
}
