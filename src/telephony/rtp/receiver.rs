//! What comes in on a call: whom to believe, keys, liveness. Pure.

use std::net::SocketAddr;

use rtp_rs::RtpReader;

use super::dtmf::EventReceiver;

/// The incoming stream of one call.
///
/// Behind NAT the peer's packets come from elsewhere than its SDP says. So packets are believed
/// from the negotiated address at once; from elsewhere only after two of one stream, one after the
/// other, and only while nothing has been believed yet. Answers then go there ("symmetric latching"). After
/// that everyone else is a stranger, except the negotiated address itself: whoever was quicker
/// than the caller cannot keep the call.
#[derive(Debug)]
pub struct Receiver {
    negotiated: Option<SocketAddr>,
    latched: Option<SocketAddr>,
    candidate: Option<Candidate>,
    payload_type: u8,
    events: Option<u8>,
    /// Of the key events; some gear sends them in a stream of their own beside the audio.
    keys_ssrc: u32,
    keys: EventReceiver,
}

/// A source on probation (RFC 3550 A.1, `MIN_SEQUENTIAL` = 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
}

/// How far the second packet's number may be from the first one's: some are lost while the NAT's
/// binding is made, and some senders count by two.
const NEAR: u16 = 16;

/// What a datagram was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The caller's audio (or the rest of a key).
    Audio,
    /// The caller pressed a key.
    Key(char),
    /// The first packet from an unexpected source: believed when the next one follows.
    Unproven,
    /// Not RTP, not of this call, or from a stranger.
    Stranger,
}

impl Receiver {
    /// Expects packets from `negotiated`.
    pub fn new(negotiated: Option<SocketAddr>, payload_type: u8, events: Option<u8>) -> Self {
        Self { negotiated, latched: None, candidate: None, payload_type, events, keys_ssrc: 0, keys: EventReceiver::default() }
    }

    /// Takes a new agreement (re-INVITE); an unchanged address keeps the latch.
    pub fn renegotiate(&mut self, negotiated: Option<SocketAddr>, payload_type: u8, events: Option<u8>) {
        if negotiated.is_some() && negotiated != self.negotiated {
            (self.negotiated, self.latched, self.candidate) = (negotiated, None, None);
        }
        (self.payload_type, self.events) = (payload_type, events);
    }

    /// Where to send.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.latched.or(self.negotiated)
    }

    /// Takes a datagram.
    pub fn receive(&mut self, datagram: &[u8], from: SocketAddr) -> Received {
        let expected = self.negotiated == Some(from);
        if !expected && self.latched.is_some_and(|latched| latched != from) {
            return Received::Stranger;
        }
        let Ok(packet) = RtpReader::new(datagram) else { return Received::Stranger };
        let payload_type = packet.payload_type();
        let is_event = self.events == Some(payload_type);
        // 13: comfort noise (RFC 3389), which telephones send unasked in their pauses.
        if !is_event && payload_type != self.payload_type && payload_type != 13 {
            return Received::Stranger;
        }
        if !expected && self.latched.is_none() && !self.proven(from, packet.ssrc(), packet.sequence_number().into()) {
            return Received::Unproven;
        }
        self.latched = Some(from);
        if !is_event {
            return Received::Audio;
        }
        if packet.ssrc() != self.keys_ssrc {
            // Another stream has another clock: its timestamps say nothing about the old ones.
            (self.keys_ssrc, self.keys) = (packet.ssrc(), EventReceiver::default());
        }
        self.keys.receive(packet.timestamp(), packet.payload()).map_or(Received::Audio, Received::Key)
    }

    /// Has this source sent two packets of a stream, one after the other?
    fn proven(&mut self, from: SocketAddr, ssrc: u32, sequence: u16) -> bool {
        let follows = |c: Candidate| c.from == from && c.ssrc == ssrc && (1..=NEAR).contains(&sequence.wrapping_sub(c.sequence));
        let proven = self.candidate.is_some_and(follows);
        self.candidate = (!proven).then_some(Candidate { from, ssrc, sequence });
        proven
    }
}

#[cfg(test)]
mod tests {
    use rtp_rs::{RtpPacketBuilder, Seq};

    use super::*;

