//! SDP offer/answer for one audio stream (RFC 3264, RFC 8866): pure.
//!
//! Only what a telephone line needs is understood; everything else is ignored, as RFC 8866 §5 asks.

use std::{fmt::Write as _, net::IpAddr, net::SocketAddr};

/// The two codecs of the telephone network (RFC 3551).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.711 µ-law, static payload type 0.
    Pcmu,
}

impl Codec {
    /// Name in `a=rtpmap` and in the CDR.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
        }
    }

    /// Static payload type (RFC 3551 §6).
    pub fn static_payload_type(self) -> u8 {
        match self {
            Self::Pcma => 8,
            Self::Pcmu => 0,
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Pcma, Self::Pcmu].into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }
}

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

/// Why a description cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not SDP at all: 400.
    #[error("not a session description")]
    Malformed,
    /// No audio stream, or a refused one: 488.
    #[error("no audio stream")]
    NoAudio,
    /// Neither PCMA nor PCMU: 488.
    #[error("no common codec")]
    NoCommonCodec,
    /// The stream's address is no IP address that we can send to: 488.
    #[error("no usable address")]
    NoAddress,
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
    /// Payload type of telephone-event at 8 kHz, where agreed.
    pub events: Option<u8>,
    /// Do we send?
    pub send: bool,
    /// Do we expect to receive?
    pub receive: bool,
}

/// One `m=` line with its attributes, and what is needed to refuse it.
#[derive(Debug, Clone, Default)]
struct Stream<'a> {
    media: &'a str,
    port: u16,
    protocol: &'a str,
    formats: Vec<&'a str>,
    connection: Option<&'a str>,
    rtpmap: Vec<(u8, &'a str)>,
    direction: Option<Direction>,
}

/// A parsed description.
#[derive(Debug, Clone)]
pub struct Description<'a> {
    connection: Option<&'a str>,
    direction: Option<Direction>,
    streams: Vec<Stream<'a>>,
}

/// More streams than any telephone offers.
const MOST_STREAMS: usize = 16;
/// More formats than any telephone lists.
const MOST_FORMATS: usize = 64;

impl<'a> Description<'a> {
    /// Reads a description, leniently: unknown lines and attributes are passed over.
    pub fn parse(body: &'a [u8]) -> Result<Self, SdpError> {
        let text = std::str::from_utf8(body).map_err(|_| SdpError::Malformed)?;
        if !text.trim_start().starts_with("v=0") {
            return Err(SdpError::Malformed);
        }
        let mut description = Self { connection: None, direction: None, streams: Vec::new() };
        for line in text.lines() {
            let Some((kind, value)) = line.trim_end().split_once('=') else { continue };
            if kind == "m" {
                if description.streams.len() >= MOST_STREAMS {
                    return Err(SdpError::Malformed);
                }
                description.streams.push(stream(value)?);
                continue;
            }
            match (kind, description.streams.last_mut()) {
                ("c", None) => description.connection = Some(value),
                ("c", Some(stream)) => stream.connection = Some(value),
                ("a", None) => description.direction = Direction::parse(value).or(description.direction),
                ("a", Some(stream)) => stream.attribute(value),
                _ => {}
            }
        }
        Ok(description)
    }

    /// The stream to use: the first audio stream over plain RTP that is not refused.
    fn audio(&self) -> Result<(usize, &Stream<'a>), SdpError> {
        let usable = |s: &Stream| s.media == "audio" && s.protocol == "RTP/AVP" && s.port != 0;
        self.streams.iter().enumerate().find(|(_, s)| usable(s)).ok_or(SdpError::NoAudio)
    }

    /// What this description, the peer's, comes to.
    pub fn agree(&self) -> Result<Agreed, SdpError> {
        let (_, stream) = self.audio()?;
        let (codec, payload_type) = stream.formats.iter().find_map(|f| stream.codec(f)).ok_or(SdpError::NoCommonCodec)?;
        let events = stream.formats.iter().find_map(|f| stream.events(f));
        let address = address(stream.connection.or(self.connection).ok_or(SdpError::NoAddress)?)?;
        let held = address.is_unspecified();
        let direction = stream.direction.or(self.direction).unwrap_or(Direction::SendRecv);
        Ok(Agreed {
            peer: (!held).then(|| SocketAddr::new(address, stream.port)),
            codec,
            payload_type,
            events,
            send: !held && matches!(direction, Direction::SendRecv | Direction::RecvOnly),
            receive: matches!(direction, Direction::SendRecv | Direction::SendOnly),
        })
    }
}

