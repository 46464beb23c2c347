//! Reading a description (RFC 8866), as far as a telephone line needs it.

use std::net::{IpAddr, SocketAddr};

use super::{Direction, SdpError, crypto::Line, events::Keys};
use crate::telephony::codec::Codec;

/// More streams than any telephone offers.
const MOST_STREAMS: usize = 16;
/// More formats than any telephone lists.
const MOST_FORMATS: usize = 64;
/// More keys than any telephone offers.
const MOST_CRYPTO: usize = 16;

/// A parsed description.
#[derive(Debug, Clone)]
pub struct Description<'a> {
    connection: Option<&'a str>,
    direction: Option<Direction>,
    pub(super) streams: Vec<Stream<'a>>,
}

/// One `m=` line with its attributes.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream<'a> {
    pub media: &'a str,
    pub port: u16,
    pub protocol: &'a str,
    pub formats: Vec<&'a str>,
    connection: Option<&'a str>,
    rtpmap: Vec<(u8, &'a str)>,
    fmtp: Vec<(u8, &'a str)>,
    direction: Option<Direction>,
    ptime: Option<u32>,
    maxptime: Option<u32>,
    rtcp: Option<&'a str>,
    pub rtcp_mux: bool,
    /// Those that we can use, in the order of the description.
    pub crypto: Vec<Line>,
}

impl<'a> Description<'a> {
    /// Reads a description, leniently: unknown lines and attributes are passed over, and so are lines in other
    /// character sets, which only names and titles have. A stream or an address is never passed over: the answer
    /// has a line for each stream of the offer (RFC 3264 §6).
    pub fn parse(body: &'a [u8]) -> Result<Self, SdpError> {
        let unreadable = |line: &[u8]| (line.starts_with(b"m=") || line.starts_with(b"c=")) && std::str::from_utf8(line).is_err();
        if body.split(|octet| *octet == b'\n').any(unreadable) {
            return Err(SdpError::Malformed);
        }
        let mut lines = body.split(|octet| *octet == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).map(str::trim_end);
        if lines.find(|line| !line.is_empty()).is_none_or(|line| line.trim_start() != "v=0") {
            return Err(SdpError::Malformed);
        }
        let mut description = Self { connection: None, direction: None, streams: Vec::new() };
        for line in lines {
            let Some((kind, value)) = line.split_once('=') else { continue };
            if kind == "m" {
                if description.streams.len() >= MOST_STREAMS {
                    return Err(SdpError::Malformed);
                }
                description.streams.push(Stream::parse(value)?);
                continue;
            }
            match (kind, description.streams.last_mut()) {
                ("c", None) => description.connection = Some(value),
                ("c", Some(stream)) => stream.connection = stream.connection.or(Some(value)),
                ("a", None) => description.direction = Direction::parse(value).or(description.direction),
                ("a", Some(stream)) => stream.attribute(value),
                _ => {}
            }
        }
        Ok(description)
    }

    /// Who sends on this stream, as its writer says.
    pub(super) fn direction(&self, stream: &Stream<'_>) -> Direction {
        stream.direction.or(self.direction).unwrap_or(Direction::SendRecv)
    }

    /// Where the writer receives this stream; the address may be "none" (0.0.0.0).
    pub(super) fn address(&self, stream: &Stream<'_>) -> Result<SocketAddr, SdpError> {
        let connection = stream.connection.or(self.connection).ok_or(SdpError::NoAddress)?;
        Ok(SocketAddr::new(address(connection).ok_or(SdpError::NoAddress)?, stream.port))
    }
}

impl<'a> Stream<'a> {
    /// Reads what follows `m=`.
    fn parse(value: &'a str) -> Result<Self, SdpError> {
        if !value.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ') {
            return Err(SdpError::Malformed);
        }
        let mut words = value.split_ascii_whitespace();
        let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(SdpError::Malformed);
        };
        // "49170/2": a number of ports may follow; only the first is of use here.
        let port = port.split('/').next().and_then(|p| p.parse().ok()).ok_or(SdpError::Malformed)?;
        Ok(Self { media, port, protocol, formats: words.take(MOST_FORMATS).collect(), ..Self::default() })
    }

    fn attribute(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        let of_type = || value.split_once(' ').and_then(|(number, rest)| Some((number.parse().ok()?, rest.trim())));
        match name {
            "rtpmap" if self.rtpmap.len() < MOST_FORMATS => self.rtpmap.extend(of_type()),
            "fmtp" if self.fmtp.len() < MOST_FORMATS => self.fmtp.extend(of_type()),
            "crypto" if self.crypto.len() < MOST_CRYPTO => self.crypto.extend(Line::parse(value)),
            "ptime" => self.ptime = milliseconds(value),
            "maxptime" => self.maxptime = milliseconds(value),
            "rtcp" => self.rtcp = Some(value),
            "rtcp-mux" => self.rtcp_mux = true,
            _ => self.direction = Direction::parse(attribute).or(self.direction),
        }
    }

    /// Name, clock rate and channels of a payload type, as mapped.
    fn encoding(&self, payload_type: u8) -> Option<(&'a str, &'a str, &'a str)> {
        let (_, encoding) = self.rtpmap.iter().find(|(pt, _)| *pt == payload_type)?;
        let mut parts = encoding.split('/');
        Some((parts.next()?, parts.next()?, parts.next().unwrap_or("1")))
    }

    fn payload_types(&self) -> impl Iterator<Item = u8> {
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(|payload_type| *payload_type < 128)
    }

    /// The writer's first codec that is among ours, and its payload type.
    pub(super) fn codec(&self, ours: &[Codec]) -> Option<(Codec, u8)> {
        let codec = |payload_type| match self.encoding(payload_type) {
            // Some say of G.722 what is true of its samples, not of its clock (RFC 3551 §4.5.2).
            Some((name, rate, "1")) => Codec::named(name).filter(|codec| rate == "8000" || *codec == Codec::G722 && rate == "16000"),
            Some(_) => None,
            // The static types need no rtpmap (RFC 3551 §6).
            None => Codec::of_static_type(payload_type),
        };
        self.payload_types().find_map(|pt| Some((codec(pt).filter(|codec| ours.contains(codec))?, pt)))
    }

    /// Telephone events: those at the codec's clock, else at whichever of 8 and 16 kHz there are.
    pub(super) fn events(&self) -> Option<Events> {
        let at = |payload_type| {
            let (name, rate, _) = self.encoding(payload_type)?;
            let clock = [Codec::CLOCK, 16_000].into_iter().find(|clock| rate == clock.to_string())?;
            let keys = self.fmtp.iter().find(|(pt, _)| *pt == payload_type).map_or(Keys::ALL, |(_, list)| Keys::parse(list));
            let events = Events { payload_type, clock, keys };
            (name.eq_ignore_ascii_case("telephone-event") && keys.any_digit()).then_some(events)
        };
        self.payload_types().filter_map(at).min_by_key(|events| events.clock)
    }

    /// Milliseconds in a packet to the writer: its wish in whole steps of 10 from 10 to 60, and no more than it can take.
    pub(super) fn ptime_ms(&self) -> u32 {
        let most = self.maxptime.map_or(60, |most| (most / 10 * 10).clamp(10, 60));
        self.ptime.map_or(20, |wish| (wish.saturating_add(5) / 10 * 10).clamp(10, 60)).min(most)
    }

    /// Where the writer receives RTCP, given where it receives RTP (RFC 3605, RFC 5761, RFC 3550 §11).
    pub(super) fn rtcp(&self, rtp: SocketAddr) -> Option<SocketAddr> {
        if self.rtcp_mux {
            return Some(rtp);
        }
        let Some(attribute) = self.rtcp else { return Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)) };
        let (port, connection) = attribute.split_once(' ').map_or((attribute, None), |(port, rest)| (port, Some(rest)));
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let ip = connection.map_or(Some(rtp.ip()), address)?;
        (!ip.is_unspecified() && ip.is_ipv4() == rtp.is_ipv4()).then(|| SocketAddr::new(ip, port))
    }
}

/// Telephone events as offered (RFC 4733).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Events {
    pub payload_type: u8,
    pub clock: u32,
    pub keys: Keys,
}

/// "20", and "20.0" as some write it; nothing where it is nothing.
fn milliseconds(value: &str) -> Option<u32> {
    value.split('.').next().and_then(|whole| whole.parse().ok()).filter(|ms| *ms != 0)
}

/// The address of a connection line that packets can be sent to.
fn address(connection: &str) -> Option<IpAddr> {
    let mut words = connection.split_ascii_whitespace();
    let (Some("IN"), Some("IP4" | "IP6"), Some(address)) = (words.next(), words.next(), words.next()) else {
        return None;
    };
    // Host names are allowed by the grammar, but telephones and carriers send addresses; a name
    // would have to be looked up on behalf of a stranger.
    let address: IpAddr = address.split('/').next().and_then(|address| address.parse().ok())?;
    Some(address.to_canonical()).filter(|address| !address.is_multicast())
}
