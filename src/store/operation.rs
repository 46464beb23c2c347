//! Operations: append-only, the truth for disputes (R10).

use chrono::{DateTime, NaiveDate, Utc};
use rand::Rng;

use super::{StoreError, Tx, on};
use crate::canteen::{ChildId, Choice, EnteId, Reason, code::draw_receipt, rule::Decision};

/// An operation to be written down.
#[derive(Debug, Clone, Copy)]
pub struct NewOperation<'a> {
    /// Whose canteen.
    pub ente: EnteId,
    /// Whose meal.
    pub child: ChildId,
    /// `phone`, `web` …
    pub channel: &'a str,
    /// Who asked: on the phone the calling number, or `withheld`.
    pub actor: &'a str,
    /// The call, where it came by phone.
    pub call_id: Option<&'a str>,
    /// The same operation sent twice carries the same key.
    pub key: &'a str,
    /// When it was judged.
    pub at: DateTime<Utc>,
    /// What was asked for.
    pub choice: Choice,
    /// Last day of a suspension, where one was given.
    pub until: Option<NaiveDate>,
    /// Why the office did it, where it had to say so.
    pub note: Option<&'a str>,
    /// Done after the cut-off of its day.
    pub late: bool,
}

/// How an operation was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stands for this day.
    Accepted(NaiveDate),
    /// Refused, with the day it would have fallen on.
    Refused(Reason, Option<NaiveDate>),
    /// The day confirmed by the caller was not the first useful day any more; holds the day it would fall on now.
    DayChanged(NaiveDate),
}

impl From<&Decision> for Verdict {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Accepted { day, .. } => Self::Accepted(*day),
            Decision::Refused { reason, day } => Self::Refused(*reason, *day),
        }
    }
}

/// What is not one of the rule's reasons.
const DAY_CHANGED: &str = "day_changed";

/// An operation as written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperation {
    /// Row.
    pub id: i64,
    /// How it came in.
    pub channel: String,
    /// When it was judged (UTC).
    pub at: DateTime<Utc>,
    /// What was asked for.
    pub choice: Choice,
    /// Last day of a suspension, where one was given.
    pub until: Option<NaiveDate>,
    /// How it was answered.
    pub verdict: Verdict,
    /// Its receipt number.
    pub receipt: String,
    /// Who asked: on the phone the calling number, or `withheld`.
    pub actor: String,
    /// The call, where it came by phone.
    pub call_id: Option<String>,
    /// Why the office did it, where it had to say so.
    pub note: Option<String>,
    /// Done after the cut-off of its day.
    pub late: bool,
}

/// An operation's columns.
#[derive(sqlx::FromRow)]
pub(super) struct OperationRow {
    id: i64,
    channel: String,
    at: DateTime<Utc>,
    choice: String,
    until_day: Option<NaiveDate>,
    reason: Option<String>,
    day: Option<NaiveDate>,
    receipt: String,
    actor: String,
    call_id: Option<String>,
    note: Option<String>,
    late: bool,
}

/// The columns of a row.
macro_rules! columns {
    () => {
        "id, channel, at, choice, until_day, reason, day, receipt, actor, call_id, note, late"
    };
}

impl TryFrom<OperationRow> for StoredOperation {
    type Error = StoreError;

    fn try_from(row: OperationRow) -> Result<Self, StoreError> {
        let verdict = match (row.reason.as_deref(), row.day) {
            (None, Some(day)) => Verdict::Accepted(day),
            (None, None) => return Err(StoreError::Unknown { what: "decision", value: row.id.to_string() }),
            (Some(DAY_CHANGED), Some(day)) => Verdict::DayChanged(day),
            (Some(reason), day) => Verdict::Refused(from_word("reason", reason)?, day),
        };
        Ok(Self {
            id: row.id,
            channel: row.channel,
            at: row.at,
            choice: from_word("choice", &row.choice)?,
            until: row.until_day,
            verdict,
            receipt: row.receipt,
            actor: row.actor,
            call_id: row.call_id,
            note: row.note,
            late: row.late,
        })
    }
}

