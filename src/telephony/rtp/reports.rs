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
    /// Where the other side takes reports.
    pub to: Option<SocketAddr>,
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
        Self { rtcp, socket: None, to: None, muxed: false }
    }

    /// Goes on as agreed; `true` where a socket has been bound that is to be watched.
    pub fn renegotiate(&mut self, agreed: &Agreed, port: &Port) -> bool {
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

    /// Takes a datagram of the other side's; `true` where that shows that it is alive.
    pub fn hear(&mut self, datagram: &mut [u8], now: u64, srtp: Option<&mut Srtp>) -> bool {
        let length = match srtp {
            Some(srtp) => srtp.unprotect_rtcp(datagram).unwrap_or_default(),
            None => datagram.len(),
        };
        self.rtcp.receive(datagram.get(..length).unwrap_or_default(), at(now)) == Received::Reports
    }
}
