//! What telephony offers its user: a call one can speak on, and keys coming in.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::{clip::Clip, rtp::quality::Quality};

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
    /// The number that was called first, where the call was forwarded to `called` (`Diversion`, `History-Info`).
    pub diverted_from: Option<String>,
    /// What the peer's signalling calls itself (`User-Agent`), one short line.
    pub user_agent: Option<String>,
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
    /// Something went wrong or took too long, and we sent BYE.
    Failed(Failure),
    /// Server shutdown.
    Shutdown,
}

/// What can go wrong with a call that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Our answer, or our answer to a re-INVITE, was never acknowledged.
    NoAck,
    /// Our offer was answered in no ACK, or by nothing that can be used.
    NoAnswerInAck,
    /// The caller was heard and then is not any more.
    DeadMedia,
    /// The media engine has ended.
    MediaGone,
    /// The longest time that a call may take.
    LongestCall,
    /// The caller's side did not refresh the session (RFC 4028).
    SessionExpired,
    /// The caller's side does not answer our refresh, or knows of no such call.
    RefreshUnanswered,
    /// A request of ours inside the call was answered with a challenge that we cannot meet.
    Challenged,
}

impl EndCause {
    /// The cause as it stands in the CDR.
    pub fn word(self) -> &'static str {
        match self {
            Self::CallerHungUp => "caller_hung_up",
            Self::WeHungUp => "we_hung_up",
            Self::Abandoned => "abandoned",
            Self::Shutdown => "shutdown",
            Self::Failed(failure) => match failure {
                Failure::NoAck => "no ACK",
                Failure::NoAnswerInAck => "no usable answer in ACK",
                Failure::DeadMedia => "dead media",
                Failure::MediaGone => "media gone",
                Failure::LongestCall => "longest call",
                Failure::SessionExpired => "session expired",
                Failure::RefreshUnanswered => "session refresh unanswered",
                Failure::Challenged => "challenged in the call",
            },
        }
    }

    /// Who let go first.
    pub fn released_by(self) -> Side {
        match self {
            Self::CallerHungUp | Self::Abandoned => Side::Caller,
            Self::WeHungUp | Self::Failed(_) | Self::Shutdown => Side::Line,
        }
    }
}

/// A side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller's, or the network between.
    Caller,
    /// Ours.
    Line,
}

impl Side {
    /// As it stands in the CDR.
    pub fn word(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Line => "line",
        }
    }
}

/// The ways by which keys came in on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyWays {
    /// Telephone events in RTP (RFC 4733).
    pub events: bool,
    /// SIP INFO.
    pub info: bool,
    /// Tones in the audio.
    pub tones: bool,
}

impl KeyWays {
    /// As it stands in the CDR: `rfc4733`, `info`, `inband`, joined by `+`; `None` where no key came.
    pub fn words(self) -> Option<String> {
        let ways = [(self.events, "rfc4733"), (self.info, "info"), (self.tones, "inband")];
        let used: Vec<_> = ways.iter().filter(|(used, _)| *used).map(|(_, word)| *word).collect();
        (!used.is_empty()).then(|| used.join("+"))
    }
}

/// How well the caller's audio came in, as far as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaQuality {
    /// Packets of the caller's that never came.
    pub lost: Option<u64>,
    /// Of all packets of the caller's, how many were lost, in 1/10,000.
    pub loss: Option<u16>,
    /// Mean jitter over the call, in microseconds.
    pub jitter_us: Option<u32>,
    /// Estimated mean opinion score (G.107), times 100.
    pub mos: Option<u16>,
}

/// How the caller's audio comes in, told by the media thread every few seconds while the call lasts.
#[derive(Debug, Default)]
pub struct LiveQuality {
    /// Loss (16 bits), score (16 bits), jitter (32 bits). A score of 0: nothing was measured yet.
    packed: AtomicU64,
}

impl LiveQuality {
    /// As it is now.
    pub fn set(&self, quality: &Quality) {
        let packed = u64::from(quality.loss_per_10k) | u64::from(quality.mos_x100) << 16 | u64::from(quality.jitter_micros) << 32;
        self.packed.store(packed, Ordering::Relaxed);
    }

    /// As it was told last; `None` as long as nothing was measured.
    pub fn get(&self) -> Option<Quality> {
        let packed = self.packed.load(Ordering::Relaxed);
        let (loss_per_10k, mos_x100, jitter_micros) = (packed as u16, (packed >> 16) as u16, (packed >> 32) as u32);
        (mos_x100 > 0).then_some(Quality { mos_x100, loss_per_10k, jitter_micros, packets: 0 })
    }
}

/// A call detail record: what telephony knows of a finished (or refused) call (CDR).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// The call.
    pub call: IncomingCall,
    /// When 180 or 183 was first sent, `None` if never.
    pub ringing_at: Option<DateTime<Utc>>,
    /// When our 200 OK was acknowledged, `None` if never.
    pub answered_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// The final SIP status of the INVITE.
    pub status: u16,
    /// Short cause for the CDR, e.g. `caller_hung_up`, `refused: unknown number`.
    pub cause: String,
    /// The cause in the telephone network's words (Q.850): the peer's own where it gave one, else what the
    /// status or the end stands for.
    pub q850: u8,
    /// The peer's `Reason`, as it came.
    pub reason: Option<String>,
    /// Who let go first.
    pub released_by: Side,
    /// `PCMA` or `PCMU`, `None` when not negotiated.
    pub codec: Option<&'static str>,
    /// Was the media encrypted (SRTP)?
    pub srtp: bool,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received from the caller.
    pub packets_received: u64,
    /// Keys received.
    pub digits: u32,
    /// How they came in.
    pub key_ways: KeyWays,
    /// How well the caller's audio came in.
    pub quality: MediaQuality,
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
    /// How the caller is heard, while the call lasts.
    pub quality: Arc<LiveQuality>,
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
