//! A real SIP peer for the phone: sipp answers, the test is the RTP side and reads keys on its own.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails here")]

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rtp_rs::{RtpPacketBuilder, RtpReader};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinHandle};
use voceguida::telephony::clip::Clip;

/// A running sipp; ended with the test.
pub struct Sipp {
    child: Child,
    /// Where it listens.
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Sipp {
    /// Starts a scenario of `tests/support/sipp` for `calls` calls, with keywords for it.
    pub fn start(scenario: &str, tcp: bool, calls: u32, keys: &[(&str, String)]) -> Self {
        // A port free for both UDP and TCP just now.
        let port = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/sipp").join(scenario);
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sipp");
        command.args(["-i", "127.0.0.1", "-nostdin", "-timeout", "60", "-trace_err"]).arg("-sf").arg(file);
        command.args(["-p", &port.to_string(), "-m", &calls.to_string(), "-t", if tcp { "t1" } else { "u1" }]);
        for (name, value) in keys {
            command.args(["-key", name, value]);
        }
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("sipp is needed by this test (Debian: sip-tester)");
        let sipp = Self { child, port, dir };
        sipp.wait_listening(tcp);
        sipp
    }

    fn wait_listening(&self, tcp: bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let address: SocketAddr = ([127, 0, 0, 1], self.port).into();
        // Taken means: sipp has it.
        let taken = || if tcp { std::net::TcpListener::bind(address).is_err() } else { std::net::UdpSocket::bind(address).is_err() };
        while !taken() {
            assert!(Instant::now() < deadline, "sipp does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its exit code once it has ended, `None` when it has not by then.
    pub async fn finished(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("sipp can be asked") {
                return status.code();
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it complained of.
    pub fn complaints(&self) -> String {
        let logs = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        logs.filter(|path: &PathBuf| path.extension().is_some_and(|e| e == "log")).flat_map(std::fs::read_to_string).collect()
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the RTP side has seen of one caller.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Keys, each press once, by RTP timestamp (RFC 4733 §2.5).
    pub keys: String,
    /// Audio packets.
    pub audio: u64,
    /// Event packets by timestamp: (duration, end bit), in order of arrival.
    pub events: BTreeMap<u32, Vec<(u16, bool)>>,
    /// Gaps in the sequence numbers.
    pub gaps: u32,
    last_sequence: Option<u16>,
}

/// An RTP peer: counts what comes, and speaks to whoever spoke to it.
pub struct RtpPeer {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Mutex<HashMap<SocketAddr, Seen>>>,
    play: mpsc::UnboundedSender<Arc<Clip>>,
    task: JoinHandle<()>,
}

impl RtpPeer {
    /// Starts; `on_key` names the clip to play at a key, to everyone.
    pub async fn start(is_alaw: bool, on_key: impl Fn(char) -> Option<Arc<Clip>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let port = socket.local_addr().expect("its address").port();
        let seen = Arc::new(Mutex::new(HashMap::<SocketAddr, Seen>::new()));
        let (play, mut asked) = mpsc::unbounded_channel::<Arc<Clip>>();
        let known = seen.clone();
        let task = tokio::spawn(async move {
            let mut playing: Option<(Arc<Clip>, usize)> = None;
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            let mut buffer = [0; 2_048];
            let (mut sequence, mut timestamp) = (0_u16, 0_u32);
            loop {
                tokio::select! {
                    Some(clip) = asked.recv() => playing = Some((clip, 0)),
                    _ = ticks.tick() => {
                        let silence = [if is_alaw { 0xd5 } else { 0xff }; 160];
                        let mut frame = silence.as_slice();
                        if let Some((clip, at)) = &mut playing {
                            let next = if is_alaw { clip.alaw_frame(*at) } else { clip.ulaw_frame(*at) };
                            *at += 1;
                            if let Some(next) = next { frame = next }
                        }
                        let builder = RtpPacketBuilder::new().payload_type(if is_alaw { 8 } else { 0 }).ssrc(7);
                        let packet = builder.sequence(sequence.into()).timestamp(timestamp).payload(frame).build().expect("a packet");
                        (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(160));
                        let callers: Vec<_> = known.lock().expect("not poisoned").keys().copied().collect();
                        for caller in callers {
                            // A caller that is gone refuses.
                            let _ = socket.send_to(&packet, caller).await;
                        }
                    }
                    Ok((length, from)) = socket.recv_from(&mut buffer) => {
                        let key = known.lock().expect("not poisoned").entry(from).or_default().take(&buffer[..length]);
                        if let Some(clip) = key.and_then(&on_key) {
                            playing = Some((clip, 0));
                        }
                    }
                }
            }
        });
        Self { port, seen, play, task }
    }

    /// Plays a clip to everyone, in place of what is playing.
    pub fn play(&self, clip: &Arc<Clip>) {
        self.play.send(clip.clone()).expect("the peer runs");
    }

    /// What it saw, of each caller.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").values().cloned().collect()
    }

    /// What it saw of its only caller.
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "one caller");
        seen.into_iter().next().unwrap_or_default()
    }
}

impl Drop for RtpPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    /// Takes a packet; tells of a key with its first packet.
    fn take(&mut self, bytes: &[u8]) -> Option<char> {
        let packet = RtpReader::new(bytes).expect("RTP");
        let sequence = u16::from(packet.sequence_number());
        if self.last_sequence.replace(sequence).is_some_and(|last| last.wrapping_add(1) != sequence) {
            self.gaps += 1;
        }
        match packet.payload_type() {
            97 => {
                let [event, flags, high, low] = *packet.payload() else { panic!("an event of 4 bytes") };
                let press = self.events.entry(packet.timestamp()).or_default();
                press.push((u16::from_be_bytes([high, low]), flags & 0x80 != 0));
                let first = press.len() == 1;
                assert_eq!(packet.mark(), first, "the marker is on the first packet");
                let key = char::from(b"0123456789*#ABCD"[usize::from(event)]);
                first.then(|| {
                    self.keys.push(key);
                    key
                })
            }
            0 | 8 => {
                assert_eq!(packet.payload().len(), 160);
                self.audio += 1;
                None
            }
            other => panic!("payload type {other} was not agreed"),
        }
    }
}

/// A clip of noise that no other seed makes, as loud as speech.
pub fn spoken(name: &str, seed: u64, frames: usize) -> Arc<Clip> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 50) as i16 - 8_192
    };
    let pcm: Vec<i16> = (0..frames * 160).map(|_| next()).collect();
    Arc::new(Clip::from_pcm(name, &pcm))
}
