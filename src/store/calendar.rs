//! School years, terms, days of return and closures.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc, Weekday, WeekdaySet};

use super::{StoreError, Tx, on, run};
use crate::canteen::{
    ChildId, EnteId,
    book::{Book, BookClass, BookClosure, BookTerm, Place},
    calendar::ServiceCalendar,
};

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

#[derive(sqlx::FromRow)]
struct ClassRow {
    id: i64,
    school_id: i64,
    school_year_id: i64,
    name: String,
    school: String,
    weekdays: i64,
}

#[derive(sqlx::FromRow)]
struct ReturnRow {
    id: i64,
    class_id: i64,
    first_day: NaiveDate,
    weekdays: i64,
}

#[derive(sqlx::FromRow)]
struct TermRow {
    school_year_id: i64,
    school_id: Option<i64>,
    first_day: NaiveDate,
    last_day: NaiveDate,
}

/// A closure as it was entered and perhaps taken back.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ClosureRow {
    /// Row.
    pub id: i64,
    /// School's row; `None` for all.
    pub school_id: Option<i64>,
    /// Class's row; `None` for the whole school.
    pub class_id: Option<i64>,
    /// First day.
    pub first_day: NaiveDate,
    /// Last day.
    pub last_day: NaiveDate,
    /// Why, in one word.
    pub kind: String,
    /// Why, in the office's words.
    pub reason: String,
    /// When it was entered.
    pub entered_at: DateTime<Utc>,
    /// By whom; empty where it came with an import.
    pub entered_by: String,
    /// When it was taken back.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// By whom.
    pub withdrawn_by: Option<String>,
}

impl Tx {
    /// The service calendar of a child: its class's days of return within its school's term (the
    /// school's own, else the ente's) and its own enrolment, less every closure that touches it.
    /// `None` where the school year has no term for the school. With `known_by`, closures and days of return
    /// count as they were known then: the day as it stood at its cut-off (R9).
    pub async fn calendar_of(&mut self, child: ChildId, known_by: Option<DateTime<Utc>>) -> Result<Option<ServiceCalendar>, StoreError> {
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
        let closures = self.closures_touching(EnteId(e.ente_id), e.school_id, e.class_id, (first, last), known_by).await?;
        Ok(Some(ServiceCalendar {
            first,
            last,
            weekdays: weekdays_from_bits(e.weekdays),
            weekdays_from: self.returns_of(e.class_id, known_by).await?,
            closed: closures.iter().flat_map(|c| days_within(c, first, last)).collect::<BTreeSet<_>>(),
        }))
    }

