//! The door in front of the SIP stack on UDP: what a stranger sends never reaches the stack.
//!
//! The Internet scans every SIP port. Whoever is no trunk's is answered 403 a few times a second and
//! then not at all; a trunk's methods that the stack's parser does not know get 501, and what does not
//! fit into its buffer 513. These answers are stateless (RFC 3261 §8.2.7): nothing is kept, however
//! much comes in, and they go back to where the packet came from, at about its size: nobody can be
//! flooded through us.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Instant,
};

use rsipstack::{platform::net::UdpSocket as StackSocket, sip::Method};
use tokio::net::UdpSocket;

use super::{
    listen::socket_towards,
    proven::{Examined, examine, is_new_call},
    server::{ALLOW, STRANGER_ANSWERS, Shared},
    trunks::Standing,
};

/// The longest name of a method that is answered.
const LONGEST_METHOD: usize = 32;
/// The most header bytes that a stateless answer repeats.
const LONGEST_ECHO: usize = 2_048;

/// A UDP socket that lets only the trunks' packets through.
pub(super) struct Door {
    pub socket: Arc<UdpSocket>,
    /// All UDP sockets, this one among them.
    pub all: Arc<[Arc<UdpSocket>]>,
    pub shared: Arc<Shared>,
}

#[async_trait::async_trait]
impl StackSocket for Door {
    async fn recv_from(&self, buffer: &mut [u8]) -> rsipstack::Result<(usize, SocketAddr)> {
        loop {
            let (length, from) = self.socket.recv_from(buffer).await?;
            let datagram = &buffer[..length];
            let now = Instant::now();
            let refusal = match self.entry(datagram, from, now) {
                Entry::Done => continue,
                Entry::Refuse(refusal) => Some(refusal),
                Entry::LetIn if length == buffer.len() => Some((513, "Message Too Large", "")),
                Entry::LetIn => unknown_method(datagram).then_some((501, "Not Implemented", ALLOW)),
            };
            let Some((status, reason, allow)) = refusal else { return Ok((length, from)) };
            let may_answer = || {
                let mut limits = self.shared.limits.lock().unwrap_or_else(PoisonError::into_inner);
                limits.allow(from.ip(), STRANGER_ANSWERS, Instant::now())
            };
            let allow = if allow.is_empty() { String::new() } else { format!("Allow: {allow}\r\n") };
            match stateless_answer(datagram, status, reason, &allow).filter(|_| may_answer()) {
                // A full send buffer is as good a reason as any to be silent.
                Some(answer) if self.socket.try_send_to(answer.as_bytes(), from).is_ok() => {}
                _ => {
                    self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn send_to(&self, buffer: &[u8], to: SocketAddr) -> rsipstack::Result<usize> {
        Ok(socket_towards(&self.socket, &self.all, buffer, to).send_to(buffer, to).await?)
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}

/// What becomes of a datagram at the door.
enum Entry {
    LetIn,
    Refuse(Refusal),
    /// It has been answered, or is not to be.
    Done,
}

impl Door {
    /// Whose datagram it is, and whether that lets it in.
    fn entry(&self, datagram: &[u8], from: SocketAddr, now: Instant) -> Entry {
        let (per_second, proven) = match self.shared.trunks.standing(from, now) {
            Standing::Known => return Entry::LetIn,
            Standing::Stranger => {
                self.shared.counters.strangers.fetch_add(1, Ordering::Relaxed);
                return Entry::Refuse((403, "Forbidden", ""));
            }
            Standing::MayProve { per_second, proven } => (per_second, proven),
        };
        if proven && !is_new_call(datagram) {
            return Entry::LetIn;
        }
        if !self.shared.may_ask(from.ip(), per_second, now) {
            return Entry::Done;
        }
        match examine(&self.shared.trunks, datagram, from, now) {
            Examined::Passed => Entry::LetIn,
            Examined::Refused => Entry::Refuse((403, "Forbidden", "")),
            Examined::Challenged(answer) => {
                // A full send buffer is as good a reason as any to be silent.
                let _ = self.socket.try_send_to(answer.as_bytes(), from);
                Entry::Done
            }
        }
    }
}

/// Status, reason phrase, and the methods that are allowed instead.
type Refusal = (u16, &'static str, &'static str);

/// The method of a request, `None` where it is none.
pub(super) fn method(datagram: &[u8]) -> Option<&str> {
    let line = datagram.split(|b| matches!(b, b'\r' | b'\n')).next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, _uri, version) = (words.next()?, words.next()?, words.next()?);
    // RFC 3261 §25.1, `token`.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    let is_method = !method.is_empty() && method.len() <= LONGEST_METHOD && method.bytes().all(token);
    (is_method && version == "SIP/2.0").then_some(method)
}

fn unknown_method(datagram: &[u8]) -> bool {
    method(datagram).is_some_and(|name| name.parse::<Method>().is_err())
}

/// The answer to a request, made of its own headers and the lines `more`; `None` where it cannot be answered.
pub(super) fn stateless_answer(datagram: &[u8], status: u16, reason: &str, more: &str) -> Option<String> {
    let name = method(datagram)?;
    if name.eq_ignore_ascii_case("ACK") {
        return None;
    }
    let mut answer = format!("SIP/2.0 {status} {reason}\r\n");
    // Via, From, To, Call-ID, CSeq: without any of them there is nobody to answer (RFC 3261 §8.2.6.2).
    let mut seen = [false; 5];
    for line in datagram.split(|b| *b == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || answer.len() > LONGEST_ECHO {
            break;
        }
        let Some((header, value)) = std::str::from_utf8(line).ok().and_then(|l| l.split_once(':')) else { continue };
        let place = match header.trim().to_ascii_lowercase().as_str() {
            "via" | "v" => 0,
            "from" | "f" => 1,
            "to" | "t" => 2,
            "call-id" | "i" => 3,
            "cseq" => 4,
            _ => continue,
        };
        // Only Via may come several times.
        if place > 0 && seen[place] {
            return None;
        }
        seen[place] = true;
        let full_name = ["Via", "From", "To", "Call-ID", "CSeq"][place];
        answer.push_str(full_name);
        answer.push_str(": ");
        answer.push_str(value.trim());
        if place == 2 && !value.to_ascii_lowercase().contains(";tag=") {
            // The same for every repetition of the request, as nothing is remembered.
            let mut hasher = DefaultHasher::new();
            datagram.hash(&mut hasher);
            let _ = write!(answer, ";tag={:016x}", hasher.finish());
        }
        answer.push_str("\r\n");
    }
    if seen.contains(&false) || answer.len() > LONGEST_ECHO {
        return None;
    }
    answer.push_str(more);
    answer.push_str("Content-Length: 0\r\n\r\n");
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, headers: &str) -> Vec<u8> {
        format!("{line}\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes()
    }

    const HEADERS: &str = "v: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1;rport\r\nVia: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK0\r\n\
        From: <sip:1@192.0.2.9>;tag=a\r\nTo: <sip:2@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 4 FROB\r\nX: y\r\n";

    #[test]
    fn an_unknown_method_is_told_which_ones_are_known() {
        let datagram = request("FROB sip:2@192.0.2.1 SIP/2.0", HEADERS);
        assert!(unknown_method(&datagram));
        let answer = stateless_answer(&datagram, 501, "Not Implemented", "Allow: INVITE, BYE\r\n").unwrap();
        let (to, rest): (Vec<_>, Vec<_>) = answer.lines().partition(|l| l.starts_with("To:"));
        assert!(to[0].starts_with("To: <sip:2@192.0.2.1>;tag="));
        insta::assert_snapshot!(rest.join("\n"));
        assert_eq!(stateless_answer(&datagram, 501, "Not Implemented", "Allow: INVITE, BYE\r\n").unwrap(), answer, "the same tag again");
    }

    #[test]
    fn known_methods_and_garbage_are_left_to_the_stack() {
        for line in ["INVITE sip:2@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK", "GET / HTTP/1.1", "F(O sip:2@192.0.2.1 SIP/2.0", "", "FROB"] {
            assert!(!unknown_method(&request(line, HEADERS)), "{line}");
        }
        assert!(!unknown_method(b"\xff\xfe sip:2@h SIP/2.0\r\n\r\n"));
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        assert_eq!(stateless_answer(&request("ACK sip:2@192.0.2.1 SIP/2.0", HEADERS), 403, "Forbidden", ""), None);
        let cut = HEADERS.split_once("CSeq").unwrap().0;
        assert_eq!(stateless_answer(&request("BYE sip:2@192.0.2.1 SIP/2.0", cut), 403, "Forbidden", ""), None);
        let doubled = format!("{HEADERS}From: <sip:1@192.0.2.9>;tag=b\r\n");
        assert_eq!(stateless_answer(&request("BYE sip:2@192.0.2.1 SIP/2.0", &doubled), 403, "Forbidden", ""), None);
        let long = format!("{HEADERS}Via: {}\r\n", "x".repeat(3_000));
        assert_eq!(stateless_answer(&request("BYE sip:2@192.0.2.1 SIP/2.0", &long), 403, "Forbidden", ""), None);
        assert_eq!(stateless_answer(b"SIP/2.0 200 OK\r\n\r\n", 403, "Forbidden", ""), None);
    }
}
