//! The audit trail: who saw or changed what.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{StoreError, Tx, on, run};
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

    /// Lines of the trail that fit, sorted and cut, and how many fit in all (counted up to `most`).
    pub async fn trail(&mut self, ente: EnteId, asked: &TrailAsked<'_>, most: i64) -> Result<(Vec<TrailRow>, i64), StoreError> {
        // Only words of ours go into the text; everything that people type is bound. A filter that is not asked for is mentioned all
        // the same, so that the parameters stay.
        let exact = |n: u8, column: &str, value: &str| {
            if value.is_empty() { format!(" AND CAST(${n} AS TEXT) = ''") } else { format!(" AND {column} = ${n}") }
        };
        let actor = exact(4, "actor", asked.actor);
        let action = exact(5, "action", asked.action);
        let subject = if asked.subject.is_empty() { exact(6, "", "") } else { " AND LOWER(subject) LIKE $6 ESCAPE '!'".to_owned() };
        let filter = format!("ente_id = $1 AND at >= $2 AND at < $3{actor}{action}{subject}");
        let down = if asked.descending { "DESC" } else { "ASC" };
        let order = match asked.sort {
            TrailSort::At => format!("at {down}, id {down}"),
            TrailSort::Actor => format!("actor {down}, at {down}, id {down}"),
            TrailSort::Action => format!("action {down}, at {down}, id {down}"),
        };
        let rows = format!(
            "SELECT id, at, actor, address, action, subject_kind, subject_id, subject, before, after FROM audit WHERE {filter}
            ORDER BY {order} LIMIT $7 OFFSET $8"
        );
        let count = format!("SELECT COUNT(*) FROM (SELECT 1 AS one FROM audit WHERE {filter} LIMIT $7) AS few");
        let subject = if asked.subject.is_empty() { String::new() } else { like(asked.subject) };
        let found = on!(self, |c| sqlx::query_as(AssertSqlSafe(rows.clone()))
            .bind(ente.0)
            .bind(asked.from)
            .bind(asked.to)
            .bind(asked.actor)
            .bind(asked.action)
            .bind(&subject)
            .bind(asked.limit)
            .bind(asked.offset)
            .fetch_all(c))?;
        let total: i64 = on!(self, |c| sqlx::query_scalar(AssertSqlSafe(count.clone()))
            .bind(ente.0)
            .bind(asked.from)
            .bind(asked.to)
            .bind(asked.actor)
            .bind(asked.action)
            .bind(&subject)
            .bind(most)
            .fetch_one(c))?;
        Ok((found, total))
    }

    /// One line.
    pub async fn trail_line(&mut self, ente: EnteId, id: i64) -> Result<Option<TrailRow>, StoreError> {
        const SQL: &str = "SELECT id, at, actor, address, action, subject_kind, subject_id, subject, before, after FROM audit
            WHERE ente_id = $1 AND id = $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// Every action and every actor that occurs, for choosing; at most 200 of each.
    pub async fn trail_words(&mut self, ente: EnteId) -> Result<(Vec<String>, Vec<String>), StoreError> {
        // Jumps from word to word along the index instead of reading every line.
        const ACTIONS: &str = "WITH RECURSIVE word(w) AS (SELECT MIN(action) FROM audit WHERE ente_id = $1
            UNION ALL SELECT (SELECT MIN(action) FROM audit WHERE ente_id = $1 AND action > w) FROM word WHERE w IS NOT NULL)
            SELECT w FROM word WHERE w IS NOT NULL LIMIT 200";
        const ACTORS: &str = "WITH RECURSIVE word(w) AS (SELECT MIN(actor) FROM audit WHERE ente_id = $1
            UNION ALL SELECT (SELECT MIN(actor) FROM audit WHERE ente_id = $1 AND actor > w) FROM word WHERE w IS NOT NULL)
            SELECT w FROM word WHERE w IS NOT NULL LIMIT 200";
        let actions = on!(self, |c| sqlx::query_scalar(ACTIONS).bind(ente.0).fetch_all(c))?;
        let actors = on!(self, |c| sqlx::query_scalar(ACTORS).bind(ente.0).fetch_all(c))?;
        Ok((actions, actors))
    }
}

/// What the trail is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailSort {
    /// When.
    At,
    /// Who.
    Actor,
    /// What.
    Action,
}

/// What is asked of the trail; an empty text is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailAsked<'a> {
    /// From this instant on.
    pub from: DateTime<Utc>,
    /// Before this one.
    pub to: DateTime<Utc>,
    /// Who.
    pub actor: &'a str,
    /// What.
    pub action: &'a str,
    /// A part of what it was done to.
    pub subject: &'a str,
    /// Order.
    pub sort: TrailSort,
    /// From the greatest down.
    pub descending: bool,
    /// Rows.
    pub limit: i64,
    /// Rows left out before.
    pub offset: i64,
}

/// A pattern for `LIKE … ESCAPE '!'` that finds this text anywhere, in small letters.
fn like(text: &str) -> String {
    let text = text.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{text}%")
}
