//! Staying registered with a provider (RFC 3261 §10.2): which registrar is asked when, and what its
//! answer means. Pure: time and chance are arguments; [`super::registering`] sends and receives.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};
use rsipstack::sip::{Header, HeadersExt, Response, StatusCodeKind};

use super::{
    config::{Peer, Register, Transport},
    digest::Challenge,
};

/// The wait after a round in which no registrar would have us; doubled at each further one.
const FIRST_WAIT: Duration = Duration::from_secs(4);
/// The wait after a registrar has refused our name or password: asking again soon does not make
/// them right, and providers shut out whom they take for a guesser.
const FIRST_WAIT_REFUSED: Duration = Duration::from_mins(1);
/// The longest wait between two rounds: so long may the line be unreachable after the provider is back.
const LONGEST_WAIT: Duration = Duration::from_mins(2);
/// The same after a refusal.
const LONGEST_WAIT_REFUSED: Duration = Duration::from_mins(10);
/// The longest that a registrar's `Retry-After` is obeyed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(30);
/// The most REGISTERs to one registrar in a round: after challenges, stale nonces and 423.
const MOST_ATTEMPTS: u32 = 6;
/// The longest `Min-Expires` that we go along with (423).
const LONGEST_EXPIRES: u32 = 86_400;
/// A connection that was lost sooner after the last one is not the network's fault: some registrars
/// close each. They are not to be run after.
const SETTLED: Duration = Duration::from_mins(5);
/// The time that is kept to find another registrar before the old registration runs out.
const LONGEST_MARGIN: Duration = Duration::from_mins(5);

/// Where a request can go: an address, and the name that it was found under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Address.
    pub address: SocketAddr,
    /// Transport.
    pub transport: Transport,
    /// The name that its certificate has to show (TLS).
    pub host: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.transport.name().to_ascii_lowercase())
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Find the registrars' addresses, then tell [`Registration::resolved`].
    Resolve,
    /// Send a REGISTER, then tell [`Registration::answered`] or [`Registration::unanswered`].
    Send(Attempt),
    /// Nothing before this instant.
    Wait(Instant),
    /// Nothing any more.
    Done,
}

/// A REGISTER to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Whereto.
    pub target: Target,
    /// Its CSeq number.
    pub cseq: u32,
    /// Its `Expires`, in seconds; 0 takes the registration back.
    pub expires: u32,
    /// Its credentials: `Authorization` or `Proxy-Authorization`, and the value.
    pub credentials: Option<(&'static str, String)>,
}

/// Something that the operator wants to read in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Registered, where we were not before, or elsewhere than before.
    Registered {
        /// By whom.
        target: Target,
        /// For how long.
        expires: Duration,
    },
    /// The registration has run out, and nobody has renewed it.
    Lost,
    /// A registrar would not have us, or did not answer.
    Failed {
        /// Whom we asked, where it came to asking.
        target: Option<Target>,
        /// Why.
        why: String,
        /// When all have been asked: the wait before they are asked again.
        wait: Option<Duration>,
    },
}

/// How a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The provider knows where we are.
    Registered,
    /// The first round is under way.
    Trying,
    /// No registrar has us, for now.
    Failed,
    /// Taken back, at our end.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resolving,
    Asking,
    Waiting(Instant),
    /// Taking the registration back.
    Leaving,
    Done,
}

#[derive(Debug, Clone)]
struct Granted {
    target: Target,
    until: Instant,
}

/// One account at its registrars.
#[derive(Debug)]
pub struct Registration {
    account: Register,
    phase: Phase,
    targets: Vec<Target>,
    /// Which of the targets is asked now.
    at: usize,
    granted: Option<Granted>,
    cseq: u32,
    /// What we ask for; more than configured where a registrar wants it so.
    expires: u32,
    credentials: Option<(&'static str, String)>,
    /// REGISTERs sent to this target in this round.
    attempts: u32,
    /// We have shown it our password.
    shown: bool,
    /// This round goes through all registrars, as DNS has them now.
    all: bool,
    /// Rounds in which nobody would have us, one after the other.
    failed_rounds: u32,
    /// Connections lost one soon after the other, and when the last one was.
    lost_connections: u32,
    lost_at: Option<Instant>,
    /// In this round somebody refused our name or password.
    refused: bool,
    /// In this round somebody asked us to wait.
    retry_after: Duration,
    last_error: Option<String>,
    news: Vec<News>,
}

impl Registration {
    /// An account that is to be registered at once.
    pub fn new(account: Register) -> Self {
        let expires = account.expires.as_secs().min(u64::from(LONGEST_EXPIRES)) as u32;
        Self {
            account,
            phase: Phase::Resolving,
            targets: Vec::new(),
            at: 0,
            granted: None,
            cseq: 0,
            expires,
            credentials: None,
            attempts: 0,
            shown: false,
            all: false,
            failed_rounds: 0,
            lost_connections: 0,
            lost_at: None,
            refused: false,
            retry_after: Duration::ZERO,
            last_error: None,
            news: Vec::new(),
        }
    }