fn stream(value: &str) -> Result<Stream<'_>, SdpError> {
    let mut words = value.split_ascii_whitespace();
    let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpError::Malformed);
    };
    // These words are repeated in our answer, where a control character would be no better.
    if !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t') {
        return Err(SdpError::Malformed);
    }
    // "49170/2": a number of ports may follow; only the first is of use here.
    let port = port.split('/').next().and_then(|p| p.parse().ok()).ok_or(SdpError::Malformed)?;
    Ok(Stream { media, port, protocol, formats: words.take(MOST_FORMATS).collect(), ..Stream::default() })
}

impl<'a> Stream<'a> {
    fn attribute(&mut self, value: &'a str) {
        if let Some(direction) = Direction::parse(value) {
            self.direction = Some(direction);
        } else if let Some((payload_type, encoding)) =
            value.strip_prefix("rtpmap:").and_then(|v| v.trim_start().split_once(' ')).filter(|_| self.rtpmap.len() < MOST_FORMATS)
            && let Ok(payload_type) = payload_type.parse()
        {
            self.rtpmap.push((payload_type, encoding.trim()));
        }
    }

    /// Name and clock rate of a payload type, as mapped.
    fn encoding(&self, payload_type: u8) -> Option<(&'a str, &'a str)> {
        let (_, encoding) = self.rtpmap.iter().find(|(pt, _)| *pt == payload_type)?;
        let (name, rest) = encoding.split_once('/')?;
        Some((name, rest.split('/').next().unwrap_or(rest)))
    }

    fn codec(&self, format: &str) -> Option<(Codec, u8)> {
        let payload_type: u8 = format.parse().ok().filter(|pt| *pt < 128)?;
        let codec = match self.encoding(payload_type) {
            Some((name, "8000")) => Codec::named(name)?,
            Some(_) => return None,
            // The static types need no rtpmap (RFC 3551 §6).
            None => [Codec::Pcma, Codec::Pcmu].into_iter().find(|c| c.static_payload_type() == payload_type)?,
        };
        Some((codec, payload_type))
    }

    fn events(&self, format: &str) -> Option<u8> {
        let payload_type: u8 = format.parse().ok().filter(|pt| *pt < 128)?;
        let (name, rate) = self.encoding(payload_type)?;
        (name.eq_ignore_ascii_case("telephone-event") && rate == "8000").then_some(payload_type)
    }
}

fn address(connection: &str) -> Result<IpAddr, SdpError> {
    let mut words = connection.split_ascii_whitespace();
    let (Some("IN"), Some("IP4" | "IP6"), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpError::NoAddress);
    };
    // Host names are allowed by the grammar, but telephones and carriers send addresses; a name
    // would have to be looked up on behalf of a stranger.
    let address: IpAddr = address.split('/').next().unwrap_or(address).parse().map_err(|_| SdpError::NoAddress)?;
    if address.is_multicast() { Err(SdpError::NoAddress) } else { Ok(address) }
}

/// Our side of a session: the same all through the call, but for the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Where we receive, as the peer is told.
    pub media: SocketAddr,
    /// Session id, the same all through the call.
    pub session: u64,
    /// Raised with every new description (RFC 3264 §8).
    pub version: u64,
}

