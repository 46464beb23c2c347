//! RTP: datagrams of a caller, of strangers, and of whoever changes the address in mid-call.
#![no_main]

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use voceguida::telephony::rtp::receiver::{Received, Receiver};

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// A datagram from one of a few sources.
    Datagram(u8, &'a [u8]),
    /// A well-made packet: source, type, sequence, timestamp, stream, payload.
    Packet(u8, u8, u16, u32, u8, &'a [u8]),
    /// A new agreement.
    Renegotiate(Option<u8>, u8, Option<u8>),
}

fn source(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n % 4 + 1], 4_000))
}

fuzz_target!(|input: (Option<u8>, Option<u8>, Vec<Step<'_>>)| {
    let (negotiated, events, steps) = input;
    let mut receiver = Receiver::new(negotiated.map(source), 8, events);
    for step in steps {
        let (from, datagram) = match step {
            Step::Datagram(from, bytes) => (source(from), bytes.to_vec()),
            Step::Packet(from, kind, sequence, timestamp, stream, payload) => {
                let mut packet = vec![0x80, kind & 0x7f];
                packet.extend(sequence.to_be_bytes());
                packet.extend(timestamp.to_be_bytes());
                packet.extend([0, 0, 0, stream % 3]);
                packet.extend(payload);
                (source(from), packet)
            }
            Step::Renegotiate(negotiated, kind, events) => {
                receiver.renegotiate(negotiated.map(source), kind, events);
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
