//! Which ways calls took through which plan, counted by day; and nodes' pictures of their calls now.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::AssertSqlSafe;

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A version of a dialplan, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PlanText {
    /// Of what it says, without comments.
    pub fingerprint: String,
    /// Short name.
    pub name: String,
    /// Title, for people.
    pub title: String,
    /// The file's text.
    pub source: String,
}

impl PlanText {
    /// A plan's text.
    pub fn new(fingerprint: String, name: &str, title: &str, source: &str) -> Self {
        Self { fingerprint, name: name.to_owned(), title: title.to_owned(), source: source.to_owned() }
    }
}

/// A version of a dialplan under which calls were counted.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CountedPlan {
    /// Row.
    pub id: i64,
    /// Of what it says.
    pub fingerprint: String,
    /// Title, for people.
    pub title: String,
    /// When the first call went by it (UTC).
    pub first_used_at: DateTime<Utc>,
}

/// Something to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCount<'a> {
    /// Whose call.
    pub ente: EnteId,
    /// On which day.
    pub day: NaiveDate,
    /// The plan's row.
    pub plan: i64,
    /// From which state; empty: `to` was reached.
    pub from: &'a str,
    /// By which key, answer, or how it ended.
    pub way: &'a str,
    /// To which state; empty: the call ended in `from`.
    pub to: &'a str,
    /// Calls.
    pub calls: i64,
    /// How often they did so.
    pub passes: i64,
}

/// What was counted over some days.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Traffic {
    /// From which state; empty: `to_step` was reached.
    pub from_step: String,
    /// By which key, answer, or how it ended.
    pub way: String,
    /// To which state; empty: calls ended in `from_step`.
    pub to_step: String,
    /// Calls.
    pub calls: i64,
    /// How often they did so.
    pub passes: i64,
}

/// Counts written by one statement.
const TOGETHER: usize = 40;

impl Tx {
    /// The row of a plan's version, made where it is not there yet.
    pub async fn put_dialplan(&mut self, plan: &PlanText, at: DateTime<Utc>) -> Result<i64, StoreError> {
        const FIND: &str = "SELECT id FROM dialplan WHERE fingerprint = $1";
        const ADD: &str = "INSERT INTO dialplan (fingerprint, name, title, source, first_used_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (fingerprint) DO NOTHING";
        let found: Option<i64> = on!(&mut *self, |c| sqlx::query_scalar(FIND).bind(&plan.fingerprint).fetch_optional(c))?;
        if let Some(id) = found {
            return Ok(id);
        }
        run!(self, sqlx::query(ADD).bind(&plan.fingerprint).bind(&plan.name).bind(&plan.title).bind(&plan.source).bind(at));
        Ok(on!(self, |c| sqlx::query_scalar(FIND).bind(&plan.fingerprint).fetch_one(c))?)
    }

    /// A version of a plan.
    pub async fn dialplan(&mut self, id: i64) -> Result<Option<PlanText>, StoreError> {
        const SQL: &str = "SELECT fingerprint, name, title, source FROM dialplan WHERE id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c))?)
    }

    /// Adds to the counts; rows are locked in the order given.
    pub async fn count_traffic(&mut self, counts: &[NewCount<'_>]) -> Result<(), StoreError> {
        for some in counts.chunks(TOGETHER) {
            let places: Vec<_> = (0..some.len()).map(|n| place(n * 8 + 1)).collect();
            let sql = format!(
                "INSERT INTO line_traffic (ente_id, day, dialplan_id, from_step, way, to_step, calls, passes) VALUES {}
                ON CONFLICT (ente_id, day, dialplan_id, from_step, way, to_step) DO UPDATE
                SET calls = line_traffic.calls + excluded.calls, passes = line_traffic.passes + excluded.passes",
                places.join(", ")
            );
            run!(self, {
                let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
                for n in some {
                    query = query.bind(n.ente.0).bind(n.day).bind(n.plan).bind(n.from).bind(n.way).bind(n.to).bind(n.calls).bind(n.passes);
                }
                query
            });
        }
        Ok(())
    }

    /// What was counted from `first` to `last` under a plan.
    pub async fn traffic(&mut self, ente: EnteId, plan: i64, first: NaiveDate, last: NaiveDate) -> Result<Vec<Traffic>, StoreError> {
        const SQL: &str = "SELECT from_step, way, to_step, CAST(SUM(calls) AS BIGINT) AS calls, CAST(SUM(passes) AS BIGINT) AS passes
            FROM line_traffic WHERE ente_id = $1 AND day >= $2 AND day <= $3 AND dialplan_id = $4
            GROUP BY from_step, way, to_step ORDER BY from_step, way, to_step";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).bind(plan).fetch_all(c))?)
    }

    /// The plans under which calls were counted from `first` to `last`, the newest first, at most `limit`.
    pub async fn counted_plans(
        &mut self,
        ente: EnteId,
        first: NaiveDate,
        last: NaiveDate,
        limit: i64,
    ) -> Result<Vec<CountedPlan>, StoreError> {
        const SQL: &str = "SELECT id, fingerprint, title, first_used_at FROM dialplan
            WHERE id IN (SELECT dialplan_id FROM line_traffic WHERE ente_id = $1 AND day >= $2 AND day <= $3)
            ORDER BY first_used_at DESC, id DESC LIMIT $4";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).bind(limit).fetch_all(c))?)
    }

    /// Leaves a node's picture of its calls.
    pub async fn put_live_picture(&mut self, node: &str, ente: EnteId, at: DateTime<Utc>, picture: &str) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO live_line (node, ente_id, at, picture) VALUES ($1, $2, $3, $4)
            ON CONFLICT (node, ente_id) DO UPDATE SET at = excluded.at, picture = excluded.picture";
        run!(self, sqlx::query(SQL).bind(node).bind(ente.0).bind(at).bind(picture));
        Ok(())
    }

    /// Takes pictures from before `before` away.
    pub async fn sweep_live_pictures(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(run!(self, sqlx::query("DELETE FROM live_line WHERE at < $1").bind(before)))
    }

    /// The pictures that other nodes have left since `since`.
    pub async fn live_pictures(&mut self, but: &str, ente: EnteId, since: DateTime<Utc>, limit: i64) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "SELECT picture FROM live_line WHERE ente_id = $1 AND node <> $2 AND at >= $3 ORDER BY node LIMIT $4";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(but).bind(since).bind(limit).fetch_all(c))?)
    }
}

/// `($n, …)`, eight places from the number `first` on.
fn place(first: usize) -> String {
    let numbers: Vec<_> = (first..first + 8).map(|n| format!("${n}")).collect();
    format!("({})", numbers.join(", "))
}
