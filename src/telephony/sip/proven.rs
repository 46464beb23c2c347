//! Sources that have shown a password, and how somebody who has not yet is answered over UDP: without
//! keeping anything (RFC 3261 §8.2.7), and never with more than was sent.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    stateless,
    syntax::{Fault, method},
    trunks::Trunks,
};

/// The most sources that are remembered; each has shown a password.
const MOST: usize = 4_096;

/// Sources that have shown a password: what belongs to their calls is let in without.
#[derive(Debug, Default)]
pub(super) struct Proven {
    until: HashMap<SocketAddr, (usize, Instant)>,
}

impl Proven {
    /// The trunk that `peer` has proven to be of.
    pub fn trunk_of(&self, peer: SocketAddr, now: Instant) -> Option<usize> {
        self.until.get(&peer).filter(|(_, until)| now < *until).map(|(trunk, _)| *trunk)
    }

    /// `peer` has shown the password of a user of this trunk.
    pub fn admit(&mut self, peer: SocketAddr, trunk: usize, now: Instant, lasts: Duration) {
        if self.until.len() >= MOST && !self.until.contains_key(&peer) {
            self.until.retain(|_, (_, until)| now < *until);
            if self.until.len() >= MOST {
                // Whoever proved it longest ago has most likely moved to another port.
                let oldest = self.until.iter().min_by_key(|(_, (_, until))| *until).map(|(peer, _)| *peer);
                oldest.and_then(|peer| self.until.remove(&peer));
            }
        }
        self.until.insert(peer, (trunk, now + lasts));
    }
}

/// What a datagram of somebody who may show a password comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Examined {
    /// It is let in.
    Passed,
    /// It is answered so (401), and forgotten.
    Challenged(Vec<u8>),
    /// It is a stranger's.
    Refused,
}

/// Is this an INVITE outside a call? It needs a password each time.
pub(super) fn is_new_call(datagram: &[u8]) -> bool {
    method(datagram) == Some(b"INVITE".as_slice()) && !Seen::of(datagram).in_dialog
}

/// Looks at a datagram of somebody who may show a password: a new call, or anything of somebody who
/// has not shown one yet.
pub(super) fn examine(trunks: &Trunks, datagram: &[u8], peer: SocketAddr, now: Instant) -> Examined {
    let seen = Seen::of(datagram);
    let new_call = match method(datagram) {
        _ if seen.in_dialog => return Examined::Refused,
        Some(b"INVITE") => true,
        Some(b"OPTIONS") => false,
        _ => return Examined::Refused,
    };
    let stale = match trunks.judge(peer, seen.authorizations.iter().copied(), now) {
        Some(Ok(_)) if new_call => return Examined::Passed,
        Some(Err(stale)) => stale,
        Some(Ok(_)) => false,
        None => return Examined::Refused,
    };
    let challenges = trunks.challenges(peer.ip(), stale, now);
    // An answer longer than its question would let others be flooded through us. Whoever asks so
    // tersely is offered only what comes last, which everybody knows, or nothing.
    let answer = (0..challenges.len()).find_map(|from| {
        let offered = challenges.get(from..)?.join("\r\nWWW-Authenticate: ");
        let fault = Fault { header: Some(("WWW-Authenticate", offered)), ..Fault::new(401, "Unauthorized") };
        let mut answer = Vec::new();
        stateless::answer(&mut answer, datagram, &fault, None).then_some(())?;
        (answer.len() <= datagram.len()).then_some(answer)
    });
    answer.map_or(Examined::Refused, Examined::Challenged)
}

/// The little of a request that has to be known here.
#[derive(Debug, Default)]
struct Seen<'a> {
    in_dialog: bool,
    authorizations: Vec<&'a str>,
}

