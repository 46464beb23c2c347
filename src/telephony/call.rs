//! What telephony offers its user: a call one can speak on, and keys coming in.

use std::{future::Future, net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::clip::Clip;

/// An INVITE that has passed the trunk's checks and waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingCall {
    /// Our own id of the call (UUID text), the same in every log line and in the CDR.
    pub call_id: String,
    /// The SIP Call-ID.
    pub sip_call_id: String,
    /// Name of the trunk it came in on.
    pub trunk: String,
    /// Calling number, `None` when withheld.
    pub caller: Option<String>,
    /// Called number: the user part of the request URI, digits (and a leading `+`) only.
    pub called: String,
    /// Where the signalling came from.
    pub peer: SocketAddr,
    /// When the INVITE arrived (UTC).
    pub at: DateTime<Utc>,
}

/// What to do with an incoming call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Answer it.
    Answer,
    /// Refuse with this SIP status (404, 503, 603 …) before answering.
    Refuse {
        /// SIP final status, 400–699.
        status: u16,
        /// What the CDR says of it.
        cause: String,
    },
}

/// What the user of a call can ask of it.
#[derive(Debug, Clone)]
pub enum CallCommand {
    /// Play these clips one after the other, in place of whatever is playing; `CallEvent::Played { id }`
    /// follows when the last frame has been sent, unless stopped or replaced before.
    Play {
        /// Chosen by the user, told back.
        id: u64,
        /// The clips, in order.
        clips: Vec<Arc<Clip>>,
    },
    /// Stop playing (barge-in); no `Played` follows.
    Stop,
    /// Send BYE.
    HangUp,
}

/// What happens on a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// A key: `0`–`9`, `*`, `#`, `A`–`D`; each press once.
    Digit(char),
    /// The playing asked for with this id has ended by itself.
    Played {
        /// The id given to `Play`.
        id: u64,
    },
    /// The call is over; nothing follows.
    Ended(EndCause),
}

/// Who or what ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The caller sent BYE.
    CallerHungUp,
    /// We sent BYE, as asked.
    WeHungUp,
    /// The caller sent CANCEL before the answer was acknowledged, or never acknowledged it.
    Abandoned,
    /// No ACK, no media, session timer ran out, transport gone.
    Failed(&'static str),
    /// Server shutdown.
    Shutdown,
}

/// A call detail record: what telephony knows of a finished (or refused) call (CDR).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// The call.
    pub call: IncomingCall,
    /// When 200 OK was sent, `None` if never.
    pub answered_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// The final SIP status of the INVITE.
    pub status: u16,
    /// Short cause for the CDR, e.g. `caller_hung_up`, `refused: unknown number`.
    pub cause: String,
    /// `PCMA` or `PCMU`, `None` when not negotiated.
    pub codec: Option<&'static str>,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received from the caller.
    pub packets_received: u64,
    /// Keys received.
    pub digits: u32,
}

/// An answered call, handed to its user.
#[derive(Debug)]
pub struct Call {
    /// Who, where, when.
    pub info: IncomingCall,
    /// What to do. Dropping it hangs up.
    pub commands: mpsc::Sender<CallCommand>,
    /// What happens. Bounded; keys beyond the bound are dropped and counted.
    pub events: mpsc::Receiver<CallEvent>,
}

/// The user of the telephony endpoint. `voice` implements it; tests do too.
pub trait CallHandler: Send + Sync + 'static {
    /// Asked before answering. Must be quick.
    fn admit(&self, call: &IncomingCall) -> impl Future<Output = Admission> + Send;

    /// Runs an answered call until it is over. Returning hangs up.
    fn run(&self, call: Call) -> impl Future<Output = ()> + Send;

    /// Told of every call that ended, refused ones too, for the CDR.
    fn finished(&self, record: CallRecord) -> impl Future<Output = ()> + Send;
}
