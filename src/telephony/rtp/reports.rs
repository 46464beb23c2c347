//! The RTCP of one call with its socket: reports go out and come in, encrypted where agreed.

use std::net::{SocketAddr, UdpSocket};

use rand::Rng as _;
use tracing::debug;

use super::{
    ports::Port,
    reception::Report,
    rtcp::{self, MOST_BYTES, Now, Received, Rtcp, Sent},
    srtp::{OVERHEAD, Srtp},
};
use crate::telephony::sip::sdp::Agreed;

/// A report, ready to be sent.
pub(super) struct Written {
    bytes: [u8; MOST_BYTES + OVERHEAD],
    length: usize,
}

impl Written {
    /// Its octets, none where it could not be encrypted.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The reports of one call.
pub(super) struct Reports {
    pub rtcp: Rtcp,
    /// On the odd port beside the call's own, where they do not share it.
    pub socket: Option<UdpSocket>,
    /// Where the other side has agreed to take reports.
    pub to: Option<SocketAddr>,
    /// Where its reports really come from, on a port of their own behind NAT.
    latched: Option<SocketAddr>,
    /// Do they share the port of RTP?
    pub muxed: bool,
}

/// The time as RTCP has it: the forward clock of a media thread is since 1970.
fn at(micros: u64) -> Now {
    Now { micros, ntp: rtcp::ntp(micros) }
}

impl Reports {
    /// For a stream of ours that begins with this packet.
    pub fn new(ssrc: u32, first_sequence: u16, now: u64) -> Self {
        let mut rng = crate::ops::chance::fresh();
        let mut name = [0; 12];
        rng.fill_bytes(&mut name);
        let rtcp = Rtcp::new(ssrc, first_sequence, rtcp::random_cname(name), now, rng.next_u32());
        Self { rtcp, socket: None, to: None, latched: None, muxed: false }
    }

    /// Goes on as agreed; `true` where a socket has been bound that is to be watched.
    pub fn renegotiate(&mut self, agreed: &Agreed, port: &Port) -> bool {
        if self.to != agreed.rtcp || agreed.rtcp_mux {
            self.latched = None;
        }
        (self.to, self.muxed) = (agreed.rtcp, agreed.rtcp_mux);
        if self.muxed {
            self.socket = None;
        }
        if self.muxed || self.to.is_none() || self.socket.is_some() {
            return false;
        }
        let bound = port.socket.local_addr().and_then(|own| UdpSocket::bind(SocketAddr::new(own.ip(), port.number | 1)));
        match bound.and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) {
            Ok(socket) => self.socket = Some(socket),
            // Another program has it: the call goes on without reports.
            Err(error) => debug!(%error, "no port for RTCP"),
        }
        self.socket.is_some()
    }

    /// Writes the report that is due, or the last one, with a goodbye.
    pub fn write(&mut self, now: u64, sent: &Sent, heard: Option<Report>, bye: bool, srtp: Option<&mut Srtp>) -> Written {
        let mut written = Written { bytes: [0; MOST_BYTES + OVERHEAD], length: 0 };
        let Some(buffer) = written.bytes.first_chunk_mut() else { return written };
        let length = if bye {
            self.rtcp.bye(at(now), sent, heard, buffer)
        } else {
            let random = crate::ops::chance::fresh().next_u32();
            self.rtcp.report(at(now), sent, heard, random, buffer)
        };
        written.length = match srtp {
            // What cannot be encrypted is not sent.
            Some(srtp) => srtp.protect_rtcp(&mut written.bytes, length).unwrap_or_default(),
            None => length,
        };
        written
    }

