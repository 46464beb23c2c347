//! What the telephone tests share: a line that plays, listens and remembers; sipp; a socket that hears RTP.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use voceguida::{
    ops::clock::Clock,
    telephony::{
        call::{Admission, Call, CallCommand, CallEvent, CallHandler, CallRecord, IncomingCall},
        clip::{Clip, FRAME_SAMPLES},
        sip::{Server, SipConfig, Trunk},
    },
};

/// Plays for a minute; `9` hangs up.
pub const LINE: &str = "800123456";
/// Takes two seconds to decide whether it answers.
pub const SLOW: &str = "800000002";
/// Says something short and hangs up.
pub const SHORT: &str = "800000003";
/// Every other number is refused with 404.
pub const UNKNOWN: &str = "800000404";

/// How long a test waits for something that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The user of the endpoint in these tests.
#[derive(Debug, Default)]
pub struct TestLine {
    records: Mutex<Vec<CallRecord>>,
    events: Mutex<Vec<CallEvent>>,
}

impl TestLine {
    /// The keys heard, of all calls, in order.
    pub fn keys(&self) -> String {
        let keys = |event: &CallEvent| if let CallEvent::Digit(key) = event { Some(*key) } else { None };
        self.events.lock().unwrap().iter().filter_map(keys).collect()
    }

    /// The records so far.
    pub fn records(&self) -> Vec<CallRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Waits for `n` records.
    pub async fn wait_for_records(&self, n: usize) -> Vec<CallRecord> {
        self.wait_for_records_within(n, PATIENCE).await
    }

    /// Waits for `n` records, for so long.
    pub async fn wait_for_records_within(&self, n: usize, patience: Duration) -> Vec<CallRecord> {
        let until = Instant::now() + patience;
        while self.records().len() < n {
            assert!(Instant::now() < until, "{n} calls should be over, there are {:?}", self.records());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.records()
    }
}

/// A tone of 400 Hz.
pub fn tone(name: &str, ms: usize) -> Arc<Clip> {
    let sample = |n: usize| ((n as f64 * 400.0 / 8_000.0 * std::f64::consts::TAU).sin() * 8_000.0) as i16;
    Arc::new(Clip::from_pcm(name, &(0..ms * 8).map(sample).collect::<Vec<_>>()))
}

impl CallHandler for TestLine {
    async fn admit(&self, call: &IncomingCall) -> Admission {
        match call.called.as_str() {
            LINE | SHORT => Admission::Answer,
            SLOW => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Admission::Answer
            }
            _ => Admission::Refuse { status: 404, cause: "unknown number".into() },
        }
    }

    async fn run(&self, mut call: Call) {
        let short = call.info.called == SHORT;
        let clips = if short { vec![tone("short", 200), tone("end", 100)] } else { vec![tone("long", 60_000)] };
        if call.commands.send(CallCommand::Play { id: 7, clips }).await.is_err() {
            return;
        }
        while let Some(event) = call.events.recv().await {
            self.events.lock().unwrap().push(event.clone());
            let hang_up = match event {
                CallEvent::Digit('9') => true,
                CallEvent::Played { id } => short && id == 7,
                _ => false,
            };
            if hang_up {
                return;
            }
        }
    }

    async fn finished(&self, record: CallRecord) {
        self.records.lock().unwrap().push(record);
    }
}

/// A running endpoint on the loopback.
pub struct Line {
    pub server: Server,
    pub handler: Arc<TestLine>,
}

/// Settings for a test: loopback only, ports chosen by the system, RTP from `rtp_ports`.
pub fn config(rtp_ports: std::ops::RangeInclusive<u16>) -> SipConfig {
    let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    SipConfig {
        udp: vec![any],
        tcp: vec![any],
        rtp_ports,
        media_threads: 1,
        max_calls: 50,
        trunks: vec![Trunk {
            name: "test".into(),
            sources: vec!["127.0.0.0/8".parse().unwrap()],
            calls_per_second: 1_000,
            ..Trunk::default()
        }],
        ..SipConfig::default()
    }
}

impl Line {
    pub async fn start(config: SipConfig) -> Self {
        let handler = Arc::new(TestLine::default());
        let server = Server::start(config, Clock::real(), Arc::clone(&handler)).await.expect("the endpoint starts");
        Self { server, handler }
    }

    /// Where it listens on `UDP` or `TCP`.
    pub fn address(&self, transport: &str) -> SocketAddr {
        let address = self.server.addresses().iter().find(|(name, _)| *name == transport).expect("it listens there").1;
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
    }

    /// Runs a scenario of `tests/sipp/` against it and expects it to pass.
    pub async fn passes(&self, transport: &'static str, scenario: &str, number: &str, more: &[&str]) {
        let output = self.sipp(transport, scenario, number, more).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "sipp {scenario} over {transport}: {}\n{errors}", output.status);
    }

    /// Runs a scenario.
    pub fn sipp(
        &self,
        transport: &'static str,
        scenario: &str,
        number: &str,
        more: &[&str],
    ) -> impl Future<Output = Output> + Send + use<> {
        sipp_at(self.address(transport), transport, scenario, number, more)
    }
}

