//! The phone's offer and what it reads of the answer (RFC 4566, RFC 3264). Pure.

use std::net::{IpAddr, SocketAddr};

use crate::telephony::{
    rtp::srtp::Crypto,
    sip::sdp::{Codec, crypto::Line},
};

/// Payload type offered for telephone-event (dynamic; 101 by custom).
pub const OFFERED_EVENT_TYPE: u8 = 101;
/// Static payload types (RFC 3551 §6).
pub const PCMU: u8 = 0;
/// See [`PCMU`].
pub const PCMA: u8 = 8;

/// What is offered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    /// Where we want the audio.
    pub local: SocketAddr,
    /// Id of the session, the same in every offer of a call.
    pub session: u32,
    /// Number of this offer within the call, from 0 (RFC 8866 §5.2: it grows with every change).
    pub version: u32,
    /// Codecs, best first.
    pub codecs: &'a [Codec],
    /// Whether telephone-event is offered.
    pub events: bool,
    /// Whether the other side is asked to be silent (RFC 3264 §8.4).
    pub hold: bool,
    /// Our key, where audio is to be encrypted: then nothing else is offered.
    pub key: Option<&'a Line>,
}

impl Offer<'_> {
    /// The offer as SDP, 20 ms a packet.
    pub fn to_sdp(&self) -> String {
        let family = if self.local.is_ipv6() { "IP6" } else { "IP4" };
        let (ip, port, session) = (self.local.ip(), self.local.port(), self.session);
        let version = u64::from(session) + u64::from(self.version);
        let codecs = self.codecs.iter().map(|codec| (codec.static_payload_type(), codec.name()));
        let events = self.events.then_some((OFFERED_EVENT_TYPE, "telephone-event"));
        let offered: Vec<_> = codecs.chain(events).collect();
        let types = offered.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(" ");
        let maps = offered.iter().map(|(number, name)| format!("a=rtpmap:{number} {name}/8000\r\n")).collect::<Vec<_>>().concat();
        let which = if self.events { format!("a=fmtp:{OFFERED_EVENT_TYPE} 0-15\r\n") } else { String::new() };
        let profile = if self.key.is_some() { "SAVP" } else { "AVP" };
        let mut crypto = String::new();
        if let Some(key) = self.key {
            key.write(&mut crypto);
        }
        let direction = if self.hold { "sendonly" } else { "sendrecv" };
        format!(
            "v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/{profile} {types}\r\n{maps}{which}{crypto}a=ptime:20\r\na={direction}\r\n"
        )
    }
}

/// What the peer settled on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where to send RTP.
    pub remote: SocketAddr,
    /// A-law, else µ-law.
    pub is_alaw: bool,
    /// Payload type of telephone-event, `None` when the peer takes none.
    pub event_type: Option<u8>,
    /// The keys, where encrypted audio was offered.
    pub crypto: Option<Crypto>,
}

/// An answer the phone cannot use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// No `m=audio` line, or one with port 0.
    #[error("the answer has no audio")]
    NoAudio,
    /// No connection address that is an IP address.
    #[error("the answer has no address for audio")]
    NoAddress,
    /// Neither PCMA nor PCMU.
    #[error("the answer has neither PCMA nor PCMU")]
    NoCodec,
    /// Encrypted audio was offered, and the answer has no key to it.
    #[error("the answer has no key for encrypted audio")]
    NoKey,
}

