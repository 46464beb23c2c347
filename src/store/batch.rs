//! Imports and roll-overs with a way back, and the files that wait for their "apply".

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, calendar::weekdays_from_bits, on, run};
use crate::canteen::EnteId;

/// An import or a roll-over that was done.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BatchRow {
    /// Row.
    pub id: i64,
    /// `import` or `rollover`.
    pub kind: String,
    /// What it was, in Italian: the files' names, the school years.
    pub title: String,
    /// Who did it.
    pub actor: String,
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// Counts, as JSON.
    pub summary: String,
    /// When it was undone.
    pub undone_at: Option<DateTime<Utc>>,
    /// Who undid it.
    pub undone_by: Option<String>,
}

/// A row that a batch wrote. No `Debug`: the states may hold keypad codes.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_debug_implementations, reason = "may hold keypad codes")]
pub struct BatchEntry {
    /// Which table: `year`, `school`, `class`, `term`, `closure`, `adult`, `child`, `place`.
    pub kind: String,
    /// Its row there.
    pub row_id: i64,
    /// What people call it.
    pub title: String,
    /// What stood before, as JSON; `None` where it was new.
    pub before_state: Option<String>,
    /// What stood afterwards, as JSON.
    pub after_state: String,
}

/// A closure as the import compares it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KnownClosure {
    /// School row, `None`: the whole ente.
    pub school_id: Option<i64>,
    /// Class row.
    pub class_id: Option<i64>,
    /// First day.
    pub first_day: NaiveDate,
    /// Last day.
    pub last_day: NaiveDate,
}

/// A term as the import compares it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KnownTerm {
    /// Row.
    pub id: i64,
    /// School row, `None`: every school without a term of its own.
    pub school_id: Option<i64>,
    /// First day.
    pub first_day: NaiveDate,
    /// Last day.
    pub last_day: NaiveDate,
}

/// A class with its keys, its days of return and how many children are in it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ClassSize {
    /// Row.
    pub id: i64,
    /// School row.
    pub school_id: i64,
    /// School.
    pub school: String,
    /// Name.
    pub name: String,
    weekdays: i64,
    /// Children in it.
    pub children: i64,
}

impl ClassSize {
    /// Days of return.
    pub fn weekdays(&self) -> chrono::WeekdaySet {
        weekdays_from_bits(self.weekdays)
    }
}

/// What may stand in the way of taking a row away, by its kind: a question that counts what refers to row `$1`.
fn references(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "year" => {
            "SELECT (SELECT COUNT(*) FROM school_class WHERE school_year_id = $1) + (SELECT COUNT(*) FROM term WHERE school_year_id = $1)"
        }
        "school" => {
            "SELECT (SELECT COUNT(*) FROM school_class WHERE school_id = $1) + (SELECT COUNT(*) FROM term WHERE school_id = $1)
                + (SELECT COUNT(*) FROM closure WHERE school_id = $1 AND withdrawn_at IS NULL)
                + (SELECT COUNT(*) FROM kitchen_recipient WHERE school_id = $1) + (SELECT COUNT(*) FROM closed_day WHERE school_id = $1)
                + (SELECT COUNT(*) FROM news_target WHERE school_id = $1) + (SELECT COUNT(*) FROM tariff_rate WHERE school_id = $1)"
        }
        "class" => {
            "SELECT (SELECT COUNT(*) FROM child WHERE class_id = $1) + (SELECT COUNT(*) FROM closure WHERE class_id = $1 AND withdrawn_at IS NULL)
                + (SELECT COUNT(*) FROM class_return WHERE class_id = $1) + (SELECT COUNT(*) FROM news_target WHERE class_id = $1)
                + (SELECT COUNT(*) FROM meal WHERE class_id = $1) + (SELECT COUNT(*) FROM meal_correction WHERE class_id = $1)"
        }
        "adult" => {
            "SELECT (SELECT COUNT(*) FROM child_guardian WHERE guardian_id = $1) + (SELECT COUNT(*) FROM child_delegate WHERE guardian_id = $1)
                + (SELECT COUNT(*) FROM letter WHERE guardian_id = $1) + (SELECT COUNT(*) FROM ticket WHERE guardian_id = $1)
                + (SELECT COUNT(*) FROM isee WHERE guardian_id = $1) + (SELECT COUNT(*) FROM payment_share_part WHERE guardian_id = $1)"
        }
        _ => return None,
    })
}

