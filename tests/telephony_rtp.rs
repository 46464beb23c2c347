//! The stream that a caller hears, judged by tshark: no packet lost, twenty milliseconds apart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

mod telephony_support;

use std::{
    io::Write as _,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use telephony_support::{Ear, LINE, Line, config, program};

/// A packet capture (libpcap format, link type 101: raw IP) of what came to a UDP port. A capture
/// from the network card would need privileges that tests should not have.
struct Capture {
    file: std::fs::File,
}

impl Capture {
    fn new(path: &Path) -> Self {
        let mut file = std::fs::File::create(path).unwrap();
        let header: [u32; 6] = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, 101];
        file.write_all(&header.map(u32::to_le_bytes).concat()).unwrap();
        Self { file }
    }

    fn packet(&mut self, at: Duration, from: u16, to: u16, payload: &[u8]) {
        let udp = 8 + payload.len() as u16;
        let total = 20 + udp;
        let mut bytes = Vec::new();
        for number in [at.as_secs() as u32, at.subsec_micros(), u32::from(total), u32::from(total)] {
            bytes.extend(number.to_le_bytes());
        }
        let ip = Ipv4Addr::LOCALHOST.octets();
        bytes.extend([0x45, 0]);
        bytes.extend(total.to_be_bytes());
        // No fragment, time to live 64, UDP, no checksum.
        bytes.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        bytes.extend(ip.iter().chain(&ip));
        for number in [from, to, udp, 0] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(payload);
        self.file.write_all(&bytes).unwrap();
    }
}

/// A column of tshark's fields, one value a packet.
fn fields(capture: &Path, port: u16, name: &str) -> Vec<f64> {
    let output = program("tshark")
        .args(["-r", &capture.display().to_string(), "-d", &format!("udp.port=={port},rtp"), "-Y", "rtp", "-T", "fields", "-e", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim().parse().unwrap_or_else(|_| panic!("{name} is {line:?}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_whole_and_steady() {
    let line = Line::start(config(23_000..=23_099)).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("call.pcap");
    let ear = Ear::new();
    let (port, ear_port) = (ear.port(), ear.socket.local_addr().unwrap().port());
    ear.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut capture = Capture::new(&path);
    let listening = tokio::task::spawn_blocking(move || {
        let (mut buffer, mut count, mut began) = ([0; 2_000], 0u32, None);
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            match ear.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let began = *began.get_or_insert_with(Instant::now);
                    capture.packet(began.elapsed(), from.port(), ear_port, &buffer[..length]);
                    count += 1;
                }
                // A second of silence: not begun yet, or over.
                Err(_) if count > 0 || Instant::now() > patience => return count,
                Err(_) => {}
            }
        }
    });
    line.passes("UDP", "listen", LINE, &["-d", "6000", "-key", "rtp_port", &port]).await;
    let heard = listening.await.unwrap();
    let record = line.handler.wait_for_records(1).await.remove(0);
    assert_eq!(u64::from(heard), record.packets_sent, "what was sent has come");
    assert!(heard >= 250, "six seconds are some 300 packets, not {heard}");

    let sequence = fields(&path, ear_port, "rtp.seq");
    assert_eq!(sequence.len(), heard as usize, "every packet is RTP");
    assert!(sequence.windows(2).all(|w| (w[1] - w[0] - 1.0).rem_euclid(65_536.0) == 0.0), "one after the other: {sequence:?}");
    let clock = fields(&path, ear_port, "rtp.timestamp");
    assert!(clock.windows(2).all(|w| (w[1] - w[0] - 160.0).rem_euclid(4_294_967_296.0) == 0.0), "160 samples a packet: {clock:?}");
    for (name, value) in [("rtp.p_type", 8.0), ("udp.length", 180.0), ("rtp.version", 2.0)] {
        assert!(fields(&path, ear_port, name).iter().all(|v| (v - value).abs() < 0.5), "{name} is always {value}");
    }
    let ssrc = program("tshark")
        .args(["-r", &path.display().to_string(), "-d", &format!("udp.port=={ear_port},rtp"), "-q", "-z", "rtp,streams"])
        .output()
        .unwrap();
    let summary = String::from_utf8_lossy(&ssrc.stdout).into_owned();
    assert_eq!(summary.matches("127.0.0.1").count(), 2, "one stream: {summary}");
    assert!(summary.contains("0 (0.0%)"), "nothing lost: {summary}");

    // The machine that tests run on may be busy: the mean is the clock's doing, the rest the machine's.
    let times = fields(&path, ear_port, "frame.time_relative");
    let mean = (times[times.len() - 1] - times[0]) / (times.len() - 1) as f64;
    assert!((mean - 0.020).abs() < 0.001, "20 ms apart in the mean, not {mean}");
    let steady = times.windows(2).filter(|w| (w[1] - w[0] - 0.020).abs() < 0.015).count();
    assert!(steady * 10 >= times.len() * 8, "{steady} of {} packets came in time", times.len());
}
