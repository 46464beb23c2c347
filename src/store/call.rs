//! Call detail records.

use chrono::{DateTime, Utc};

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

impl Tx {
    /// Writes a call detail record; the same call twice is kept once.
    pub async fn add_call(&mut self, call: &CallRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO call (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
                $26, $27, $28) ON CONFLICT (id) DO NOTHING"
        );
        run!(
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
        );
        Ok(())
    }

    /// The last calls of an ente, newest first.
    pub async fn calls(&mut self, ente: EnteId, limit: i64) -> Result<Vec<CallRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM call WHERE ente_id = $1 ORDER BY started_at DESC LIMIT $2");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(limit).fetch_all(c))?)
    }

    /// Calls of an ente that began before `until`, from `after` on in the order of beginning and id, `after` itself not among them.
    pub async fn calls_after(
        &mut self,
        ente: EnteId,
        after: (DateTime<Utc>, &str),
        until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<CallRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM call WHERE ente_id = $1 AND started_at >= $2 AND (started_at > $2 OR id > $3) AND started_at < $4
            ORDER BY started_at, id LIMIT $5"
        );
        let (from, id) = after;
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(from).bind(id).bind(until).bind(limit).fetch_all(c))?)
    }
}
