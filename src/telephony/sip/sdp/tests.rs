use std::fmt::Write as _;

use super::*;
use crate::telephony::rtp::srtp::Suite;

mod properties;

const KEY: &str = "inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn local(terms: Terms) -> Local {
    Local::new(at("127.0.0.1:20000"), 7, std::array::from_fn(|n| n as u8), terms)
}

fn terms(srtp: SrtpPolicy) -> Terms {
    Terms { codecs: Codec::ALL.to_vec(), srtp }
}

/// A whole description of the peer's.
fn peers(media: &str) -> String {
    format!("v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}")
}

fn read(body: &str) -> Description<'_> {
    Description::parse(body.as_bytes()).unwrap()
}

fn answer_of(local: &mut Local, media: &str) -> Result<(String, Agreed), SdpError> {
    local.answer(&Description::parse(peers(media).as_bytes())?)
}

fn answer_under(srtp: SrtpPolicy, media: &str) -> Result<(String, Agreed), SdpError> {
    answer_of(&mut local(terms(srtp)), media)
}

fn answer(media: &str) -> Result<(String, Agreed), SdpError> {
    answer_under(SrtpPolicy::Off, media)
}

fn agreed(media: &str) -> Agreed {
    answer(media).unwrap().1
}

fn media_lines(body: &str) -> Vec<&str> {
    body.lines().filter(|line| line.starts_with("m=")).collect()
}

#[test]
fn the_offerers_first_common_codec_and_its_event_type_are_taken() {
    let media = "m=audio 4000 RTP/AVP 18 9 0 8 96\r\na=rtpmap:9 G722/8000\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-11,16\r\n\
                 a=crypto:x\r\na=ptime:30\r\na=maxptime:150\r\na=rtcp-mux\r\na=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\n";
    let (body, wide) = answer(media).unwrap();
    insta::assert_snapshot!(body);
    insta::assert_debug_snapshot!(wide);
    let (body, narrow) = answer_of(&mut local(Terms::default()), media).unwrap();
    assert_eq!((narrow.codec, narrow.payload_type, narrow.events), (Codec::Pcmu, 0, Some(96)));
    assert_eq!(media_lines(&body), ["m=audio 20000 RTP/AVP 0 96"]);
}

#[test]
fn codecs_by_number_by_name_and_by_mistake() {
    for (media, codec) in [
        ("m=audio 4000 RTP/AVP 97\na=rtpmap:97 pcma/8000/1\n", Some((Codec::Pcma, 97))),
        ("m=audio 4000 RTP/AVP 9\n", Some((Codec::G722, 9))),
        ("m=audio 4000 RTP/AVP 9\na=rtpmap:9 G722/16000\n", Some((Codec::G722, 9))),
        // What is mapped is meant, whatever the number stood for.
        ("m=audio 4000 RTP/AVP 8\na=rtpmap:8 PCMU/8000\n", Some((Codec::Pcmu, 8))),
        ("m=audio 4000 RTP/AVP 96 97 0\na=rtpmap:96 PCMA/16000\na=rtpmap:97 PCMA/8000/2\n", Some((Codec::Pcmu, 0))),
        ("m=audio 4000 RTP/AVP 200 x 8\na=rtpmap:200 PCMU/8000\n", Some((Codec::Pcma, 8))),
        ("m=audio 4000 RTP/AVP 18 4\na=rtpmap:8 PCMA/8000\n", None),
        ("m=audio 4000 RTP/AVP\n", None),
    ] {
        let got = answer(media).map(|(_, agreed)| (agreed.codec, agreed.payload_type));
        assert_eq!(got, codec.ok_or(SdpError::NoCommonCodec), "{media}");
    }
}

