//! What of a peer's description is to be used.

use std::net::SocketAddr;

use super::{
    Agreed, Codec, Description, Direction, SdpError, SrtpPolicy, Terms,
    crypto::Line,
    parse::{Events, Stream},
};
use crate::telephony::rtp::srtp::{Crypto, MasterKey};

/// A stream that we can use, and how.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// Its place among the streams.
    pub index: usize,
    pub protocol: &'static str,
    pub codec: Codec,
    pub payload_type: u8,
    pub events: Option<Events>,
    /// As the peer says it.
    pub direction: Direction,
    pub ptime_ms: u32,
    pub rtcp_mux: bool,
    /// The peer's key.
    pub line: Option<Line>,
    address: SocketAddr,
    rtcp: Option<SocketAddr>,
}

impl Chosen {
    /// What it comes to, with our key.
    pub(super) fn agreed(&self, ours: Option<MasterKey>) -> Agreed {
        let held = self.address.ip().is_unspecified();
        let crypto = self.line.clone().zip(ours).map(|(line, ours)| Crypto { suite: line.suite, ours, theirs: line.key });
        Agreed {
            peer: (!held).then_some(self.address),
            codec: self.codec,
            payload_type: self.payload_type,
            events: self.events.map(|events| events.payload_type),
            events_clock: self.events.map_or(Codec::CLOCK, |events| events.clock),
            send: !held && matches!(self.direction, Direction::SendRecv | Direction::RecvOnly),
            receive: matches!(self.direction, Direction::SendRecv | Direction::SendOnly),
            ptime_ms: self.ptime_ms,
            rtcp: self.rtcp.filter(|rtcp| !rtcp.ip().is_unspecified()),
            rtcp_mux: self.rtcp_mux,
            crypto,
        }
    }
}

/// The transports that we can speak. Feedback (AVPF) obliges nobody to give any (RFC 4585 §3).
pub(super) fn protocol(token: &str) -> Option<&'static str> {
    ["RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF"].into_iter().find(|known| *known == token)
}

fn is_secure(protocol: &str) -> bool {
    protocol.starts_with("RTP/SAVP")
}

/// The stream of an offer to use: the first audio stream that can be, encrypted ones before others where both
/// may be. `local` is where we receive: the peer's address must be of its family.
pub(super) fn from_offer(offer: &Description<'_>, terms: &Terms, local: Option<SocketAddr>) -> Result<Chosen, SdpError> {
    let ways: &[bool] = match terms.srtp {
        SrtpPolicy::Off => &[false],
        SrtpPolicy::Optional => &[true, false],
        SrtpPolicy::Required => &[true],
    };
    let mut why = SdpError::NoAudio;
    for secure in ways {
        for (index, stream) in offer.streams.iter().enumerate().filter(|(_, s)| s.media == "audio" && s.port != 0) {
            let Some(protocol) = protocol(stream.protocol) else { continue };
            let chosen =
                secured(stream, protocol, *secure).and_then(|line| read(offer, index, stream, protocol, line, &terms.codecs, local));
            match chosen {
                Ok(chosen) => return Ok(chosen),
                // What else was wrong with a stream says more than that it goes another way.
                Err(SdpError::Encrypted | SdpError::NotEncrypted) if why != SdpError::NoAudio => {}
                Err(error) if matches!(why, SdpError::NoAudio | SdpError::Encrypted | SdpError::NotEncrypted) => why = error,
                Err(_) => {}
            }
        }
    }
    Err(why)
}

/// The key to use on an offered stream. On plain RTP keys are an offer, too: those who know no better pass over them.
fn secured(stream: &Stream<'_>, protocol: &str, secure: bool) -> Result<Option<Line>, SdpError> {
    match (secure, stream.crypto.first()) {
        (true, Some(line)) => Ok(Some(line.clone())),
        (true, None) if is_secure(protocol) => Err(SdpError::NoCommonSuite),
        (true, None) => Err(SdpError::NotEncrypted),
        (false, _) if is_secure(protocol) => Err(SdpError::Encrypted),
        (false, _) => Ok(None),
    }
}

/// What we have offered, as far as an answer must fit it.
#[derive(Debug, Clone)]
pub(super) struct Offered<'a> {
    pub index: usize,
    pub protocol: &'a str,
    pub codecs: &'a [(Codec, u8)],
    pub events: Option<Events>,
    pub keys: &'a [Line],
    pub rtcp_mux: bool,
}

/// How the peer has answered our offer. The second is the key of ours that it has chosen.
pub(super) fn from_answer(
    answer: &Description<'_>,
    offered: &Offered<'_>,
    terms: &Terms,
    local: SocketAddr,
) -> Result<(Chosen, Option<MasterKey>), SdpError> {
    let stream = answer.streams.get(offered.index).filter(|s| s.media == "audio").ok_or(SdpError::Unasked)?;
    if stream.port == 0 {
        return Err(SdpError::NoAudio);
    }
    let protocol = protocol(stream.protocol).ok_or(SdpError::Unasked)?;
    let ours = |line: &Line| offered.keys.iter().find(|key| (key.tag, key.suite) == (line.tag, line.suite));
    let taken = stream.crypto.iter().find_map(|line| Some((line.clone(), ours(line)?.key.clone())));
    let needed = is_secure(offered.protocol) || is_secure(protocol) || terms.srtp == SrtpPolicy::Required;
    if needed && taken.is_none() {
        return Err(if stream.crypto.is_empty() { SdpError::NotEncrypted } else { SdpError::NoCommonSuite });
    }
    let (line, key) = taken.unzip();
    let codecs: Vec<_> = offered.codecs.iter().map(|(codec, _)| *codec).collect();
    let mut chosen = read(answer, offered.index, stream, protocol, line, &codecs, Some(local))?;
    // Keys come to us under the number that we have said (RFC 3264 §5.1).
    chosen.events = chosen.events.and(offered.events);
    if chosen.rtcp_mux && !offered.rtcp_mux {
        return Err(SdpError::Unasked);
    }
    Ok((chosen, key))
}

fn read(
    description: &Description<'_>,
    index: usize,
    stream: &Stream<'_>,
    protocol: &'static str,
    line: Option<Line>,
    codecs: &[Codec],
    local: Option<SocketAddr>,
) -> Result<Chosen, SdpError> {
    let (codec, payload_type) = stream.codec(codecs).ok_or(SdpError::NoCommonCodec)?;
    let address = description.address(stream)?;
    let foreign = local.is_some_and(|local| local.is_ipv4() != address.is_ipv4());
    if foreign && !address.ip().is_unspecified() {
        return Err(SdpError::NoAddress);
    }
    Ok(Chosen {
        index,
        protocol,
        codec,
        payload_type,
        events: stream.events(),
        direction: description.direction(stream),
        ptime_ms: stream.ptime_ms(),
        rtcp_mux: stream.rtcp_mux,
        line,
        address,
        rtcp: stream.rtcp(address),
    })
}