impl Tx {
    /// Begins the record of a batch.
    pub async fn add_batch(
        &mut self,
        ente: EnteId,
        kind: &str,
        title: &str,
        actor: &str,
        at: DateTime<Utc>,
        summary: &str,
    ) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO batch (ente_id, kind, title, actor, at, summary) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(kind).bind(title).bind(actor).bind(at).bind(summary).fetch_one(c))?)
    }

    /// Adds a written row to its record.
    pub async fn add_batch_row(&mut self, batch: i64, position: i64, entry: &BatchEntry) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO batch_row (batch_id, position, kind, row_id, title, before_state, after_state)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        run!(
            self,
            sqlx::query(SQL)
                .bind(batch)
                .bind(position)
                .bind(&entry.kind)
                .bind(entry.row_id)
                .bind(&entry.title)
                .bind(entry.before_state.as_deref())
                .bind(&entry.after_state)
        );
        Ok(())
    }

    /// The batches of an ente, newest first.
    pub async fn batches(&mut self, ente: EnteId, limit: i64) -> Result<Vec<BatchRow>, StoreError> {
        const SQL: &str = "SELECT id, kind, title, actor, at, summary, undone_at, undone_by FROM batch WHERE ente_id = $1
            ORDER BY id DESC LIMIT $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(limit).fetch_all(c))?)
    }

    /// One batch of this ente.
    pub async fn batch(&mut self, ente: EnteId, id: i64) -> Result<Option<BatchRow>, StoreError> {
        const SQL: &str = "SELECT id, kind, title, actor, at, summary, undone_at, undone_by FROM batch WHERE id = $1 AND ente_id = $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id).bind(ente.0).fetch_optional(c))?)
    }

    /// What a batch wrote, in the order in which it did.
    pub async fn batch_rows(&mut self, id: i64) -> Result<Vec<BatchEntry>, StoreError> {
        const SQL: &str = "SELECT kind, row_id, title, before_state, after_state FROM batch_row WHERE batch_id = $1 ORDER BY position";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id).fetch_all(c))?)
    }

    /// Marks a batch as undone, and forgets what it wrote.
    pub async fn put_batch_undone(&mut self, id: i64, by: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        const UNDONE: &str = "UPDATE batch SET undone_at = $2, undone_by = $3 WHERE id = $1";
        const ROWS: &str = "DELETE FROM batch_row WHERE batch_id = $1";
        run!(self, sqlx::query(UNDONE).bind(id).bind(at).bind(by));
        run!(self, sqlx::query(ROWS).bind(id));
        Ok(())
    }

    /// How much refers to a row of this kind.
    pub async fn references_to(&mut self, kind: &str, row: i64) -> Result<i64, StoreError> {
        let Some(sql) = references(kind) else { return Ok(0) };
        Ok(on!(self, |c| sqlx::query_scalar(sql).bind(row).fetch_one(c))?)
    }

    /// Takes away a year, school, class or term that nothing refers to. A closure is
    /// withdrawn ([`Tx::withdraw_closure`]), and goes only with its place.
    pub async fn delete_place(&mut self, kind: &str, row: i64) -> Result<(), StoreError> {
        let sql: &[&'static str] = match kind {
            "year" => &["DELETE FROM school_year WHERE id = $1"],
            // Nothing was ever counted there: what was closed and taken back has no cut-off to be told of.
            "school" => &["DELETE FROM closure WHERE school_id = $1", "DELETE FROM school WHERE id = $1"],
            "class" => &[
                "DELETE FROM closure WHERE class_id = $1",
                "DELETE FROM class_word WHERE class_id = $1",
                "DELETE FROM school_class WHERE id = $1",
            ],
            "term" => &["DELETE FROM term WHERE id = $1"],
            _ => &[],
        };
        for statement in sql {
            run!(self, sqlx::query(*statement).bind(row));
        }
        Ok(())
    }

    /// What stands in a row of a year, school, class, term or closure, as JSON; `None` where it is not there.
    pub async fn place_state(&mut self, kind: &str, row: i64) -> Result<Option<String>, StoreError> {
        let json = |value: serde_json::Value| value.to_string();
        Ok(match kind {
            "year" => {
                let name: Option<String> =
                    on!(self, |c| sqlx::query_scalar("SELECT name FROM school_year WHERE id = $1").bind(row).fetch_optional(c))?;
                name.map(|name| json(name.into()))
            }
            "school" => {
                let name: Option<String> =
                    on!(self, |c| sqlx::query_scalar("SELECT name FROM school WHERE id = $1").bind(row).fetch_optional(c))?;
                name.map(|name| json(name.into()))
            }
            "class" => {
                let days: Option<i64> =
                    on!(self, |c| sqlx::query_scalar("SELECT weekdays FROM school_class WHERE id = $1").bind(row).fetch_optional(c))?;
                days.map(|days| json(days.into()))
            }
            "term" | "closure" => {
                let sql = if kind == "term" {
                    "SELECT first_day, last_day FROM term WHERE id = $1"
                } else {
                    "SELECT first_day, last_day FROM closure WHERE id = $1 AND withdrawn_at IS NULL"
                };
                let span: Option<(NaiveDate, NaiveDate)> = on!(self, |c| sqlx::query_as(sql).bind(row).fetch_optional(c))?;
                span.map(|(first, last)| json(serde_json::json!([first, last])))
            }
            _ => None,
        })
    }

    /// Gives a school, class or term back what stood in it.
    pub async fn put_place_state(&mut self, kind: &str, row: i64, state: &str) -> Result<(), StoreError> {
        let unknown = || StoreError::Unknown { what: "batch state", value: kind.to_owned() };
        let state: serde_json::Value = serde_json::from_str(state).map_err(|_| unknown())?;
        match kind {
            "school" => {
                let name = state.as_str().ok_or_else(unknown)?;
                run!(self, sqlx::query("UPDATE school SET name = $2 WHERE id = $1").bind(row).bind(name));
            }
            "class" => {
                let days = state.as_i64().ok_or_else(unknown)?;
                run!(self, sqlx::query("UPDATE school_class SET weekdays = $2 WHERE id = $1").bind(row).bind(days));
            }
            "term" => {
                let (first, last): (NaiveDate, NaiveDate) = serde_json::from_value(state).map_err(|_| unknown())?;
                run!(self, sqlx::query("UPDATE term SET first_day = $2, last_day = $3 WHERE id = $1").bind(row).bind(first).bind(last));
            }
            _ => {}
        }
        Ok(())
    }

    /// The closures of an ente that end on or after a day.
    pub async fn known_closures(&mut self, ente: EnteId, from: NaiveDate) -> Result<Vec<KnownClosure>, StoreError> {
        const SQL: &str = "SELECT school_id, class_id, first_day, last_day FROM closure
            WHERE ente_id = $1 AND last_day >= $2 AND withdrawn_at IS NULL";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(from).fetch_all(c))?)
    }

    /// The terms of a school year.
    pub async fn known_terms(&mut self, year: i64) -> Result<Vec<KnownTerm>, StoreError> {
        const SQL: &str = "SELECT id, school_id, first_day, last_day FROM term WHERE school_year_id = $1 ORDER BY id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(year).fetch_all(c))?)
    }

    /// The classes of a school year with their sizes, by school and name.
    pub async fn class_sizes(&mut self, year: i64) -> Result<Vec<ClassSize>, StoreError> {
        const SQL: &str = "SELECT c.id, c.school_id, s.name AS school, c.name, c.weekdays,
                (SELECT COUNT(*) FROM child k WHERE k.class_id = c.id) AS children
            FROM school_class c JOIN school s ON s.id = c.school_id WHERE c.school_year_id = $1 ORDER BY c.sort_name, c.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(year).fetch_all(c))?)
    }

    /// The classes of a school year by school and name; nobody is counted.
    pub async fn class_names(&mut self, year: i64) -> Result<Vec<ClassSize>, StoreError> {
        const SQL: &str = "SELECT c.id, c.school_id, s.name AS school, c.name, c.weekdays, CAST(0 AS BIGINT) AS children
            FROM school_class c JOIN school s ON s.id = c.school_id WHERE c.school_year_id = $1 ORDER BY c.sort_name, c.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(year).fetch_all(c))?)
    }

    /// Keeps uploaded files until they are applied, and forgets those that came before `stale`.
    pub async fn add_upload(
        &mut self,
        ente: EnteId,
        actor: &str,
        at: DateTime<Utc>,
        stale: DateTime<Utc>,
        files: &[(String, Vec<u8>)],
    ) -> Result<i64, StoreError> {
        const OLD: &str = "SELECT id FROM upload WHERE ente_id = $1 AND (at < $2 OR actor = $3)";
        const SQL: &str = "INSERT INTO upload (ente_id, actor, at) VALUES ($1, $2, $3) RETURNING id";
        const FILE: &str = "INSERT INTO upload_file (upload_id, position, name, content) VALUES ($1, $2, $3, $4)";
        let old: Vec<i64> = on!(self, |c| sqlx::query_scalar(OLD).bind(ente.0).bind(stale).bind(actor).fetch_all(c))?;
        for id in old {
            self.delete_upload(id).await?;
        }
        let id: i64 = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(actor).bind(at).fetch_one(c))?;
        for (position, (name, content)) in (0i64..).zip(files) {
            run!(self, sqlx::query(FILE).bind(id).bind(position).bind(name).bind(content));
        }
        Ok(id)
    }

    /// The files of an upload by this person.
    pub async fn upload(&mut self, ente: EnteId, actor: &str, id: i64) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        const SQL: &str = "SELECT f.name, f.content FROM upload_file f JOIN upload u ON u.id = f.upload_id
            WHERE u.id = $1 AND u.ente_id = $2 AND u.actor = $3 ORDER BY f.position";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id).bind(ente.0).bind(actor).fetch_all(c))?)
    }

    /// Forgets an upload.
    pub async fn delete_upload(&mut self, id: i64) -> Result<(), StoreError> {
        for sql in ["DELETE FROM upload_file WHERE upload_id = $1", "DELETE FROM upload WHERE id = $1"] {
            run!(self, sqlx::query(sql).bind(id));
        }
        Ok(())
    }
}
