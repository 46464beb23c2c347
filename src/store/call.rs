//! Call detail records.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A call detail record as it is kept: telephony's record in the database's words.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CallRow {
    /// Our id (UUID text).
    pub id: String,
    /// The ente of the called number, where it is one of ours.
    pub ente_id: Option<i64>,
    /// SIP Call-ID.
    pub sip_call_id: String,
    /// Trunk.
    pub trunk: String,
    /// Calling number, `None` when withheld.
    pub caller: Option<String>,
    /// Called number.
    pub called: String,
    /// The number called first, where the call was forwarded.
    pub diverted_from: Option<String>,
    /// Signalling peer, address and port.
    pub peer: String,
    /// What the peer calls itself.
    pub user_agent: Option<String>,
    /// INVITE (UTC).
    pub started_at: DateTime<Utc>,
    /// 180 or 183 (UTC).
    pub ringing_at: Option<DateTime<Utc>>,
    /// 200 OK, acknowledged (UTC).
    pub answered_at: Option<DateTime<Utc>>,
    /// End (UTC).
    pub ended_at: DateTime<Utc>,
    /// Final SIP status of the INVITE.
    pub status: i64,
    /// Cause.
    pub cause: String,
    /// Q.850 cause; `None` in records from before it was kept.
    pub q850: Option<i64>,
    /// The peer's `Reason`.
    pub reason: Option<String>,
    /// Who let go first: `caller` or `line`; `None` in records from before it was kept.
    pub released_by: Option<String>,
    /// Codec.
    pub codec: Option<String>,
    /// Was the media encrypted?
    pub srtp: bool,
    /// RTP packets sent.
    pub packets_sent: i64,
    /// RTP packets received.
    pub packets_received: i64,
    /// The caller's packets that never came.
    pub packets_lost: Option<i64>,
    /// Of all packets of the caller's, how many were lost, in 1/10,000.
    pub loss: Option<i64>,
    /// Interarrival jitter at the end, in microseconds.
    pub jitter_us: Option<i64>,
    /// Estimated mean opinion score, times 100.
    pub mos: Option<i64>,
    /// Keys received.
    pub digits: i64,
    /// By which ways keys came in.
    pub dtmf: Option<String>,
}

/// Every column, in the order of the bindings below.
macro_rules! columns {
    () => {
        "id, ente_id, sip_call_id, trunk, caller, called, diverted_from, peer, user_agent, started_at, ringing_at, answered_at, ended_at,
            status, cause, q850, reason, released_by, codec, srtp, packets_sent, packets_received, packets_lost, loss, jitter_us, mos,
            digits, dtmf"
    };
}

/// Every column that a list shows.
macro_rules! listed {
    () => {
        concat!(columns!(), ", seconds, outcome, dialplan_id, last_step, path")
    };
}

/// What is kept with a record beside what telephony tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMore<'a> {
    /// From the answer to the end; 0 where it was never answered.
    pub seconds: i64,
    /// What came of it.
    pub outcome: &'a str,
    /// The plan that it went by.
    pub dialplan: Option<i64>,
    /// The state in which it ended.
    pub last_step: Option<&'a str>,
    /// Its way through the plan.
    pub path: Option<&'a str>,
}

/// A call as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedCall {
    /// The record.
    #[sqlx(flatten)]
    pub row: CallRow,
    /// From the answer to the end; 0 where it was never answered.
    pub seconds: i64,
    /// The word of what came of it.
    pub outcome: String,
    /// The plan that it went by.
    pub dialplan_id: Option<i64>,
    /// The state in which it ended.
    pub last_step: Option<String>,
    /// Its way through the plan.
    pub path: Option<String>,
}

/// Which calls; an empty text is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFilter<'a> {
    /// That began from this instant on.
    pub from: DateTime<Utc>,
    /// And before this one.
    pub to: DateTime<Utc>,
    /// On this trunk.
    pub trunk: &'a str,
    /// With this outcome.
    pub outcome: &'a str,
    /// From a number that ends in these four characters.
    pub tail: &'a str,
    /// That ended in this state.
    pub step: &'a str,
}

