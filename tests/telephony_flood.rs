//! Strangers flood the port, a trunk sends more than there is room for, connections are opened by the dozen and left half said:
//! the calls that are there lose no packet and no key, and new ones come through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

mod telephony_support;

use std::{
    collections::HashSet,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use telephony_support::{Ear, LINE, Line, PATIENCE, QUIET, config};
use tokio::task::{JoinHandle, spawn_blocking};

/// Keys that each caller presses; `9` makes the line hang up.
const KEYS: &str = "1234567*#089";
/// The trunk's calls a second: what this line is made for.
const CAPACITY: u32 = 500;
/// Ten times of it.
const FLOOD_PER_SECOND: u32 = 10 * CAPACITY;
/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(5);
/// Addresses of strangers.
const SOURCES: usize = 250;

/// What a caller heard.
#[derive(Debug, Default)]
struct Heard {
    packets: u64,
    /// Numbers that did not follow the one before.
    gaps: Vec<(u16, u16)>,
}

/// A caller's media: hears until a second of silence, presses its keys while `flood` lasts and the last one after it.
fn listen(mut ear: Ear, flood: &AtomicBool) -> Heard {
    let (mut heard, mut last, mut keys) = (Heard::default(), None, KEYS.chars().peekable());
    ear.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (mut buffer, patience) = ([0; 2_000], Instant::now() + Duration::from_mins(1));
    loop {
        match ear.socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                assert_eq!(length, 172, "a frame of G.711");
                assert_eq!(*ear.line.get_or_insert(from), from);
                let number = u16::from_be_bytes([buffer[2], buffer[3]]);
                if let Some(last) = last.filter(|last: &u16| last.wrapping_add(1) != number) {
                    heard.gaps.push((last, number));
                }
                last = Some(number);
                heard.packets += 1;
            }
            Err(_) if heard.packets > 0 || Instant::now() > patience => return heard,
            Err(_) => continue,
        }
        // Speaks, too: silence, and a key now and then.
        ear.send(8, heard.packets as u32 * 160, &QUIET);
        let go_on = keys.peek().is_some_and(|key| *key != '9' || !flood.load(Ordering::Relaxed));
        if heard.packets.is_multiple_of(15)
            && go_on
            && let Some(key) = keys.next()
        {
            let code = "0123456789*#".find(key).unwrap() as u8;
            ear.press(101, heard.packets as u32 * 160, code, 3, 3);
        }
    }
}

