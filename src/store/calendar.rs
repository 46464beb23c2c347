//! School years, terms and closures.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc, Weekday, WeekdaySet};

use super::{StoreError, Tx, on};
use crate::canteen::{ChildId, EnteId, calendar::ServiceCalendar};

#[derive(sqlx::FromRow)]
struct Span {
    first_day: NaiveDate,
    last_day: NaiveDate,
}

#[derive(sqlx::FromRow)]
struct Enrolment {
    ente_id: i64,
    school_id: i64,
    class_id: i64,
    weekdays: i64,
    first_day: NaiveDate,
    last_day: NaiveDate,
    enrolled_first: Option<NaiveDate>,
    enrolled_last: Option<NaiveDate>,
}

impl Tx {
    /// The service calendar of a child: its class's days of return within its school's term (the
    /// school's own, else the ente's) and its own enrolment, less every closure that touches it.
    /// `None` where the school year has no term for the school. Only closures entered by
    /// `entered_by` count, where given: the day as it stood at its cut-off (R9).
    pub async fn calendar_of(&mut self, child: ChildId, entered_by: Option<DateTime<Utc>>) -> Result<Option<ServiceCalendar>, StoreError> {
        const SQL: &str = "SELECT s.ente_id, s.id AS school_id, c.id AS class_id, c.weekdays,
                t.first_day, t.last_day, k.enrolled_first, k.enrolled_last
            FROM child k
            JOIN school_class c ON c.id = k.class_id
            JOIN school s ON s.id = c.school_id
            JOIN term t ON t.school_year_id = c.school_year_id AND (t.school_id = s.id OR t.school_id IS NULL)
            WHERE k.id = $1
            ORDER BY t.school_id IS NULL
            LIMIT 1";
        let found: Option<Enrolment> = on!(self, |c| sqlx::query_as(SQL).bind(child.0).fetch_optional(c))?;
        let Some(e) = found else { return Ok(None) };
        let first = e.first_day.max(e.enrolled_first.unwrap_or(e.first_day));
        let last = e.last_day.min(e.enrolled_last.unwrap_or(e.last_day));
        let closures = self.closures_touching(EnteId(e.ente_id), e.school_id, e.class_id, (first, last), entered_by).await?;
        Ok(Some(ServiceCalendar {
            first,
            last,
            weekdays: weekdays_from_bits(e.weekdays),
            closed: closures.iter().flat_map(|c| days_within(c, first, last)).collect::<BTreeSet<_>>(),
        }))
    }

    async fn closures_touching(
        &mut self,
        ente: EnteId,
        school: i64,
        class: i64,
        (first, last): (NaiveDate, NaiveDate),
        entered_by: Option<DateTime<Utc>>,
    ) -> Result<Vec<Span>, StoreError> {
        const SQL: &str = "SELECT first_day, last_day FROM closure
            WHERE ente_id = $1 AND last_day >= $4 AND first_day <= $5
                AND (school_id IS NULL OR (school_id = $2 AND (class_id IS NULL OR class_id = $3)))
                AND entered_at <= $6";
        let entered_by = entered_by.unwrap_or_else(far_future);
        let rows =
            on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(school).bind(class).bind(first).bind(last).bind(entered_by).fetch_all(c))?;
        Ok(rows)
    }
}

/// Later than anything that is entered, and within what both databases can hold.
fn far_future() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(9999, 1, 1).and_then(|d| d.and_hms_opt(0, 0, 0)).map_or(DateTime::<Utc>::UNIX_EPOCH, |d| d.and_utc())
}

fn days_within(closure: &Span, first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    let last = closure.last_day.min(last);
    closure.first_day.max(first).iter_days().take_while(move |day| *day <= last)
}

/// Days of return from the number kept in the database: bit 0 is Monday.
pub(super) fn weekdays_from_bits(bits: i64) -> WeekdaySet {
    (0u8..7).filter(|i| bits & (1 << i) != 0).filter_map(|i| Weekday::try_from(i).ok()).collect()
}

/// The number under which days of return are kept.
pub fn weekdays_to_bits(days: WeekdaySet) -> i64 {
    days.iter(Weekday::Mon).fold(0, |bits, day| bits | 1 << day.num_days_from_monday())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_return_survive_the_database() {
        for bits in 0..128 {
            assert_eq!(weekdays_to_bits(weekdays_from_bits(bits)), bits);
        }
        assert_eq!(weekdays_from_bits(0b1001).iter(Weekday::Mon).collect::<Vec<_>>(), [Weekday::Mon, Weekday::Thu]);
    }
}
