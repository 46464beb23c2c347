//! The audit trail: who saw or changed what.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, run};
use crate::canteen::EnteId;

/// A line of the trail to write.
#[derive(Debug, Clone)]
pub struct NewTrailLine<'a> {
    /// Whose office.
    pub ente: EnteId,
    /// When.
    pub at: DateTime<Utc>,
    /// Who, where it was a person of the office.
    pub person: Option<i64>,
    /// What they are called.
    pub actor: &'a str,
    /// From where.
    pub address: &'a str,
    /// What was done.
    pub action: &'a str,
    /// What kind of row it was done to.
    pub subject_kind: &'a str,
    /// Which.
    pub subject_id: Option<i64>,
    /// What that is called.
    pub subject: &'a str,
    /// JSON of what stood before.
    pub before: Option<String>,
    /// JSON of what stands now.
    pub after: Option<String>,
}

/// A line of the trail.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TrailRow {
    /// Row.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What was done.
    pub action: String,
    /// What kind of row it was done to.
    pub subject_kind: String,
    /// Which.
    pub subject_id: Option<i64>,
    /// What that is called.
    pub subject: String,
    /// JSON of what stood before.
    pub before: Option<String>,
    /// JSON of what stands now.
    pub after: Option<String>,
}

impl Tx {
    /// Writes a line.
    pub async fn add_trail_line(&mut self, new: &NewTrailLine<'_>) -> Result<(), StoreError> {
        const SQL: &str =
            "INSERT INTO audit (ente_id, at, person_id, actor, address, action, subject_kind, subject_id, subject, before, after)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        run!(
            self,
            sqlx::query(SQL)
                .bind(new.ente.0)
                .bind(new.at)
                .bind(new.person)
                .bind(new.actor)
                .bind(new.address)
                .bind(new.action)
                .bind(new.subject_kind)
                .bind(new.subject_id)
                .bind(new.subject)
                .bind(new.before.as_deref())
                .bind(new.after.as_deref())
        );
        Ok(())
    }
}