/// Reads an answer, to an offer with this key. The first of its payload types that is PCMA or PCMU is the codec.
pub fn answer(body: &str, offered: Option<&Line>) -> Result<Answer, BadAnswer> {
    let mut session_ip = None;
    let mut audio_ip = None;
    let mut media: Option<(u16, Vec<u8>)> = None;
    let (mut event_type, mut theirs) = (None, None);
    let mut in_audio = false;
    for line in body.lines() {
        if let Some(value) = line.strip_prefix("m=") {
            let mut words = value.split_ascii_whitespace();
            in_audio = media.is_none() && words.next() == Some("audio");
            if in_audio {
                let port = words.next().and_then(|port| port.split('/').next()).and_then(|port| port.parse().ok());
                media = Some((port.ok_or(BadAnswer::NoAudio)?, words.skip(1).filter_map(|pt| pt.parse().ok()).collect()));
            }
        } else if let Some(value) = line.strip_prefix("c=") {
            let ip = value.split_ascii_whitespace().nth(2).and_then(|ip| ip.split('/').next()).and_then(|ip| ip.parse::<IpAddr>().ok());
            if in_audio {
                audio_ip = ip;
            } else if media.is_none() {
                session_ip = ip;
            }
        } else if let (true, Some(value)) = (in_audio, line.strip_prefix("a=rtpmap:")) {
            let mut words = value.split_ascii_whitespace();
            let number = words.next().and_then(|pt| pt.parse::<u8>().ok());
            if words.next().is_some_and(|name| name.to_ascii_lowercase().starts_with("telephone-event/8000")) {
                event_type = number;
            }
        } else if let (true, Some(value)) = (in_audio, line.strip_prefix("a=crypto:")) {
            theirs = theirs.or(Line::parse(value));
        }
    }
    let (port, types) = media.filter(|(port, _)| *port != 0).ok_or(BadAnswer::NoAudio)?;
    let ip = audio_ip.or(session_ip).ok_or(BadAnswer::NoAddress)?;
    let codec = types.iter().find(|pt| matches!(**pt, PCMA | PCMU)).ok_or(BadAnswer::NoCodec)?;
    let crypto = match offered {
        None => None,
        Some(ours) => {
            let theirs = theirs.filter(|theirs| (theirs.tag, theirs.suite) == (ours.tag, ours.suite)).ok_or(BadAnswer::NoKey)?;
            Some(Crypto { suite: ours.suite, ours: ours.key.clone(), theirs: theirs.key })
        }
    };
    let event_type = event_type.filter(|pt| types.contains(pt));
    Ok(Answer { remote: SocketAddr::new(ip, port), is_alaw: *codec == PCMA, event_type, crypto })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telephony::{
        rtp::srtp::{MasterKey, Suite},
        sip::sdp::{Description, Local, RANDOM_BYTES, SrtpPolicy, Terms},
    };

    fn an_offer(local: &str) -> Offer<'static> {
        let local = local.parse().unwrap();
        Offer { local, session: 7, version: 0, codecs: &[Codec::Pcma, Codec::Pcmu], events: true, hold: false, key: None }
    }

    #[test]
    fn the_offer_is_an_answer_to_itself() {
        let offer = an_offer("192.0.2.1:4000");
        let read = Answer { remote: offer.local, is_alaw: true, event_type: Some(101), crypto: None };
        assert_eq!(answer(&offer.to_sdp(), None), Ok(read.clone()));
        let ulaw = Offer { codecs: &[Codec::Pcmu], events: false, ..offer };
        assert_eq!(answer(&ulaw.to_sdp(), None), Ok(Answer { is_alaw: false, event_type: None, ..read }));
        let offer = an_offer("[2001:db8::1]:4000");
        assert_eq!(answer(&offer.to_sdp(), None).unwrap().remote, offer.local);
    }

    #[test]
    fn an_offer_reads_as_the_line_reads_it() {
        let sdp = an_offer("192.0.2.1:4000").to_sdp();
        insta::assert_snapshot!(sdp.replace("\r\n", "\n"), @r"
        v=0
        o=- 7 7 IN IP4 192.0.2.1
        s=-
        c=IN IP4 192.0.2.1
        t=0 0
        m=audio 4000 RTP/AVP 8 0 101
        a=rtpmap:8 PCMA/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:101 telephone-event/8000
        a=fmtp:101 0-15
        a=ptime:20
        a=sendrecv
        ");
        let held = Offer { version: 1, hold: true, ..an_offer("192.0.2.1:4000") }.to_sdp();
        assert!(held.contains("o=- 7 8 IN") && held.contains("a=sendonly"), "{held}");
        let mut line = Local::new("192.0.2.2:5000".parse().unwrap(), 1, [0; RANDOM_BYTES], Terms::default());
        let (_, agreed) = line.answer(&Description::parse(sdp.as_bytes()).unwrap()).unwrap();
        assert_eq!((agreed.codec, agreed.events), (Codec::Pcma, Some(OFFERED_EVENT_TYPE)));
    }

    #[test]
    fn the_media_address_wins_and_other_media_are_passed_over() {
        let body = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5000 RTP/AVP 0 96\r\nc=IN IP4 192.0.2.9\r\na=rtpmap:96 TELEPHONE-EVENT/8000\r\n\
                    m=video 6000 RTP/AVP 8\r\nc=IN IP4 192.0.2.3\r\na=rtpmap:97 telephone-event/8000\r\n";
        let expected = Answer { remote: "192.0.2.9:5000".parse().unwrap(), is_alaw: false, event_type: Some(96), crypto: None };
        assert_eq!(answer(body, None), Ok(expected));
    }

    #[test]
    fn answers_of_no_use_are_told_apart() {
        assert_eq!(answer("", None), Err(BadAnswer::NoAudio));
        assert_eq!(answer("c=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 8\n", None), Err(BadAnswer::NoAudio));
        assert_eq!(answer("m=audio x RTP/AVP 8\n", None), Err(BadAnswer::NoAudio));
        assert_eq!(answer("m=audio 4000 RTP/AVP 8\n", None), Err(BadAnswer::NoAddress));
        assert_eq!(answer("c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 18\n", None), Err(BadAnswer::NoCodec));
        let no_events = answer("c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 8\na=rtpmap:101 telephone-event/8000\n", None).unwrap();
        assert_eq!(no_events.event_type, None, "mapped but not among the types of the m= line");
    }

    #[test]
    fn encrypted_audio_is_all_or_nothing() {
        let line = |n| Line { tag: 1, suite: Suite::AesCm80, key: MasterKey::new(Suite::AesCm80, &[n; 30]) };
        let (ours, theirs) = (line(1), line(2));
        let offer = Offer { key: Some(&ours), ..an_offer("192.0.2.1:4000") }.to_sdp();
        assert!(
            offer.contains("m=audio 4000 RTP/SAVP 8 0 101\r\n") && offer.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"),
            "{offer}"
        );
        let mut callee =
            Local::new("192.0.2.2:5000".parse().unwrap(), 1, [2; RANDOM_BYTES], Terms { srtp: SrtpPolicy::Required, ..Terms::default() });
        let (body, agreed) = callee.answer(&Description::parse(offer.as_bytes()).unwrap()).unwrap();
        let read = answer(&body, Some(&ours)).unwrap();
        assert_eq!(read.crypto, Some(Crypto { suite: Suite::AesCm80, ours: ours.key.clone(), theirs: theirs.key }));
        assert_eq!(agreed.crypto.unwrap().theirs, ours.key);
        for (from, to) in [("a=crypto:1", "a=crypto:2"), ("SHA1_80", "SHA1_32"), ("a=crypto", "a=other")] {
            assert_eq!(answer(&body.replace(from, to), Some(&ours)), Err(BadAnswer::NoKey), "{to}");
        }
    }
}