    /// The account.
    pub fn account(&self) -> &Register {
        &self.account
    }

    /// The registrars, to be resolved.
    pub fn registrars(&self) -> &[Peer] {
        &self.account.registrars
    }

    /// How it stands at `now`.
    pub fn state(&self, now: Instant) -> State {
        match (&self.granted, self.phase) {
            (_, Phase::Leaving | Phase::Done) => State::Left,
            (Some(granted), _) if now < granted.until => State::Registered,
            _ if self.failed_rounds == 0 => State::Trying,
            _ => State::Failed,
        }
    }

    /// Who has registered us, and until when.
    pub fn granted(&self) -> Option<(&Target, Instant)> {
        self.granted.as_ref().map(|g| (&g.target, g.until))
    }

    /// Why the last REGISTER failed; `None` after one that did not.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// When it does something next, while it waits.
    pub fn waits_until(&self) -> Option<Instant> {
        if let Phase::Waiting(until) = self.phase { Some(until) } else { None }
    }

    /// What the operator has not read yet.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// What is to be done now.
    pub fn step(&mut self, now: Instant) -> Step {
        if self.phase != Phase::Leaving && self.granted.as_ref().is_some_and(|g| g.until <= now) {
            self.granted = None;
            self.news.push(News::Lost);
        }
        if let Phase::Waiting(until) = self.phase {
            if now < until {
                // Not past the end of the registration: its loss is news.
                return Step::Wait(self.granted.as_ref().map_or(until, |g| until.min(g.until)));
            }
            self.begin_round();
        }
        match self.phase {
            Phase::Resolving => Step::Resolve,
            Phase::Waiting(until) => Step::Wait(until),
            Phase::Done => Step::Done,
            Phase::Asking | Phase::Leaving => {
                let Some(target) = self.targets.get(self.at).cloned() else {
                    self.phase = Phase::Done;
                    return Step::Done;
                };
                self.cseq += 1;
                self.attempts += 1;
                let expires = if self.phase == Phase::Leaving { 0 } else { self.expires };
                Step::Send(Attempt { target, cseq: self.cseq, expires, credentials: self.credentials.take() })
            }
        }
    }

    /// A round begins: at the registrar that has us, else at the first in the order of DNS.
    fn begin_round(&mut self) {
        (self.refused, self.retry_after, self.all) = (false, Duration::ZERO, false);
        self.begin_target();
        if let Some(granted) = &self.granted {
            (self.targets, self.at, self.phase) = (vec![granted.target.clone()], 0, Phase::Asking);
        } else {
            self.phase = Phase::Resolving;
        }
    }

    fn begin_target(&mut self) {
        (self.credentials, self.attempts, self.shown) = (None, 0, false);
    }

    /// The registrars' addresses, in the order in which they are to be asked; or why there are none.
    pub fn resolved(&mut self, targets: Result<Vec<Target>, String>, now: Instant, dice: &mut impl Rng) {
        if self.phase != Phase::Resolving {
            return;
        }
        match targets {
            Ok(mut targets) if !targets.is_empty() => {
                self.all = true;
                if let Some(granted) = &self.granted {
                    // It has just been asked, and did not renew.
                    targets.sort_by_key(|t| *t == granted.target);
                    let (target, why) = (granted.target.clone(), self.last_error.clone().unwrap_or_default());
                    if targets == [target.clone()] {
                        return self.end_round(Some(target), why, now, dice);
                    }
                    self.news.push(News::Failed { target: Some(target), why, wait: None });
                }
                (self.targets, self.at, self.phase) = (targets, 0, Phase::Asking);
            }
            Ok(_) => self.end_round(None, "the registrar has no address".to_owned(), now, dice),
            Err(why) => self.end_round(None, why, now, dice),
        }
    }

