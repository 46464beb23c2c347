//! Call detail records, from telephony to the desk.

use tracing::error;

use super::line::CallLog;
use crate::{
    canteen::EnteId,
    desk::{Desk, calls::CallRow},
    telephony::call::CallRecord,
};

/// Keeps CDRs in the database.
#[derive(Debug)]
pub struct DeskLog(Desk);

impl DeskLog {
    /// Writes through this desk.
    pub fn new(desk: Desk) -> Self {
        Self(desk)
    }
}

impl CallLog for DeskLog {
    async fn record(&self, ente: Option<EnteId>, record: CallRecord) {
        let row = CallRow {
            id: record.call.call_id,
            ente_id: ente.map(|e| e.0),
            sip_call_id: record.call.sip_call_id,
            trunk: record.call.trunk,
            caller: record.call.caller,
            called: record.call.called,
            peer: record.call.peer.to_string(),
            started_at: record.call.at,
            answered_at: record.answered_at,
            ended_at: record.ended_at,
            status: i64::from(record.status),
            cause: record.cause,
            codec: record.codec.map(str::to_owned),
            packets_sent: record.packets_sent as i64,
            packets_received: record.packets_received as i64,
            digits: i64::from(record.digits),
        };
        let id = row.id.clone();
        if let Err(error) = self.0.record_call(&row).await {
            // The log line is the record then.
            error!(call = id, %error, status = row.status, cause = row.cause, "the call's record could not be written");
        }
    }
}
