//! SDP: offers, one after the other in one call, and our answers to them; and each as the answer to an offer of ours.
//! The bytes are the bodies, cut at form feeds; each is read by a line without keys, by one that can have them and by one that must.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use voceguida::telephony::{
    rtp::srtp::Srtp,
    sip::sdp::{Agreed, Codec, Description, Local, RANDOM_BYTES, SrtpPolicy, Terms},
};

fuzz_target!(|bytes: &[u8]| {
    for srtp in [SrtpPolicy::Off, SrtpPolicy::Optional, SrtpPolicy::Required] {
        let mut local = side(20_000, srtp);
        let mut crypto = None;
        for body in bytes.split(|b| *b == 0x0c).take(4) {
            let Ok(said) = Description::parse(body) else { continue };
            // It may be the answer to an offer of ours as well.
            let mut asking = local.clone();
            let offered = asking.offer();
            let own = Description::parse(offered.as_bytes()).expect("our own offer is SDP");
            if asking.accept(&said).inspect(|agreed| sound(agreed, srtp)).is_ok() {
                assert!(side(30_000, srtp).answer(&own).is_ok(), "we would answer ourselves");
            }
            let before = local.described();
            match local.answer(&said) {
                Ok((answer, agreed)) => {
                    answered(&answer, &agreed, body, srtp);
                    media(&mut crypto, &agreed);
                }
                Err(_) => assert_eq!(local.described(), before, "after an error everything stands as it was"),
            }
        }
    }
});

fn side(port: u16, srtp: SrtpPolicy) -> Local {
    let terms = Terms { codecs: vec![Codec::Pcma, Codec::Pcmu, Codec::G722], srtp };
    Local::new(SocketAddr::from(([127, 0, 0, 1], port)), 7, [7; RANDOM_BYTES], terms)
}

fn sound(agreed: &Agreed, srtp: SrtpPolicy) {
    assert!(agreed.payload_type < 128 && agreed.events.is_none_or(|events| events < 128));
    assert!(agreed.peer.is_none_or(|peer| !peer.ip().is_multicast() && !peer.ip().is_unspecified()));
    // Whatever came, what we send then is kept to 10 to 60 ms.
    assert!((10..=60).contains(&agreed.ptime_ms));
    match srtp {
        SrtpPolicy::Off => assert!(agreed.crypto.is_none()),
        SrtpPolicy::Optional => {}
        SrtpPolicy::Required => assert!(agreed.crypto.is_some(), "nothing in clear where keys are a must"),
    }
}

fn answered(answer: &str, agreed: &Agreed, body: &[u8], srtp: SrtpPolicy) {
    sound(agreed, srtp);
    // One line for each of the offer's streams, and one that is taken (RFC 3264 §6).
    let streams = |text: &str| text.lines().filter(|l| l.starts_with("m=")).count();
    let offered = String::from_utf8_lossy(body);
    assert!(answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"));
    assert_eq!(streams(answer), offered.lines().filter(|l| l.trim_end().starts_with("m=")).count());
    // We would understand ourselves.
    let own = Description::parse(answer.as_bytes()).expect("our own answer is SDP");
    let (_, other) = side(30_000, srtp).answer(&own).expect("and can be answered");
    assert_eq!((other.codec, other.payload_type, other.crypto.is_some()), (agreed.codec, agreed.payload_type, agreed.crypto.is_some()));
}

/// The keys that were agreed on can be used, and be changed in mid-call.
fn media(srtp: &mut Option<Srtp>, agreed: &Agreed) {
    match (&agreed.crypto, srtp) {
        (Some(crypto), Some(srtp)) => srtp.renegotiate(crypto).expect("usable keys"),
        (Some(crypto), srtp) => *srtp = Some(Srtp::new(crypto).expect("usable keys")),
        (None, _) => {}
    }
}