    /// The registrar's final answer to the last attempt.
    pub fn answered(&mut self, response: &Response, contact: &str, now: Instant, dice: &mut impl Rng) {
        if self.phase == Phase::Leaving {
            return self.answered_while_leaving(response, dice);
        }
        if self.phase != Phase::Asking {
            return;
        }
        let status = response.status_code.code();
        match status {
            401 | 407 | 423 if self.attempts >= MOST_ATTEMPTS => self.next_target(format!("answered {status} again and again"), now, dice),
            401 | 407 => match self.challenge(response, dice) {
                Ok(()) => {}
                Err(why) => {
                    self.refused = true;
                    self.next_target(format!("{status}: {why}"), now, dice);
                }
            },
            423 => {
                let wanted = header(response, "Min-Expires").and_then(|v| v.trim().parse::<u32>().ok());
                match wanted.filter(|wanted| *wanted > self.expires && *wanted <= LONGEST_EXPIRES) {
                    Some(wanted) => (self.expires, self.shown) = (wanted, false),
                    None => self.next_target("423 without a Min-Expires that we could go along with".to_owned(), now, dice),
                }
            }
            _ if response.status_code.kind() == StatusCodeKind::Successful => self.registered(response, contact, now, dice),
            _ => {
                self.refused |= matches!(status, 403 | 404);
                if let Some(wait) = header(response, "Retry-After").and_then(|v| leading_number(&v)) {
                    self.retry_after = self.retry_after.max(Duration::from_secs(wait).min(LONGEST_RETRY_AFTER));
                }
                self.next_target(format!("answered {status}"), now, dice);
            }
        }
    }

    /// The registrar did not answer, or could not be reached.
    pub fn unanswered(&mut self, why: &str, now: Instant, dice: &mut impl Rng) {
        match self.phase {
            Phase::Leaving => self.phase = Phase::Done,
            Phase::Asking => self.next_target(why.to_owned(), now, dice),
            _ => {}
        }
    }

    /// The connection that we were registered over is gone (TCP, TLS): calls could not reach us.
    pub fn connection_lost(&mut self, now: Instant, dice: &mut impl Rng) {
        let Phase::Waiting(until) = self.phase else { return };
        if self.granted.is_none() {
            return;
        }
        let soon = self.lost_at.is_some_and(|at| now.saturating_duration_since(at) < SETTLED);
        self.lost_connections = if soon { self.lost_connections.saturating_add(1) } else { 0 };
        self.lost_at = Some(now);
        // Not all at once where a registrar was started anew (RFC 5626 §4.5).
        let wait = Duration::from_secs(2).saturating_mul(1 << self.lost_connections.min(16)).min(LONGEST_WAIT);
        self.phase = Phase::Waiting(until.min(now + wait.mul_f64(dice.random_range(0.2..1.0))));
    }

    /// We stop: takes the registration back, where there is one.
    pub fn leave(&mut self) {
        self.begin_target();
        match &self.granted {
            Some(granted) if self.phase != Phase::Done => {
                (self.targets, self.at, self.phase) = (vec![granted.target.clone()], 0, Phase::Leaving);
            }
            _ => self.phase = Phase::Done,
        }
    }

    fn answered_while_leaving(&mut self, response: &Response, dice: &mut impl Rng) {
        let challenged = matches!(response.status_code.code(), 401 | 407);
        if !(challenged && self.attempts < MOST_ATTEMPTS && self.challenge(response, dice).is_ok()) {
            self.phase = Phase::Done;
        }
    }

    /// Prepares the answer to a challenge, or tells why there is none.
    fn challenge(&mut self, response: &Response, dice: &mut impl Rng) -> Result<(), &'static str> {
        let proxy = response.status_code.code() == 407;
        let mut offered = response.headers.iter().filter_map(|h| match h {
            Header::WwwAuthenticate(h) if !proxy => Some(h.value()),
            Header::ProxyAuthenticate(h) if proxy => Some(h.value()),
            _ => None,
        });
        // The topmost that we can answer (RFC 8760 §2.4).
        let challenge = offered.find_map(Challenge::parse).ok_or("no challenge that we could answer")?;
        if self.shown && !challenge.stale {
            return Err("wrong user or password");
        }
        self.shown = true;
        let user = self.account.auth_user.as_ref().unwrap_or(&self.account.user);
        let cnonce = format!("{:032x}", dice.random::<u128>());
        let value = challenge.answer(user, &self.account.password, "REGISTER", &self.request_uri(), &cnonce);
        self.credentials = Some((if proxy { "Proxy-Authorization" } else { "Authorization" }, value));
        Ok(())
    }