#[test]
fn telephone_events_at_the_codecs_clock_or_at_another() {
    let events = |formats: &str, attributes: &str| {
        let agreed = agreed(&format!("m=audio 4000 RTP/AVP 8 {formats}\n{attributes}\n"));
        agreed.events.map(|events| (events, agreed.events_clock))
    };
    let (narrow, wide, full) =
        ("a=rtpmap:101 Telephone-Event/8000", "a=rtpmap:102 telephone-event/16000", "a=rtpmap:103 telephone-event/48000");
    assert_eq!(events("102 101", &format!("{wide}\n{narrow}")), Some((101, 8_000)));
    assert_eq!(events("102 103", &format!("{full}\n{wide}")), Some((102, 16_000)));
    assert_eq!(events("103", full), None);
    assert_eq!(events("", narrow), None, "mapped, but not offered");
    assert_eq!(events("101", &format!("{narrow}\na=fmtp:101 32-36")), None, "fax tones are no keys");
    let (body, _) = answer(&format!("m=audio 4000 RTP/AVP 8 102\n{wide}\na=fmtp:102 0-9,11\n")).unwrap();
    assert!(body.contains("a=rtpmap:102 telephone-event/16000\r\na=fmtp:102 0-9,11\r\n"), "{body}");
}

#[test]
fn packets_as_long_as_the_peer_likes_them() {
    for (attributes, ptime_ms) in [
        ("", 20),
        ("a=ptime:30", 30),
        ("a=ptime:20.0", 20),
        ("a=ptime: 40", 40),
        ("a=ptime:14", 10),
        ("a=ptime:15", 20),
        ("a=ptime:1", 10),
        ("a=ptime:0", 20),
        ("a=ptime:x", 20),
        ("a=ptime:200", 60),
        ("a=ptime:4294967295", 60),
        ("a=maxptime:150", 20),
        ("a=maxptime:10", 10),
        ("a=ptime:60\na=maxptime:30", 30),
        ("a=ptime:60\na=maxptime:45", 40),
        ("a=maxptime:5", 10),
    ] {
        let (body, agreed) = answer(&format!("m=audio 4000 RTP/AVP 8\n{attributes}\n")).unwrap();
        assert_eq!(agreed.ptime_ms, ptime_ms, "{attributes}");
        assert!(body.contains(&format!("a=ptime:{ptime_ms}\r\n")), "{attributes}");
    }
}

#[test]
fn where_rtcp_goes() {
    for (attributes, rtcp, mux) in [
        ("", Some("192.0.2.1:4001"), false),
        ("a=rtcp:53020", Some("192.0.2.1:53020"), false),
        ("a=rtcp:53020 IN IP4 126.16.64.4", Some("126.16.64.4:53020"), false),
        ("a=rtcp:53020 IN IP4 example.org", None, false),
        ("a=rtcp:53020 IN IP6 2001:db8::1", None, false),
        ("a=rtcp:0", None, false),
        ("a=rtcp:x", None, false),
        ("a=rtcp-mux", Some("192.0.2.1:4000"), true),
        ("a=rtcp:53020\na=rtcp-mux", Some("192.0.2.1:4000"), true),
        ("c=IN IP4 0.0.0.0", None, false),
        ("c=IN IP4 0.0.0.0\na=rtcp-mux", None, true),
    ] {
        let (body, agreed) = answer(&format!("m=audio 4000 RTP/AVP 8\n{attributes}\n")).unwrap();
        assert_eq!((agreed.rtcp, agreed.rtcp_mux), (rtcp.map(at), mux), "{attributes}");
        assert_eq!(body.contains("a=rtcp-mux\r\n"), mux, "{attributes}");
    }
    assert_eq!(agreed("m=audio 65535 RTP/AVP 8\n").rtcp, None);
}

