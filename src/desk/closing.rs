//! Closing the day (R9): once per date and school, at the cut-off; what a server that was down
//! missed, it does when it comes back, with the same result.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::{Desk, DeskError, ente_of, kitchen::queue_sheet};
use crate::{
    canteen::{DayState, EnteId, window::Window},
    store::{HeadCount, NewMeal, SchoolToClose, Tx},
};

/// What a closing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Closed {
    /// Days of schools closed now.
    pub days: usize,
    /// Meals counted for the kitchen on them.
    pub meals: usize,
}

impl Desk {
    /// Closes every day of every school of the ente whose cut-off has passed and that is not closed
    /// yet, oldest first, each in a transaction of its own; `told` hears of each. A change of the cut-off takes hold once every
    /// day before it is closed, and the days from it on are closed by the new one.
    pub async fn close_days(
        &self,
        ente: EnteId,
        until: Option<NaiveDate>,
        mut told: impl FnMut(NaiveDate, usize),
    ) -> Result<Closed, DeskError> {
        let mut closed = Closed::default();
        loop {
            let mut tx = self.db.read().await?;
            let now = tx.instant(&self.clock).await?;
            let window = ente_of(&mut tx, ente).await?.window;
            let schools = tx.schools_to_close(ente).await?;
            let change = tx.window_change(ente).await?;
            drop(tx);
            let before_change = change.and_then(|change| change.first_day.pred_opt());
            let past = last_past_day(&window, now).min(until.unwrap_or(NaiveDate::MAX));
            let last = past.min(before_change.unwrap_or(NaiveDate::MAX));
            for school in schools {
                for day in days_to_close(&school, last) {
                    if let Some(meals) = self.close_day(ente, &school, day).await? {
                        closed.days += 1;
                        closed.meals += meals;
                        told(day, meals);
                    }
                }
            }
            if before_change.is_none_or(|day| day > past) || !self.apply_window_change(ente).await? {
                return Ok(closed);
            }
        }
    }

    /// Closes one day; `None` where another node was quicker.
    async fn close_day(&self, ente: EnteId, school: &SchoolToClose, day: NaiveDate) -> Result<Option<usize>, DeskError> {
        // Read before: what is printed needs no lock.
        let heading = if self.db.read().await?.kitchen_recipients(ente).await?.is_empty() { None } else { Some(self.heading(ente).await?) };
        let mut tx = self.db.write().await?;
        tx.shut_day(ente.0).await?;
        if tx.is_closed(school.school_id, day).await? {
            return Ok(None);
        }
        // Read here: while this closing waited, another node may have let a change of the cut-off take hold.
        let window = ente_of(&mut tx, ente).await?.window;
        let now = tx.instant(&self.clock).await?;
        if window.day_is_open(day, now) {
            return Ok(None);
        }
        let cutoff = window.closes_after(day);
        let meals = meals_of(&mut tx, ente, school.school_id, day, cutoff).await?;
        tx.put_closed_day(school.school_id, day, now, &meals).await?;
        if let Some(heading) = heading.filter(|_| self.has_mail) {
            queue_sheet(&mut tx, ente, school.school_id, day, now, &window, &heading).await?;
        }
        tx.commit().await?;
        Ok(Some(meals.iter().filter(|m| matches!(m.state, DayState::Served | DayState::White)).count()))
    }

    /// The kitchen's head counts of the closed days from `first` to `last`.
    pub async fn head_counts(&self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<HeadCount>, DeskError> {
        Ok(self.db.read().await?.head_counts(ente, first, last).await?)
    }

    /// When the next day of the ente closes, and the instant now.
    pub async fn next_closing(&self, ente: EnteId) -> Result<(DateTime<Utc>, DateTime<Utc>), DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let window = ente_of(&mut tx, ente).await?.window;
        Ok((next_closing(&window, now), now))
    }
}

/// What stood at the cut-off: as known then, so that closing late changes nothing.
async fn meals_of(tx: &mut Tx, ente: EnteId, school: i64, day: NaiveDate, cutoff: DateTime<Utc>) -> Result<Vec<NewMeal>, DeskError> {
    let book = tx.calendar_book(ente, Some(cutoff)).await?;
    let of_school = book.classes.iter().filter(|class| class.school == school);
    let eat: BTreeSet<i64> =
        of_school.filter(|class| book.calendar_of(class).is_some_and(|c| c.is_service_day(day))).map(|class| class.id).collect();
    if eat.is_empty() {
        return Ok(Vec::new());
    }
    let meals = tx.expected_meals(school, day, cutoff).await?;
    Ok(meals.into_iter().filter(|meal| eat.contains(&meal.class_id)).collect())
}

/// The last day whose cut-off has passed.
pub(super) fn last_past_day(window: &Window, now: DateTime<Utc>) -> NaiveDate {
    let today = window.local(now).date();
    if window.day_is_open(today, now) { today.pred_opt().unwrap_or(today) } else { today }
}

fn days_to_close(school: &SchoolToClose, last: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    let after_closed = school.closed_until.and_then(|day| day.checked_add_days(Days::new(1)));
    let first = after_closed.unwrap_or(school.live_from).max(school.live_from);
    first.iter_days().take_while(move |day| *day <= last)
}

/// The next instant at which a day closes.
fn next_closing(window: &Window, now: DateTime<Utc>) -> DateTime<Utc> {
    let next = last_past_day(window, now).checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
    window.closes_after(next)
}

/// The first day that a school entered at `now` is counted for: earlier ones were somebody else's.
pub(super) fn live_from(window: &Window, now: DateTime<Utc>) -> NaiveDate {
    last_past_day(window, now).checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn a_day_closes_one_second_after_its_cutoff() {
        let w = Window::default();
        let at = |h, m, s| Utc.with_ymd_and_hms(2026, 10, 12, h, m, s).unwrap();
        let day = |d| NaiveDate::from_ymd_opt(2026, 10, d).unwrap();
        assert_eq!(last_past_day(&w, at(7, 0, 0)), day(11));
        assert_eq!(last_past_day(&w, at(7, 0, 1)), day(12));
        assert_eq!(next_closing(&w, at(7, 0, 0)), at(7, 0, 1));
        assert_eq!(next_closing(&w, at(7, 0, 1)), Utc.with_ymd_and_hms(2026, 10, 13, 7, 0, 1).unwrap());
    }

    #[test]
    fn catching_up_begins_after_the_last_closed_day() {
        let day = |d| NaiveDate::from_ymd_opt(2026, 10, d).unwrap();
        let school = |closed| SchoolToClose { school_id: 1, live_from: day(5), closed_until: closed };
        assert_eq!(days_to_close(&school(None), day(7)).collect::<Vec<_>>(), [day(5), day(6), day(7)]);
        assert_eq!(days_to_close(&school(Some(day(6))), day(7)).collect::<Vec<_>>(), [day(7)]);
        assert_eq!(days_to_close(&school(Some(day(7))), day(7)).count(), 0);
    }
}