    /// The request URI of a REGISTER: the domain, without a user (RFC 3261 §10.2).
    pub fn request_uri(&self) -> String {
        format!("sip:{}", self.account.domain)
    }

    fn registered(&mut self, response: &Response, contact: &str, now: Instant, dice: &mut impl Rng) {
        let Some(target) = self.targets.get(self.at).cloned() else { return };
        let seconds = granted_seconds(response, contact).unwrap_or(self.expires);
        if seconds == 0 {
            return self.next_target("registered us for no time at all".to_owned(), now, dice);
        }
        let expires = Duration::from_secs(u64::from(seconds.min(LONGEST_EXPIRES)));
        let known = self.granted.as_ref().is_some_and(|g| g.target == target);
        self.granted = Some(Granted { target: target.clone(), until: now + expires });
        (self.failed_rounds, self.last_error) = (0, None);
        self.phase = Phase::Waiting(now + refresh_after(expires, dice));
        if !known {
            self.news.push(News::Registered { target, expires });
        }
    }

    fn next_target(&mut self, why: String, now: Instant, dice: &mut impl Rng) {
        let target = self.targets.get(self.at).cloned();
        self.begin_target();
        self.at += 1;
        if self.at < self.targets.len() {
            self.last_error = Some(why.clone());
            self.news.push(News::Failed { target, why, wait: None });
        } else if !self.all {
            // Whoever had us does not renew: the others, as DNS has them now. What was granted stays
            // until it runs out.
            self.last_error = Some(why);
            self.phase = Phase::Resolving;
        } else {
            self.end_round(target, why, now, dice);
        }
    }

    /// Nobody would have us: a wait, longer each time, and never the same for all who wait.
    fn end_round(&mut self, target: Option<Target>, why: String, now: Instant, dice: &mut impl Rng) {
        let (first, longest) = if self.refused { (FIRST_WAIT_REFUSED, LONGEST_WAIT_REFUSED) } else { (FIRST_WAIT, LONGEST_WAIT) };
        let doubled = first.saturating_mul(1 << self.failed_rounds.min(16)).min(longest);
        let wait = doubled.mul_f64(dice.random_range(0.5..1.0)).max(self.retry_after);
        self.failed_rounds = self.failed_rounds.saturating_add(1);
        self.phase = Phase::Waiting(now + wait);
        self.last_error = Some(why.clone());
        self.news.push(News::Failed { target, why, wait: Some(wait) });
    }
}

/// When a registration is renewed: early enough to find another registrar before it runs out, and
/// not at the same moment as everybody else's.
fn refresh_after(expires: Duration, dice: &mut impl Rng) -> Duration {
    let margin = (expires / 4).max(Duration::from_secs(40).min(expires / 2)).min(LONGEST_MARGIN);
    expires.saturating_sub(margin).mul_f64(dice.random_range(0.9..1.0))
}

/// For how long the registrar has registered `contact`, in seconds (RFC 3261 §10.2.4): its Contact
/// in the answer may say, else `Expires`. Other telephones of the account may be listed beside it.
fn granted_seconds(response: &Response, contact: &str) -> Option<u32> {
    let listed = response.typed_contact_headers().unwrap_or_default();
    let place = |uri: &str| uri.split(';').next().unwrap_or_default().to_ascii_lowercase();
    let ours = listed.iter().find(|c| place(&c.uri.to_string()) == place(contact));
    // A registrar that sees us through NAT may list the address that it sees.
    let only = if let [only] = listed.as_slice() { Some(only) } else { None };
    ours.or(only)
        .and_then(rsipstack::sip::typed::Contact::expires)
        .or_else(|| header(response, "Expires").and_then(|v| v.trim().parse().ok()))
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers.iter().find(|h| h.name().eq_ignore_ascii_case(name)).map(|h| h.value().to_owned())
}

/// `Retry-After: 120 (maintenance);duration=…`.
fn leading_number(value: &str) -> Option<u64> {
    let digits: String = value.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
