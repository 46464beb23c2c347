use std::path::Path;

use proptest::prelude::*;
use rsipstack::{
    sip::{HeadersExt as _, SipMessage},
    transaction::key::{TransactionKey, TransactionRole},
};

use super::{rewrite::rewrite, *};

/// The messages of RFC 4475 and RFC 5118.
fn torture() -> Vec<(String, Vec<u8>)> {
    let files = ["rfc4475", "rfc5118"].iter().flat_map(|rfc| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(rfc);
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path())
    });
    let named = |path: std::path::PathBuf| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap());
    files.filter(|path| path.extension().is_some_and(|e| e == "dat")).map(named).collect()
}

fn rewritten(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rewrite(message, &mut out);
    out
}

fn status(message: &[u8]) -> Option<u16> {
    match check(message) {
        Err(Refusal::Answer(fault)) => Some(fault.status),
        _ => None,
    }
}

const INVITE: &str = "INVITE sip:800123456@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1;rport\r\n\
    Max-Forwards: 70\r\nFrom: \"Rossi\" <sip:0182970000@192.0.2.9>;tag=a\r\nTo: <sip:800123456@192.0.2.1>\r\nCall-ID: c@h\r\n\
    CSeq: 7 INVITE\r\nContact: <sip:0182970000@192.0.2.9:5060;transport=udp>\r\nContent-Length: 4\r\n\r\nv=0\n";

/// What the stack would make of a message that was let in; it must be able to read it, and to tell its transaction.
fn stack_reads(message: &[u8]) -> Result<SipMessage, String> {
    let told = |e: &dyn std::fmt::Display| format!("{e}: {}", String::from_utf8_lossy(message));
    let read = SipMessage::try_from(message).map_err(|e| told(&e))?;
    let address = "192.0.2.9:5060".parse().map_err(|e| told(&e))?;
    let read = rsipstack::transport::SipConnection::update_msg_received(read, address, Transport::Udp).map_err(|e| told(&e))?;
    match &read {
        SipMessage::Request(request) => {
            TransactionKey::from_request(request, TransactionRole::Server).map_err(|e| told(&e))?;
            request.to_header().and_then(rsipstack::sip::To::tag).map_err(|e| told(&e))?;
        }
        SipMessage::Response(response) => {
            TransactionKey::from_response(response, TransactionRole::Client).map_err(|e| told(&e))?;
            response.to_header().and_then(rsipstack::sip::To::tag).map_err(|e| told(&e))?;
        }
    }
    Ok(read)
}

/// What holds for every message, however broken.
fn holds(message: &[u8]) -> Result<(), String> {
    let loose = match check(message) {
        Ok(Message::Request(request)) => request.loose,
        Ok(Message::Response { loose }) => loose,
        Ok(Message::KeepAlive) | Err(_) => return Ok(()),
    };
    let passed = if loose { rewritten(message) } else { message.to_vec() };
    stack_reads(&passed)?;
    if loose {
        if let Err(refusal) = check(&passed) {
            return Err(format!("{refusal:?} of what was rewritten: {}", String::from_utf8_lossy(&passed)));
        }
        if rewritten(&passed) != passed {
            return Err(format!("rewritten twice: {}", String::from_utf8_lossy(&rewritten(&passed))));
        }
    }
    Ok(())
}

#[test]
fn an_ordinary_invite_is_let_in_as_it_is() {
    let Ok(Message::Request(request)) = check(INVITE.as_bytes()) else { panic!("{:?}", check(INVITE.as_bytes())) };
    assert_eq!((request.method, request.branch, request.call_id, request.cseq), (&b"INVITE"[..], &b"z9hG4bK1"[..], &b"c@h"[..], 7));
    assert!(!request.loose && !request.in_dialog);
}

