//! Whole registrations, with a made-up clock, as tables of what is asked and what comes of it.

use std::fmt::Write as _;

use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::telephony::sip::config::Secret;

const CONTACT: &str = "sip:0182970000@192.0.2.1:5060";

/// What the registrars do with a REGISTER.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Is not there.
    Nothing,
    /// Answers with this status and these headers.
    Says(u16, &'static str),
}
use Does::{Nothing, Says};

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";
const STALE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", stale=TRUE, qop=\"auth\"";

fn response(status: u16, headers: &str) -> Response {
    let headers = headers.split('\n').filter(|h| !h.is_empty()).fold(String::new(), |text, h| text + h + "\r\n");
    let text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:u@d>;tag=a\r\nTo: <sip:u@d>;tag=b\r\n\
         Call-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
    );
    Response::try_from(text.as_str()).unwrap()
}

fn target(n: u8) -> Target {
    Target { address: SocketAddr::from(([203, 0, 113, n], 5060)), transport: Transport::Udp, host: "sip.example.it".into() }
}

fn account(expires: u64) -> Register {
    Register {
        registrars: vec![Peer::parse("sip.example.it", Transport::Udp).unwrap()],
        domain: "example.it".into(),
        user: "0182970000".into(),
        contact_user: None,
        auth_user: None,
        password: Secret::new("geheim"),
        expires: Duration::from_secs(expires),
    }
}

/// A made-up world: a machine, its clock, its dice, and a diary of what happened.
struct World {
    machine: Registration,
    start: Instant,
    now: Instant,
    dice: StdRng,
    diary: String,
    targets: Result<Vec<Target>, String>,
}

impl World {
    fn new(expires: u64, targets: &[u8]) -> Self {
        let start = Instant::now();
        Self {
            machine: Registration::new(account(expires)),
            start,
            now: start,
            dice: StdRng::seed_from_u64(3),
            diary: String::new(),
            targets: Ok(targets.iter().map(|n| target(*n)).collect()),
        }
    }

    fn note(&mut self, what: &str) {
        let seconds = (self.now - self.start).as_secs_f64();
        let _ = writeln!(self.diary, "{seconds:7.1} {what}");
    }

    /// Lives through this play: each REGISTER meets its next line, waits pass at once. Ends with a wait after the last one.
    fn live(&mut self, play: &[Does]) -> &mut Self {
        let mut play = play.iter();
        for _ in 0..1_000 {
            let step = self.machine.step(self.now);
            for news in self.machine.news() {
                self.note(&told(&news));
            }
            match step {
                Step::Resolve => {
                    let targets = self.targets.clone();
                    self.machine.resolved(targets, self.now, &mut self.dice);
                }
                Step::Send(attempt) => {
                    let Some(does) = play.next() else { panic!("more REGISTERs than in the play:\n{}", self.diary) };
                    let credentials = attempt.credentials.as_ref().map_or("", |(name, value)| {
                        assert!(value.contains("username=\"0182970000\"") && value.contains("uri=\"sip:example.it\""), "{value}");
                        name
                    });
                    self.note(&format!("{} {} expires {} {credentials} → {does:?}", attempt.target, attempt.cseq, attempt.expires));
                    match does {
                        Nothing => {
                            self.now += Duration::from_secs(8);
                            self.machine.unanswered("no answer", self.now, &mut self.dice);
                        }
                        Says(status, headers) => {
                            self.now += Duration::from_millis(100);
                            self.machine.answered(&response(*status, headers), CONTACT, self.now, &mut self.dice);
                        }
                    }
                }
                Step::Wait(until) => {
                    assert!(until > self.now, "no waiting for the past");
                    if play.len() == 0 {
                        let state = self.machine.state(self.now);
                        self.note(&format!("{state:?}; waits {:.1} s", (until - self.now).as_secs_f64()));
                        return self;
                    }
                    self.now = until;
                }
                Step::Done => {
                    assert_eq!(play.len(), 0, "the play goes on:\n{}", self.diary);
                    self.note("done");
                    return self;
                }
            }
        }
        panic!("no end:\n{}", self.diary);
    }
}

fn told(news: &News) -> String {
    match news {
        News::Registered { target, expires } => format!("NEWS registered at {target} for {expires:?}"),
        News::Lost => "NEWS lost".to_owned(),
        News::Failed { target, why, wait } => {
            let target = target.as_ref().map_or_else(|| "DNS".to_owned(), ToString::to_string);
            let wait = wait.map_or(String::new(), |w| format!("; waits {:.1} s", w.as_secs_f64()));
            format!("NEWS {target}: {why}{wait}")
        }
    }
}