impl CallFilter<'_> {
    /// The condition; parameters 2 to 7, in the order of the fields. What is not asked for is mentioned all the same, so that the parameters stay.
    fn condition(&self) -> String {
        let exact = |n: u8, column: &str, value: &str| {
            if value.is_empty() { format!(" AND CAST(${n} AS TEXT) = ''") } else { format!(" AND {column} = ${n}") }
        };
        format!(
            "ente_id = $1 AND started_at >= $2 AND started_at < $3{}{}{}{}",
            exact(4, "trunk", self.trunk),
            exact(5, "outcome", self.outcome),
            exact(6, "SUBSTR(caller, LENGTH(caller) - 3)", self.tail),
            exact(7, "last_step", self.step)
        )
    }
}

/// What the list of calls is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallSort {
    /// When it began.
    Start,
    /// How long it was.
    Length,
    /// How well the caller was heard; calls of which nothing is known count as the best.
    Quality,
}

/// Something that was done in a call.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CallOperation {
    /// Row.
    pub id: i64,
    /// When it was judged (UTC).
    pub at: DateTime<Utc>,
    /// For which child.
    pub child_id: i64,
    /// What the child is called.
    pub last_name: String,
    /// What the child is called.
    pub first_name: String,
    /// The word of what was asked for.
    pub choice: String,
    /// `accepted` or `refused`.
    pub decision: String,
    /// The word of the reason, where it was refused.
    pub reason: Option<String>,
    /// The day.
    pub day: Option<chrono::NaiveDate>,
    /// Its receipt number.
    pub receipt: String,
}

/// The most operations of a call that are shown.
const MOST_OPERATIONS: i64 = 100;
/// The most words that a filter offers.
const MOST_WORDS: i64 = 200;