/// The stored word of a choice or reason is its name in JSON (design §3): one vocabulary everywhere.
fn from_word<T: serde::de::DeserializeOwned>(what: &'static str, word: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|_| StoreError::Unknown { what, value: word.to_owned() })
}

fn word_of<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// More draws than any fill of the number space needs: each fourth makes the numbers ten times as many.
const RECEIPT_DRAWS: u32 = 24;

impl Tx {
    /// Writes the operation down with a fresh receipt number; returns its row and the receipt.
    pub async fn add_operation(
        &mut self,
        new: &NewOperation<'_>,
        verdict: Verdict,
        rng: &mut (impl Rng + Send),
    ) -> Result<(i64, String), StoreError> {
        const SQL: &str = "INSERT INTO operation
                (ente_id, child_id, channel, actor, call_id, idempotency_key, at, choice, until_day, decision, reason, day, receipt, note, late)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
            ON CONFLICT (ente_id, receipt) DO NOTHING
            RETURNING id";
        let (decision, reason, day) = match verdict {
            Verdict::Accepted(day) => ("accepted", None, Some(day)),
            Verdict::Refused(reason, day) => ("refused", Some(word_of(&reason)), day),
            Verdict::DayChanged(day) => ("refused", Some(DAY_CHANGED.to_owned()), Some(day)),
        };
        let choice = word_of(&new.choice);
        for attempt in 0..RECEIPT_DRAWS {
            let receipt = draw_receipt(rng, attempt);
            let id: Option<i64> = on!(self, |c| sqlx::query_scalar(SQL)
                .bind(new.ente.0)
                .bind(new.child.0)
                .bind(new.channel)
                .bind(new.actor)
                .bind(new.call_id)
                .bind(new.key)
                .bind(new.at)
                .bind(&choice)
                .bind(new.until)
                .bind(decision)
                .bind(&reason)
                .bind(day)
                .bind(&receipt)
                .bind(new.note)
                .bind(new.late)
                .fetch_optional(c))?;
            if let Some(id) = id {
                return Ok((id, receipt));
            }
        }
        Err(StoreError::Unknown { what: "free receipt number", value: "none found".to_owned() })
    }

    /// The operation that was done under this key.
    pub async fn operation_by_key(&mut self, key: &str) -> Result<Option<StoredOperation>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM operation WHERE idempotency_key = $1");
        let row: Option<OperationRow> = on!(self, |c| sqlx::query_as(SQL).bind(key).fetch_optional(c))?;
        row.map(StoredOperation::try_from).transpose()
    }

    /// All operations on a child, oldest first.
    pub async fn operations_of(&mut self, child: ChildId) -> Result<Vec<StoredOperation>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM operation WHERE child_id = $1 ORDER BY id");
        let rows: Vec<OperationRow> = on!(self, |c| sqlx::query_as(SQL).bind(child.0).fetch_all(c))?;
        rows.into_iter().map(StoredOperation::try_from).collect()
    }

    /// The calls in which something was done for a child, newest first.
    pub async fn calls_for(&mut self, child: ChildId, limit: i64) -> Result<Vec<ChildCall>, StoreError> {
        const SQL: &str = "SELECT c.id, c.started_at, c.ended_at, c.caller, c.cause, COUNT(*) AS operations
            FROM operation o JOIN call c ON c.id = o.call_id WHERE o.child_id = $1
            GROUP BY c.id, c.started_at, c.ended_at, c.caller, c.cause ORDER BY c.started_at DESC, c.id LIMIT $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(child.0).bind(limit).fetch_all(c))?)
    }
}

/// A call in which something was done for a child.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ChildCall {
    /// Our id.
    pub id: String,
    /// When it began (UTC).
    pub started_at: DateTime<Utc>,
    /// When it ended (UTC).
    pub ended_at: DateTime<Utc>,
    /// Calling number, `None` when withheld.
    pub caller: Option<String>,
    /// Why it ended.
    pub cause: String,
    /// Operations on this child in it.
    pub operations: i64,
}
