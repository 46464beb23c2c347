//! What a message costs at the SIP door: a stranger's, a scanner's, a call that is let in, and one that there is no room for.

use std::{
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voceguida::telephony::sip::gate::{Gate, Known};

fn request(method: &str, n: u32, more: &str) -> Vec<u8> {
    let sdp = "v=0\r\no=x 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n";
    format!(
        "{method} sip:800123456@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n\
         From: \"Rossi\" <sip:0182970000@192.0.2.9>;tag=a{n}\r\nTo: <sip:800123456@192.0.2.1>\r\nCall-ID: c{n}@192.0.2.9\r\n\
         CSeq: 1 {method}\r\nContact: <sip:0182970000@192.0.2.9:5060;transport=udp>\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\n\
         Supported: timer, 100rel\r\nSession-Expires: 1800\r\nP-Asserted-Identity: <sip:0182970000@192.0.2.9>\r\n{more}\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into_bytes()
}

fn door(c: &mut Criterion) {
    let (start, trunk) = (Instant::now(), SocketAddr::from(([192, 0, 2, 9], 5060)));
    let known = Known { trunk: "carrier", calls_per_second: 1_000_000 };
    let mut buffer = Vec::with_capacity(2_048);
    let mut group = c.benchmark_group("door");
    group.throughput(Throughput::Elements(1));
    let messages: Vec<_> = (0..4_096).map(|n| request("INVITE", n, "")).collect();
    let scan = request("OPTIONS", 1, "User-Agent: friendly-scanner\r\n");

    let mut n = 0u32;
    let mut next = move || {
        n = n.wrapping_add(1);
        n
    };
    let mut gate = Gate::new(start);
    group.bench_function("a stranger from a new address each time", |b| {
        b.iter(|| {
            let n = next();
            let from = SocketAddr::from((Ipv4Addr::from(n), 5060));
            gate.judge(black_box(&messages[0]), from, None, || true, start, &mut buffer)
        });
    });
    let mut gate = Gate::new(start);
    group.bench_function("a scanner that goes on", |b| b.iter(|| gate.judge(black_box(&scan), trunk, None, || true, start, &mut buffer)));
    for (name, room) in [("a call let in", true), ("a call without room, answered 503", false)] {
        let mut gate = Gate::new(start);
        let mut at = start;
        group.bench_function(name, |b| {
            b.iter(|| {
                at += Duration::from_millis(100);
                let message = &messages[next() as usize % messages.len()];
                gate.judge(black_box(message), trunk, Some(known), || room, at, &mut buffer)
            });
        });
    }
    let folded = request("INVITE", 1, "X: folded\r\n line\r\n");
    let mut gate = Gate::new(start);
    group.bench_function("a message to be rewritten", |b| {
        b.iter(|| gate.judge(black_box(&folded), trunk, Some(known), || true, start, &mut buffer));
    });
    group.finish();
}

criterion_group!(benches, door);
criterion_main!(benches);