impl Tx {
    /// Writes a call detail record; the same call twice is kept once. `true` where it was not there yet.
    pub async fn add_call(&mut self, call: &CallRow, more: &CallMore<'_>) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO call (",
            listed!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
                $26, $27, $28, $29, $30, $31, $32, $33) ON CONFLICT (id) DO NOTHING"
        );
        let added = run!(
            self,
            sqlx::query(SQL)
                .bind(&call.id)
                .bind(call.ente_id)
                .bind(&call.sip_call_id)
                .bind(&call.trunk)
                .bind(&call.caller)
                .bind(&call.called)
                .bind(&call.diverted_from)
                .bind(&call.peer)
                .bind(&call.user_agent)
                .bind(call.started_at)
                .bind(call.ringing_at)
                .bind(call.answered_at)
                .bind(call.ended_at)
                .bind(call.status)
                .bind(&call.cause)
                .bind(call.q850)
                .bind(&call.reason)
                .bind(&call.released_by)
                .bind(&call.codec)
                .bind(call.srtp)
                .bind(call.packets_sent)
                .bind(call.packets_received)
                .bind(call.packets_lost)
                .bind(call.loss)
                .bind(call.jitter_us)
                .bind(call.mos)
                .bind(call.digits)
                .bind(&call.dtmf)
                .bind(more.seconds)
                .bind(more.outcome)
                .bind(more.dialplan)
                .bind(more.last_step)
                .bind(more.path)
        );
        Ok(added > 0)
    }

    /// The last calls of an ente, newest first.
    pub async fn calls(&mut self, ente: EnteId, limit: i64) -> Result<Vec<CallRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM call WHERE ente_id = $1 ORDER BY started_at DESC LIMIT $2");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(limit).fetch_all(c))?)
    }

    /// Calls that fit, from `after` on in the order of beginning and id, `after` itself not among them.
    pub async fn calls_after(
        &mut self,
        ente: EnteId,
        filter: &CallFilter<'_>,
        after: (DateTime<Utc>, &str),
        limit: i64,
    ) -> Result<Vec<ListedCall>, StoreError> {
        let (at, id) = after;
        // The beginning of the range is where the page before ended.
        let condition = filter.condition();
        let sql = format!(
            concat!("SELECT ", listed!(), " FROM call WHERE {} AND (started_at > $2 OR id > $8) ORDER BY started_at, id LIMIT $9"),
            condition
        );
        Ok(on!(self, |c| sqlx::query_as(AssertSqlSafe(sql.clone()))
            .bind(ente.0)
            .bind(at)
            .bind(filter.to)
            .bind(filter.trunk)
            .bind(filter.outcome)
            .bind(filter.tail)
            .bind(filter.step)
            .bind(id)
            .bind(limit)
            .fetch_all(c))?)
    }

    /// Calls that fit, sorted (`true`: from the greatest down) and cut, and how many fit in all (counted up to `most`).
    pub async fn list_calls(
        &mut self,
        ente: EnteId,
        filter: &CallFilter<'_>,
        (sort, descending): (CallSort, bool),
        (limit, offset): (i64, i64),
        most: i64,
    ) -> Result<(Vec<ListedCall>, i64), StoreError> {
        // Only words of ours go into the text; everything that people type is bound.
        let condition = filter.condition();
        let down = if descending { "DESC" } else { "ASC" };
        let order = match sort {
            CallSort::Start => format!("started_at {down}, id {down}"),
            CallSort::Length => format!("seconds {down}, started_at {down}, id {down}"),
            CallSort::Quality => format!("COALESCE(mos, 1000) {down}, started_at {down}, id {down}"),
        };
        // First which, out of an index, then what they say: a call's record is long.
        let rows = format!(
            concat!(
                "SELECT ",
                listed!(),
                " FROM call WHERE id IN (SELECT id FROM call WHERE {} ORDER BY {} LIMIT $8 OFFSET $9) ORDER BY {}"
            ),
            condition, order, order
        );
        let count = format!("SELECT COUNT(*) FROM (SELECT 1 AS one FROM call WHERE {condition} LIMIT $8) AS few");
        let found = on!(&mut *self, |c| sqlx::query_as(AssertSqlSafe(rows.clone()))
            .bind(ente.0)
            .bind(filter.from)
            .bind(filter.to)
            .bind(filter.trunk)
            .bind(filter.outcome)
            .bind(filter.tail)
            .bind(filter.step)
            .bind(limit)
            .bind(offset)
            .fetch_all(c))?;
        let total: i64 = on!(self, |c| sqlx::query_scalar(AssertSqlSafe(count.clone()))
            .bind(ente.0)
            .bind(filter.from)
            .bind(filter.to)
            .bind(filter.trunk)
            .bind(filter.outcome)
            .bind(filter.tail)
            .bind(filter.step)
            .bind(most)
            .fetch_one(c))?;
        Ok((found, total))
    }

    /// One call.
    pub async fn call(&mut self, ente: EnteId, id: &str) -> Result<Option<ListedCall>, StoreError> {
        const SQL: &str = concat!("SELECT ", listed!(), " FROM call WHERE ente_id = $1 AND id = $2");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// What was done in a call, oldest first.
    pub async fn operations_in_call(&mut self, ente: EnteId, id: &str) -> Result<Vec<CallOperation>, StoreError> {
        const SQL: &str = "SELECT o.id, o.at, o.child_id, k.last_name, k.first_name, o.choice, o.decision, o.reason, o.day, o.receipt
            FROM operation o JOIN child k ON k.id = o.child_id WHERE o.call_id = $2 AND o.ente_id = $1 ORDER BY o.id LIMIT $3";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(id).bind(MOST_OPERATIONS).fetch_all(c))?)
    }

    /// Every trunk, and every state in which a call ended, that occurs between these instants; at most 200 of each.
    pub async fn call_words(
        &mut self,
        ente: EnteId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<(Vec<String>, Vec<String>), StoreError> {
        const TRUNKS: &str =
            "SELECT DISTINCT trunk FROM call WHERE ente_id = $1 AND started_at >= $2 AND started_at < $3 ORDER BY trunk LIMIT $4";
        const STEPS: &str = "SELECT DISTINCT last_step FROM call
            WHERE ente_id = $1 AND started_at >= $2 AND started_at < $3 AND last_step IS NOT NULL ORDER BY last_step LIMIT $4";
        let trunks = on!(&mut *self, |c| sqlx::query_scalar(TRUNKS).bind(ente.0).bind(from).bind(to).bind(MOST_WORDS).fetch_all(c))?;
        let steps = on!(self, |c| sqlx::query_scalar(STEPS).bind(ente.0).bind(from).bind(to).bind(MOST_WORDS).fetch_all(c))?;
        Ok((trunks, steps))
    }
}