/// A call from the trunk whose caller presses its keys during the flood.
fn call(line: &Line, flood: &Arc<AtomicBool>) -> (JoinHandle<Heard>, impl Future<Output = ()> + use<>) {
    let ear = Ear::new();
    let sipp = line.sipp("UDP", "until_bye", LINE, &["-key", "rtp_port", &ear.port()]);
    let flood = Arc::clone(flood);
    let signalling = async move {
        let output = sipp.await;
        assert!(output.status.success(), "sipp: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    };
    (spawn_blocking(move || listen(ear, &flood)), signalling)
}

async fn wait_for_calls(line: &Line, n: u64) {
    let until = Instant::now() + PATIENCE;
    while line.server.monitor().stats().answered < n {
        assert!(Instant::now() < until, "{:?}", line.server.monitor().stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A request from nowhere.
fn request(method: &str, n: usize, more: &str) -> Vec<u8> {
    format!(
        "{method} sip:{LINE}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:100@192.0.2.9>;tag={n}\r\nTo: <sip:{LINE}@127.0.0.1>\r\nCall-ID: flood{n}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:100@192.0.2.9:5060>\r\n{more}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// What strangers were told.
#[derive(Debug, Default)]
struct Told {
    sent: usize,
    sent_bytes: usize,
    answers: usize,
    answer_bytes: usize,
    most_of_one: usize,
}

/// Floods the port from many addresses.
fn flood_from_strangers(to: SocketAddr) -> Told {
    let address = |n: usize| Ipv4Addr::new(127, 10, (n / 200) as u8, (n % 200) as u8 + 1);
    let sockets: Vec<_> = (0..SOURCES).map(|n| UdpSocket::bind((address(n), 0)).unwrap()).collect();
    let messages: Vec<_> = (0..1_000)
        .map(|n| match n % 10 {
            0..=3 => request("REGISTER", n, "User-Agent: friendly-scanner\r\n"),
            4 | 5 => request("INVITE", n, ""),
            6 => request("OPTIONS", n, "User-Agent: sipvicious\r\n"),
            7 => request("REGISTER", n, &format!("X-Long: {}\r\n", "x".repeat(1_200))),
            8 => b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9:5060\r\n\r\n".to_vec(),
            _ => vec![n as u8; 200],
        })
        .collect();
    let (began, mut told) = (Instant::now(), Told::default());
    while began.elapsed() < FLOOD {
        let due = (began.elapsed().as_secs_f64() * f64::from(FLOOD_PER_SECOND)) as usize;
        while told.sent < due {
            let message = &messages[told.sent % messages.len()];
            // A full buffer on this side is not the line's matter.
            if sockets[told.sent % SOURCES].send_to(message, to).is_ok() {
                told.sent_bytes += message.len();
            }
            told.sent += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for socket in sockets {
        socket.set_nonblocking(true).unwrap();
        let (mut own, mut buffer) = (0, [0; 2_000]);
        while let Ok(length) = socket.recv(&mut buffer) {
            assert!(buffer.starts_with(b"SIP/2.0 403 "), "{}", String::from_utf8_lossy(&buffer[..length]));
            own += 1;
            told.answer_bytes += length;
        }
        told.answers += own;
        told.most_of_one = told.most_of_one.max(own);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_costs_a_trunk_no_packet_and_no_key() {
    let mut settings = config(25_200..=25_259);
    // Only this one address is a trunk's; everyone else on the loopback is a stranger.
    settings.trunks[0].sources = vec!["127.0.0.1/32".parse().unwrap()];
    settings.trunks[0].calls_per_second = CAPACITY;
    let line = Line::start(settings).await;
    let flooding = Arc::new(AtomicBool::new(true));
    let mut media = Vec::new();
    let mut signalling = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (listening, calling) = call(&line, &flooding);
        media.push(listening);
        signalling.spawn(calling);
    }
    wait_for_calls(&line, 3).await;

    let to = line.address("UDP");
    let flood = spawn_blocking(move || flood_from_strangers(to));
    // Meanwhile calls come and go as always.
    for _ in 0..3 {
        line.passes("UDP", "basic", LINE, &[]).await;
    }
    let told = flood.await.unwrap();
    flooding.store(false, Ordering::Relaxed);

    while let Some(done) = signalling.join_next().await {
        done.unwrap();
    }
    let records = line.handler.wait_for_records(6).await;
    let long: Vec<_> = records.iter().filter(|r| r.cause == "we_hung_up").collect();
    assert_eq!(long.len(), 3, "{records:?}");
    let mut heard = Vec::new();
    for listening in media {
        heard.push(listening.await.unwrap());
    }
    assert!(heard.iter().all(|h| h.gaps.is_empty()), "packets were lost: {heard:?}");
    let mut came: Vec<_> = heard.iter().map(|h| h.packets).collect();
    let mut sent: Vec<_> = long.iter().map(|r| r.packets_sent).collect();
    came.sort_unstable();
    sent.sort_unstable();
    assert_eq!(came, sent, "what was sent has come");
    let mut keys: Vec<_> = line.handler.keys().chars().collect();
    let mut pressed: Vec<_> = KEYS.repeat(3).chars().collect();
    keys.sort_unstable();
    pressed.sort_unstable();
    assert_eq!(keys, pressed, "each key of each call");

    // 50 a second, and a hundred at once.
    let budget = 100 + 50 * (FLOOD.as_secs() as usize + 2);
    assert!(told.answers <= budget && told.most_of_one <= 6 && told.answer_bytes < told.sent_bytes / 10, "{told:?}");
    let stats = line.server.monitor().stats();
    assert_eq!((stats.invites, stats.full), (6, 0), "only the trunk's calls came so far: {stats:?}");
    assert!(stats.scanners > 0 && stats.strangers > told.sent as u64 / 2, "{stats:?} of {told:?}");
    println!("{told:?} {stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_there_is_room_for_are_told_to_wait_and_harm_none() {
    const ROOM: usize = 3;
    let mut settings = config(25_260..=25_299);
    settings.max_calls = ROOM;
    settings.trunks[0].calls_per_second = 10_000;
    let line = Line::start(settings).await;
    let flooding = Arc::new(AtomicBool::new(true));
    let mut media = Vec::new();
    let mut signalling = tokio::task::JoinSet::new();
    for _ in 0..ROOM {
        let (listening, calling) = call(&line, &flooding);
        media.push(listening);
        signalling.spawn(calling);
    }
    wait_for_calls(&line, ROOM as u64).await;
    let to = line.address("UDP");
    let invites = 3_000;
    let (answers, tags) = spawn_blocking(move || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (mut answers, mut tags, mut buffer) = (0, HashSet::new(), [0; 2_000]);
        for n in 0..invites {
            // Each twice: the repetition is answered the same, and its ACK is the end of it.
            let invite = request("INVITE", n, "");
            let mut told = HashSet::new();
            for _ in 0..2 {
                socket.send_to(&invite, to).unwrap();
                let length = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("INVITE {n} has no answer: {e}"));
                let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
                assert!(answer.starts_with("SIP/2.0 503 ") && answer.contains("\r\nRetry-After: 10\r\n"), "{answer}");
                told.insert(answer);
                answers += 1;
            }
            assert_eq!(told.len(), 1, "{told:?}");
            let answer = told.into_iter().next().unwrap();
            let tag = answer.lines().find(|l| l.starts_with("To: ")).and_then(|l| l.split_once(";tag=")).unwrap().1.to_owned();
            let ack = String::from_utf8(request("ACK", n, "")).unwrap();
            socket
                .send_to(
                    ack.replace(&format!("To: <sip:{LINE}@127.0.0.1>"), &format!("To: <sip:{LINE}@127.0.0.1>;tag={tag}")).as_bytes(),
                    to,
                )
                .unwrap();
            tags.insert(tag);
        }
        (answers, tags.len())
    })
    .await
    .unwrap();
    assert_eq!((answers, tags), (2 * invites, invites));
    flooding.store(false, Ordering::Relaxed);
    while let Some(done) = signalling.join_next().await {
        done.unwrap();
    }
    for listening in media {
        let heard = listening.await.unwrap();
        assert!(heard.gaps.is_empty() && heard.packets > 0, "{heard:?}");
    }
    let records = line.handler.wait_for_records(ROOM).await;
    assert!(records.iter().all(|r| r.digits as usize == KEYS.len()), "{records:?}");
    let stats = line.server.monitor().stats();
    assert_eq!((stats.invites, stats.full, stats.active), (ROOM as u64, 2 * invites as u64, 0), "nothing of it reached the stack");
    // And there is room again.
    line.passes("UDP", "basic", LINE, &[]).await;
}

/// Has the other side closed it, within so long?
fn is_closed(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let until = Instant::now() + patience;
    while Instant::now() < until {
        match stream.read(&mut [0; 1_000]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_few_and_what_is_half_said_is_not_waited_for() {
    let mut settings = config(25_300..=25_339);
    settings.trunks[0].sources = vec!["127.0.0.1/32".parse().unwrap(), "127.0.0.2/32".parse().unwrap()];
    let line = Line::start(settings).await;
    let to = line.address("TCP");
    spawn_blocking(move || {
        let connect = |from: [u8; 4]| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
            socket.connect(&to.into()).unwrap();
            TcpStream::from(socket)
        };
        // A stranger's ends at once.
        assert!(is_closed(&mut connect([127, 0, 0, 9]), PATIENCE));
        // A source has sixty-four; another source has its own.
        let mut held: Vec<_> = (0..64).map(|_| connect([127, 0, 0, 2])).collect();
        assert!(is_closed(&mut connect([127, 0, 0, 2]), PATIENCE), "one too many");
        let mut other = connect([127, 0, 0, 1]);
        other.write_all(&request("OPTIONS", 1, "")).unwrap();
        let mut answer = [0; 100];
        other.set_read_timeout(Some(PATIENCE)).unwrap();
        other.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"SIP/2.0 200 "), "{}", String::from_utf8_lossy(&answer));
        // A ping is answered (RFC 5626 §4.4.1).
        let mut pinging = connect([127, 0, 0, 1]);
        pinging.write_all(b"\r\n\r\n").unwrap();
        pinging.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut pong = [0; 2];
        pinging.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\r\n");
        // Half a message, and a little more of it now and then: it is not waited for.
        let mut slow = held.pop().unwrap();
        let invite = request("INVITE", 2, "");
        let began = Instant::now();
        let mut closed = false;
        for byte in &invite {
            closed = slow.write_all(&[*byte]).is_err() || is_closed(&mut slow, Duration::from_millis(300));
            if closed || began.elapsed() > Duration::from_secs(30) {
                break;
            }
        }
        assert!(closed && began.elapsed() > Duration::from_secs(8), "closed: {closed}, after {:?}", began.elapsed());
        // What is longer than any message is not read to its end.
        let mut long = held.pop().unwrap();
        let _ = long.write_all(&vec![b'x'; 100_000]);
        assert!(is_closed(&mut long, PATIENCE));
        // The places of those that have ended are free again.
        assert!(!is_closed(&mut connect([127, 0, 0, 2]), Duration::from_millis(500)));
    })
    .await
    .unwrap();
    let until = Instant::now() + PATIENCE;
    while line.server.monitor().stats().connections > 0 {
        assert!(Instant::now() < until, "{:?}", line.server.monitor().stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    line.passes("TCP", "basic", LINE, &[]).await;
}
