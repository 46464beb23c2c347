//! Everything that is kept of children, a page at a time, for files to take away.

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, on};
use crate::canteen::EnteId;

/// Which children: all of an ente, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The least row.
    pub from: i64,
    /// The greatest.
    pub to: i64,
}

/// A child in a file. Without its code: that is in the letter only.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct ArchivedChild {
    pub id: i64,
    pub external_ref: Option<String>,
    pub last_name: String,
    pub first_name: String,
    pub fiscal_code: Option<String>,
    pub school: String,
    pub class: String,
    pub year: String,
    pub diet: String,
    pub enrolled_first: Option<NaiveDate>,
    pub enrolled_last: Option<NaiveDate>,
}

/// An adult beside a child in a file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct ArchivedAdult {
    pub child_id: i64,
    pub guardian_id: i64,
    pub payer: bool,
    pub delegate: bool,
    pub last_name: String,
    pub first_name: String,
    pub fiscal_code: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub address: Option<String>,
}

/// An operation in a file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct ArchivedOperation {
    pub child_id: i64,
    pub id: i64,
    pub at: DateTime<Utc>,
    pub channel: String,
    pub actor: String,
    pub choice: String,
    pub day: Option<NaiveDate>,
    pub until_day: Option<NaiveDate>,
    pub decision: String,
    pub reason: Option<String>,
    pub note: Option<String>,
    pub receipt: String,
}

/// A meal in a file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct ArchivedMeal {
    pub child_id: i64,
    pub day: NaiveDate,
    pub school: String,
    pub class: String,
    pub diet: String,
    pub state: String,
    pub becomes: Option<String>,
}

/// A message of a ticket in a file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct ArchivedMessage {
    pub ticket_id: i64,
    pub position: i64,
    pub child_id: Option<i64>,
    pub guardian_id: Option<i64>,
    pub topic: String,
    pub title: String,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub author: String,
    pub body: String,
}

impl Tx {
    /// Messages of tickets after that of this ticket and place, in this order; of every ticket where `span` begins at 0.
    pub async fn archive_tickets(
        &mut self,
        ente: EnteId,
        span: Span,
        after: (i64, i64),
        limit: i64,
    ) -> Result<Vec<ArchivedMessage>, StoreError> {
        const SQL: &str = "SELECT m.ticket_id, m.position, t.child_id, t.guardian_id, t.topic, t.title, m.at, m.kind, m.author, m.body
            FROM ticket_message m JOIN ticket t ON t.id = m.ticket_id
            WHERE t.ente_id = $1 AND COALESCE(t.child_id, 0) >= $2 AND COALESCE(t.child_id, 0) <= $3 AND (m.ticket_id, m.position) > ($4, $5)
            ORDER BY m.ticket_id, m.position LIMIT $6";
        Ok(on!(self, |c| sqlx::query_as(SQL)
            .bind(ente.0)
            .bind(span.from)
            .bind(span.to)
            .bind(after.0)
            .bind(after.1)
            .bind(limit)
            .fetch_all(c))?)
    }

    /// Children after row `after`.
    pub async fn archive_children(&mut self, ente: EnteId, span: Span, after: i64, limit: i64) -> Result<Vec<ArchivedChild>, StoreError> {
        const SQL: &str = "SELECT k.id, k.external_ref, k.last_name, k.first_name, k.fiscal_code, s.name AS school, c.name AS class,
                y.name AS year, k.diet, k.enrolled_first, k.enrolled_last
            FROM child k JOIN school_class c ON c.id = k.class_id JOIN school s ON s.id = c.school_id JOIN school_year y ON y.id = c.school_year_id
            WHERE k.ente_id = $1 AND k.id >= $2 AND k.id <= $3 AND k.id > $4 ORDER BY k.id LIMIT $5";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(span.from).bind(span.to).bind(after).bind(limit).fetch_all(c))?)
    }

    /// Adults of the children from `first` to `last`.
    pub async fn archive_adults(&mut self, ente: EnteId, first: i64, last: i64) -> Result<Vec<ArchivedAdult>, StoreError> {
        const GUARDIANS: &str =
            "SELECT l.child_id, l.guardian_id, l.payer, FALSE AS delegate, g.last_name, g.first_name, g.fiscal_code, g.email,
                g.phone, g.address
            FROM child_guardian l JOIN guardian g ON g.id = l.guardian_id
            WHERE l.child_id BETWEEN $2 AND $3 AND g.ente_id = $1 ORDER BY l.child_id, l.position";
        const DELEGATES: &str =
            "SELECT l.child_id, l.guardian_id, FALSE AS payer, TRUE AS delegate, g.last_name, g.first_name, g.fiscal_code,
                g.email, g.phone, g.address
            FROM child_delegate l JOIN guardian g ON g.id = l.guardian_id
            WHERE l.child_id BETWEEN $2 AND $3 AND g.ente_id = $1 ORDER BY l.child_id, l.position";
        let mut rows: Vec<ArchivedAdult> = on!(self, |c| sqlx::query_as(GUARDIANS).bind(ente.0).bind(first).bind(last).fetch_all(c))?;
        let delegates: Vec<ArchivedAdult> = on!(self, |c| sqlx::query_as(DELEGATES).bind(ente.0).bind(first).bind(last).fetch_all(c))?;
        rows.extend(delegates);
        Ok(rows)
    }

    /// Operations after that of this child and row, in this order.
    pub async fn archive_operations(
        &mut self,
        ente: EnteId,
        span: Span,
        after: (i64, i64),
        limit: i64,
    ) -> Result<Vec<ArchivedOperation>, StoreError> {
        const SQL: &str = "SELECT child_id, id, at, channel, actor, choice, day, until_day, decision, reason, note, receipt FROM operation
            WHERE child_id >= $2 AND child_id <= $3 AND (child_id, id) > ($4, $5) AND ente_id = $1 ORDER BY child_id, id LIMIT $6";
        Ok(on!(self, |c| sqlx::query_as(SQL)
            .bind(ente.0)
            .bind(span.from)
            .bind(span.to)
            .bind(after.0)
            .bind(after.1)
            .bind(limit)
            .fetch_all(c))?)
    }

    /// Meals after that of this child and day, in this order; each with what its last correction says.
    pub async fn archive_meals(
        &mut self,
        ente: EnteId,
        span: Span,
        after: (i64, NaiveDate),
        limit: i64,
    ) -> Result<Vec<ArchivedMeal>, StoreError> {
        const SQL: &str = "SELECT m.child_id, m.day, s.name AS school, c.name AS class, m.diet, m.state,
                (SELECT x.becomes FROM meal_correction x WHERE x.child_id = m.child_id AND x.day = m.day ORDER BY x.id DESC LIMIT 1) AS becomes
            FROM meal m JOIN school s ON s.id = m.school_id JOIN school_class c ON c.id = m.class_id
            WHERE m.child_id >= $2 AND m.child_id <= $3 AND (m.child_id, m.day) > ($4, $5) AND s.ente_id = $1
            ORDER BY m.child_id, m.day LIMIT $6";
        Ok(on!(self, |c| sqlx::query_as(SQL)
            .bind(ente.0)
            .bind(span.from)
            .bind(span.to)
            .bind(after.0)
            .bind(after.1)
            .bind(limit)
            .fetch_all(c))?)
    }

    /// Children of a school year whose suspension has no end.
    pub async fn open_suspensions(&mut self, year: i64) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM suspension u JOIN child k ON k.id = u.child_id JOIN school_class c ON c.id = k.class_id
            WHERE u.last_day IS NULL AND c.school_year_id = $1";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(year).fetch_one(c))?)
    }
}
