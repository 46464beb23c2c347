//! What an import writes: schools, classes, calendar, guardians, children.

use chrono::{DateTime, NaiveDate, Utc, WeekdaySet};

use super::{
    StoreError, Tx,
    calendar::{weekdays_from_bits, weekdays_to_bits},
    on, run,
};
use crate::canteen::{ChildId, EnteId, code::ChildCode};

/// A school year.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SchoolYearRow {
    /// Row.
    pub id: i64,
    /// Name, e.g. `2026/2027`.
    pub name: String,
}

/// A school and its rows' keys.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SchoolKey {
    /// Row.
    pub id: i64,
    /// The office's short name.
    pub code: String,
    /// Full name.
    pub name: String,
}

/// A class and its keys.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ClassKey {
    /// Row.
    pub id: i64,
    /// Its school's short name.
    pub school: String,
    /// Its name.
    pub name: String,
    /// Days of return, as kept.
    weekdays: i64,
}

impl ClassKey {
    /// Days of return.
    pub fn weekdays(&self) -> WeekdaySet {
        weekdays_from_bits(self.weekdays)
    }
}

/// A child as the import compares it. No `Debug`: it holds the keypad code.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_debug_implementations, reason = "holds the keypad code")]
pub struct KnownChild {
    /// Row.
    pub id: i64,
    /// The roster's own key.
    pub external_ref: Option<String>,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Fiscal code.
    pub fiscal_code: Option<String>,
    /// Class row.
    pub class_id: i64,
    /// Diet.
    pub diet: String,
    /// Keypad code.
    pub code: String,
    /// First day of enrolment.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
}

/// A child to be written.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds the keypad code")]
pub struct PutChild<'a> {
    /// Class row.
    pub class_id: i64,
    /// The roster's own key.
    pub external_ref: Option<&'a str>,
    /// Family name.
    pub last_name: &'a str,
    /// Given name.
    pub first_name: &'a str,
    /// Fiscal code.
    pub fiscal_code: Option<&'a str>,
    /// Diet.
    pub diet: &'a str,
    /// Keypad code.
    pub code: &'a ChildCode,
    /// First day of enrolment.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
}

/// A guardian, as the import compares them.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KnownGuardian {
    /// Row.
    pub id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Fiscal code.
    pub fiscal_code: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
}

/// A guardian to be written.
#[derive(Debug, Clone, Copy)]
pub struct PutGuardian<'a> {
    /// Family name.
    pub last_name: &'a str,
    /// Given name.
    pub first_name: &'a str,
    /// Fiscal code.
    pub fiscal_code: Option<&'a str>,
    /// E-mail address.
    pub email: Option<&'a str>,
    /// Telephone number.
    pub phone: Option<&'a str>,
}

impl Tx {
    /// The latest school year of an ente, by name.
    pub async fn latest_school_year(&mut self, ente: EnteId) -> Result<Option<SchoolYearRow>, StoreError> {
        const SQL: &str = "SELECT id, name FROM school_year WHERE ente_id = $1 ORDER BY name DESC LIMIT 1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_optional(c))?)
    }