    /// Where reports go on a port of their own; nowhere where the other side takes none.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.to.map(|to| self.latched.unwrap_or(to))
    }

    /// May a report on a port of its own be the other side's? As with RTP: from where it was agreed on, always; from elsewhere only where the
    /// audio comes from the same host, and once one such address has been believed, no other.
    fn may_be_from(&self, from: SocketAddr, audio: Option<SocketAddr>) -> bool {
        self.to == Some(from) || self.latched.map_or_else(|| audio.is_some_and(|audio| audio.ip() == from.ip()), |latched| latched == from)
    }

    /// Takes a datagram from `from`, which may be the other side's, whose audio comes from `audio`.
    pub fn hear(
        &mut self,
        datagram: &mut [u8],
        from: Option<SocketAddr>,
        audio: Option<SocketAddr>,
        now: u64,
        srtp: Option<&mut Srtp>,
    ) -> Heard {
        let known = |from: &SocketAddr| if self.muxed { audio == Some(*from) } else { self.may_be_from(*from, audio) };
        let Some(from) = from.filter(known) else { return Heard::Stranger };
        let length = match srtp {
            Some(srtp) => srtp.unprotect_rtcp(datagram).unwrap_or_default(),
            None => datagram.len(),
        };
        if self.rtcp.receive(datagram.get(..length).unwrap_or_default(), at(now)) != Received::Reports {
            return Heard::Nothing;
        }
        // A sign of life may be cut short; where reports go from now on has to be said by a whole one.
        if !self.muxed && datagram.get(..length).is_some_and(begins_with_report) {
            self.latched = Some(from);
        }
        Heard::Report
    }
}

/// Is the first packet of a compound a whole report (RFC 3550 §6.4)?
fn begins_with_report(compound: &[u8]) -> bool {
    let [_, 200 | 201, high, low, ..] = compound else { return false };
    compound.len() >= (usize::from(u16::from_be_bytes([*high, *low])) + 1) * 4 && compound.len() >= 8
}

/// What a datagram was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A report of the other side's, which shows that it is alive.
    Report,
    /// Nothing that can be read.
    Nothing,
    /// From somebody else.
    Stranger,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn host(n: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], port))
    }

    /// A receiver report of nobody's packets (RFC 3550 §6.4.2) with a CNAME.
    fn report() -> Vec<u8> {
        let (ssrc, mut bytes) = ([0, 0, 0, 9], vec![0x80, 201, 0, 1]);
        bytes.extend(ssrc);
        bytes.extend([0x81, 202, 0, 3]);
        bytes.extend(ssrc);
        bytes.extend(*b"\x01\x01x\0\0\0\0\0");
        bytes
    }

    fn reports(to: SocketAddr) -> Reports {
        Reports { to: Some(to), ..Reports::new(7, 1, NOW) }
    }

    #[test]
    fn reports_go_where_reports_come_from() {
        let (said, nat, other, stranger) = (host(1, 4_001), host(9, 61_001), host(9, 61_003), host(5, 4_001));
        let mut reports = reports(said);
        let hear = |reports: &mut Reports, from, audio| reports.hear(&mut report(), Some(from), Some(audio), NOW, None);
        assert_eq!(reports.peer(), Some(said));
        assert_eq!(hear(&mut reports, nat, host(1, 4_000)), Heard::Stranger, "while the audio is where it said");
        assert_eq!(reports.hear(&mut [0x80, 200, 0, 6], Some(nat), Some(host(9, 61_000)), NOW, None), Heard::Report);
        assert_eq!(reports.hear(&mut [1, 2, 3], Some(nat), Some(host(9, 61_000)), NOW, None), Heard::Nothing);
        assert_eq!(reports.peer(), Some(said), "no whole report, no proof");
        assert_eq!(hear(&mut reports, stranger, host(9, 61_000)), Heard::Stranger);
        assert_eq!(hear(&mut reports, nat, host(9, 61_000)), Heard::Report);
        assert_eq!(reports.peer(), Some(nat));
        assert_eq!(hear(&mut reports, other, host(9, 61_000)), Heard::Stranger, "one is enough");
        assert_eq!(hear(&mut reports, said, host(9, 61_000)), Heard::Report);
        assert_eq!(reports.peer(), Some(said), "where it was agreed on is always believed");
    }

    #[test]
    fn who_takes_no_reports_is_sent_none() {
        let mut reports = reports(host(1, 4_001));
        assert_eq!(reports.hear(&mut report(), Some(host(9, 1)), Some(host(9, 2)), NOW, None), Heard::Report);
        reports.to = None;
        assert_eq!(reports.peer(), None);
    }
}