impl Local {
    fn head(&self) -> String {
        let Self { media, session, version } = self;
        let family = if media.is_ipv4() { "IP4" } else { "IP6" };
        let ip = media.ip();
        format!("v=0\r\no=voceguida {session} {version} IN {family} {ip}\r\ns=Voce Guida\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
    }

    fn audio(&self, body: &mut String, codecs: &[(Codec, u8)], events: Option<u8>, direction: Direction) {
        let _ = write!(body, "m=audio {} RTP/AVP", self.media.port());
        for payload_type in codecs.iter().map(|(_, pt)| *pt).chain(events) {
            let _ = write!(body, " {payload_type}");
        }
        body.push_str("\r\n");
        for (codec, payload_type) in codecs {
            let _ = write!(body, "a=rtpmap:{payload_type} {}/8000\r\n", codec.name());
        }
        if let Some(events) = events {
            let _ = write!(body, "a=rtpmap:{events} telephone-event/8000\r\na=fmtp:{events} 0-15\r\n");
        }
        let _ = write!(body, "a=ptime:20\r\na={}\r\n", direction.word());
    }

    /// Our offer, for an INVITE that came without one.
    pub fn offer(&self) -> String {
        let mut body = self.head();
        self.audio(&mut body, &[(Codec::Pcma, 8), (Codec::Pcmu, 0)], Some(101), Direction::SendRecv);
        body
    }

    /// Our answer to `offer`, and what it comes to; every other stream is refused with port 0, in
    /// the order of the offer (RFC 3264 §6).
    pub fn answer(&self, offer: &Description<'_>) -> Result<(String, Agreed), SdpError> {
        let agreed = offer.agree()?;
        let (chosen, stream) = offer.audio()?;
        let direction = stream.direction.or(offer.direction).unwrap_or(Direction::SendRecv).answered();
        let mut body = self.head();
        for (index, stream) in offer.streams.iter().enumerate() {
            if index == chosen {
                self.audio(&mut body, &[(agreed.codec, agreed.payload_type)], agreed.events, direction);
            } else {
                let _ = write!(body, "m={} 0 {} {}\r\n", stream.media, stream.protocol, stream.formats.first().unwrap_or(&"0"));
            }
        }
        Ok((body, agreed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Local = Local { media: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 20_000), session: 7, version: 1 };

    fn offer(media: &str) -> String {
        format!("v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}")
    }

    fn answer(media: &str) -> Result<(String, Agreed), SdpError> {
        LOCAL.answer(&Description::parse(offer(media).as_bytes())?)
    }

    #[test]
    fn the_offerers_first_common_codec_and_its_event_type_are_taken() {
        let (body, agreed) = answer(
            "m=audio 4000 RTP/AVP 9 0 8 96\r\na=rtpmap:9 G722/8000\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=crypto:x\r\n",
        )
        .unwrap();
        insta::assert_snapshot!(body);
        assert_eq!((agreed.codec, agreed.payload_type, agreed.events), (Codec::Pcmu, 0, Some(96)));
        assert_eq!(agreed.peer, Some("192.0.2.1:4000".parse().unwrap()));
        assert!(agreed.send && agreed.receive);
    }

    #[test]
    fn codecs_at_dynamic_types_and_lower_case_are_known() {
        let (_, agreed) = answer("m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 pcma/8000/1\r\n").unwrap();
        assert_eq!((agreed.codec, agreed.payload_type, agreed.events), (Codec::Pcma, 97, None));
    }

    #[test]
    fn holding_and_its_old_way() {
        for (held, send, receive, answered) in [
            ("a=sendonly", false, true, "a=recvonly"),
            ("a=recvonly", true, false, "a=sendonly"),
            ("a=inactive", false, false, "a=inactive"),
        ] {
            let (body, agreed) = answer(&format!("m=audio 4000 RTP/AVP 8\r\n{held}\r\n")).unwrap();
            assert_eq!((agreed.send, agreed.receive), (send, receive), "{held}");
            assert!(body.contains(answered), "{held}");
        }
        let (_, agreed) = answer("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\n").unwrap();
        assert_eq!((agreed.peer, agreed.send), (None, false));
    }

    #[test]
    fn other_streams_are_refused_in_their_place() {
        let (body, _) = answer(
            "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 4000 RTP/AVP 8\r\nm=audio 4004 RTP/AVP 0\r\nm=image 4006 udptl t38\r\n",
        )
        .unwrap();
        let lines: Vec<_> = body.lines().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(lines, ["m=video 0 RTP/AVP 96", "m=audio 20000 RTP/AVP 8", "m=audio 0 RTP/AVP 0", "m=image 0 udptl t38"]);
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        assert_eq!(answer("m=video 4002 RTP/AVP 96\r\n").unwrap_err(), SdpError::NoAudio);
        assert_eq!(answer("").unwrap_err(), SdpError::NoAudio);
        assert_eq!(answer("m=audio 0 RTP/AVP 8\r\n").unwrap_err(), SdpError::NoAudio);
        assert_eq!(answer("m=audio 4000 RTP/AVP 9 18\r\na=rtpmap:9 G722/8000\r\n").unwrap_err(), SdpError::NoCommonCodec);
        assert_eq!(answer("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 example.org\r\n").unwrap_err(), SdpError::NoAddress);
        assert_eq!(answer("m=audio x RTP/AVP 8\r\n").unwrap_err(), SdpError::Malformed);
        assert_eq!(Description::parse(b"\xff\xfe").unwrap_err(), SdpError::Malformed);
        // Found by the fuzzer: our answer repeated the protocol, and was none itself.
        assert_eq!(answer("m=audio 4000 RTP/AVP 8\r\nm=audio 7\t\u{b}\t\u{b}\r\n").unwrap_err(), SdpError::Malformed);
        assert_eq!(Description::parse(b"hello").unwrap_err(), SdpError::Malformed);
    }

    #[test]
    fn our_own_offer_is_one_we_would_take() {
        let body = LOCAL.offer();
        let agreed = Description::parse(body.as_bytes()).unwrap().agree().unwrap();
        assert_eq!((agreed.codec, agreed.events), (Codec::Pcma, Some(101)));
    }
}