    /// All school years of an ente, the latest first: row and name.
    pub async fn school_years(&mut self, ente: EnteId) -> Result<Vec<(i64, String)>, StoreError> {
        const SQL: &str = "SELECT id, name FROM school_year WHERE ente_id = $1 ORDER BY name DESC";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Creates the school year where it is not there yet.
    pub async fn put_school_year(&mut self, ente: EnteId, name: &str) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO school_year (ente_id, name) VALUES ($1, $2)
            ON CONFLICT (ente_id, name) DO UPDATE SET name = excluded.name RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(name).fetch_one(c))?)
    }

    /// Creates the school, or brings its name up to date. `live_from` is kept from its first import.
    pub async fn put_school(&mut self, ente: EnteId, code: &str, name: &str, live_from: NaiveDate) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO school (ente_id, code, name, live_from) VALUES ($1, $2, $3, $4)
            ON CONFLICT (ente_id, code) DO UPDATE SET name = excluded.name RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(code).bind(name).bind(live_from).fetch_one(c))?)
    }

    /// All schools of an ente.
    pub async fn schools(&mut self, ente: EnteId) -> Result<Vec<SchoolKey>, StoreError> {
        const SQL: &str = "SELECT id, code, name FROM school WHERE ente_id = $1 ORDER BY id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Creates the class, or brings its days of return up to date.
    pub async fn put_class(&mut self, school: i64, year: i64, name: &str, weekdays: WeekdaySet) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO school_class (school_id, school_year_id, name, weekdays) VALUES ($1, $2, $3, $4)
            ON CONFLICT (school_id, school_year_id, name) DO UPDATE SET weekdays = excluded.weekdays RETURNING id";
        let bits = weekdays_to_bits(weekdays);
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(school).bind(year).bind(name).bind(bits).fetch_one(c))?)
    }

    /// All classes of a school year.
    pub async fn classes(&mut self, year: i64) -> Result<Vec<ClassKey>, StoreError> {
        const SQL: &str = "SELECT c.id, s.code AS school, c.name, c.weekdays FROM school_class c JOIN school s ON s.id = c.school_id
            WHERE c.school_year_id = $1 ORDER BY c.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(year).fetch_all(c))?)
    }

    /// Sets the term of a school, or of all schools without one of their own.
    pub async fn put_term(&mut self, year: i64, school: Option<i64>, first: NaiveDate, last: NaiveDate) -> Result<(), StoreError> {
        const GONE: &str = "DELETE FROM term WHERE school_year_id = $1 AND COALESCE(school_id, 0) = COALESCE($2, 0)";
        const SQL: &str = "INSERT INTO term (school_year_id, school_id, first_day, last_day) VALUES ($1, $2, $3, $4)";
        run!(self, sqlx::query(GONE).bind(year).bind(school));
        run!(self, sqlx::query(SQL).bind(year).bind(school).bind(first).bind(last));
        Ok(())
    }

    /// Adds a closure; the very same one twice is kept once. Returns whether it is new.
    #[expect(clippy::too_many_arguments, reason = "one row, one column each")]
    pub async fn add_closure(
        &mut self,
        ente: EnteId,
        school: Option<i64>,
        class: Option<i64>,
        first: NaiveDate,
        last: NaiveDate,
        reason: &str,
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const THERE: &str = "SELECT COUNT(*) FROM closure WHERE ente_id = $1 AND COALESCE(school_id, 0) = COALESCE($2, 0)
            AND COALESCE(class_id, 0) = COALESCE($3, 0) AND first_day = $4 AND last_day = $5 AND withdrawn_at IS NULL";
        const SQL: &str = "INSERT INTO closure (ente_id, school_id, class_id, first_day, last_day, reason, entered_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let there: i64 =
            on!(self, |c| sqlx::query_scalar(THERE).bind(ente.0).bind(school).bind(class).bind(first).bind(last).fetch_one(c))?;
        if there > 0 {
            return Ok(false);
        }
        run!(self, sqlx::query(SQL).bind(ente.0).bind(school).bind(class).bind(first).bind(last).bind(reason).bind(at));
        Ok(true)
    }

    /// All children of an ente, as the import compares them.
    pub async fn known_children(&mut self, ente: EnteId) -> Result<Vec<KnownChild>, StoreError> {
        const SQL: &str = "SELECT id, external_ref, last_name, first_name, fiscal_code, class_id, diet, code, enrolled_first, enrolled_last
            FROM child WHERE ente_id = $1 ORDER BY id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Enters a child.
    pub async fn add_child(&mut self, ente: EnteId, child: &PutChild<'_>, at: DateTime<Utc>) -> Result<ChildId, StoreError> {
        const SQL: &str = "INSERT INTO child (ente_id, class_id, external_ref, last_name, first_name, fiscal_code, diet, code,
                enrolled_first, enrolled_last, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id";
        let id: i64 = on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(child.class_id)
            .bind(child.external_ref)
            .bind(child.last_name)
            .bind(child.first_name)
            .bind(child.fiscal_code)
            .bind(child.diet)
            .bind(child.code.as_str())
            .bind(child.enrolled_first)
            .bind(child.enrolled_last)
            .bind(at)
            .fetch_one(c))?;
        Ok(ChildId(id))
    }

    /// Brings a child's data up to date.
    pub async fn update_child(&mut self, id: ChildId, child: &PutChild<'_>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE child SET class_id = $2, external_ref = $3, last_name = $4, first_name = $5, fiscal_code = $6,
            diet = $7, code = $8, enrolled_first = $9, enrolled_last = $10 WHERE id = $1";
        run!(
            self,
            sqlx::query(SQL)
                .bind(id.0)
                .bind(child.class_id)
                .bind(child.external_ref)
                .bind(child.last_name)
                .bind(child.first_name)
                .bind(child.fiscal_code)
                .bind(child.diet)
                .bind(child.code.as_str())
                .bind(child.enrolled_first)
                .bind(child.enrolled_last)
        );
        Ok(())
    }

    /// All guardians of an ente.
    pub async fn known_guardians(&mut self, ente: EnteId) -> Result<Vec<KnownGuardian>, StoreError> {
        const SQL: &str = "SELECT id, last_name, first_name, fiscal_code, email, phone FROM guardian WHERE ente_id = $1 ORDER BY id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Enters a guardian (`id` is `None`) or brings their data up to date.
    pub async fn put_guardian(&mut self, ente: EnteId, id: Option<i64>, guardian: &PutGuardian<'_>) -> Result<i64, StoreError> {
        const NEW: &str = "INSERT INTO guardian (ente_id, last_name, first_name, fiscal_code, email, phone)
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
        const OLD: &str = "UPDATE guardian SET last_name = $2, first_name = $3, fiscal_code = $4, email = $5, phone = $6
            WHERE id = $1 RETURNING id";
        let (sql, key) = id.map_or((NEW, ente.0), |id| (OLD, id));
        Ok(on!(self, |c| sqlx::query_scalar(sql)
            .bind(key)
            .bind(guardian.last_name)
            .bind(guardian.first_name)
            .bind(guardian.fiscal_code)
            .bind(guardian.email)
            .bind(guardian.phone)
            .fetch_one(c))?)
    }

    /// Sets who answers for a child, in order: guardian row and whether they pay.
    pub async fn put_guardians_of(&mut self, child: ChildId, guardians: &[(i64, bool)]) -> Result<(), StoreError> {
        const GONE: &str = "DELETE FROM child_guardian WHERE child_id = $1";
        const SQL: &str = "INSERT INTO child_guardian (child_id, guardian_id, position, payer) VALUES ($1, $2, $3, $4)
            ON CONFLICT (child_id, guardian_id) DO NOTHING";
        run!(self, sqlx::query(GONE).bind(child.0));
        for (position, (guardian, payer)) in (0i64..).zip(guardians) {
            run!(self, sqlx::query(SQL).bind(child.0).bind(guardian).bind(position).bind(payer));
        }
        Ok(())
    }
}