impl<'a> Seen<'a> {
    fn of(datagram: &'a [u8]) -> Self {
        let mut seen = Self::default();
        for line in datagram.split(|b| *b == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|l| l.split_once(':')) else { continue };
            let name = name.trim();
            if name.eq_ignore_ascii_case("to") || name.eq_ignore_ascii_case("t") {
                seen.in_dialog |= value.to_ascii_lowercase().contains(";tag=");
            } else if name.eq_ignore_ascii_case("authorization") && seen.authorizations.len() < 4 {
                seen.authorizations.push(value.trim());
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telephony::sip::{
        config::{Secret, SipConfig, Trunk, User},
        digest::Challenge,
    };

    #[test]
    fn the_table_of_the_proven_is_bounded() {
        let (now, mut proven) = (Instant::now(), Proven::default());
        let source = |n: u32| SocketAddr::new(std::net::Ipv4Addr::from(n).into(), 5060);
        for n in 0..2 * MOST as u32 {
            proven.admit(source(n), 0, now + Duration::from_millis(u64::from(n)), Duration::from_mins(1));
        }
        assert_eq!(proven.until.len(), MOST);
        assert_eq!(proven.trunk_of(source(2 * MOST as u32 - 1), now), Some(0), "the newest stay");
    }

    fn invite(to_tag: &str, authorization: &str, body: &str) -> Vec<u8> {
        format!(
            "INVITE sip:800123456@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:6000;branch=z9hG4bK1;rport\r\n\
             From: <sip:pbx@198.51.100.1>;tag=a\r\nTo: <sip:800123456@192.0.2.1>{to_tag}\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             {authorization}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    #[test]
    fn a_caller_without_password_is_challenged_and_with_it_let_in() {
        let now = Instant::now();
        let pbx = Trunk { users: vec![User { name: "pbx".into(), password: Secret::new("geheim") }], ..Trunk::default() };
        let trunks = Trunks::new(&SipConfig { trunks: vec![pbx], ..SipConfig::default() }, &[1; 64], now);
        let peer: SocketAddr = "198.51.100.1:6000".parse().unwrap();
        let look = |datagram: &[u8]| examine(&trunks, datagram, peer, now);
        let sdp = "v=0\r\n".repeat(60);
        let Examined::Challenged(answer) = look(&invite("", "", &sdp)) else { panic!("a challenge") };
        let answer = String::from_utf8(answer).unwrap();
        let lines: Vec<_> = answer.lines().filter(|l| !l.starts_with("To:")).map(|l| l.split("nonce").next().unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"));
        let challenge = answer.lines().find_map(|l| l.strip_prefix("WWW-Authenticate: ")).and_then(Challenge::parse).unwrap();
        let said = |password: &str| {
            let value = challenge.answer("pbx", &Secret::new(password), "INVITE", "sip:800123456@192.0.2.1", "c");
            format!("authorization: {value}\r\n")
        };
        assert!(matches!(look(&invite("", &said("falsch"), &sdp)), Examined::Challenged(_)));
        assert_eq!(look(&invite(";tag=b", "", &sdp)), Examined::Refused, "a call that we do not have");
        assert_eq!(look(&invite("", &said("geheim"), &sdp)), Examined::Passed);
        let authorization = said("geheim");
        let value = authorization.trim().split_once(": ").unwrap().1;
        trunks.of_call(peer, None, [value].into_iter(), now).unwrap();
        assert!(trunks.has_proven(peer, now) && !is_new_call(&invite(";tag=b", "", &sdp)), "within its call");
        assert!(matches!(look(&invite("", "", &sdp)), Examined::Challenged(_)), "a new call needs the password again");
    }

    #[test]
    fn no_answer_is_longer_than_its_question() {
        let now = Instant::now();
        let pbx = Trunk { users: vec![User { name: "pbx".into(), password: Secret::new("geheim") }], ..Trunk::default() };
        let trunks = Trunks::new(&SipConfig { trunks: vec![pbx], ..SipConfig::default() }, &[1; 64], now);
        let peer: SocketAddr = "198.51.100.1:6000".parse().unwrap();
        let mut answered = Vec::new();
        for lines in 0..80 {
            let datagram = invite("", "", &"v=0\r\n".repeat(lines));
            if let Examined::Challenged(answer) = examine(&trunks, &datagram, peer, now) {
                assert!(answer.len() <= datagram.len());
                answered.push(String::from_utf8_lossy(&answer).matches("WWW-Authenticate").count());
            }
        }
        answered.dedup();
        assert_eq!(answered, [1, 2], "first silence, then one offer, then both");
    }
}
