//! The SIP endpoint against a real peer (sipp), against garbage, and its RTP as captured on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream, UdpSocket},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use support::demo::free_port;
use tokio::time::sleep;
use voceguida::{
    ops::clock::Clock,
    telephony::{
        call::{Admission, Call, CallCommand, CallEvent, CallHandler, CallRecord, IncomingCall},
        clip::Clip,
        phone::{PhoneConfig, dial},
        sip::{Server, SipConfig, Trunk},
    },
};

/// Plays a tone over and over, hangs up on 9, keeps what happened.
#[derive(Default)]
struct Tone {
    keys: Mutex<String>,
    records: Mutex<Vec<CallRecord>>,
}

fn tone() -> Arc<Clip> {
    let sample = |n: usize| ((n as f64 * 0.3).sin() * 8_000.0 + (n as f64 * 0.011).sin() * 4_000.0) as i16;
    Arc::new(Clip::from_pcm("tone", &(0..16_000).map(sample).collect::<Vec<_>>()))
}

impl CallHandler for Tone {
    async fn admit(&self, call: &IncomingCall) -> Admission {
        if call.called == "999" { Admission::Refuse { status: 404, cause: "unknown number".into() } } else { Admission::Answer }
    }

    async fn run(&self, mut call: Call) {
        let play = || CallCommand::Play { id: 1, clips: vec![tone()] };
        call.commands.send(play()).await.unwrap();
        while let Some(event) = call.events.recv().await {
            match event {
                CallEvent::Digit(key) => {
                    self.keys.lock().unwrap().push(key);
                    if key == '9' {
                        return;
                    }
                }
                CallEvent::Played { .. } => {
                    if call.commands.send(play()).await.is_err() {
                        return;
                    }
                }
                CallEvent::Ended(_) => return,
            }
        }
    }

    async fn finished(&self, record: CallRecord) {
        self.records.lock().unwrap().push(record);
    }
}

struct Endpoint {
    server: Server,
    handler: Arc<Tone>,
    address: SocketAddr,
    first_port: u16,
}

/// Each endpoint has RTP ports of its own, so that tests beside each other do not meet.
static NEXT_BLOCK: AtomicU16 = AtomicU16::new(0);

impl Endpoint {
    async fn start(max_calls: usize, source: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let first_port = 40_000 + NEXT_BLOCK.fetch_add(1, Ordering::Relaxed) * 2_000;
        let config = SipConfig {
            udp: vec![address],
            tcp: vec![address],
            rtp_ports: first_port..=first_port + 1_999,
            max_calls,
            trunks: vec![Trunk { name: "test".into(), sources: vec![source.parse().unwrap()], calls_per_second: 1_000 }],
            ..SipConfig::default()
        };
        let handler = Arc::new(Tone::default());
        let server = Server::start(config, Clock::real(), Arc::clone(&handler)).await.unwrap();
        Self { server, handler, address, first_port }
    }

    /// Runs a scenario of tests/sipp; fails with sipp's own words.
    async fn sipp(&self, scenario: &str, service: &str, more: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let errors = dir.path().join("errors.txt");
        let mut command = Command::new("sipp");
        command
            .arg(self.address.to_string())
            .args(["-sf", &format!("tests/sipp/{scenario}.xml"), "-s", service, "-i", "127.0.0.1", "-m", "1", "-nostdin"])
            .args(["-mi", "127.0.0.1", "-mp", &(free_port() & !1).to_string(), "-p", &free_port().to_string()])
            .args(["-timeout", "60", "-timeout_error", "-trace_err", "-error_file"])
            .arg(&errors)
            .args(more);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("sipp is installed (tests/install.sh)");
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        assert!(output.status.success(), "{scenario}: {said}");
    }

