//! What the first page of the morning shows: cancellations by channel, calls, who is told the kitchen's count.

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// Somebody who is sent the kitchen's count at the cut-off.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KitchenRecipient {
    /// Row.
    pub id: i64,
    /// School's row; `None` for all.
    pub school_id: Option<i64>,
    /// Whose kitchen.
    pub name: String,
    /// Address.
    pub email: String,
}

/// Standing cancellations of a day that came in on a channel.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ChannelCount {
    /// Channel.
    pub channel: String,
    /// How many.
    pub count: i64,
}

/// When something happened, and what: `call`, or the choice of an accepted operation.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Moment {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub what: String,
}

impl Tx {
    /// The cancellations that stand for a day and had come in by `until`, by channel.
    pub async fn cancellations_by_channel(
        &mut self,
        ente: EnteId,
        day: NaiveDate,
        until: DateTime<Utc>,
    ) -> Result<Vec<ChannelCount>, StoreError> {
        const SQL: &str = "SELECT o.channel, COUNT(*) AS count FROM mark m JOIN operation o ON o.id = m.operation_id
            WHERE m.day = $2 AND m.kind = 'cancelled' AND o.ente_id = $1 AND o.at <= $3 GROUP BY o.channel ORDER BY o.channel";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(day).bind(until).fetch_all(c))?)
    }

    /// Those of the days on which the ente served meals.
    pub async fn usual_days(&mut self, ente: EnteId, days: &[NaiveDate]) -> Result<Vec<NaiveDate>, StoreError> {
        const SQL: &str = "SELECT CAST(COALESCE(SUM(d.meals), 0) AS BIGINT) FROM closed_day d JOIN school s ON s.id = d.school_id
            WHERE s.ente_id = $1 AND d.day = $2";
        let mut usual = Vec::new();
        for day in days {
            let meals: i64 = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(day).fetch_one(c))?;
            if meals > 0 {
                usual.push(*day);
            }
        }
        Ok(usual)
    }

    /// Calls that began, and operations that were accepted, from `from` to before `to`; at most `most` of each.
    pub async fn moments(&mut self, ente: EnteId, from: DateTime<Utc>, to: DateTime<Utc>, most: i64) -> Result<Vec<Moment>, StoreError> {
        const CALLS: &str = "SELECT started_at AS at, 'call' AS what FROM call WHERE ente_id = $1 AND started_at >= $2 AND started_at < $3
            ORDER BY started_at LIMIT $4";
        const OPERATIONS: &str =
            "SELECT at, choice AS what FROM operation WHERE ente_id = $1 AND at >= $2 AND at < $3 AND decision = 'accepted'
            ORDER BY at LIMIT $4";
        let mut all: Vec<Moment> = Vec::new();
        for sql in [CALLS, OPERATIONS] {
            let rows: Vec<Moment> = on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(from).bind(to).bind(most).fetch_all(c))?;
            all.extend(rows);
        }
        Ok(all)
    }

    /// How many calls began from `from` to before `to`.
    pub async fn calls_between(&mut self, ente: EnteId, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM call WHERE ente_id = $1 AND started_at >= $2 AND started_at < $3";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(from).bind(to).fetch_one(c))?)
    }

    /// Who is sent the kitchen's count.
    pub async fn kitchen_recipients(&mut self, ente: EnteId) -> Result<Vec<KitchenRecipient>, StoreError> {
        const SQL: &str =
            "SELECT id, school_id, name, email FROM kitchen_recipient WHERE ente_id = $1 ORDER BY school_id IS NOT NULL, school_id, email";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Adds somebody to whom it is sent; the same one twice is kept once.
    pub async fn add_kitchen_recipient(&mut self, ente: EnteId, school: Option<i64>, name: &str, email: &str) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO kitchen_recipient (ente_id, school_id, name, email) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(school).bind(name).bind(email)) > 0)
    }

    /// Takes somebody out.
    pub async fn drop_kitchen_recipient(&mut self, ente: EnteId, id: i64) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM kitchen_recipient WHERE ente_id = $1 AND id = $2";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id)) > 0)
    }
}