#[test]
fn what_is_let_in_can_be_read_by_the_stack() {
    for (name, message) in torture() {
        holds(&message).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[test]
fn the_tortuous_invite_in_plain_words() {
    let (_, wsinv) = torture().into_iter().find(|(name, _)| name == "wsinv").unwrap();
    insta::assert_snapshot!(String::from_utf8(rewritten(&wsinv)).unwrap().replace("\r\n", "\n"));
}

#[test]
fn what_the_stack_would_misread_is_written_for_it() {
    for (from, to) in [
        // Only escaped where it has to be.
        ("Contact: <sip:%2B3918%32;x=%3B@h;y=%42>", "Contact: <sip:+39182;x=%3B@h;y=%42>"),
        ("From: sip:%2B39@h;tag=%41", "From: sip:+39@h;tag=%41"),
        ("P-Asserted-Identity: \"%41\" <sip:%2b39@h>, <tel:+39>", "P-Asserted-Identity: \"%41\" <sip:+39@h>,<tel:+39>"),
        ("To: \"a \\\"b\\\\ <c>\"   <sip:a@h> ; x = \"y \\\" ; z\"", "To: \"a 'b' (c)\" <sip:a@h>;x=\"y \\\" ; z\""),
        ("v :SIP / 2.0/UDP  h : 5060 ;\r\n branch = z", "v: SIP/2.0/UDP h:5060;branch=z"),
        ("Contact: <sip:a@[1:::192.0.2.1]:5060>", "Contact: <sip:a@[1::192.0.2.1]:5060>"),
        ("Subject: one\r\n\ttwo  three \r\n  four", "Subject: one two  three four"),
    ] {
        let message = format!("BYE sip:a@h SIP/2.0\r\n{from}\r\nl: 0\r\n\r\n");
        let out = String::from_utf8(rewritten(message.as_bytes())).unwrap();
        assert_eq!(out.split("\r\n").nth(1).unwrap(), to);
    }
    let out = rewritten(b"\r\n\r\nINVITE sip:%2B39182@h sip/2.0\r\nFrom: \"Nicol\xf2\" <sip:a@h>\r\n\r\nbody");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "INVITE sip:+39182@h SIP/2.0\r\nFrom: \"Nicol_\" <sip:a@h>\r\nContent-Length: 4\r\n\r\nbody"
    );
}

#[test]
fn names_that_are_no_tokens_are_borne_where_nothing_can_be_mistaken() {
    for name in ["Mario Rossi (casa)", "Nicolò", "caller", "\"Rossi, Mario\"", "\"\"", ""] {
        let message = INVITE.replace("\"Rossi\"", name);
        assert!(check(message.as_bytes()).is_ok(), "{name}: {:?}", check(message.as_bytes()));
    }
    for name in ["Rossi, Mario", "Rossi; Mario", "\"Rossi", "Rossi\"", "a@b"] {
        assert_eq!(status(INVITE.replace("\"Rossi\"", name).as_bytes()), Some(400), "{name}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (from, to, status, reason) in [
        ("CSeq: 7", "CSeq: 2147483648", 400, "Malformed CSeq"),
        ("CSeq: 7 INVITE", "CSeq: 7INVITE", 400, "Malformed CSeq"),
        ("CSeq: 7 INVITE", "CSeq: 7 invite", 400, "CSeq Names Another Method"),
        ("INVITE sip", "invite sip", 501, "Not Implemented"),
        ("CSeq: 7 INVITE\r\n", "", 400, "No CSeq Header Field"),
        (";tag=a", "", 400, "From Without a Tag"),
        (";tag=a", ";tag=a;tag=b", 400, "Malformed From"),
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nmax-forwards : 7", 400, "Two Max-Forwards Header Fields"),
        ("c@h", "c h", 400, "Malformed Call-ID"),
        ("SIP/2.0/UDP", "SIP/2.0/PIGEON", 400, "Malformed Via"),
        (";rport", ";rport=x", 400, "Malformed Via"),
        ("5060;transport=udp", "70000", 400, "Malformed Contact"),
        ("Length: 4", "Length: 5", 400, "Body Shorter Than Content-Length"),
        ("Length: 4", "Length: +4", 400, "Malformed Content-Length"),
        ("Contact:", "Contact\u{a0}:", 400, "Malformed Header Field"),
        ("\r\n\r\n", "\n\n", 400, "No End of the Header"),
        ("Contact:", "Accept: text/plain;q=1, application/pidf+xml\r\nContact:", 406, "Not Acceptable"),
        ("sip:800123456@192.0.2.1 SIP", "mailto:a@h SIP", 416, "Unsupported URI Scheme"),
        ("sip:800123456@192.0.2.1 SIP", "sip:8001%2@h SIP", 400, "Malformed Request-URI"),
        ("sip:800123456@192.0.2.1 SIP", "sip:a@h?b=c SIP", 400, "Malformed Request-URI"),
        ("sip:800123456@192.0.2.1 SIP", "800123456 SIP", 400, "Malformed Request-URI"),
        ("SIP/2.0\r\nVia", "SIP/3.0\r\nVia", 505, "Version Not Supported"),
        ("SIP/2.0\r\nVia", "SIP/two\r\nVia", 400, "Malformed Request-Line"),
    ] {
        let message = INVITE.replacen(from, to, 1);
        assert_ne!(message, INVITE, "{from}");
        let Err(Refusal::Answer(fault)) = check(message.as_bytes()) else { panic!("{to}: {:?}", check(message.as_bytes())) };
        assert_eq!((fault.status, fault.reason), (status, reason), "{to}");
    }
}

#[test]
fn what_is_unusual_and_right_is_let_in() {
    for (from, to) in [
        ("Contact:", "Accept: text/plain, application/SDP;level=1\r\nContact:"),
        ("Contact:", "Accept: */*\r\nContact:"),
        ("Contact:", "a line without a meaning\r\nContact:"),
        ("Contact: <sip:0182970000@192.0.2.9:5060;transport=udp>", "m: *"),
        ("Max-Forwards: 70", "Max-Forwards: many"),
        ("sip:800123456@192.0.2.1 SIP", "tel:+39-800-123456;phone-context=+39 SIP"),
        ("sip:800123456@192.0.2.1 SIP", "sip:800123456;npdi;rn=+39@192.0.2.1:5060;user=phone SIP"),
        ("SIP/2.0\r\nVia", "sip/2.0\r\nVia"),
        ("INVITE sip", "\r\n\r\nINVITE sip"),
        ("Content-Length: 4", "X: y"),
    ] {
        let message = INVITE.replacen(from, to, 1);
        assert_ne!(message, INVITE, "{from}");
        assert!(check(message.as_bytes()).is_ok(), "{to}: {:?}", check(message.as_bytes()));
        holds(message.as_bytes()).unwrap();
    }
}

#[test]
fn what_is_no_request_hears_nothing() {
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xff\xfe\x00", b"INVITE", b"INVITE sip:a@h", b"F(O sip:a@h SIP/2.0\r\n\r\n", b"\0"] {
        assert!(matches!(check(noise), Err(Refusal::Silence(_))), "{}", String::from_utf8_lossy(noise));
    }
    let ack = INVITE.replace("INVITE", "ACK").replace("c@h", "c h");
    assert_eq!(check(ack.as_bytes()), Err(Refusal::Silence("malformed ACK")));
    assert_eq!(check(b"\r\n\r\n"), Ok(Message::KeepAlive));
    assert_eq!(check(b""), Ok(Message::KeepAlive));
}

/// What the fuzzer found.
#[test]
fn what_once_fell_holds() {
    let many = format!("From: \"x\" <sp:{}>;tag=1", "[:::]".repeat(1_000));
    for (from, to) in [
        // An IPv6 address that is never closed, with a colon too many.
        ("From: \"Rossi\" <sip:0182970000@192.0.2.9>", "From: sp:[a@b:::c"),
        ("From: \"Rossi\" <sip:0182970000@192.0.2.9>;tag=a", &many),
        // What was no UTF-8 became a "?", and half of the user part the URI's headers.
        ("From: \"Rossi\" <sip:0182970000@192.0.2.9>", "From: sip:\u{fffd}user@h"),
        // Extensions that nobody can write were not asked for until they were rewritten.
        ("Contact:", "Require: \u{fffd}\r\n x\r\nContact:"),
        // Without brackets the tag went into the user part.
        ("From: \"Rossi\" <sip:0182970000@192.0.2.9>;tag=a", "From: sip:calv;tag=2@@4923"),
        // Of a URI that is no telephone's the stack takes a port, and leaves no host.
        ("To: <sip:800123456@192.0.2.1>", "To: <isbn::8;x@h>"),
        // A carriage return alone does not end a line, and does not hide a header.
        ("SIP/2.0\r\n", "SIP/2.0\rh SIP/2.0\r\n"),
        ("Contact:", "\rFrom: x\r\nContact:"),
    ] {
        for method in ["INVITE", "OPTIONS"] {
            let message = INVITE.replacen(from, to, 1).replace("INVITE", method);
            // U+FFFD stands for a byte that is no UTF-8.
            let bytes = message.split('\u{fffd}').map(str::as_bytes).collect::<Vec<_>>().join(&0xed);
            holds(&bytes).unwrap_or_else(|e| panic!("{to}: {e}"));
        }
    }
}

proptest! {
    /// Pieces of SIP in any order, and messages broken in any place: nothing falls, and what is let in the stack can read.
    #[test]
    fn whatever_comes_holds(
        which in 0usize..62,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, prop::sample::select(PIECES)), 1..6),
    ) {
        let all = torture();
        let mut message = all.get(which).map_or(INVITE.as_bytes().to_vec(), |(_, message)| message.clone());
        for (at, cut, piece) in edits {
            let at = at.index(message.len() + 1);
            let end = (at + cut).min(message.len());
            message.splice(at..end, piece.iter().copied());
        }
        prop_assert_eq!(holds(&message), Ok(()));
    }
}

/// What messages are broken with.
const PIECES: &[&[u8]] = &[
    b"",
    b" ",
    b"\r\n",
    b"\r\n ",
    b"\t",
    b":",
    b";",
    b",",
    b"=",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"%",
    b"%41",
    b"%40",
    b"@",
    b"?",
    b"[",
    b"]",
    b"[::1]",
    b":::",
    b"/",
    b"\xff",
    "ò".as_bytes(),
    b"\0",
    b"0",
    b"99999",
    b"4294967296",
    b"tag=",
    b";tag=x",
    b"transport=x",
    b";transport=\"",
    b"method=",
    b"rport=",
    b"sip:",
    b"sips:",
    b"tel:",
    b"l: 0\r\n",
    b"Via: SIP/2.0/UDP h\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"SIP/2.0",
    b"INVITE",
    b"*",
];
