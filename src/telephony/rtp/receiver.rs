//! What comes in on a call: whom to believe, keys, liveness. Pure.

use std::net::SocketAddr;

use rtp_rs::RtpReader;

use super::dtmf::EventReceiver;

/// The incoming stream of one call.
///
/// Behind NAT the peer's packets come from elsewhere than its SDP says. So packets are believed
/// from the negotiated address, or, where none has come from there yet, once from the first source
/// that sends valid RTP of an agreed payload type; answers go there ("symmetric latching"). After
/// that strangers are only counted.
#[derive(Debug)]
pub struct Receiver {
    negotiated: Option<SocketAddr>,
    latched: Option<SocketAddr>,
    payload_type: u8,
    events: Option<u8>,
    keys: EventReceiver,
}

/// What a datagram was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The caller's audio (or the rest of a key).
    Audio,
    /// The caller pressed a key.
    Key(char),
    /// Not RTP, not of this call, or from a stranger.
    Stranger,
}

impl Receiver {
    /// Expects packets from `negotiated`.
    pub fn new(negotiated: Option<SocketAddr>, payload_type: u8, events: Option<u8>) -> Self {
        Self { negotiated, latched: None, payload_type, events, keys: EventReceiver::default() }
    }

    /// Takes a new agreement (re-INVITE); an unchanged address keeps the latch.
    pub fn renegotiate(&mut self, negotiated: Option<SocketAddr>, payload_type: u8, events: Option<u8>) {
        if negotiated.is_some() && negotiated != self.negotiated {
            (self.negotiated, self.latched) = (negotiated, None);
        }
        (self.payload_type, self.events) = (payload_type, events);
    }

    /// Where to send.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.latched.or(self.negotiated)
    }

    /// Takes a datagram.
    pub fn receive(&mut self, datagram: &[u8], from: SocketAddr) -> Received {
        if self.latched.is_some_and(|latched| latched != from) {
            return Received::Stranger;
        }
        let Ok(packet) = RtpReader::new(datagram) else { return Received::Stranger };
        let payload_type = packet.payload_type();
        let is_event = self.events == Some(payload_type);
        // 13: comfort noise (RFC 3389), which telephones send unasked in their pauses.
        if !is_event && payload_type != self.payload_type && payload_type != 13 {
            return Received::Stranger;
        }
        self.latched = Some(from);
        match is_event.then(|| self.keys.receive(packet.timestamp(), packet.payload())).flatten() {
            Some(key) => Received::Key(key),
            None => Received::Audio,
        }
    }
}

#[cfg(test)]
mod tests {
    use rtp_rs::{RtpPacketBuilder, Seq};

    use super::*;

    fn packet(payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        RtpPacketBuilder::new()
            .payload_type(payload_type)
            .ssrc(9)
            .sequence(Seq::from(1))
            .timestamp(timestamp)
            .payload(payload)
            .build()
            .unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_valid_source_is_latched_and_strangers_are_not_heard() {
        let (said, nat, stranger) = (at("192.168.1.5:4000"), at("203.0.113.9:61000"), at("198.51.100.1:5000"));
        let mut receiver = Receiver::new(Some(said), 8, Some(101));
        assert_eq!(receiver.peer(), Some(said));
        assert_eq!(receiver.receive(b"garbage", stranger), Received::Stranger);
        assert_eq!(receiver.receive(&packet(34, 1, &[0; 160]), stranger), Received::Stranger);
        assert_eq!(receiver.peer(), Some(said), "only valid packets latch");
        assert_eq!(receiver.receive(&packet(8, 1, &[0; 160]), nat), Received::Audio);
        assert_eq!(receiver.peer(), Some(nat));
        assert_eq!(receiver.receive(&packet(101, 1, &[5, 10, 0, 160]), stranger), Received::Stranger);
        assert_eq!(receiver.receive(&packet(101, 1, &[5, 10, 0, 160]), nat), Received::Key('5'));
        assert_eq!(receiver.receive(&packet(101, 1, &[5, 138, 3, 32]), nat), Received::Audio, "the rest of the key");
    }

    #[test]
    fn a_new_address_unlatches_and_the_same_one_does_not() {
        let (a, b, nat) = (at("192.0.2.1:4000"), at("192.0.2.2:4000"), at("203.0.113.9:61000"));
        let mut receiver = Receiver::new(Some(a), 8, None);
        receiver.receive(&packet(8, 1, &[0; 160]), nat);
        receiver.renegotiate(Some(a), 8, None);
        assert_eq!(receiver.peer(), Some(nat));
        receiver.renegotiate(None, 8, None);
        assert_eq!(receiver.peer(), Some(nat), "on hold");
        receiver.renegotiate(Some(b), 8, None);
        assert_eq!(receiver.peer(), Some(b));
    }
}
