//! RTP, RTCP, SRTP: datagrams of a caller, of strangers, and of whoever changes the address in mid-call.
#![no_main]

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use voceguida::telephony::rtp::{
    receiver::{Received, Receiver},
    rtcp::{self, Now, Rtcp},
    srtp::{Crypto, MasterKey, OVERHEAD, Srtp, Suite},
};

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// A datagram from one of a few sources.
    Datagram(u8, &'a [u8]),
    /// A well-made packet: source, type, sequence, timestamp, stream, payload.
    Packet(u8, u8, u16, u32, u8, &'a [u8]),
    /// A new agreement.
    Renegotiate(Option<u8>, u8, Option<u8>),
    /// RTCP, so much later.
    Report(u16, &'a [u8]),
    /// What says that it is SRTP, or SRTCP.
    Ciphered(bool, &'a [u8]),
    /// What the peer has ciphered: sequence, stream, payload; and which octet is damaged on its way.
    Protected(bool, u16, u8, &'a [u8], Option<(u8, u8)>),
}

fn source(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n % 4 + 1], 4_000))
}

fn packet(kind: u8, sequence: u16, timestamp: u32, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, kind & 0x7f];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([0, 0, 0, stream % 3]);
    packet.extend(payload);
    packet
}

/// Our end of ciphered media, and the peer's.
fn ends(suite: u8) -> (Srtp, Srtp) {
    let suite = [Suite::AesCm80, Suite::AesCm32, Suite::AesGcm][usize::from(suite) % 3];
    let key = |n: u8| MasterKey::new(suite, &std::array::from_fn(|at| at as u8 ^ n));
    let end = |ours, theirs| Srtp::new(&Crypto { suite, ours: key(ours), theirs: key(theirs) }).expect("usable keys");
    (end(1, 2), end(2, 1))
}

fuzz_target!(|input: (Option<u8>, Option<u8>, u8, Vec<Step<'_>>)| {
    let (negotiated, events, suite, steps) = input;
    let mut receiver = Receiver::new(negotiated.map(source), 8, events);
    let mut now = 1_700_000_000_000_000;
    let mut reports = Rtcp::new(9, 1, rtcp::random_cname([3; 12]), now, 5);
    let (mut ours, mut theirs) = ends(suite);
    for step in steps {
        let (from, datagram) = match step {
            Step::Datagram(from, bytes) => (source(from), bytes.to_vec()),
            Step::Packet(from, kind, sequence, timestamp, stream, payload) => {
                (source(from), packet(kind, sequence, timestamp, stream, payload))
            }
            Step::Renegotiate(negotiated, kind, events) => {
                receiver.renegotiate(negotiated.map(source), kind, events);
                continue;
            }
            Step::Report(later, bytes) => {
                now += u64::from(later) * 1_000;
                reports.receive(bytes, Now { micros: now, ntp: rtcp::ntp(now) });
                if let Some(far) = reports.far_report() {
                    assert!(far.loss_per_10k() <= 10_000);
                    far.jitter_micros(8_000);
                }
                reports.round_trip_micros();
                continue;
            }
            Step::Ciphered(control, bytes) => {
                let mut bytes = bytes.to_vec();
                // Nobody without the key gets anything through.
                let opened = if control { ours.unprotect_rtcp(&mut bytes) } else { ours.unprotect_rtp(&mut bytes) };
                assert!(opened.is_err() || bytes.len() < 8, "a forgery");
                continue;
            }
            Step::Protected(control, sequence, stream, payload, damage) => {
                protected(&mut ours, &mut theirs, control, &packet(8, sequence, 0, stream, payload), damage);
                continue;
            }
        };
        let before = receiver.peer();
        match receiver.receive(&datagram, from) {
            Received::Key(key) => {
                assert!("0123456789*#ABCD".contains(key));
                assert_eq!(receiver.peer(), Some(from), "keys are the caller's");
            }
            Received::Audio => assert_eq!(receiver.peer(), Some(from), "who is heard is answered"),
            Received::Stranger | Received::Unproven => assert_eq!(receiver.peer(), before, "strangers change nothing"),
        }
    }
});

/// A packet goes from the peer to us: what comes out is what went in, or nothing.
fn protected(ours: &mut Srtp, theirs: &mut Srtp, control: bool, packet: &[u8], damage: Option<(u8, u8)>) {
    let mut plain = packet.to_vec();
    if control {
        // A receiver report without blocks.
        plain.splice(..4, [0x80, 201, 0, 1]);
        plain.truncate(8 + (plain.len() - 8) / 4 * 4);
    }
    let mut buffer = plain.clone();
    buffer.resize(plain.len() + OVERHEAD, 0);
    let sent = if control { theirs.protect_rtcp(&mut buffer, plain.len()) } else { theirs.protect_rtp(&mut buffer, plain.len()) };
    let Ok(length) = sent else { return };
    let wire = &mut buffer[..length];
    let damaged = damage.is_some_and(|(at, with)| {
        let at = usize::from(at) % wire.len();
        wire[at] ^= with;
        with != 0
    });
    let opened = if control { ours.unprotect_rtcp(wire) } else { ours.unprotect_rtp(wire) };
    if let Ok(length) = opened {
        assert!(!damaged, "a damaged packet is taken");
        assert_eq!(&wire[..length], plain, "another packet comes out");
    }
}
