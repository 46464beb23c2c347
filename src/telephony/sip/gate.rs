//! Who comes in at the door, who is answered there, and who hears nothing: pure, the time is an argument.
//!
//! The Internet scans every SIP port. A stranger's request costs a look-up; the first few of a source are answered 403, within a
//! budget for all strangers together, and never with more bytes than it sent: nobody can be flooded through us. A trunk's
//! messages are looked through ([`syntax`]), and a new call for which there is no room is answered 503
//! before anything is kept of it.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    limits::{Bucket, Rate, RateLimits, Source},
    recent::{Fate, Recent},
    stateless,
    syntax::{self, Fault, Headers, Message, Refusal, head_end, method, rewrite::rewrite},
};

/// Source addresses whose rate is watched one by one.
const WATCHED_SOURCES: usize = 16_384;
/// INVITEs that are remembered for their repetitions.
const REMEMBERED: usize = 32_768;
/// How long the source of a known scanner hears nothing at all.
const SCANNER_SILENCE: Duration = Duration::from_hours(1);
/// When a caller refused for want of room may try again, in seconds.
pub(super) const RETRY_AFTER: &str = "10";

/// What scanners call themselves, in lower case. They are told nothing at all: an answer is what they look for.
const SCANNERS: [&str; 14] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sip-scan",
    "sipscan",
    "sipcli",
    "sipsak",
    "sundayddr",
    "vaxsipuseragent",
    "vaxipuseragent",
    "sivus",
    "siparmyknife",
    "pplsip",
    "nmap",
];

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the stack, as it is.
    Pass,
    /// It goes to the stack as it has been written into the buffer.
    Rewritten,
    /// It is answered with what has been written into the buffer.
    Answer(Why),
    /// Nothing.
    Silence(Why),
}

/// Why a message goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// From no trunk.
    Stranger,
    /// From no trunk, and by its own word a scanner.
    Scanner,
    /// The source, or everyone together, asks too often.
    TooOften,
    /// Not SIP, malformed, or asking for what there is not.
    Malformed,
    /// No room for a call, or none any more.
    Full,
    /// The end of what was answered here: an ACK.
    Absorbed,
}

/// What the gate is told of a trunk.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its name.
    pub trunk: &'a str,
    /// New calls a second that it may make.
    pub calls_per_second: u32,
}

/// The gate of an endpoint; all of its sockets share one.
#[derive(Debug)]
pub struct Gate {
    began: Instant,
    strangers: RateLimits,
    all_strangers: Bucket,
    /// Answers to a trunk's sources: UDP sources can be forged.
    answers: RateLimits,
    /// New calls, by trunk: at most as many as there are trunks.
    calls: HashMap<String, Bucket>,
    recent: Recent,
    hasher: RandomState,
}

impl Gate {
    /// A gate; `now` is its beginning.
    pub fn new(now: Instant) -> Self {
        Self::watching(WATCHED_SOURCES, REMEMBERED, now)
    }

    /// A gate that tells some `sources` strangers apart and remembers `invites` new calls.
    pub fn watching(sources: usize, invites: usize, now: Instant) -> Self {
        Self {
            began: now,
            strangers: RateLimits::new(sources, now),
            all_strangers: Bucket::default(),
            answers: RateLimits::new(sources / 16, now),
            calls: HashMap::new(),
            recent: Recent::new(invites),
            hasher: RandomState::new(),
        }
    }