/// Runs a scenario against an address.
pub fn sipp_at(
    address: SocketAddr,
    transport: &'static str,
    scenario: &str,
    number: &str,
    more: &[&str],
) -> impl Future<Output = Output> + Send + use<> {
    let (scenario, number) = (scenario.to_owned(), number.to_owned());
    let more: Vec<_> = more.iter().map(ToString::to_string).collect();
    async move { tokio::task::spawn_blocking(move || run_sipp(transport, address, &scenario, &number, &more)).await.expect("sipp runs") }
}

/// Fails with a hint where a program is missing.
pub fn program(name: &str) -> Command {
    let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    assert!(found, "{name} is not installed: run tests/install.sh");
    Command::new(name)
}

/// sipp's exit code where it could not bind or connect: the port was taken between being found and being used.
const NO_CONNECTION: i32 = 254;

/// Runs sipp; on a port that was snatched away, again on another.
fn run_sipp(transport: &str, address: SocketAddr, scenario: &str, number: &str, more: &[String]) -> Output {
    let mut output = try_sipp(transport, address, scenario, number, more);
    for _ in 0..4 {
        if output.status.code() != Some(NO_CONNECTION) {
            break;
        }
        output = try_sipp(transport, address, scenario, number, more);
    }
    output
}

fn try_sipp(transport: &str, address: SocketAddr, scenario: &str, number: &str, more: &[String]) -> Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(scenario).with_extension("xml");
    let errors = dir.path().join("errors.txt");
    let mut command = program("sipp");
    command
        .current_dir(dir.path())
        .arg(address.to_string())
        .args(["-sf", &file.display().to_string(), "-s", number, "-i", "127.0.0.1", "-m", "1", "-nostdin"])
        .args(["-p", &free_port().to_string(), "-t", if transport == "TCP" { "t1" } else { "u1" }])
        .args(["-timeout", "60", "-timeout_error", "-trace_err", "-error_file", &errors.display().to_string()])
        .args(["-trace_msg", "-message_file", "messages.txt"])
        .args(more)
        .stdin(Stdio::null());
    if !more.iter().any(|arg| arg == "rtp_port") {
        // Nobody listens there; sipp itself handles no media.
        command.args(["-key", "rtp_port", &free_port().to_string()]);
    }
    let mut output = command.output().expect("sipp starts");
    // What went wrong stands in its files, not on its screen.
    output.stderr =
        [PathBuf::from(&errors), dir.path().join("messages.txt")].iter().flat_map(|path| std::fs::read(path).unwrap_or_default()).collect();
    output
}

/// A UDP port that is free now.
pub fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.local_addr()).expect("a free port").port()
}

/// A caller's media socket.
pub struct Ear {
    pub socket: UdpSocket,
    /// Where the line's packets come from, once one has.
    pub line: Option<SocketAddr>,
    sequence: u16,
}

impl Ear {
    pub fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST)
    }

    /// At an address of its own.
    pub fn at(ip: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Self { socket, line: None, sequence: 1 }
    }

    pub fn port(&self) -> String {
        self.socket.local_addr().expect("an address").port().to_string()
    }

    /// The next packet of the line.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2_000];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("RTP comes in");
        assert_eq!(*self.line.get_or_insert(from), from, "the line's packets come from one port");
        buffer[..length].to_vec()
    }

    /// Sends a packet to the line.
    pub fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let packet = rtp(77, payload_type, self.sequence, timestamp, payload);
        self.sequence = self.sequence.wrapping_add(1);
        let line = self.line.expect("the line has been heard");
        self.socket.send_to(&packet, line).expect("the packet is sent");
    }

    /// Presses a key (RFC 4733): `updates` packets, `ends` end packets.
    pub fn press(&mut self, events: u8, timestamp: u32, code: u8, updates: u16, ends: u16) {
        for n in 1..=updates {
            let [high, low] = (n * 160).to_be_bytes();
            self.send(events, timestamp, &[code, 10, high, low]);
            std::thread::sleep(Duration::from_millis(5));
        }
        let [high, low] = (updates * 160).to_be_bytes();
        for _ in 0..ends {
            self.send(events, timestamp, &[code, 138, high, low]);
        }
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// An RTP packet.
pub fn rtp(ssrc: u32, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    rtp_rs::RtpPacketBuilder::new()
        .payload_type(payload_type)
        .ssrc(ssrc)
        .sequence(rtp_rs::Seq::from(sequence))
        .timestamp(timestamp)
        .payload(payload)
        .build()
        .expect("a packet")
}

/// A frame of A-law silence.
pub const QUIET: [u8; FRAME_SAMPLES] = [0xd5; FRAME_SAMPLES];
