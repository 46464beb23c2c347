//! What an import writes of the places: schools, classes, calendar.

use chrono::{DateTime, NaiveDate, Utc, WeekdaySet};

use super::{
    StoreError, Tx,
    calendar::{weekdays_from_bits, weekdays_to_bits},
    on,
};
use crate::canteen::EnteId;

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

impl Tx {
    /// The latest school year of an ente, by name.
    pub async fn latest_school_year(&mut self, ente: EnteId) -> Result<Option<SchoolYearRow>, StoreError> {
        const SQL: &str = "SELECT id, name FROM school_year WHERE ente_id = $1 ORDER BY name DESC LIMIT 1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_optional(c))?)
    }

    /// The school years of an ente, newest first.
    pub async fn school_years(&mut self, ente: EnteId) -> Result<Vec<SchoolYearRow>, StoreError> {
        const SQL: &str = "SELECT id, name FROM school_year WHERE ente_id = $1 ORDER BY name DESC";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Is this a class of this ente?
    pub async fn is_class_of(&mut self, ente: EnteId, class: i64) -> Result<bool, StoreError> {
        Ok(self.class_title(ente, class).await?.is_some())
    }

    /// "3A (Scuola primaria, 2026/2027)".
    pub async fn class_title(&mut self, ente: EnteId, class: i64) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT c.name, s.name, y.name FROM school_class c JOIN school s ON s.id = c.school_id
            JOIN school_year y ON y.id = c.school_year_id WHERE c.id = $1 AND s.ente_id = $2";
        let found: Option<(String, String, String)> = on!(self, |c| sqlx::query_as(SQL).bind(class).bind(ente.0).fetch_optional(c))?;
        Ok(found.map(|(class, school, year)| format!("{class} ({school}, {year})")))
    }

    /// The school year of this name.
    pub async fn school_year_named(&mut self, ente: EnteId, name: &str) -> Result<Option<SchoolYearRow>, StoreError> {
        const SQL: &str = "SELECT id, name FROM school_year WHERE ente_id = $1 AND name = $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(name).fetch_optional(c))?)
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

    /// Sets the term of a school, or of all schools without one of their own; gives its row.
    pub async fn put_term(&mut self, year: i64, school: Option<i64>, first: NaiveDate, last: NaiveDate) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO term (school_year_id, school_id, first_day, last_day) VALUES ($1, $2, $3, $4)
            ON CONFLICT (school_year_id, COALESCE(school_id, 0)) DO UPDATE SET first_day = excluded.first_day, last_day = excluded.last_day
            RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(year).bind(school).bind(first).bind(last).fetch_one(c))?)
    }

    /// Adds a closure; the very same one twice is kept once. Gives its row if it is new.
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
    ) -> Result<Option<i64>, StoreError> {
        const THERE: &str = "SELECT COUNT(*) FROM closure WHERE ente_id = $1 AND COALESCE(school_id, 0) = COALESCE($2, 0)
            AND COALESCE(class_id, 0) = COALESCE($3, 0) AND first_day = $4 AND last_day = $5 AND withdrawn_at IS NULL";
        const SQL: &str = "INSERT INTO closure (ente_id, school_id, class_id, first_day, last_day, reason, entered_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
        let there: i64 =
            on!(self, |c| sqlx::query_scalar(THERE).bind(ente.0).bind(school).bind(class).bind(first).bind(last).fetch_one(c))?;
        if there > 0 {
            return Ok(None);
        }
        let id: i64 = on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(school)
            .bind(class)
            .bind(first)
            .bind(last)
            .bind(reason)
            .bind(at)
            .fetch_one(c))?;
        Ok(Some(id))
    }
}