    /// Judges one message. `room`: may one more call be taken? It is asked only about new calls. What is to be sent or passed on instead of
    /// the message is written into `buffer`.
    pub fn judge(
        &mut self,
        message: &[u8],
        from: SocketAddr,
        known: Option<Known<'_>>,
        room: impl FnOnce() -> bool,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Verdict {
        let Some(known) = known else { return self.stranger(message, from, now, buffer) };
        let refusal = match syntax::check(message) {
            Ok(Message::KeepAlive) => return Verdict::Pass,
            Ok(Message::Response { loose }) => return pass(loose, message, buffer),
            Ok(Message::Request(request)) => match self.admit(&request, from, known, room, now) {
                Ok(()) => return pass(request.loose, message, buffer),
                Err(Some(fault)) => (fault, Why::Full),
                Err(None) => return Verdict::Silence(Why::Absorbed),
            },
            Err(Refusal::Answer(fault)) => (fault, Why::Malformed),
            Err(Refusal::Silence(_)) => return Verdict::Silence(Why::Malformed),
        };
        self.refuse(message, from, &refusal.0, refusal.1, now, buffer)
    }

    /// Answers a trunk's request with `fault`, as often as its source may be answered.
    pub fn refuse(&mut self, message: &[u8], from: SocketAddr, fault: &Fault, why: Why, now: Instant, buffer: &mut Vec<u8>) -> Verdict {
        if !stateless::answer(buffer, message, fault, Some(from)) {
            return Verdict::Silence(why);
        }
        // Far more than a trunk sends; but its address may be forged.
        if self.answers.allow(from.ip(), Rate::per_second(10_000, 20_000), now) {
            Verdict::Answer(why)
        } else {
            Verdict::Silence(Why::TooOften)
        }
    }

    /// May one more call of this trunk be begun now? For calls that come in past [`Gate::judge`].
    pub fn may_call(&mut self, known: Known<'_>, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.began).as_nanos() as u64;
        let rate = Rate::per_second(known.calls_per_second, known.calls_per_second.saturating_mul(2));
        if !self.calls.contains_key(known.trunk) {
            self.calls.insert(known.trunk.to_owned(), Bucket::default());
        }
        self.calls.get_mut(known.trunk).is_some_and(|bucket| bucket.take(rate, since))
    }

    /// New calls find room or are refused; `Err(None)` is the ACK of such a refusal.
    fn admit(
        &mut self,
        request: &syntax::Request<'_>,
        from: SocketAddr,
        known: Known<'_>,
        room: impl FnOnce() -> bool,
        now: Instant,
    ) -> Result<(), Option<Fault>> {
        let invite = request.method == b"INVITE" && !request.in_dialog;
        if !invite && request.method != b"ACK" {
            return Ok(());
        }
        // The ACK of a refusal has the branch of its INVITE (RFC 3261 §17.1.1.3).
        let key = self.hasher.hash_one((Source::from(from.ip()), request.branch, request.call_id, request.cseq));
        let shed = || Some(Fault { header: Some(("Retry-After", RETRY_AFTER.to_owned())), ..Fault::new(503, "Service Unavailable") });
        match self.recent.fate(key) {
            Some(Fate::Shed) if invite => return Err(shed()),
            Some(Fate::Shed) => return Err(None),
            Some(Fate::Passed) => return Ok(()),
            None if !invite => return Ok(()),
            None => {}
        }
        let fate = if room() && self.may_call(known, now) { Fate::Passed } else { Fate::Shed };
        self.recent.note(key, fate, now);
        if fate == Fate::Passed { Ok(()) } else { Err(shed()) }
    }

    fn stranger(&mut self, message: &[u8], from: SocketAddr, now: Instant, buffer: &mut Vec<u8>) -> Verdict {
        // A few at once, then one in ten seconds; whoever goes on all the same hears nothing until it lets up.
        if !self.strangers.allow_or_wait(from.ip(), Rate::every(Duration::from_secs(10), 5), now) {
            return Verdict::Silence(Why::TooOften);
        }
        // Responses, pings and noise get no answer.
        if method(message).is_none() {
            return Verdict::Silence(Why::Stranger);
        }
        if is_scanner(message) {
            self.strangers.shut_out(from.ip(), SCANNER_SILENCE, now);
            return Verdict::Silence(Why::Scanner);
        }
        let small = stateless::answer(buffer, message, &Fault::new(403, "Forbidden"), None) && buffer.len() <= message.len();
        let since = now.saturating_duration_since(self.began).as_nanos() as u64;
        if !small {
            Verdict::Silence(Why::Stranger)
        } else if self.all_strangers.take(Rate::per_second(50, 100), since) {
            Verdict::Answer(Why::Stranger)
        } else {
            Verdict::Silence(Why::TooOften)
        }
    }
}

fn pass(loose: bool, message: &[u8], buffer: &mut Vec<u8>) -> Verdict {
    if !loose {
        return Verdict::Pass;
    }
    rewrite(message, buffer);
    Verdict::Rewritten
}

/// Does it say that it is a scanner, in its User-Agent or the name of its caller?
fn is_scanner(message: &[u8]) -> bool {
    let head = &message[..head_end(message).unwrap_or(message.len())];
    let telling = |name: &[u8]| ["User-Agent", "From", "f"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    Headers::new(head)
        .filter(|(name, _)| telling(name))
        .any(|(_, value)| SCANNERS.iter().any(|word| value.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word.as_bytes()))))
}

#[cfg(test)]
mod tests;
