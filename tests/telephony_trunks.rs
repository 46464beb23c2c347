//! Trunks against real peers: registrars (sipp, Kamailio), callers with a password, caps, OPTIONS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

#[path = "telephony_support/dns.rs"]
mod dns;
#[path = "telephony_support/kamailio.rs"]
mod kamailio;
mod telephony_support;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use kamailio::Kamailio;
use telephony_support::{LINE, Line, PATIENCE, SHORT, config, free_port, program, sipp_at};
use voceguida::telephony::sip::{
    SipConfig, Trunk,
    config::{KeepAlive, Peer, Register, Secret, Transport, User},
    digest::Algorithm,
    status::{Health, RegistrationState, TrunkStatus},
};

fn peer(text: &(impl ToString + ?Sized)) -> Peer {
    Peer::parse(&text.to_string(), Transport::Udp).unwrap()
}

/// A trunk that registers `800123456@example.test` with these registrars.
fn registering(registrars: Vec<Peer>) -> Trunk {
    let register = Register {
        registrars,
        domain: "example.test".into(),
        user: LINE.into(),
        contact_user: None,
        auth_user: None,
        password: Secret::new("geheim"),
        expires: Duration::from_mins(10),
    };
    Trunk { name: "provider".into(), register: Some(register), ..Trunk::default() }
}

fn with(rtp_ports: std::ops::RangeInclusive<u16>, trunks: Vec<Trunk>) -> SipConfig {
    SipConfig { trunks, ..config(rtp_ports) }
}