    async fn closures_touching(
        &mut self,
        ente: EnteId,
        school: i64,
        class: i64,
        (first, last): (NaiveDate, NaiveDate),
        known_by: Option<DateTime<Utc>>,
    ) -> Result<Vec<Span>, StoreError> {
        const SQL: &str = "SELECT first_day, last_day FROM closure
            WHERE ente_id = $1 AND last_day >= $4 AND first_day <= $5
                AND (school_id IS NULL OR (school_id = $2 AND (class_id IS NULL OR class_id = $3)))
                AND entered_at <= $6 AND (withdrawn_at IS NULL OR withdrawn_at > $6)";
        let known_by = known_by.unwrap_or_else(far_future);
        let rows =
            on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(school).bind(class).bind(first).bind(last).bind(known_by).fetch_all(c))?;
        Ok(rows)
    }

    async fn returns_of(&mut self, class: i64, known_by: Option<DateTime<Utc>>) -> Result<BTreeMap<NaiveDate, WeekdaySet>, StoreError> {
        const SQL: &str = "SELECT id, class_id, first_day, weekdays FROM class_return
            WHERE class_id = $1 AND entered_at <= $2 AND (withdrawn_at IS NULL OR withdrawn_at > $2) ORDER BY id";
        let known_by = known_by.unwrap_or_else(far_future);
        let rows: Vec<ReturnRow> = on!(self, |c| sqlx::query_as(SQL).bind(class).bind(known_by).fetch_all(c))?;
        Ok(rows.into_iter().map(|r| (r.first_day, weekdays_from_bits(r.weekdays))).collect())
    }

    /// The whole calendar of an ente, as it stands, or as it was known at `known_by`.
    pub async fn calendar_book(&mut self, ente: EnteId, known_by: Option<DateTime<Utc>>) -> Result<Book, StoreError> {
        const TERMS: &str = "SELECT t.school_year_id, t.school_id, t.first_day, t.last_day FROM term t
            JOIN school_year y ON y.id = t.school_year_id WHERE y.ente_id = $1 ORDER BY t.id";
        const CLASSES: &str = "SELECT c.id, c.school_id, c.school_year_id, c.name, s.name AS school, c.weekdays
            FROM school_class c JOIN school s ON s.id = c.school_id WHERE s.ente_id = $1 ORDER BY s.id, c.name, c.id";
        const RETURNS: &str = "SELECT r.id, r.class_id, r.first_day, r.weekdays FROM class_return r
            JOIN school_class c ON c.id = r.class_id JOIN school s ON s.id = c.school_id
            WHERE s.ente_id = $1 AND r.entered_at <= $2 AND (r.withdrawn_at IS NULL OR r.withdrawn_at > $2) ORDER BY r.id";
        const CLOSURES: &str =
            "SELECT id, school_id, class_id, first_day, last_day, kind, reason, entered_at, entered_by, withdrawn_at, withdrawn_by
            FROM closure WHERE ente_id = $1 AND entered_at <= $2 AND (withdrawn_at IS NULL OR withdrawn_at > $2) ORDER BY first_day, id";
        let known_by = known_by.unwrap_or_else(far_future);
        let terms: Vec<TermRow> = on!(self, |c| sqlx::query_as(TERMS).bind(ente.0).fetch_all(c))?;
        let classes: Vec<ClassRow> = on!(self, |c| sqlx::query_as(CLASSES).bind(ente.0).fetch_all(c))?;
        let returns: Vec<ReturnRow> = on!(self, |c| sqlx::query_as(RETURNS).bind(ente.0).bind(known_by).fetch_all(c))?;
        let closures: Vec<ClosureRow> = on!(self, |c| sqlx::query_as(CLOSURES).bind(ente.0).bind(known_by).fetch_all(c))?;
        let mut of_class: BTreeMap<i64, BTreeMap<NaiveDate, (i64, WeekdaySet)>> = BTreeMap::new();
        for r in returns {
            of_class.entry(r.class_id).or_default().insert(r.first_day, (r.id, weekdays_from_bits(r.weekdays)));
        }
        Ok(Book {
            terms: terms
                .into_iter()
                .map(|t| BookTerm { year: t.school_year_id, school: t.school_id, first: t.first_day, last: t.last_day })
                .collect(),
            classes: classes
                .into_iter()
                .map(|c| BookClass {
                    id: c.id,
                    school: c.school_id,
                    year: c.school_year_id,
                    name: c.name,
                    school_name: c.school,
                    weekdays: weekdays_from_bits(c.weekdays),
                    returns: of_class.remove(&c.id).unwrap_or_default(),
                })
                .collect(),
            closures: closures.into_iter().map(book_closure).collect::<Result<_, _>>()?,
        })
    }

    /// Enters a closure; its row.
    pub async fn put_closure(&mut self, ente: EnteId, closure: &BookClosure, at: DateTime<Utc>, by: &str) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO closure (ente_id, school_id, class_id, first_day, last_day, kind, reason, entered_at, entered_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(closure.place.school())
            .bind(closure.place.class())
            .bind(closure.first)
            .bind(closure.last)
            .bind(closure.kind.word())
            .bind(&closure.reason)
            .bind(at)
            .bind(by)
            .fetch_one(c))?)
    }

    /// Takes a closure back.
    pub async fn withdraw_closure(&mut self, id: i64, at: DateTime<Utc>, by: &str) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE closure SET withdrawn_at = $2, withdrawn_by = $3 WHERE id = $1 AND withdrawn_at IS NULL";
        run!(self, sqlx::query(SQL).bind(id).bind(at).bind(by));
        Ok(())
    }

    /// Takes a school's own term back, or everybody's.
    pub async fn drop_term(&mut self, year: i64, school: Option<i64>) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM term WHERE school_year_id = $1 AND COALESCE(school_id, 0) = COALESCE($2, 0)";
        run!(self, sqlx::query(SQL).bind(year).bind(school));
        Ok(())
    }

    /// Sets a class's days of return from a day on, in place of what was entered for that day before; `None` takes it back.
    pub async fn put_returns(
        &mut self,
        class: i64,
        from: NaiveDate,
        weekdays: Option<WeekdaySet>,
        at: DateTime<Utc>,
        by: &str,
    ) -> Result<(), StoreError> {
        const GONE: &str = "UPDATE class_return SET withdrawn_at = $3, withdrawn_by = $4
            WHERE class_id = $1 AND first_day = $2 AND withdrawn_at IS NULL";
        const NEW: &str = "INSERT INTO class_return (class_id, first_day, weekdays, entered_at, entered_by) VALUES ($1, $2, $3, $4, $5)";
        run!(self, sqlx::query(GONE).bind(class).bind(from).bind(at).bind(by));
        if let Some(days) = weekdays {
            run!(self, sqlx::query(NEW).bind(class).bind(from).bind(weekdays_to_bits(days)).bind(at).bind(by));
        }
        Ok(())
    }

    /// The closures that touch the days from `first` to `last`, those taken back too.
    pub async fn closures_between(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<ClosureRow>, StoreError> {
        const SQL: &str =
            "SELECT id, school_id, class_id, first_day, last_day, kind, reason, entered_at, entered_by, withdrawn_at, withdrawn_by
            FROM closure WHERE ente_id = $1 AND last_day >= $2 AND first_day <= $3 ORDER BY first_day, id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?)
    }

    /// The patron saint's day: month, day, name.
    pub async fn patron(&mut self, ente: EnteId) -> Result<Option<(i64, i64, String)>, StoreError> {
        const SQL: &str = "SELECT month, day, name FROM patron WHERE ente_id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_optional(c))?)
    }

    /// Sets the patron saint's day.
    pub async fn put_patron(&mut self, ente: EnteId, month: i64, day: i64, name: &str) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO patron (ente_id, month, day, name) VALUES ($1, $2, $3, $4)
            ON CONFLICT (ente_id) DO UPDATE SET month = excluded.month, day = excluded.day, name = excluded.name";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(month).bind(day).bind(name));
        Ok(())
    }

    /// The holidays on which this ente serves all the same.
    pub async fn holidays_left_out(&mut self, ente: EnteId) -> Result<BTreeSet<NaiveDate>, StoreError> {
        const SQL: &str = "SELECT day FROM holiday_left_out WHERE ente_id = $1";
        let days: Vec<NaiveDate> = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).fetch_all(c))?;
        Ok(days.into_iter().collect())
    }

    /// Leaves a holiday out, or proposes it again.
    pub async fn leave_holiday_out(
        &mut self,
        ente: EnteId,
        day: NaiveDate,
        out: bool,
        at: DateTime<Utc>,
        by: &str,
    ) -> Result<(), StoreError> {
        const OUT: &str =
            "INSERT INTO holiday_left_out (ente_id, day, entered_at, entered_by) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        const BACK: &str = "DELETE FROM holiday_left_out WHERE ente_id = $1 AND day = $2";
        if out {
            run!(self, sqlx::query(OUT).bind(ente.0).bind(day).bind(at).bind(by));
        } else {
            run!(self, sqlx::query(BACK).bind(ente.0).bind(day));
        }
        Ok(())
    }
}

fn book_closure(row: ClosureRow) -> Result<BookClosure, StoreError> {
    Ok(BookClosure {
        id: row.id,
        place: Place::of(row.school_id, row.class_id),
        first: row.first_day,
        last: row.last_day,
        kind: row.kind.parse().map_err(|()| StoreError::Unknown { what: "kind of closure", value: row.kind })?,
        reason: row.reason,
    })
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