#[test]
fn holding_and_its_old_way() {
    for (held, send, receive, answered) in [
        ("a=sendonly", false, true, "a=recvonly"),
        ("a=recvonly", true, false, "a=sendonly"),
        ("a=inactive", false, false, "a=inactive"),
        ("a=sendrecv", true, true, "a=sendrecv"),
    ] {
        let (body, agreed) = answer(&format!("m=audio 4000 RTP/AVP 8\r\n{held}\r\n")).unwrap();
        assert_eq!((agreed.send, agreed.receive), (send, receive), "{held}");
        assert!(body.contains(answered), "{held}");
        // For the whole session, and taken back for the stream.
        let session = peers("").replace("t=0 0", held);
        let mut line = local(Terms::default());
        let (_, agreed) = line.answer(&read(&format!("{session}m=audio 4000 RTP/AVP 8\r\n"))).unwrap();
        assert_eq!((agreed.send, agreed.receive), (send, receive), "{held}");
        let (_, agreed) = line.answer(&read(&format!("{session}m=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n"))).unwrap();
        assert!(agreed.send && agreed.receive, "{held}");
    }
    let agreed = agreed("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\n");
    assert_eq!((agreed.peer, agreed.send, agreed.receive), (None, false, true));
}

#[test]
fn addresses_of_both_families() {
    let six = || Local::new(at("[2001:db8::9]:20000"), 7, [0; RANDOM_BYTES], Terms::default());
    let media = |connection: &str| peers(&format!("m=audio 4000 RTP/AVP 8\r\nc={connection}\r\n"));
    let (body, agreed) = six().answer(&read(&media("IN IP6 2001:db8::1"))).unwrap();
    assert_eq!(agreed.peer, Some(at("[2001:db8::1]:4000")));
    assert!(body.contains("o=voceguida 7 1 IN IP6 2001:db8::9\r\n") && body.contains("c=IN IP6 2001:db8::9\r\n"), "{body}");
    assert_eq!(six().answer(&read(&media("IN IP4 192.0.2.1"))), Err(SdpError::NoAddress));
    assert_eq!(six().answer(&read(&media("IN IP6 ff0e::1"))), Err(SdpError::NoAddress));
    for (connection, peer) in [
        ("IN IP4 192.0.2.7/127", Some("192.0.2.7:4000")),
        ("IN IP6 ::ffff:192.0.2.7", Some("192.0.2.7:4000")),
        ("IN IP6 2001:db8::1", None),
        ("IN IP4 224.2.1.1/127", None),
        ("IN IP4 example.org", None),
        ("IN IP4", None),
        ("TN RFC2543 +39010", None),
    ] {
        let got = local(Terms::default()).answer(&read(&media(connection))).map(|(_, agreed)| agreed.peer);
        assert_eq!(got, peer.map(|peer| Some(at(peer))).ok_or(SdpError::NoAddress), "{connection}");
    }
}

#[test]
fn other_streams_are_refused_in_their_place() {
    let media = "m=video 4002 RTP/AVP 96 97\r\na=rtpmap:96 H264/90000\r\nm=audio 4006 UDP/TLS/RTP/SAVPF 8\r\nm=audio 4004 RTP/AVP 18\r\n\
                 m=audio 4000/2 RTP/AVP 8\r\nm=audio 4004 RTP/AVP 0\r\nm=image 4006 udptl t38\r\nm=message 1 TCP/MSRP *\r\n";
    let (body, _) = answer(media).unwrap();
    let refused = [
        "m=video 0 RTP/AVP 96",
        "m=audio 0 UDP/TLS/RTP/SAVPF 8",
        "m=audio 0 RTP/AVP 18",
        "m=audio 20000 RTP/AVP 8",
        "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38",
        "m=message 0 TCP/MSRP *",
    ];
    assert_eq!(media_lines(&body), refused);
}

