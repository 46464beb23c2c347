//! Ten thousand broken SIP messages and as many broken RTP packets: nothing falls, nothing grows
//! without bound, and the next call is an ordinary one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

mod telephony_support;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    time::Duration,
};

use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use telephony_support::{Ear, LINE, Line, QUIET, UNKNOWN, config, rtp};

/// How many messages are sent.
const MESSAGES: usize = 10_000;
/// Memory that may be in use more than before, in kB.
const GROWTH_KB: u64 = 100_000;

fn sdp() -> String {
    "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0 101\r\n\
     a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
        .to_owned()
}

/// Messages to be broken: most are for a number that is refused, a few would be answered.
fn template(n: usize, rng: &mut StdRng) -> String {
    let method = ["INVITE", "INVITE", "INVITE", "OPTIONS", "BYE", "CANCEL", "ACK", "UPDATE", "REGISTER", "INFO"][rng.random_range(0..10)];
    let number = if rng.random_range(0..50) == 0 { LINE } else { UNKNOWN };
    let tag = if rng.random_range(0..4) == 0 { ";tag=nobody" } else { "" };
    let body = if matches!(method, "INVITE" | "UPDATE") { sdp() } else { String::new() };
    format!(
        "{method} sip:{number}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{n};rport\r\n\
         From: \"R\" <sip:0182970000@127.0.0.1>;tag={n}\r\nTo: <sip:{number}@127.0.0.1>{tag}\r\nCall-ID: g{n}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:x@127.0.0.1:9>\r\nMax-Forwards: 70\r\nSupported: timer\r\nSession-Expires: 1800\r\nP-Asserted-Identity: <tel:+391>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Breaks a message in one of the ways that messages break.
fn broken(n: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = template(n, rng).into_bytes();
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..9) {
            0 => bytes.truncate(at),
            1 => bytes[at] = rng.random(),
            2 => bytes[at] ^= 1 << rng.random_range(0..8),
            3 => {
                let run = vec![rng.random::<u8>(); rng.random_range(1..200)];
                bytes.splice(at..at, run);
            }
            // One oversized header.
            4 => {
                let run = vec![b'a'; rng.random_range(1_000..50_000)];
                bytes.splice(at..at, run);
                bytes.truncate(60_000);
            }
            // A piece doubled, a piece gone.
            5 => {
                let end = (at + rng.random_range(1..300)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let end = (at + rng.random_range(1..100)).min(bytes.len());
                bytes.drain(at..end);
            }
            // Numbers where none are expected, and the other way round.
            7 => {
                let text =
                    String::from_utf8_lossy(&bytes).replace(['0', '1'], ["99999999999999999999", "-", "%", "\0"][rng.random_range(0..4)]);
                bytes = text.into_bytes();
                bytes.truncate(60_000);
            }
            _ => rng.fill_bytes(&mut bytes[at..]),
        }
    }
    bytes
}

/// Memory of this process, in kB.
fn memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_messages_harm_nobody() {
    let mut settings = config(24_000..=24_999);
    settings.max_calls = 400;
    let line = Line::start(settings).await;
    line.passes("UDP", "basic", LINE, &[]).await;
    let before = memory_kb();
    let (udp, tcp) = (line.address("UDP"), line.address("TCP"));
    tokio::task::spawn_blocking(move || {
        let mut rng = StdRng::seed_from_u64(20_261_012);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for n in 0..MESSAGES {
            let bytes = broken(n, &mut rng);
            if n % 20 == 0 {
                // Whatever becomes of the connection, it must not hold the sender up.
                let mut stream = TcpStream::connect(tcp).unwrap();
                stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                let _ = stream.write_all(&bytes);
                let _ = stream.read(&mut [0; 100]);
            } else if bytes.len() < 65_000 {
                socket.send_to(&bytes, udp).unwrap();
            }
            if n % 50 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    })
    .await
    .unwrap();
    for transport in ["UDP", "TCP"] {
        line.passes(transport, "basic", LINE, &[]).await;
    }
    let (after, stats) = (memory_kb(), line.server.monitor().stats());
    assert!(stats.active <= 400 && stats.invites > 100, "{stats:?}");
    assert!(after < before + GROWTH_KB, "{before} kB before, {after} kB after; {stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_and_strange_packets_harm_no_call() {
    let line = Line::start(config(25_000..=25_099)).await;
    let mut ear = Ear::new();
    let port = ear.port();
    let monitor = line.server.monitor();
    let noise = tokio::task::spawn_blocking(move || {
        ear.packet();
        ear.send(8, 0, &QUIET);
        let to = ear.line.unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for n in 0..MESSAGES {
            let mut bytes = vec![0; rng.random_range(0..1_500)];
            rng.fill_bytes(&mut bytes);
            match n % 5 {
                // From the caller's own port: only what is RTP of no agreed type, or none at all. Its own
                // garbage of an agreed type would rightly be taken for keys.
                0 => {
                    if let Some(first) = bytes.first_mut() {
                        *first &= 0x3f;
                    }
                    ear.socket.send_to(&bytes, to).unwrap();
                }
                1 => {
                    // A key that is none, or is cut short.
                    let code = rng.random_range(16..=255u8);
                    let cut = rng.random_range(0..4);
                    ear.send(101, rng.random(), &[code, 10, 0, 160]);
                    ear.send(101, rng.random(), &[1, 10, 0][..cut.min(3)]);
                }
                // Well-made keys of a stranger.
                2 => {
                    stranger.send_to(&rtp(5, 101, n as u16, n as u32 * 800, &[7, 10, 0, 160]), to).unwrap();
                }
                3 => {
                    stranger.send_to(&rtp(5, 8, n as u16, n as u32 * 160, &QUIET), to).unwrap();
                }
                _ => {
                    stranger.send_to(&bytes, to).unwrap();
                }
            }
            if n % 10 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // The stream still comes here, and the keys are still the caller's.
        std::thread::sleep(Duration::from_millis(100));
        ear.press(101, 1_000, 1, 3, 3);
        ear.socket.set_nonblocking(true).unwrap();
        while ear.socket.recv_from(&mut [0; 2_000]).is_ok() {}
        ear.socket.set_nonblocking(false).unwrap();
        ear.packet();
        ear.press(101, 9_000, 9, 3, 3);
    });
    line.passes("UDP", "until_bye", LINE, &["-key", "rtp_port", &port]).await;
    noise.await.unwrap();
    let records = line.handler.wait_for_records(1).await;
    assert_eq!(records[0].cause, "we_hung_up", "{records:?}");
    let keys = line.handler.keys();
    assert_eq!(keys, "19", "only the caller's own keys are heard");
    let strangers = monitor.media().strangers.load(std::sync::atomic::Ordering::Relaxed);
    assert!(strangers > 1_000, "{strangers} strangers' packets counted");
}