    async fn until_idle(&self) {
        for _ in 0..200 {
            if self.server.active() == 0 {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{} calls are still there", self.server.active());
    }

    fn causes(&self) -> Vec<String> {
        self.handler.records.lock().unwrap().iter().map(|r| r.cause.clone()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_as_carriers_make_them() {
    let endpoint = Endpoint::start(10, "127.0.0.0/8").await;
    for (scenario, service) in [
        ("basic", "800"),
        ("delayed_offer", "800"),
        ("hold", "800"),
        ("timer", "800"),
        ("timer_small", "800"),
        ("options", "800"),
        ("register", "800"),
        ("stray_bye", "800"),
        ("no_codec", "800"),
        ("no_audio", "800"),
        ("extension", "800"),
        ("not_found", "999"),
        ("key", "800"),
        ("info", "800"),
    ] {
        endpoint.sipp(scenario, service, &[]).await;
    }
    for scenario in ["basic", "hold", "key"] {
        endpoint.sipp(scenario, "800", &["-t", "t1"]).await;
    }
    endpoint.until_idle().await;
    assert_eq!(*endpoint.handler.keys.lock().unwrap(), "999");
    let causes = endpoint.causes();
    assert_eq!(causes.iter().filter(|c| *c == "caller_hung_up").count(), 6, "{causes:?}");
    assert_eq!(causes.iter().filter(|c| *c == "we_hung_up").count(), 3, "{causes:?}");
    let records = endpoint.handler.records.lock().unwrap();
    assert!(
        records.iter().filter(|r| r.cause == "caller_hung_up").all(|r| r.codec == Some("PCMA") && r.packets_sent > 5 && r.status == 200)
    );
    let statuses: Vec<_> = records.iter().filter(|r| r.answered_at.is_none()).map(|r| r.status).collect();
    assert_eq!(statuses, [422, 488, 488, 420, 404]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_gives_up_at_once_leaves_nothing_behind() {
    let endpoint = Endpoint::start(10, "127.0.0.0/8").await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let me = socket.local_addr().unwrap();
    for n in 0..10 {
        for method in ["INVITE", "CANCEL"] {
            let request = format!(
                "{method} sip:800@{} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bKcancel{n}\r\nFrom: <sip:1@{me}>;tag=a\r\n\
                 To: <sip:800@{}>\r\nCall-ID: cancel-{n}\r\nCSeq: 1 {method}\r\nContact: <sip:1@{me}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                endpoint.address, endpoint.address
            );
            socket.send_to(request.as_bytes(), endpoint.address).unwrap();
            // From none at all to some time between the two.
            sleep(Duration::from_millis(n * n)).await;
        }
    }
    // Where our answer was quicker than the CANCEL, no ACK ever comes: the line gives up by itself.
    for _ in 0..50 {
        if endpoint.server.active() == 0 {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(endpoint.server.active(), 0);
    assert_eq!(endpoint.causes().len(), 10, "{:?}", endpoint.causes());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_ack_the_line_gives_up() {
    let endpoint = Endpoint::start(10, "127.0.0.0/8").await;
    endpoint.sipp("no_ack", "800", &[]).await;
    for _ in 0..50 {
        if endpoint.server.active() == 0 {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(endpoint.causes(), ["no ACK"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_and_strangers() {
    let endpoint = Endpoint::start(1, "127.0.0.0/8").await;
    let call = dial(&format!("sip:800@{}", endpoint.address), PhoneConfig::default()).await.unwrap();
    endpoint.sipp("full", "800", &[]).await;
    call.hang_up().await;
    endpoint.until_idle().await;
    endpoint.sipp("basic", "800", &[]).await;

    let elsewhere = Endpoint::start(1, "127.0.0.2/32").await;
    elsewhere.sipp("stranger", "800", &[]).await;
    let monitor = elsewhere.server.monitor();
    assert_eq!((monitor.stats().invites, monitor.stats().strangers), (0, 1));
}

/// Valid requests to be spoilt.
fn templates(address: SocketAddr) -> Vec<Vec<u8>> {
    let sdp = "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    ["INVITE", "BYE", "OPTIONS", "CANCEL", "ACK", "REGISTER", "NONSENSE", "UPDATE", "SUBSCRIBE"]
        .iter()
        .map(|method| {
            let body = if *method == "INVITE" { sdp } else { "" };
            format!(
                "{method} sip:800@{address} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5099;branch=z9hG4bKxxxx\r\nFrom: <sip:1@127.0.0.1>;tag=a\r\n\
                 To: <sip:800@{address}>\r\nCall-ID: spoilt-xxxx\r\nCSeq: 1 {method}\r\nContact: <sip:1@127.0.0.1:5099>\r\nMax-Forwards: 70\r\n\
                 Session-Expires: 1800;refresher=uac\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        })
        .collect()
}

fn spoil(message: &mut Vec<u8>, n: usize, rng: &mut impl Rng) {
    // A transaction of its own, so that most are looked at and not taken for a repetition.
    let unique = format!("{n:04x}");
    let text = String::from_utf8_lossy(message).replace("xxxx", &unique);
    *message = text.into_bytes();
    match n % 7 {
        0 => {}
        1 => message.truncate(rng.random_range(0..message.len())),
        2 => (0..rng.random_range(1..20)).for_each(|_| {
            let at = rng.random_range(0..message.len());
            message[at] ^= 1 << rng.random_range(0..8);
        }),
        3 => {
            let at = rng.random_range(0..message.len());
            message.splice(at..at, vec![b'A'; rng.random_range(1..6_000)]);
        }
        4 => {
            let lines = message.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
            let line = lines[rng.random_range(0..lines.len())].clone();
            let at = rng.random_range(0..message.len());
            message.splice(at..at, [b"\n".as_slice(), &line, b"\n"].concat());
        }
        5 => *message = (0..rng.random_range(0..1_500)).map(|_| rng.random()).collect(),
        _ => {
            let text = String::from_utf8_lossy(message)
                .replace("Content-Length: ", "Content-Length: 99999")
                .replace("CSeq: 1", "CSeq: 99999999999");
            *message = text.into_bytes();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_spoilt_messages_and_then_a_normal_call() {
    // Room for all that look like calls: whoever is on a trunk may call.
    let endpoint = Endpoint::start(900, "127.0.0.0/8").await;
    let address = endpoint.address;
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = memory();
    tokio::task::spawn_blocking(move || {
        let mut rng = StdRng::seed_from_u64(4);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let templates = templates(address);
        for n in 0..10_000 {
            let mut message = templates[n % templates.len()].clone();
            spoil(&mut message, n, &mut rng);
            // A datagram longer than UDP allows is the sender's failure, not ours.
            let _ = socket.send_to(&message, address);
            if n % 100 == 0 {
                std::thread::sleep(Duration::from_millis(5));
                if let Ok(mut stream) = TcpStream::connect(address) {
                    let _ = stream.write_all(&message);
                }
            }
        }
    })
    .await
    .unwrap();

    let call = dial(&format!("sip:800@{address}"), PhoneConfig { clips: vec![tone()], ..PhoneConfig::default() }).await.unwrap();
    assert!(call.wait_heard("tone", Duration::from_secs(10)).await, "a normal call is heard");
    call.press("9").await;
    assert!(call.wait_ended(Duration::from_secs(10)).await);
    // What looked like calls and was never acknowledged is given up.
    for _ in 0..60 {
        if endpoint.server.active() == 0 {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(endpoint.server.active(), 0);
    assert!(memory() < before + 200, "memory went from {before} to {} MB", memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_rtp_port_press_no_keys_and_take_no_audio() {
    let endpoint = Endpoint::start(10, "127.0.0.0/8").await;
    let call = dial(&format!("sip:800@{}", endpoint.address), PhoneConfig { clips: vec![tone()], ..PhoneConfig::default() }).await.unwrap();
    assert!(call.wait_heard("tone", Duration::from_secs(10)).await);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let key = [0x80, 101, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 9, 10, 0, 160];
    for n in 0..2_000u16 {
        // The call's port is among the first few that were given out.
        let to = SocketAddr::from(([127, 0, 0, 1], endpoint.first_port + 2 * (n % 4)));
        stranger.send_to(if n % 2 == 0 { &key } else { b"garbage" }, to).unwrap();
    }
    assert!(stranger.recv_from(&mut [0; 2_000]).is_err(), "the audio went to a stranger");
    assert!(endpoint.server.monitor().media().strangers.load(Ordering::Relaxed) > 10);
    assert!(!call.is_over() && endpoint.handler.keys.lock().unwrap().is_empty());
    call.press("59").await;
    assert!(call.wait_ended(Duration::from_secs(10)).await);
    assert_eq!(*endpoint.handler.keys.lock().unwrap(), "59");
}

/// Captured on the loopback interface: no packet lost, sequence and timestamps without a gap, 20 ms between packets.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_wire_the_stream_is_whole_and_steady() {
    let endpoint = Endpoint::start(10, "127.0.0.0/8").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("call.pcap");
    let filter = format!("udp and src portrange {0}-{1}", endpoint.first_port, endpoint.first_port + 1_999);
    let mut capture = Command::new("tshark")
        .args(["-q", "-i", "lo", "-f", &filter, "-a", "duration:9", "-w"])
        .arg(&file)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("tshark is installed (tests/install.sh)");
    sleep(Duration::from_secs(3)).await;
    let call = dial(&format!("sip:800@{}", endpoint.address), PhoneConfig::default()).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    call.hang_up().await;
    tokio::task::spawn_blocking(move || capture.wait()).await.unwrap().unwrap();
    let fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "udp.payload"];
    let output = Command::new("tshark").arg("-r").arg(&file).args(fields).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
    let packets: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(_, payload)| payload.len() == 2 * 172)
        .map(|(time, payload)| (time.parse::<f64>().unwrap(), number(&payload[4..8]), number(&payload[8..16])))
        .collect();
    assert!(packets.len() > 150, "{} packets captured: {}", packets.len(), String::from_utf8_lossy(&output.stderr));
    for pair in packets.windows(2) {
        assert_eq!((pair[0].1 + 1) & 0xffff, pair[1].1, "sequence");
        assert_eq!((pair[0].2 + 160) & 0xffff_ffff, pair[1].2, "timestamp");
    }
    let (begin, end) = (packets[0].0, packets[packets.len() - 1].0);
    let mean = (end - begin) * 1000.0 / (packets.len() - 1) as f64;
    assert!((mean - 20.0).abs() < 0.2, "{mean} ms between packets");
}
