//! SDP offer/answer for one audio stream (RFC 3264, RFC 8866), with keys for SRTP (RFC 4568). Pure.
//!
//! Only what a telephone line needs is understood; everything else is ignored, as RFC 8866 §5 asks. The crates
//! for SDP are parsers: what is asked of one here is little, and to be lenient in; what matters is in [`choose`]
//! and [`Local`].

use std::net::SocketAddr;

use serde::Deserialize;

mod choose;
pub(in crate::telephony) mod crypto;
mod events;
mod local;
mod parse;

#[cfg(test)]
mod tests;

pub use crate::telephony::codec::Codec;
pub use local::{Local, RANDOM_BYTES};
pub use parse::Description;

use crate::telephony::rtp::srtp::Crypto;

/// Who sends, from the point of view of whoever wrote it (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// Only the writer: the other is on hold.
    SendOnly,
    /// Only the other.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "sendrecv" => Self::SendRecv,
            "sendonly" => Self::SendOnly,
            "recvonly" => Self::RecvOnly,
            "inactive" => Self::Inactive,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The answer to it (RFC 3264 §6.1).
    fn answered(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }
}

/// Is media encrypted?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SrtpPolicy {
    /// Never; a call that offers nothing else is refused.
    #[default]
    Off,
    /// Where the other side offers it or goes along.
    Optional,
    /// Always; a call without is refused.
    Required,
}

/// What we are ready to agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Codecs, in the order in which we offer them. An answer takes the offerer's first that is among them.
    pub codecs: Vec<Codec>,
    /// Encryption.
    pub srtp: SrtpPolicy,
}

impl Default for Terms {
    fn default() -> Self {
        Self { codecs: vec![Codec::Pcma, Codec::Pcmu], srtp: SrtpPolicy::Off }
    }
}

impl Terms {
    /// Could this offer be answered? To be asked before anything is set up for a call.
    pub fn check(&self, offer: &Description<'_>) -> Result<(), SdpError> {
        choose::from_offer(offer, self, None).map(|_| ())
    }
}

/// Why a description cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not SDP at all: 400.
    #[error("not a session description")]
    Malformed,
    /// No audio stream over RTP, or a refused one: 488.
    #[error("no audio stream")]
    NoAudio,
    /// None of our codecs: 488.
    #[error("no common codec")]
    NoCommonCodec,
    /// The stream's address is no IP address that we can send to: 488.
    #[error("no usable address")]
    NoAddress,
    /// Only encrypted audio, which we are not to have: 488.
    #[error("only encrypted audio is offered")]
    Encrypted,
    /// No encrypted audio, which we are to have: 488.
    #[error("encrypted audio is required")]
    NotEncrypted,
    /// None of the keys is one that we can use: 488.
    #[error("no common crypto suite")]
    NoCommonSuite,
    /// An answer to something else than what was offered.
    #[error("not an answer to our offer")]
    Unasked,
}

/// What two sides have agreed on, as far as media needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Where the peer receives; `None` where it has said 0.0.0.0 (the old way of holding).
    pub peer: Option<SocketAddr>,
    /// Audio codec.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// Payload type of telephone-event, where agreed.
    pub events: Option<u8>,
    /// Ticks of the events' clock in a second: 8,000, or 16,000 where the peer has nothing else.
    pub events_clock: u32,
    /// Do we send?
    pub send: bool,
    /// Do we expect to receive?
    pub receive: bool,
    /// Milliseconds of audio in a packet of ours: a multiple of 10 from 10 to 60.
    pub ptime_ms: u32,
    /// Where the peer receives RTCP; `None` where it receives none, or is on hold the old way.
    pub rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port, at both ends (RFC 5761).
    pub rtcp_mux: bool,
    /// The keys, where media is encrypted.
    pub crypto: Option<Crypto>,
}