#[test]
fn registered_renewed_and_taken_back() {
    let mut world = World::new(3_600, &[1]);
    let granted = Says(200, "Contact: <sip:0182970000@192.0.2.1:5060>;expires=600");
    world.live(&[Says(401, CHALLENGE), granted, Says(401, CHALLENGE), granted]);
    world.machine.leave();
    world.live(&[Says(401, CHALLENGE), Says(200, "")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn the_granted_time_is_the_one_that_counts() {
    let seconds = |headers: &str| granted_seconds(&response(200, headers), CONTACT);
    let ours = "Contact: <sip:0182970000@192.0.2.1:5060>;expires=300";
    assert_eq!(seconds(ours), Some(300));
    assert_eq!(seconds(&format!("{ours}\nExpires: 3600")), Some(300));
    assert_eq!(seconds("Contact: <sip:0182970000@192.0.2.1:5060>\nExpires: 1200"), Some(1_200));
    assert_eq!(seconds("Contact: <sip:other@192.0.2.7>;expires=60, <sip:0182970000@192.0.2.1:5060;ob>;expires=900"), Some(900));
    assert_eq!(seconds("Contact: <sip:0182970000@198.51.100.7:31000>;expires=120"), Some(120), "as seen through NAT");
    assert_eq!(seconds("Contact: <sip:a@192.0.2.7>;expires=60, <sip:b@192.0.2.8>;expires=70\nExpires: 500"), Some(500));
    assert_eq!(seconds(""), None);
    assert_eq!(seconds("Expires: soon"), None);
}

#[test]
fn a_registrar_that_wants_longer_registrations_gets_them() {
    let mut world = World::new(60, &[1]);
    world.live(&[Says(423, "Min-Expires: 1800"), Says(401, CHALLENGE), Says(200, "Expires: 1800")]);
    insta::assert_snapshot!(world.diary);
    let mut unreasonable = World::new(60, &[1]);
    unreasonable.live(&[Says(423, "Min-Expires: 999999"), Says(423, "Min-Expires: 60"), Says(423, "")]);
    insta::assert_snapshot!(unreasonable.diary);
}

#[test]
fn a_dead_registrar_is_passed_over_and_the_wait_grows() {
    let mut world = World::new(3_600, &[1, 2]);
    world.live(&[Nothing, Says(503, ""), Nothing, Nothing, Nothing, Nothing, Nothing, Says(200, "Expires: 300")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn who_had_us_and_does_not_answer_is_asked_last() {
    let mut world = World::new(120, &[1, 2]);
    world.live(&[Says(200, ""), Nothing, Says(200, ""), Says(200, "")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn a_registration_that_nobody_renews_is_lost_and_told_once() {
    let mut world = World::new(60, &[1]);
    world.live(&[Says(200, ""), Nothing, Nothing, Nothing, Nothing, Nothing, Nothing, Says(200, "")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn a_wrong_password_is_not_tried_again_soon() {
    let mut world = World::new(3_600, &[1, 2]);
    world.live(&[Says(401, CHALLENGE), Says(401, CHALLENGE), Says(403, ""), Says(401, CHALLENGE), Says(403, ""), Says(404, "")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn stale_nonces_are_answered_but_not_for_ever() {
    let mut world = World::new(3_600, &[1]);
    world.live(&[Says(407, CHALLENGE_407), Says(407, STALE_407), Says(200, "")]);
    let mut endless = World::new(3_600, &[1]);
    endless.live(&[Says(401, CHALLENGE), Says(401, STALE), Says(401, STALE), Says(401, STALE), Says(401, STALE), Says(401, STALE)]);
    insta::assert_snapshot!(format!("{}\n{}", world.diary, endless.diary));
}

const CHALLENGE_407: &str = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"";
const STALE_407: &str = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"m\", stale=true";

#[test]
fn the_topmost_challenge_that_can_be_answered_is() {
    let mut machine = Registration::new(account(60));
    let mut dice = StdRng::seed_from_u64(1);
    let now = Instant::now();
    machine.resolved(Ok(vec![target(1)]), now, &mut dice);
    machine.step(now);
    let offered = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=SHA-3\n\
        WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\"\n\
        WWW-Authenticate: Digest realm=\"r\", nonce=\"3\", algorithm=MD5, qop=\"auth\"";
    machine.answered(&response(401, offered), CONTACT, now, &mut dice);
    let Step::Send(attempt) = machine.step(now) else { panic!("an answer") };
    let (name, value) = attempt.credentials.unwrap();
    assert!(name == "Authorization" && value.contains("nonce=\"2\"") && value.contains("algorithm=SHA-256"), "{value}");
}

#[test]
fn a_registrar_that_asks_to_wait_is_obeyed() {
    let mut world = World::new(3_600, &[1]);
    world.live(&[Says(503, "Retry-After: 120 (maintenance)"), Says(503, "Retry-After: 99999999"), Says(200, "")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn without_addresses_it_waits_and_asks_dns_again() {
    let mut world = World::new(3_600, &[]);
    world.live(&[]);
    world.targets = Err("no such domain".to_owned());
    for _ in 0..3 {
        let until = world.machine.waits_until().unwrap();
        world.now = until;
        world.live(&[]);
    }
    world.targets = Ok(vec![target(9)]);
    world.live(&[Says(200, "")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn a_lost_connection_is_registered_over_again() {
    let mut world = World::new(3_600, &[1]);
    world.live(&[Says(200, "")]);
    // One that closes every connection at once is asked ever more seldom.
    for _ in 0..8 {
        world.machine.connection_lost(world.now, &mut world.dice);
        world.live(&[Says(200, "")]);
    }
    world.now += Duration::from_mins(20);
    world.machine.connection_lost(world.now, &mut world.dice);
    world.live(&[Says(200, "")]);
    insta::assert_snapshot!(world.diary);
}

#[test]
fn leaving_takes_no_longer_than_it_must() {
    let mut silent = World::new(60, &[1]);
    silent.live(&[Says(200, "")]);
    silent.machine.leave();
    silent.live(&[Nothing]);
    let mut never = World::new(60, &[1]);
    never.machine.leave();
    never.live(&[]);
    let mut wrong = World::new(60, &[1]);
    wrong.live(&[Says(200, "")]);
    wrong.machine.leave();
    wrong.live(&[Says(401, CHALLENGE), Says(401, CHALLENGE)]);
    insta::assert_snapshot!(format!("{}\n{}\n{}", silent.diary, never.diary, wrong.diary));
}