    /// A packet of stream 9.
    fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        packet_of(9, payload_type, sequence, timestamp, payload)
    }

    fn packet_of(ssrc: u32, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        RtpPacketBuilder::new()
            .payload_type(payload_type)
            .ssrc(ssrc)
            .sequence(Seq::from(sequence))
            .timestamp(timestamp)
            .payload(payload)
            .build()
            .unwrap()
    }

    fn audio(sequence: u16) -> Vec<u8> {
        packet(8, sequence, u32::from(sequence) * 160, &[0; 160])
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn two_packets_one_after_the_other_latch_and_strangers_are_not_heard() {
        let (said, nat, stranger) = (at("192.168.1.5:4000"), at("203.0.113.9:61000"), at("198.51.100.1:5000"));
        let mut receiver = Receiver::new(Some(said), 8, Some(101));
        assert_eq!(receiver.peer(), Some(said));
        assert_eq!(receiver.receive(b"garbage", stranger), Received::Stranger);
        assert_eq!(receiver.receive(&packet(34, 1, 1, &[0; 160]), stranger), Received::Stranger);
        assert_eq!(receiver.receive(&audio(1), nat), Received::Unproven);
        assert_eq!(receiver.receive(&audio(1), nat), Received::Unproven, "the same one again");
        assert_eq!(receiver.receive(&audio(900), nat), Received::Unproven, "no sequence");
        assert_eq!(receiver.receive(&packet_of(10, 8, 8, 1, &[0; 160]), nat), Received::Unproven, "of another stream");
        assert_eq!(receiver.receive(&packet_of(10, 8, 9, 1, &[0; 160]), stranger), Received::Unproven, "of another source");
        assert_eq!(receiver.peer(), Some(said), "nothing proven yet");
        assert_eq!(receiver.receive(&audio(65_535), nat), Received::Unproven);
        assert_eq!(receiver.receive(&audio(0), nat), Received::Audio);
        assert_eq!(receiver.peer(), Some(nat));
        let key = |sequence, end| packet(101, sequence, 1, &[5, if end { 138 } else { 10 }, 3, 32]);
        assert_eq!(receiver.receive(&key(2, false), stranger), Received::Stranger);
        assert_eq!(receiver.receive(&key(2, false), nat), Received::Key('5'));
        assert_eq!(receiver.receive(&key(3, true), nat), Received::Audio, "the rest of the key");
    }

    #[test]
    fn a_key_is_not_lost_to_the_probation() {
        let mut receiver = Receiver::new(Some(at("192.168.1.5:4000")), 8, Some(101));
        let nat = at("203.0.113.9:61000");
        assert_eq!(receiver.receive(&packet(101, 1, 50, &[5, 10, 0, 160]), nat), Received::Unproven);
        assert_eq!(receiver.receive(&packet(101, 2, 50, &[5, 10, 1, 64]), nat), Received::Key('5'));
    }

    #[test]
    fn whoever_is_quicker_than_the_caller_cannot_keep_the_call() {
        let (caller, thief) = (at("192.0.2.1:4000"), at("198.51.100.1:5000"));
        let mut receiver = Receiver::new(Some(caller), 8, None);
        receiver.receive(&audio(1), thief);
        receiver.receive(&audio(2), thief);
        assert_eq!(receiver.peer(), Some(thief));
        assert_eq!(receiver.receive(&audio(500), caller), Received::Audio);
        assert_eq!(receiver.peer(), Some(caller));
        assert_eq!(receiver.receive(&audio(3), thief), Received::Stranger);
    }

    #[test]
    fn a_new_address_unlatches_and_the_same_one_does_not() {
        let (a, b, nat) = (at("192.0.2.1:4000"), at("192.0.2.2:4000"), at("203.0.113.9:61000"));
        let mut receiver = Receiver::new(Some(a), 8, None);
        receiver.receive(&audio(1), nat);
        receiver.receive(&audio(2), nat);
        receiver.renegotiate(Some(a), 8, None);
        assert_eq!(receiver.peer(), Some(nat));
        receiver.renegotiate(None, 8, None);
        assert_eq!(receiver.peer(), Some(nat), "on hold");
        receiver.renegotiate(Some(b), 8, None);
        assert_eq!(receiver.peer(), Some(b));
    }

    #[test]
    fn keys_of_a_new_stream_are_heard_whatever_its_clock_says() {
        let caller = at("192.0.2.1:4000");
        let mut receiver = Receiver::new(Some(caller), 8, Some(101));
        let press = |ssrc, timestamp| packet_of(ssrc, 101, 1, timestamp, &[5, 10, 0, 160]);
        assert_eq!(receiver.receive(&press(1, 3_000_000_000), caller), Received::Key('5'));
        assert_eq!(receiver.receive(&press(2, 2_999_999_000), caller), Received::Key('5'));
        // The audio in between may have a stream of its own.
        assert_eq!(receiver.receive(&audio(4), caller), Received::Audio);
        assert_eq!(receiver.receive(&press(2, 2_999_999_000), caller), Received::Audio, "the same press");
    }
}
