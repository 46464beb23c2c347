//! Answers that need no transaction, made of the request's own headers (RFC 3261 §8.2.7): pure.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    net::SocketAddr,
};

use super::syntax::{Fault, Headers, head_end, method};

/// The headers that an answer repeats, in the order in which it does (RFC 3261 §8.2.6.2).
const REPEATED: [(&str, &str); 5] = [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("CSeq", "")];
const VIA: usize = 0;
const TO: usize = 2;

/// Writes the answer to `request` into `out`; false where it cannot be answered: an ACK, not a request, nobody to send it to.
/// Headers that a malformed request lacks are left out. `from` is told in the Via (RFC 3581) where it is given.
pub fn answer(out: &mut Vec<u8>, request: &[u8], fault: &Fault, from: Option<SocketAddr>) -> bool {
    out.clear();
    if method(request).is_none_or(|name| name == b"ACK") {
        return false;
    }
    let head = &request[..head_end(request).unwrap_or(request.len())];
    let _ = write!(out, "SIP/2.0 {} {}\r\n", fault.status, fault.reason);
    let mut seen = [false; REPEATED.len()];
    for (name, value) in Headers::new(head) {
        let known =
            |(long, short): &(&str, &str)| name.eq_ignore_ascii_case(long.as_bytes()) || name.eq_ignore_ascii_case(short.as_bytes());
        let Some(place) = REPEATED.iter().position(known) else { continue };
        // Only Via may come several times.
        if place != VIA && seen[place] {
            continue;
        }
        out.extend_from_slice(REPEATED[place].0.as_bytes());
        out.extend_from_slice(b": ");
        match from.filter(|_| place == VIA && !seen[VIA]) {
            Some(from) => top_via(out, value, from),
            None => out.extend(value.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b })),
        }
        if place == TO && !has_tag(value) {
            // The same for every repetition of the request, as nothing is remembered.
            let mut hasher = DefaultHasher::new();
            request.hash(&mut hasher);
            let _ = write!(out, ";tag={:016x}", hasher.finish());
        }
        out.extend_from_slice(b"\r\n");
        seen[place] = true;
    }
    if let Some((name, value)) = &fault.header {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    seen[VIA]
}

/// A tag after the address, or anywhere in a malformed one.
fn has_tag(to: &[u8]) -> bool {
    let params = to.iter().rposition(|b| *b == b'>').map_or(to, |at| &to[at..]);
    params.windows(4).any(|w| w.eq_ignore_ascii_case(b"tag="))
}

/// The topmost Via with where the request came from.
fn top_via(out: &mut Vec<u8>, value: &[u8], from: SocketAddr) {
    let end = value.iter().position(|b| *b == b',').unwrap_or(value.len());
    let (first, others) = value.split_at(end);
    let begin = out.len();
    for (n, part) in first.split(|b| *b == b';').enumerate() {
        let name = part.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        // What the request itself says of where it came from is not to be believed.
        if n > 0 && (name.eq_ignore_ascii_case(b"rport") || name.eq_ignore_ascii_case(b"received")) {
            continue;
        }
        if n > 0 {
            out.push(b';');
        }
        out.extend_from_slice(part);
    }
    let _ = write!(out, ";received={};rport={}", from.ip().to_canonical(), from.port());
    out.extend_from_slice(others);
    for b in &mut out[begin..] {
        if matches!(b, b'\r' | b'\n') {
            *b = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, headers: &str) -> Vec<u8> {
        format!("{line}\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes()
    }

    fn answered(request: &[u8], fault: &Fault, from: Option<&str>) -> Option<String> {
        let mut out = Vec::new();
        let there = answer(&mut out, request, fault, from.map(|f| f.parse().unwrap()));
        there.then(|| String::from_utf8(out).unwrap())
    }

    const HEADERS: &str = "v: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK0\r\n\
        From: <sip:1@192.0.2.9>;tag=a\r\nTo: <sip:2@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 4 FROB\r\nX: y\r\n";

    #[test]
    fn an_answer_repeats_what_tells_the_request() {
        let datagram = request("FROB sip:2@192.0.2.1 SIP/2.0", HEADERS);
        let fault = Fault { header: Some(("Allow", "INVITE, BYE".into())), ..Fault::new(501, "Not Implemented") };
        let answer = answered(&datagram, &fault, Some("198.51.100.7:6000")).unwrap();
        let (to, rest): (Vec<_>, Vec<_>) = answer.lines().partition(|l| l.starts_with("To:"));
        assert!(to[0].starts_with("To: <sip:2@192.0.2.1>;tag="));
        insta::assert_snapshot!(rest.join("\n"));
        assert_eq!(answered(&datagram, &fault, Some("198.51.100.7:6000")).unwrap(), answer, "the same tag again");
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        let fault = Fault::new(400, "Bad Request");
        let none = |request: &[u8]| assert_eq!(answered(request, &fault, None), None, "{}", String::from_utf8_lossy(request));
        none(&request("ACK sip:2@192.0.2.1 SIP/2.0", HEADERS));
        none(&request("BYE sip:2@192.0.2.1 SIP/2.0", "From: <sip:1@192.0.2.9>;tag=a\r\nCall-ID: c\r\n"));
        none(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\r\n");
        none(b"GET / HTTP/1.1\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\r\n");
        none(b"\xff\xfe");
    }

    #[test]
    fn a_broken_request_is_answered_with_what_it_has() {
        let broken =
            request("BYE sip:2@192.0.2.1 SIP/2.0", "Via: SIP/2.0/UDP h;received=1.1.1.1\r\n ;branch=z , SIP/2.0/UDP i\r\nTo: \"a\r\n");
        let answer = answered(&broken, &Fault::new(400, "Malformed To"), Some("[::ffff:192.0.2.3]:5060")).unwrap();
        assert!(answer.starts_with(
            "SIP/2.0 400 Malformed To\r\nVia: SIP/2.0/UDP h;branch=z ;received=192.0.2.3;rport=5060, SIP/2.0/UDP i\r\nTo: \"a;tag="
        ));
        assert!(answer.ends_with("\r\nContent-Length: 0\r\n\r\n") && answer.lines().count() == 5, "{answer}");
    }

    #[test]
    fn a_tag_that_is_there_is_kept() {
        let tagged = request("BYE sip:2@192.0.2.1 SIP/2.0", "Via: SIP/2.0/UDP h\r\nTo: <sip:2@h;tag=no>;TAG=yes\r\n");
        let answer = answered(&tagged, &Fault::new(481, "No Call"), None).unwrap();
        assert!(answer.contains("\r\nTo: <sip:2@h;tag=no>;TAG=yes\r\n"), "{answer}");
    }
}
