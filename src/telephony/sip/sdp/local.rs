//! Our side of a session: what we have said in it, so that what we say next agrees with it (RFC 3264 §8).

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
};

use super::{
    Agreed, Codec, Description, Direction, SdpError, SrtpPolicy, Terms,
    choose::{self, Offered},
    crypto::Line,
    events::Keys,
    parse::Events,
};
use crate::telephony::rtp::srtp::{KEY_BYTES, MasterKey, SALT_BYTES, Suite};

/// Octets of a master key with its salt.
const MASTER_BYTES: usize = KEY_BYTES + SALT_BYTES;
/// Random octets that a session's keys are made of: a key for each suite, as none may be used with two.
pub const RANDOM_BYTES: usize = 3 * MASTER_BYTES;
/// Suites in the order in which we offer them: what every telephone knows comes first, as some look no further.
const OFFERED_SUITES: [Suite; 3] = [Suite::AesCm80, Suite::AesGcm, Suite::AesCm32];
/// Payload type of telephone events in our first offer.
const EVENTS: u8 = 101;
/// Payload types that may be given a meaning (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// Our side of one call's session.
#[derive(Clone)]
pub struct Local {
    media: SocketAddr,
    session: u64,
    terms: Terms,
    random: [u8; RANDOM_BYTES],
    version: u64,
    /// What we have said last.
    shown: Option<Shown>,
}

#[derive(Clone)]
struct Shown {
    /// A line for each stream: those that we refuse, and `None` for the audio that we take.
    streams: Vec<Option<String>>,
    audio: Audio,
    /// The description from `s=` on.
    rest: String,
}

/// Our audio stream.
#[derive(Clone)]
struct Audio {
    protocol: &'static str,
    codecs: Vec<(Codec, u8)>,
    events: Option<Events>,
    keys: Vec<Line>,
    ptime_ms: u32,
    rtcp_mux: bool,
    direction: Direction,
}

/// Without keys.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { media, session, terms, version, .. } = self;
        f.debug_struct("Local")
            .field("media", media)
            .field("session", session)
            .field("terms", terms)
            .field("version", version)
            .finish_non_exhaustive()
    }
}

impl Local {
    /// A new session: `media` is where we receive, as the peer is told; `session` a number that no earlier session
    /// of ours had (RFC 8866 §5.2); `random` what keys are made of.
    pub fn new(media: SocketAddr, session: u64, random: [u8; RANDOM_BYTES], terms: Terms) -> Self {
        Self { media, session, terms, random, version: 0, shown: None }
    }

    /// Our description as last said; empty before the first.
    pub fn described(&self) -> String {
        let Self { media, session, version, shown, .. } = self;
        let Some(shown) = shown else { return String::new() };
        let family = if media.is_ipv4() { "IP4" } else { "IP6" };
        format!("v=0\r\no=voceguida {session} {version} IN {family} {}\r\n{}", media.ip(), shown.rest)
    }

    /// Our offer, for a request that came without one: everything that we would agree on. In mid-call the streams,
    /// payload types and keys stay what they are.
    pub fn offer(&mut self) -> String {
        let (streams, mut audio) = self.shown.as_ref().map_or_else(
            || (vec![None], self.first_audio()),
            |shown| (shown.streams.clone(), Audio { direction: Direction::SendRecv, ..shown.audio.clone() }),
        );
        let taken = |audio: &Audio, number: u8| {
            audio.codecs.iter().any(|(_, pt)| *pt == number) || audio.events.is_some_and(|events| events.payload_type == number)
        };
        for codec in &self.terms.codecs {
            let number = codec.static_payload_type();
            if audio.codecs.iter().all(|(other, _)| other != codec) && !taken(&audio, number) {
                audio.codecs.push((*codec, number));
            }
        }
        if audio.events.is_none() {
            let number = std::iter::once(EVENTS).chain(DYNAMIC).find(|number| !taken(&audio, *number));
            audio.events = number.map(|payload_type| Events { payload_type, clock: Codec::CLOCK, keys: Keys::ALL });
        }
        self.show(streams, audio)
    }

