//! Answers that are often given.

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A canned answer.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CannedRow {
    /// Row.
    pub id: i64,
    /// Grows with each change.
    pub version: i64,
    /// What the office calls it; no two of an ente alike.
    pub title: String,
    /// The text, with its placeholders.
    pub body: String,
}

impl Tx {
    /// An ente's canned answers, by title.
    pub async fn canned_answers(&mut self, ente: EnteId) -> Result<Vec<CannedRow>, StoreError> {
        const SQL: &str = "SELECT id, version, title, body FROM canned_answer WHERE ente_id = $1 ORDER BY title, id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// One of them.
    pub async fn canned_answer(&mut self, ente: EnteId, id: i64) -> Result<Option<CannedRow>, StoreError> {
        const SQL: &str = "SELECT id, version, title, body FROM canned_answer WHERE ente_id = $1 AND id = $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// Adds one; `None` where there is one of this title.
    pub async fn add_canned_answer(&mut self, ente: EnteId, title: &str, body: &str) -> Result<Option<i64>, StoreError> {
        const SQL: &str = "INSERT INTO canned_answer (ente_id, version, title, body) VALUES ($1, 1, $2, $3)
            ON CONFLICT (ente_id, title) DO NOTHING RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(title).bind(body).fetch_optional(c))?)
    }

    /// Writes one anew that stands at `version`; `false` where it does not any more.
    pub async fn put_canned_answer(&mut self, ente: EnteId, id: i64, version: i64, title: &str, body: &str) -> Result<bool, StoreError> {
        const SQL: &str =
            "UPDATE canned_answer SET title = $4, body = $5, version = version + 1 WHERE ente_id = $1 AND id = $2 AND version = $3";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id).bind(version).bind(title).bind(body)) > 0)
    }

    /// Takes one away that stands at `version`.
    pub async fn delete_canned_answer(&mut self, ente: EnteId, id: i64, version: i64) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM canned_answer WHERE ente_id = $1 AND id = $2 AND version = $3";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id).bind(version)) > 0)
    }
}