#[test]
fn what_cannot_be_used_says_why() {
    for (media, why) in [
        ("", SdpError::NoAudio),
        ("m=video 4002 RTP/AVP 96\r\n", SdpError::NoAudio),
        ("m=audio 0 RTP/AVP 8\r\n", SdpError::NoAudio),
        ("m=audio 4000 UDP/TLS/RTP/SAVP 8\r\n", SdpError::NoAudio),
        ("m=audio 4000 RTP/AVP 4 18\r\n", SdpError::NoCommonCodec),
        ("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 example.org\r\n", SdpError::NoAddress),
        ("m=audio 4000 RTP/SAVP 8\r\nm=audio 4000 RTP/AVP 18\r\n", SdpError::NoCommonCodec),
        ("m=audio x RTP/AVP 8\r\n", SdpError::Malformed),
        ("m=audio 70000 RTP/AVP 8\r\n", SdpError::Malformed),
        ("m=audio 4000\r\n", SdpError::Malformed),
        ("m=audio 4000 RTP/AVP 8\u{7}\r\n", SdpError::Malformed),
    ] {
        assert_eq!(answer(media).unwrap_err(), why, "{media}");
    }
    assert_eq!(answer(&"m=audio 4000 RTP/AVP 8\n".repeat(17)).unwrap_err(), SdpError::Malformed);
    for body in [&b"\xff\xfe"[..], b"hello", b"", b"\r\n\r\n", b"v=1\r\n", b"o=x\r\nv=0\r\n"] {
        assert_eq!(Description::parse(body).unwrap_err(), SdpError::Malformed);
    }
    assert_eq!(read("v=0\nm=audio 4000 RTP/AVP 8\n").streams.len(), 1);
    assert_eq!(local(Terms::default()).answer(&read("v=0\nm=audio 4000 RTP/AVP 8\n")), Err(SdpError::NoAddress));
}

#[test]
fn titles_in_other_character_sets_are_passed_over() {
    let body = [b"v=0\r\ns=Caff\xe8\r\ni=\xff\x00\r\nc=IN IP4 192.0.2.1\r\n", &b"m=audio 4000 RTP/AVP 8\r\n"[..]].concat();
    assert!(local(Terms::default()).answer(&Description::parse(&body).unwrap()).is_ok());
}

