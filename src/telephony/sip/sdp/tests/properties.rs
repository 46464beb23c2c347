use proptest::prelude::*;

use super::*;

fn policies() -> impl Strategy<Value = SrtpPolicy> {
    prop::sample::select(vec![SrtpPolicy::Off, SrtpPolicy::Optional, SrtpPolicy::Required])
}

fn any_terms() -> impl Strategy<Value = Terms> {
    (prop::sample::subsequence(Codec::ALL.to_vec(), 1..=3).prop_shuffle(), policies()).prop_map(|(codecs, srtp)| Terms { codecs, srtp })
}

/// Lines that make sense, and lines that nearly do.
fn lines() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(8u32), Just(0), Just(9), Just(101), any::<u32>()];
    let word = "[ -~]{0,12}";
    let line = prop_oneof![
        (number.clone(), number.clone()).prop_map(|(port, pt)| format!("m=audio {port} RTP/AVP {pt} 101")),
        number.clone().prop_map(|pt| format!("m=audio 4000 RTP/SAVP {pt}")),
        (number.clone(), word).prop_map(|(pt, word)| format!("a=rtpmap:{pt} {word}")),
        number.clone().prop_map(|pt| format!("a=rtpmap:{pt} telephone-event/16000")),
        (number.clone(), word).prop_map(|(pt, word)| format!("a=fmtp:{pt} {word}")),
        (number.clone(), number.clone()).prop_map(|(tag, n)| format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 {KEY}|2^{n}")),
        (number.clone(), word).prop_map(|(n, word)| format!("a=rtcp:{n} {word}")),
        number.clone().prop_map(|n| format!("a=ptime:{n}")),
        number.prop_map(|n| format!("a=maxptime:{n}")),
        prop::sample::select(vec!["a=rtcp-mux", "a=sendonly", "a=inactive", "c=IN IP4 0.0.0.0", "c=IN IP4 192.0.2.4", "c=IN IP6 ::1"])
            .prop_map(str::to_owned),
        "[a-z]=[ -~]{0,20}",
    ];
    prop::collection::vec(line, 0..30).prop_map(|lines| peers(&lines.join("\r\n")))
}

proptest! {
    #[test]
    fn no_octets_make_it_stumble(octets: Vec<u8>, terms in any_terms()) {
        for body in [octets.clone(), [&b"v=0\r\nm=audio 1 RTP/AVP 8\r\n"[..], &octets].concat()] {
            if let Ok(description) = Description::parse(&body) {
                let _ = local(terms.clone()).answer(&description);
            }
        }
    }

    /// Whatever is answered is a description with a line for each of the offer's, and agrees with what we say that we agreed on.
    #[test]
    fn answers_are_descriptions(body in lines(), terms in any_terms()) {
        let Ok(offer) = Description::parse(body.as_bytes()) else { return Ok(()) };
        let mut line = local(terms.clone());
        let answered = line.answer(&offer);
        prop_assert!(answered.is_err() || terms.check(&offer).is_ok());
        let Ok((answer, agreed)) = answered else { return Ok(()) };
        let read = Description::parse(answer.as_bytes()).unwrap();
        prop_assert_eq!(read.streams.len(), offer.streams.len());
        prop_assert_eq!(read.streams.iter().filter(|s| s.port != 0).count(), 1);
        prop_assert!(terms.codecs.contains(&agreed.codec));
        prop_assert!(agreed.ptime_ms % 10 == 0 && (10..=60).contains(&agreed.ptime_ms));
        let encrypted = agreed.crypto.is_some();
        prop_assert!(terms.srtp == SrtpPolicy::Optional || encrypted == (terms.srtp == SrtpPolicy::Required));
        prop_assert_eq!(line.answer(&offer), Ok((answer, agreed)));
    }

    /// Two of us: both come to the same, each from its own side.
    #[test]
    fn both_sides_come_to_the_same(ours in any_terms(), theirs in any_terms()) {
        let mut caller = local(ours.clone());
        let mut callee = Local::new(at("127.0.0.1:30000"), 8, [9; RANDOM_BYTES], theirs.clone());
        let offer = caller.offer();
        let Ok((answer, there)) = callee.answer(&read(&offer)) else {
            let common = ours.codecs.iter().any(|codec| theirs.codecs.contains(codec));
            let opposed = matches!((ours.srtp, theirs.srtp), (SrtpPolicy::Off, SrtpPolicy::Required) | (SrtpPolicy::Required, SrtpPolicy::Off));
            prop_assert!(!common || opposed);
            return Ok(());
        };
        let here = caller.accept(&read(&answer)).unwrap();
        prop_assert_eq!((here.codec, here.payload_type, here.events), (there.codec, there.payload_type, there.events));
        prop_assert_eq!((here.peer, there.peer), (Some(at("127.0.0.1:30000")), Some(at("127.0.0.1:20000"))));
        let mirrored = there.crypto.map(|crypto| Crypto { ours: crypto.theirs, theirs: crypto.ours, ..crypto });
        prop_assert_eq!(&here.crypto, &mirrored);
        let want = ours.srtp != SrtpPolicy::Off && theirs.srtp != SrtpPolicy::Off;
        prop_assert_eq!(here.crypto.is_some(), want);
        // The other way round, in mid-call: nothing changes.
        let again = callee.offer();
        let (_, back) = caller.answer(&read(&again)).unwrap();
        prop_assert_eq!((&back.crypto, back.codec, back.events), (&here.crypto, here.codec, here.events));
    }
}