    /// Our answer to `offer`, and what it comes to; every other stream is refused with port 0, in
    /// the order of the offer (RFC 3264 §6). After an error everything stands as it was.
    pub fn answer(&mut self, offer: &Description<'_>) -> Result<(String, Agreed), SdpError> {
        let chosen = choose::from_offer(offer, &self.terms, Some(self.media))?;
        let key = chosen.line.as_ref().map(|line| Line { key: self.key(line.suite), ..line.clone() });
        let agreed = chosen.agreed(key.as_ref().map(|line| line.key.clone()));
        let refused = |(index, stream): (usize, &super::parse::Stream<'_>)| {
            let format = stream.formats.first().unwrap_or(&"0");
            (index != chosen.index).then(|| format!("m={} 0 {} {format}\r\n", stream.media, stream.protocol))
        };
        let streams = offer.streams.iter().enumerate().map(refused).collect();
        let audio = Audio {
            protocol: chosen.protocol,
            codecs: vec![(chosen.codec, chosen.payload_type)],
            events: chosen.events,
            keys: key.into_iter().collect(),
            ptime_ms: chosen.ptime_ms,
            rtcp_mux: chosen.rtcp_mux,
            direction: chosen.direction.answered(),
        };
        Ok((self.show(streams, audio), agreed))
    }

    /// What the peer's answer to our last description comes to.
    pub fn accept(&self, answer: &Description<'_>) -> Result<Agreed, SdpError> {
        let shown = self.shown.as_ref().ok_or(SdpError::Unasked)?;
        let Audio { protocol, codecs, events, keys, rtcp_mux, .. } = &shown.audio;
        let index = shown.streams.iter().position(Option::is_none).ok_or(SdpError::Unasked)?;
        let offered = Offered { index, protocol, codecs, events: *events, keys, rtcp_mux: *rtcp_mux };
        let (chosen, key) = choose::from_answer(answer, &offered, &self.terms, self.media)?;
        Ok(chosen.agreed(key))
    }

    /// The audio of a session that begins with our offer.
    fn first_audio(&self) -> Audio {
        let keys = OFFERED_SUITES.into_iter().zip(1..).map(|(suite, tag)| Line { tag, suite, key: self.key(suite) });
        let (protocol, keys) = match self.terms.srtp {
            SrtpPolicy::Off => ("RTP/AVP", vec![]),
            // Best effort: who knows no keys takes it for plain RTP.
            SrtpPolicy::Optional => ("RTP/AVP", keys.collect()),
            SrtpPolicy::Required => ("RTP/SAVP", keys.collect()),
        };
        Audio { protocol, codecs: vec![], events: None, keys, ptime_ms: 20, rtcp_mux: false, direction: Direction::SendRecv }
    }

    /// Our key for a suite, the same all through the call.
    fn key(&self, suite: Suite) -> MasterKey {
        let place = OFFERED_SUITES.iter().position(|other| *other == suite).unwrap_or(0);
        let random: [u8; MASTER_BYTES] = std::array::from_fn(|n| self.random[place * MASTER_BYTES + n]);
        MasterKey::new(suite, &random)
    }

    /// Says it: under a new version where it is not what was said last.
    fn show(&mut self, streams: Vec<Option<String>>, audio: Audio) -> String {
        let (family, ip) = (if self.media.is_ipv4() { "IP4" } else { "IP6" }, self.media.ip());
        let mut rest = format!("s=Voce Guida\r\nc=IN {family} {ip}\r\nt=0 0\r\n");
        for stream in &streams {
            match stream {
                Some(refused) => rest.push_str(refused),
                None => audio.write(self.media.port(), &mut rest),
            }
        }
        if self.shown.as_ref().is_none_or(|shown| shown.rest != rest) {
            self.version += 1;
        }
        self.shown = Some(Shown { streams, audio, rest });
        self.described()
    }
}

impl Audio {
    fn write(&self, port: u16, body: &mut String) {
        let _ = write!(body, "m=audio {port} {}", self.protocol);
        for payload_type in self.codecs.iter().map(|(_, pt)| *pt).chain(self.events.map(|events| events.payload_type)) {
            let _ = write!(body, " {payload_type}");
        }
        body.push_str("\r\n");
        for (codec, payload_type) in &self.codecs {
            let _ = write!(body, "a=rtpmap:{payload_type} {}/{}\r\n", codec.name(), Codec::CLOCK);
        }
        if let Some(Events { payload_type, clock, keys }) = self.events {
            let _ = write!(body, "a=rtpmap:{payload_type} telephone-event/{clock}\r\na=fmtp:{payload_type} {keys}\r\n");
        }
        for key in &self.keys {
            key.write(body);
        }
        let _ = write!(body, "a=ptime:{}\r\na={}\r\n", self.ptime_ms, self.direction.word());
        if self.rtcp_mux {
            body.push_str("a=rtcp-mux\r\n");
        }
    }
}