#[test]
fn streams_and_addresses_in_other_character_sets_are_not() {
    for line in [&b"m=image\xa7 4006 udptl t38"[..], b"c=IN IP4 192.0.2.1\xa7"] {
        let body = [b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\n", line, b"\r\n"].concat();
        assert!(matches!(Description::parse(&body), Err(SdpError::Malformed)), "{}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn an_encrypted_call_gets_our_key_under_the_callers_tag() {
    let media = format!(
        "m=audio 4000 RTP/SAVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=crypto:1 AES_256_CM_HMAC_SHA1_80 {KEY}\r\n\
         a=crypto:2 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4\r\na=crypto:3 AES_CM_128_HMAC_SHA1_32 {KEY}|2^31\r\n\
         a=crypto:4 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"
    );
    let (body, agreed) = answer_under(SrtpPolicy::Required, &media).unwrap();
    insta::assert_snapshot!(body);
    insta::assert_debug_snapshot!(agreed);
    let crypto = agreed.crypto.unwrap();
    assert_eq!(crypto.suite, Suite::AesCm32);
    assert_eq!(crypto.theirs.octets(Suite::AesCm32)[..3], [0x3d, 0x2d, 0x6e]);
    assert_ne!(crypto.ours, crypto.theirs);
}

/// What becomes of an offer under each policy: the m= lines of the answer, `!` after an encrypted one, or why not.
#[test]
fn encryption_under_each_policy() {
    let good = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n");
    let bad = "a=crypto:1 F8_128_HMAC_SHA1_80 inline:x\r\n";
    let plain = "m=audio 4000 RTP/AVP 8\r\n";
    let secure = "m=audio 4002 RTP/SAVP 8\r\n";
    let offers = [
        ("plain", plain.to_owned()),
        ("encrypted", format!("{secure}{good}")),
        ("encrypted, with feedback", format!("m=audio 4002 RTP/SAVPF 8\r\n{good}")),
        ("encrypted, no key of use", format!("{secure}{bad}")),
        ("encrypted, no key", secure.to_owned()),
        ("best effort", format!("{plain}{good}")),
        ("best effort, no key of use", format!("{plain}{bad}")),
        ("either, plain first", format!("{plain}{secure}{good}")),
        ("either, encrypted first", format!("{secure}{good}{plain}")),
        ("either, no key of use", format!("{secure}{bad}{plain}")),
        ("no common codec", format!("m=audio 4000 RTP/AVP 18\r\nm=audio 4002 RTP/SAVP 18\r\n{good}")),
    ];
    let mut table = String::new();
    for (name, offer) in &offers {
        for policy in [SrtpPolicy::Off, SrtpPolicy::Optional, SrtpPolicy::Required] {
            let outcome = match answer_under(policy, offer) {
                Ok((body, agreed)) => {
                    assert_eq!(body.contains("a=crypto:1 "), agreed.crypto.is_some());
                    media_lines(&body).join("; ") + if agreed.crypto.is_some() { " !" } else { "" }
                }
                Err(why) => why.to_string(),
            };
            let policy = format!("{policy:?}");
            writeln!(table, "{name:26} {policy:9} {outcome}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn our_own_offers() {
    for policy in [SrtpPolicy::Off, SrtpPolicy::Optional, SrtpPolicy::Required] {
        insta::assert_snapshot!(format!("our_offer_{policy:?}"), local(terms(policy)).offer());
    }
}

#[test]
fn an_answer_must_fit_what_was_offered() {
    let accept = |policy, media: &str| {
        let mut line = local(terms(policy));
        line.offer();
        line.accept(&read(&peers(media)))
    };
    let plain = "m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=ptime:30\n";
    let agreed = accept(SrtpPolicy::Off, plain).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.events, agreed.ptime_ms), (Codec::Pcmu, 0, Some(101), 30));
    assert_eq!((agreed.crypto, agreed.rtcp), (None, Some(at("192.0.2.1:4001"))));
    let other_number = accept(SrtpPolicy::Off, "m=audio 4000 RTP/AVP 8 96\na=rtpmap:96 telephone-event/8000\n").unwrap();
    assert_eq!(other_number.events, Some(101), "keys come under the number that we have said");
    assert_eq!(accept(SrtpPolicy::Off, "m=audio 4000 RTP/AVP 8\n").unwrap().events, None);
    for (policy, media, why) in [
        (SrtpPolicy::Off, "", SdpError::Unasked),
        (SrtpPolicy::Off, "m=video 4000 RTP/AVP 8\n", SdpError::Unasked),
        (SrtpPolicy::Off, "m=audio 4000 udptl t38\n", SdpError::Unasked),
        (SrtpPolicy::Off, "m=audio 4000 RTP/AVP 8\na=rtcp-mux\n", SdpError::Unasked),
        (SrtpPolicy::Off, "m=audio 0 RTP/AVP 8\n", SdpError::NoAudio),
        (SrtpPolicy::Off, "m=audio 4000 RTP/AVP 18\n", SdpError::NoCommonCodec),
        (SrtpPolicy::Off, "m=audio 4000 RTP/SAVP 8\n", SdpError::NotEncrypted),
        (SrtpPolicy::Required, plain, SdpError::NotEncrypted),
    ] {
        assert_eq!(accept(policy, media), Err(why), "{media}");
    }
    // The tags of our offer: 1 AES_CM … 80, 2 GCM, 3 AES_CM … 32.
    for (policy, protocol, line, suite) in [
        (SrtpPolicy::Required, "RTP/SAVP", "1 AES_CM_128_HMAC_SHA1_80", Ok(Some(Suite::AesCm80))),
        (SrtpPolicy::Required, "RTP/SAVP", "3 AES_CM_128_HMAC_SHA1_32", Ok(Some(Suite::AesCm32))),
        (SrtpPolicy::Required, "RTP/SAVP", "1 AES_CM_128_HMAC_SHA1_32", Err(SdpError::NoCommonSuite)),
        (SrtpPolicy::Required, "RTP/SAVP", "9 AES_CM_128_HMAC_SHA1_80", Err(SdpError::NoCommonSuite)),
        (SrtpPolicy::Optional, "RTP/AVP", "1 AES_CM_128_HMAC_SHA1_80", Ok(Some(Suite::AesCm80))),
        (SrtpPolicy::Optional, "RTP/SAVP", "1 AES_CM_128_HMAC_SHA1_80", Ok(Some(Suite::AesCm80))),
        (SrtpPolicy::Optional, "RTP/AVP", "9 AES_CM_128_HMAC_SHA1_80", Ok(None)),
        (SrtpPolicy::Off, "RTP/SAVP", "1 AES_CM_128_HMAC_SHA1_80", Err(SdpError::NoCommonSuite)),
    ] {
        let got = accept(policy, &format!("m=audio 4000 {protocol} 8\na=crypto:{line} {KEY}\n"));
        assert_eq!(got.map(|agreed| agreed.crypto.map(|crypto| crypto.suite)), suite, "{policy:?} {line}");
    }
    assert_eq!(local(Terms::default()).accept(&read(&peers(plain))), Err(SdpError::Unasked), "nothing was offered");
}

#[test]
fn what_was_said_stays_said() {
    let version = |body: &str| body.lines().nth(1).unwrap().split(' ').nth(2).unwrap().to_owned();
    let media = format!(
        "m=video 4002 RTP/AVP 96\r\nm=audio 4000 RTP/SAVP 97 99\r\na=rtpmap:97 PCMU/8000\r\na=rtpmap:99 telephone-event/8000\r\n\
         a=crypto:5 AES_CM_128_HMAC_SHA1_80 {KEY}\r\na=rtcp-mux\r\n"
    );
    let mut line = local(terms(SrtpPolicy::Optional));
    assert_eq!(line.described(), "");
    let (first, agreed) = answer_of(&mut line, &media).unwrap();
    assert_eq!((version(&first), line.described()), ("1".to_owned(), first.clone()));
    assert_eq!(answer_of(&mut line, &media).unwrap(), (first.clone(), agreed.clone()), "a mere refresh changes nothing");
    let (held, _) = answer_of(&mut line, &format!("{media}a=sendonly\r\n")).unwrap();
    assert_eq!(version(&held), "2");
    assert_eq!(answer_of(&mut line, "m=audio 4000 RTP/AVP 18\r\n"), Err(SdpError::NoCommonCodec));
    assert_eq!(line.described(), held, "an offer that was refused leaves no trace");
    let (resumed, again) = answer_of(&mut line, &media).unwrap();
    assert_eq!((version(&resumed), again), ("3".to_owned(), agreed.clone()), "with the same key of ours");
    // The caller's side asks for our offer: streams, numbers and keys stay, more codecs come along.
    let offer = line.offer();
    insta::assert_snapshot!(offer);
    assert_eq!(line.offer(), offer);
    let back = line.accept(&read(&peers(&media))).unwrap();
    assert_eq!(back, agreed);
    let moved = line.accept(&read(&peers(&media.replace("4000", "5000")))).unwrap();
    assert_eq!(moved.peer, Some(at("192.0.2.1:5000")));
}

#[test]
fn keys_do_not_show() {
    let mut line = local(terms(SrtpPolicy::Required));
    let offer = line.offer();
    let secret = offer.lines().find_map(|l| l.split_once("inline:")).unwrap().1;
    let (_, agreed) = answer_of(&mut line, &format!("m=audio 4000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n")).unwrap();
    let shown = format!("{line:?} {agreed:?}");
    assert!(!shown.contains(secret) && !shown.contains("PS1uQ") && !shown.contains("61, 45"), "{shown}");
    assert!(shown.contains("AesCm80"), "{shown}");
}
