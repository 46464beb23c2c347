//! `/status`: how the node fares, as JSON. `voceguida status` shows it to people.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::Web;
use crate::telephony::sip::{certificates::CertificateStatus, status::TrunkStatus};

/// How a node fares. Counters count from its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Taking no new calls, before it stops.
    pub draining: bool,
    /// Calls.
    pub calls: CallsStatus,
    /// Media.
    pub media: MediaStatus,
    /// Trunks, in the order of the configuration.
    pub trunks: Vec<TrunkStatus>,
    /// Files of certificates, ours and whom we trust.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
}

/// Calls of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallsStatus {
    /// Calls now.
    pub active: u64,
    /// Calls that there is room for.
    pub capacity: u64,
    /// Calls answered.
    pub answered: u64,
    /// INVITEs answered 503 for want of room.
    pub full: u64,
    /// INVITEs refused otherwise.
    pub refused: u64,
    /// INVITEs cancelled before they were answered.
    pub cancelled: u64,
    /// Requests and connections from no trunk.
    pub strangers: u64,
    /// Requests left unanswered: too many.
    pub dropped: u64,
    /// Datagrams that the system dropped unread: the SIP sockets' buffers were full.
    #[serde(default)]
    pub unread: u64,
}

/// Media of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaStatus {
    /// Threads.
    pub threads: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received from callers.
    pub packets_received: u64,
    /// Ticks of the media clock that came more than 20 ms late.
    pub late_ticks: u64,
    /// RTP packets that could not be sent.
    pub send_errors: u64,
    /// Keys and other events that nobody took.
    pub dropped_events: u64,
}

pub(super) async fn status(State(web): State<Arc<Web>>) -> Json<Status> {
    let stats = web.sip.stats();
    let media = web.sip.media();
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: web.started.elapsed().as_secs(),
        draining: stats.draining,
        calls: CallsStatus {
            active: stats.active,
            capacity: stats.capacity,
            answered: stats.answered,
            full: stats.full,
            refused: stats.refused,
            cancelled: stats.cancelled,
            strangers: stats.strangers,
            dropped: stats.dropped,
            unread: web.sip.unread(),
        },
        media: MediaStatus {
            threads: web.sip.media_threads() as u64,
            packets_sent: read(&media.sent),
            packets_received: read(&media.received),
            late_ticks: read(&media.late_ticks),
            send_errors: read(&media.send_errors),
            dropped_events: read(&media.dropped_events),
        },
        trunks: web.sip.trunks(),
        certificates: web.sip.certificates(),
    })
}
