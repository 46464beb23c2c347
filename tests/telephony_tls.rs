//! TLS: calls over it, certificates that change meanwhile, mutual authentication, and registering by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

#[path = "telephony_support/kamailio.rs"]
mod kamailio;
#[path = "telephony_support/pki.rs"]
mod pki;
mod telephony_support;
#[path = "telephony_support/tls_peer.rs"]
mod tls_peer;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kamailio::Kamailio;
use pki::Authority;
use telephony_support::{LINE, Line, PATIENCE, SHORT, config, sipp_at};
use tls_peer::{TlsPeer, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
    server::TlsStream,
};
use voceguida::telephony::sip::{
    SipConfig, Trunk,
    config::{ClientCertificates, Peer, Register, Secret, TlsConfig, Transport},
    status::{RegistrationState, RegistrationStatus},
};

/// A line that listens on TLS too, with this certificate and key.
fn with_tls(rtp_ports: std::ops::RangeInclusive<u16>, (certificate, key): (&Path, &Path)) -> SipConfig {
    let tls = TlsConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        certificate: Some(certificate.to_owned()),
        key: Some(key.to_owned()),
        ..TlsConfig::default()
    };
    SipConfig { tls, ..config(rtp_ports) }
}

fn tls_address(line: &Line) -> SocketAddr {
    line.address("TLS")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_come_and_go_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let own = authority.sign("own", "localhost");
    let line = Line::start(with_tls(24_200..=24_219, (&own.0, &own.1))).await;
    let address = tls_address(&line);
    let mut peer = TlsPeer::connect(address, &authority.certificate, None).await.unwrap();
    let (answer, tag) = peer.call(LINE).await;
    let contact = header(&answer, "Contact").to_ascii_lowercase();
    assert!(contact.contains(&format!("{LINE}@{address};transport=tls")), "{contact}");
    peer.hang_up(LINE, &tag).await;
    // The line's own request comes on the same connection.
    peer.call(SHORT).await;
    let bye = peer.message().await.unwrap();
    assert!(bye.starts_with("BYE sip:caller@"), "{bye}");
    assert!(header(&bye, "Via").starts_with(&format!("SIP/2.0/TLS {address};")), "{bye}");
    let echo = |name: &str| format!("{name}: {}\r\n", header(&bye, name));
    let headers: String = ["Via", "From", "To", "Call-ID", "CSeq"].map(echo).concat();
    peer.send(&format!("SIP/2.0 200 OK\r\n{headers}Content-Length: 0\r\n\r\n")).await.unwrap();
    let records = line.handler.wait_for_records(2).await;
    let causes: Vec<_> = records.iter().map(|r| r.cause.as_str()).collect();
    assert_eq!(causes, ["caller_hung_up", "we_hung_up"]);
    line.server.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_and_no_call_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let own = authority.sign("own", "localhost");
    let line = Line::start(with_tls(24_220..=24_239, (&own.0, &own.1))).await;
    let address = tls_address(&line);
    let connect = || TlsPeer::connect(address, &authority.certificate, None);
    let mut before = connect().await.unwrap();
    let (_, tag) = before.call(LINE).await;
    // The same files, as a certificate's renewal leaves them.
    authority.sign("own", "localhost");
    line.server.reload_tls().unwrap();
    let mut after = connect().await.unwrap();
    assert_ne!(before.certificate(), after.certificate());
    let (_, tag_after) = after.call(LINE).await;
    // A bad one changes nothing.
    std::fs::write(&own.1, "no key").unwrap();
    let told = line.server.reload_tls().unwrap_err().to_string();
    assert!(told.contains("own.key"), "{told}");
    let still = connect().await.unwrap();
    assert_eq!(still.certificate(), after.certificate());
    before.hang_up(LINE, &tag).await;
    after.hang_up(LINE, &tag_after).await;
    let records = line.handler.wait_for_records(2).await;
    assert!(records.iter().all(|r| r.cause == "caller_hung_up"), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_show_a_certificate_where_they_have_to() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let (own, good) = (authority.sign("own", "localhost"), authority.sign("provider", "provider.test"));
    let foreign = Authority::new(dir.path(), "foreign").sign("foreign", "provider.test");
    for (clients, nobody_may) in [(ClientCertificates::Required, false), (ClientCertificates::Optional, true)] {
        let mut config = with_tls(24_240..=24_259, (&own.0, &own.1));
        config.tls = TlsConfig { ca: Some(authority.certificate.clone()), clients, ..config.tls };
        let line = Line::start(config).await;
        let may = async |own: Option<(&Path, &Path)>| {
            let Ok(mut peer) = TlsPeer::connect(tls_address(&line), &authority.certificate, own).await else { return false };
            // A refusal may come only after the handshake (TLS 1.3).
            peer.request("OPTIONS", LINE, 1, "", "").await.is_ok() && peer.answer().await.is_ok_and(|a| a.starts_with("SIP/2.0 200"))
        };
        assert!(may(Some((&good.0, &good.1))).await, "{clients:?}");
        assert!(!may(Some((&foreign.0, &foreign.1))).await, "{clients:?}");
        assert_eq!(may(None).await, nobody_may, "{clients:?}");
        line.server.drain(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_tls_passes_the_gate() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let own = authority.sign("own", "localhost");
    let line = Line::start(with_tls(24_340..=24_359, (&own.0, &own.1))).await;
    let mut peer = TlsPeer::connect(tls_address(&line), &authority.certificate, None).await.unwrap();
    let options = |cseq: &str, more: &str| {
        format!(
            "OPTIONS sip:{LINE}@localhost SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bK{cseq}\r\nFrom: <sip:a@localhost>;tag=1\r\n\
             To: <sip:{LINE}@localhost>\r\nCall-ID: gate\r\nCSeq: {cseq} OPTIONS\r\nMax-Forwards: 70\r\n{more}\r\n"
        )
    };
    // What the stack's own reader would end the connection over, without a word.
    for (cseq, more) in [("none", "Content-Length: 0\r\n"), ("99999999999", "Content-Length: 0\r\n")] {
        peer.send(&options(cseq, more)).await.unwrap();
        let answer = peer.answer().await.unwrap();
        assert!(answer.starts_with("SIP/2.0 400 Malformed CSeq"), "{answer}");
    }
    peer.send("\r\n\r\n").await.unwrap();
    assert_eq!(peer.octets(2).await.unwrap(), b"\r\n", "a ping");
    peer.send(&options("3", "Content-Length: 0\r\n")).await.unwrap();
    let answer = peer.answer().await.unwrap();
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert_eq!(line.server.monitor().stats().malformed, 2);
    // Nobody knows where this one ends.
    peer.send(&options("4", "")).await.unwrap();
    let answer = peer.answer().await.unwrap();
    assert!(answer.starts_with("SIP/2.0 400 Malformed Content-Length"), "{answer}");
    assert!(peer.message().await.is_err(), "and the connection is closed");
    line.server.drain(Duration::from_secs(1)).await;
}

/// Takes one TLS connection in, and the first message on it.
async fn take_in(listener: &TcpListener, (certificate, key): &(PathBuf, PathBuf)) -> std::io::Result<(TlsStream<TcpStream>, String)> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("the line connects").unwrap();
    let mut stream = timeout(PATIENCE, TlsAcceptor::from(Arc::new(config)).accept(stream)).await.expect("a handshake")?;
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        if timeout(PATIENCE, stream.read_buf(&mut text)).await.expect("a message")? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((stream, String::from_utf8(text).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_gone_is_made_anew_to_whom_we_trust() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let (own, good) = (authority.sign("own", "localhost"), authority.sign("provider", "provider.test"));
    let foreign = Authority::new(dir.path(), "foreign").sign("foreign", "provider.test");
    for (shown, trusted) in [(good, true), (foreign, false)] {
        let mut config = with_tls(24_360..=24_379, (&own.0, &own.1));
        config.tls.ca = Some(authority.certificate.clone());
        let line = Line::start(config).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TlsPeer::connect(tls_address(&line), &authority.certificate, None).await.unwrap();
        peer.contact = listener.local_addr().unwrap();
        peer.call(LINE).await;
        drop(peer);
        let (monitor, handler) = (line.server.monitor(), Arc::clone(&line.handler));
        let began = Instant::now();
        while monitor.stats().connections > 0 {
            assert!(began.elapsed() < PATIENCE, "the line does not notice that the connection is gone");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The line hangs up.
        let ending = tokio::spawn(line.server.drain(Duration::ZERO));
        let taken = take_in(&listener, &shown).await;
        assert_eq!(taken.is_ok(), trusted, "{:?}", taken.map(|(_, text)| text));
        if let Ok((mut stream, bye)) = taken {
            assert!(bye.starts_with("BYE sip:caller@127.0.0.1"), "{bye}");
            let echo = |name: &str| format!("{name}: {}\r\n", header(&bye, name));
            let headers: String = ["Via", "From", "To", "Call-ID"].map(echo).concat();
            let answer = |cseq: &str| format!("SIP/2.0 200 OK\r\n{headers}CSeq: {cseq}\r\nContent-Length: 0\r\n\r\n");
            // A malformed message is passed over, and does no harm.
            stream.write_all(answer("none").as_bytes()).await.unwrap();
            stream.write_all(answer(header(&bye, "CSeq")).as_bytes()).await.unwrap();
            handler.wait_for_records(1).await;
        }
        ending.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let own = authority.sign("own", "localhost");
    let elsewhere = Trunk { sources: vec!["192.0.2.0/24".parse().unwrap()], ..Trunk::default() };
    let line = Line::start(SipConfig { trunks: vec![elsewhere], ..with_tls(24_260..=24_279, (&own.0, &own.1)) }).await;
    assert!(TlsPeer::connect(tls_address(&line), &authority.certificate, None).await.is_err());
    assert!(line.server.monitor().stats().strangers >= 1);
}

/// Waits until the registration is settled.
async fn settled(line: &Line) -> RegistrationStatus {
    let began = Instant::now();
    loop {
        let registration = line.server.monitor().trunks().swap_remove(0).registration;
        if let Some(registration) = registration.filter(|r| r.state != RegistrationState::Trying) {
            return registration;
        }
        assert!(began.elapsed() < PATIENCE, "nothing comes of it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kamailio_registers_us_over_tls_if_it_is_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, foreign) = (Authority::new(dir.path(), "authority"), Authority::new(dir.path(), "foreign"));
    let own = authority.sign("own", "localhost");
    let provider = authority.sign("provider", "localhost");
    let kamailio = Kamailio::start("SHA-256", Some((&provider.0, &provider.1)));
    let register = |host: &str| Register {
        registrars: vec![Peer { host: host.into(), port: Some(kamailio.tls.port()), transport: Transport::Tls }],
        domain: "example.test".into(),
        user: LINE.into(),
        contact_user: None,
        auth_user: None,
        password: Secret::new("geheim"),
        expires: Duration::from_mins(10),
    };
    let start = async |host: &str, ca: &Path| {
        let trunk = Trunk { name: "provider".into(), register: Some(register(host)), ..Trunk::default() };
        let mut config = SipConfig { trunks: vec![trunk], ..with_tls(24_280..=24_299, (&own.0, &own.1)) };
        config.tls.ca = Some(ca.to_owned());
        Line::start(config).await
    };
    let deceived = start("localhost", &foreign.certificate).await;
    let registration = settled(&deceived).await;
    assert_eq!(registration.state, RegistrationState::Failed);
    assert!(registration.last_error.as_deref().is_some_and(|why| why.contains("UnknownIssuer")), "{registration:?}");
    drop(deceived);

    let line = start("localhost", &authority.certificate).await;
    let registration = settled(&line).await;
    assert_eq!(registration.state, RegistrationState::Registered, "{registration:?}\n{}", kamailio.log());
    let output = sipp_at(kamailio.udp, "UDP", "listen", LINE, &["-d", "1000"]).await;
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), kamailio.log());
    assert_eq!(line.handler.wait_for_records(1).await[0].cause, "caller_hung_up");
    line.server.drain(Duration::from_secs(1)).await;
}
