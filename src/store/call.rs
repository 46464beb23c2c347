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
    /// Signalling peer, address and port.
    pub peer: String,
    /// INVITE (UTC).
    pub started_at: DateTime<Utc>,
    /// 200 OK (UTC).
    pub answered_at: Option<DateTime<Utc>>,
    /// End (UTC).
    pub ended_at: DateTime<Utc>,
    /// Final SIP status of the INVITE.
    pub status: i64,
    /// Cause.
    pub cause: String,
    /// Codec.
    pub codec: Option<String>,
    /// RTP packets sent.
    pub packets_sent: i64,
    /// RTP packets received.
    pub packets_received: i64,
    /// Keys received.
    pub digits: i64,
}

impl Tx {
    /// Writes a call detail record; the same call twice is kept once.
    pub async fn add_call(&mut self, call: &CallRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO call (id, ente_id, sip_call_id, trunk, caller, called, peer, started_at, answered_at,
                ended_at, status, cause, codec, packets_sent, packets_received, digits)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
            ON CONFLICT (id) DO NOTHING";
        run!(
            self,
            sqlx::query(SQL)
                .bind(&call.id)
                .bind(call.ente_id)
                .bind(&call.sip_call_id)
                .bind(&call.trunk)
                .bind(&call.caller)
                .bind(&call.called)
                .bind(&call.peer)
                .bind(call.started_at)
                .bind(call.answered_at)
                .bind(call.ended_at)
                .bind(call.status)
                .bind(&call.cause)
                .bind(&call.codec)
                .bind(call.packets_sent)
                .bind(call.packets_received)
                .bind(call.digits)
        );
        Ok(())
    }

    /// The last calls of an ente, newest first.
    pub async fn calls(&mut self, ente: EnteId, limit: i64) -> Result<Vec<CallRow>, StoreError> {
        const SQL: &str = "SELECT id, ente_id, sip_call_id, trunk, caller, called, peer, started_at, answered_at, ended_at, status,
                cause, codec, packets_sent, packets_received, digits
            FROM call WHERE ente_id = $1 ORDER BY started_at DESC LIMIT $2";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(limit).fetch_all(c))?)
    }
}
