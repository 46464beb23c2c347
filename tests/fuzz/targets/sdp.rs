//! SDP: an offer, and our answer to it. The bytes are the body of an INVITE.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use voceguida::telephony::sip::sdp::{Codec, Description, Local, RANDOM_BYTES, SrtpPolicy, Terms};

fuzz_target!(|body: &[u8]| {
    let terms = Terms { codecs: vec![Codec::Pcma, Codec::Pcmu, Codec::G722], srtp: SrtpPolicy::Optional };
    let side = |port| Local::new(SocketAddr::from(([127, 0, 0, 1], port)), 7, [7; RANDOM_BYTES], terms.clone());
    let mut local = side(20_000);
    let Ok(offer) = Description::parse(body) else { return };
    let Ok((answer, agreed)) = local.answer(&offer) else { return };
    assert!(agreed.payload_type < 128 && agreed.events.is_none_or(|events| events < 128));
    assert!(agreed.peer.is_none_or(|peer| !peer.ip().is_multicast() && !peer.ip().is_unspecified()));
    // One line for each of the offer's streams, and one that is taken (RFC 3264 §6).
    let streams = |text: &str| text.lines().filter(|l| l.starts_with("m=")).count();
    let offered = String::from_utf8_lossy(body);
    assert!(answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"));
    assert_eq!(streams(&answer), offered.lines().filter(|l| l.trim_end().starts_with("m=")).count());
    // Whatever came, what we send then is kept to 10 to 60 ms.
    assert!((10..=60).contains(&agreed.ptime_ms));
    // We would understand ourselves.
    let own = Description::parse(answer.as_bytes()).expect("our own answer is SDP");
    let (_, other) = side(30_000).answer(&own).expect("and can be answered");
    assert_eq!((other.codec, other.payload_type, other.crypto.is_some()), (agreed.codec, agreed.payload_type, agreed.crypto.is_some()));
});