/// Waits until the first trunk looks like that.
async fn until(line: &Line, what: &str, looks: impl Fn(&TrunkStatus) -> bool) -> TrunkStatus {
    let began = Instant::now();
    loop {
        let status = line.server.monitor().trunks().swap_remove(0);
        if looks(&status) {
            return status;
        }
        assert!(began.elapsed() < 2 * PATIENCE, "{what}: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_registered(status: &TrunkStatus) -> bool {
    status.registration.as_ref().is_some_and(|r| r.state == RegistrationState::Registered)
}

/// A sipp that waits for requests on this port.
fn answering(scenario: &str, port: u16, more: &[&str]) -> tokio::task::JoinHandle<Output> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(scenario).with_extension("xml");
    let mut command = program("sipp");
    command
        .current_dir(dir.path())
        .args(["-sf", &file.display().to_string(), "-i", "127.0.0.1", "-p", &port.to_string(), "-t", "u1", "-nostdin"])
        .args(["-timeout", "60", "-timeout_error", "-trace_err", "-error_file", "errors.txt"])
        .args(more)
        .stdin(Stdio::null());
    tokio::task::spawn_blocking(move || {
        let mut output = command.output().expect("sipp runs");
        output.stderr = std::fs::read(dir.path().join("errors.txt")).unwrap_or_default();
        output
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_renewed_in_time_and_taken_back() {
    let port = free_port();
    let registrar = answering("registrar", port, &["-m", "1"]);
    let line = Line::start(with(24_000..=24_019, vec![registering(vec![peer(&format!("127.0.0.1:{port}"))])])).await;
    // The first grant lasts four seconds, the second a minute.
    let status =
        until(&line, "it is renewed", |s| s.registration.as_ref().and_then(|r| r.expires_in_seconds).is_some_and(|s| s > 10)).await;
    assert_eq!(status.health, Health::Up);
    assert_eq!(status.registration.unwrap().registrar, Some(format!("127.0.0.1:{port}/udp")));
    line.server.drain(Duration::from_secs(1)).await;
    let output = registrar.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Registers with Kamailio and takes a call that comes in through it.
async fn registers_and_is_called(algorithm: &str, transport: Transport, rtp_ports: std::ops::RangeInclusive<u16>) {
    let kamailio = Kamailio::start(algorithm, None);
    let registrar = Peer { transport, ..peer(&kamailio.udp) };
    let line = Line::start(with(rtp_ports, vec![registering(vec![registrar])])).await;
    until(&line, &format!("registered by {transport:?}: {}", kamailio.log()), is_registered).await;
    for (number, scenario) in [(LINE, "basic"), (LINE, "listen")] {
        let output = sipp_at(kamailio.udp, "UDP", scenario, number, &["-d", "1000"]).await;
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), kamailio.log());
    }
    let records = line.handler.wait_for_records(2).await;
    assert!(records.iter().all(|r| (r.call.trunk.as_str(), r.cause.as_str()) == ("provider", "caller_hung_up")), "{records:?}");
    let status = until(&line, "two calls", |s| s.answered == 2).await;
    assert_eq!((status.invites, status.calls, status.heard_seconds_ago.is_some()), (2, 0, true));
    line.server.drain(Duration::from_secs(1)).await;
    // Taken back: Kamailio knows nobody of that name any more.
    let output = sipp_at(kamailio.udp, "UDP", "unknown_number", LINE, &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn kamailio_registers_us_with_md5_over_udp_and_sends_calls() {
    registers_and_is_called("MD5", Transport::Udp, 24_020..=24_039).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kamailio_registers_us_with_sha_256_over_tcp_and_sends_calls() {
    registers_and_is_called("SHA-256", Transport::Tcp, 24_040..=24_059).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_tried_again_at_once() {
    let kamailio = Kamailio::start("MD5", None);
    let mut trunk = registering(vec![peer(&kamailio.udp)]);
    trunk.register.as_mut().unwrap().password = Secret::new("falsch");
    let line = Line::start(with(24_060..=24_079, vec![trunk])).await;
    let failed = |s: &TrunkStatus| s.registration.as_ref().is_some_and(|r| r.state == RegistrationState::Failed);
    let status = until(&line, "it is refused", failed).await;
    let registration = status.registration.unwrap();
    assert_eq!((status.health, registration.last_error.as_deref()), (Health::Down, Some("401: wrong user or password")));
    assert!(registration.next_in_seconds.is_some_and(|s| s >= 25), "{registration:?}");
    // The registrar's address is known, though: who registers elsewhere at the same provider may be called.
    assert_eq!(line.handler.records(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_registrar_is_passed_over_in_the_order_of_dns() {
    let kamailio = Kamailio::start("MD5", None);
    // Bound, and never answering.
    let dead = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dns = dns::start(vec![
        ("_sip._udp.example.test", 20, kamailio.udp.port(), "second.host.test"),
        ("_sip._udp.example.test", 10, dead.local_addr().unwrap().port(), "first.host.test"),
    ]);
    let config = SipConfig { dns: vec![dns], ..with(24_080..=24_099, vec![registering(vec![peer("example.test")])]) };
    let line = Line::start(config).await;
    let status = until(&line, "registered with the second", is_registered).await;
    assert_eq!(status.registration.unwrap().registrar, Some(format!("{}/udp", kamailio.udp)));
    dead.set_nonblocking(true).unwrap();
    assert!(dead.recv_from(&mut [0; 2_000]).is_ok(), "the first was asked first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_that_comes_back_is_found_again() {
    let port = free_port();
    let line = Line::start(with(24_100..=24_119, vec![registering(vec![peer(&format!("127.0.0.1:{port}"))])])).await;
    let failed = |s: &TrunkStatus| s.registration.as_ref().is_some_and(|r| r.state == RegistrationState::Failed);
    let status = until(&line, "nobody answers", failed).await;
    assert_eq!(status.registration.unwrap().last_error.as_deref(), Some("no answer"));
    let registrar = answering("registrar", port, &["-m", "1"]);
    until(&line, "it is back", is_registered).await;
    until(&line, "it is renewed", |s| s.registration.as_ref().and_then(|r| r.expires_in_seconds).is_some_and(|s| s > 10)).await;
    line.server.drain(Duration::from_secs(1)).await;
    assert!(registrar.await.unwrap().status.success());
}

fn with_password() -> Trunk {
    let users = vec![User { name: "centralino".into(), password: Secret::new("geheim") }];
    Trunk { name: "centralino".into(), users, calls_per_second: 1, ..Trunk::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_from_anywhere_is_let_in_by_its_password() {
    for transport in ["UDP", "TCP"] {
        // sipp takes the first challenge, and knows MD5 alone.
        let config = SipConfig { digests: vec![Algorithm::Md5], ..with(24_120..=24_139, vec![with_password()]) };
        let line = Line::start(config).await;
        line.passes(transport, "wrong_password", LINE, &["-au", "centralino", "-ap", "falsch"]).await;
        line.passes(transport, "wrong_password", LINE, &["-au", "nessuno", "-ap", "geheim"]).await;
        assert_eq!(line.server.monitor().stats().invites, 0);
        line.passes(transport, "password", LINE, &["-au", "centralino", "-ap", "geheim"]).await;
        let records = line.handler.wait_for_records(1).await;
        assert_eq!((records[0].call.trunk.as_str(), records[0].cause.as_str()), ("centralino", "caller_hung_up"));
        line.server.drain(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_full_trunk_does_not_fill_another() {
    let source = vec!["127.0.0.0/8".parse().unwrap()];
    let trunk = |name: &str, number: &str, max_calls| Trunk {
        name: name.into(),
        sources: source.clone(),
        numbers: vec![number.into()],
        max_calls,
        ..Trunk::default()
    };
    let line = Line::start(with(24_140..=24_159, vec![trunk("small", LINE, Some(1)), trunk("large", SHORT, None)])).await;
    let first = tokio::spawn(line.sipp("UDP", "listen", LINE, &["-d", "4000"]));
    until(&line, "one call", |s| s.calls == 1).await;
    line.passes("UDP", "full", LINE, &[]).await;
    line.passes("UDP", "we_hang_up", SHORT, &[]).await;
    assert!(first.await.unwrap().status.success());
    let records = line.handler.wait_for_records(2).await;
    let mut of: Vec<_> = records.iter().map(|r| (r.call.called.as_str(), r.call.trunk.as_str())).collect();
    of.sort_unstable();
    assert_eq!(of, [(SHORT, "large"), (LINE, "small")]);
    let status = until(&line, "counted", |s| s.answered == 1 && s.calls == 0).await;
    assert_eq!((status.cap, status.invites, status.limited, status.health), (1, 2, 1, Health::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_counts_as_dead_until_it_answers_again() {
    let port = free_port();
    let first = answering("answers_options", port, &["-m", "2"]);
    let keepalive = KeepAlive { every: Duration::from_millis(300), misses: 2, peers: vec![peer(&format!("127.0.0.1:{port}"))] };
    let trunk = Trunk { sources: vec!["127.0.0.0/8".parse().unwrap()], keepalive: Some(keepalive), ..Trunk::default() };
    let line = Line::start(with(24_160..=24_179, vec![trunk])).await;
    let status = until(&line, "it lives", |s| s.health == Health::Up).await;
    assert!(status.peers[0].round_trip_ms.is_some_and(|ms| ms > 0.0), "{status:?}");
    assert!(first.await.unwrap().status.success());
    let status = until(&line, "it is dead", |s| s.health == Health::Down).await;
    assert!(status.peers[0].missed >= 2);
    let again = answering("answers_options", port, &["-m", "1"]);
    until(&line, "it lives again", |s| s.health == Health::Up).await;
    assert!(again.await.unwrap().status.success());
    line.server.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv4_and_ipv6_are_listened_on_side_by_side() {
    let both: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let trunk = Trunk { sources: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], ..Trunk::default() };
    let config = SipConfig { udp: both.clone(), tcp: both, ..with(24_180..=24_199, vec![trunk]) };
    let line = Line::start(config).await;
    for transport in ["UDP", "TCP"] {
        let six = line.server.addresses().iter().find(|(name, a)| *name == transport && a.is_ipv6()).unwrap().1;
        let output = sipp_at(six, transport, "ipv6", SHORT, &["-i", "::1"]).await;
        assert!(output.status.success(), "{transport}: {}", String::from_utf8_lossy(&output.stderr));
        line.passes(transport, "we_hang_up", SHORT, &[]).await;
    }
    let records = line.handler.wait_for_records(4).await;
    assert!(records.iter().all(|r| r.cause == "we_hung_up" && r.packets_sent > 5), "{records:?}");
}
