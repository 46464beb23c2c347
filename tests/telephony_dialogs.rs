//! What happens inside a call, as a provider's trunk sees it: changes of the session, glare, reliable provisional
//! answers, route sets, reasons. The conversations are in `tests/sipp/`; what the line made of them is checked here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

mod telephony_support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use telephony_support::{Ear, LINE, Line, PATIENCE, SHORT, SLOW, config, program};
use voceguida::telephony::{
    call::{CallRecord, KeyWays, Side},
    sip::SipConfig,
    trace::{Trace, TraceSettings},
};

/// Runs a scenario over both transports and returns the call's record of each.
async fn over_both(config: SipConfig, scenario: &str, number: &str) -> Vec<CallRecord> {
    let line = Line::start(config).await;
    for transport in ["UDP", "TCP"] {
        line.passes(transport, scenario, number, &[]).await;
    }
    let records = line.handler.wait_for_records(2).await;
    line.server.drain(Duration::from_secs(5)).await;
    assert_eq!(records.len(), 2, "each call is told of once: {records:?}");
    records
}

fn ends(records: &[CallRecord]) -> Vec<(u16, &str, u8, Side)> {
    records.iter().map(|r| (r.status, r.cause.as_str(), r.q850, r.released_by)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisional_answer_arrives_where_that_is_required() {
    let records = over_both(config(24_500..=24_519), "prack", LINE).await;
    assert_eq!(ends(&records), [(200, "caller_hung_up", 16, Side::Caller); 2]);
    for record in &records {
        assert!(record.ringing_at.is_some_and(|at| at >= record.call.at && Some(at) <= record.answered_at), "{record:?}");
        assert!(record.packets_sent >= 40, "{record:?}");
    }
    let records = over_both(config(24_500..=24_519), "prack_offer", LINE).await;
    assert!(records.iter().all(|r| r.codec == Some("PCMU") && r.packets_sent >= 40), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_may_be_given_up_in_every_way() {
    let line = Line::start(config(24_520..=24_539)).await;
    for transport in ["UDP", "TCP"] {
        let output = line.sipp(transport, "prack_cancel", LINE, &[]).await;
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{messages}");
        // Every answer to the INVITE comes from the same place (RFC 3261 §12.1.1).
        let tags: std::collections::HashSet<_> =
            messages.lines().filter_map(|l| l.strip_prefix("To:")?.split_once(";tag=")).map(|(_, tag)| tag.trim().to_owned()).collect();
        assert_eq!(tags.len(), 1, "{messages}");
    }
    let records = line.handler.wait_for_records(2).await;
    assert_eq!(ends(&records), [(487, "abandoned", 26, Side::Caller); 2]);
    assert_eq!(records[0].reason.as_deref(), Some("SIP;cause=200;text=\"Call completed elsewhere\", Q.850;cause=26"));

    let records = over_both(config(24_540..=24_559), "early_requests", LINE).await;
    assert_eq!(ends(&records), [(487, "abandoned", 18, Side::Caller); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisional_answer_that_nobody_acknowledges_is_repeated_and_the_call_refused() {
    let line = Line::start(config(24_560..=24_579)).await;
    let output = line.sipp("UDP", "prack_none", LINE, &["-timeout", "300"]).await;
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    // After 0.5, 1, 2, 4 … s (RFC 3262 §3).
    let answers = messages.matches("SIP/2.0 180 Ringing").count();
    assert!(answers >= 5, "180 came {answers} times");
    let records = line.handler.wait_for_records(1).await;
    assert_eq!(ends(&records), [(504, "refused: no PRACK", 102, Side::Line)]);
    assert_eq!(line.server.active(), 0);
}

/// The payload types that come to a caller's port, until they stop.
fn payload_types(ear: Ear) -> tokio::task::JoinHandle<Vec<u8>> {
    tokio::task::spawn_blocking(move || {
        let mut types = Vec::new();
        let mut buffer = [0; 2_000];
        ear.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        while let Ok((length, _)) = ear.socket.recv_from(&mut buffer) {
            types.push(buffer[..length][1] & 0x7f);
            ear.socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        }
        types
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn codec_address_and_contact_change_in_mid_call() {
    let line = Line::start(config(24_580..=24_599)).await;
    for transport in ["UDP", "TCP"] {
        let (one, other) = (Ear::new(), Ear::new());
        let ports = [one.port(), other.port()];
        let (one, other) = (payload_types(one), payload_types(other));
        line.passes(transport, "changes", LINE, &["-key", "rtp_port", &ports[0], "-key", "other_port", &ports[1]]).await;
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert!(one.len() >= 40 && one.iter().all(|pt| *pt == 8), "A-law at the first port: {one:?}");
        assert!(other.len() >= 20 && other.iter().all(|pt| *pt == 0), "µ-law at the other: {other:?}");
    }
    let records = line.handler.wait_for_records(2).await;
    assert_eq!(ends(&records), [(200, "we_hung_up", 16, Side::Line); 2]);
    let info = KeyWays { info: true, ..KeyWays::default() };
    assert!(records.iter().all(|r| (r.digits, r.key_ways, r.codec) == (1, info, Some("PCMA"))), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_ours_in_mid_call_is_answered_before_another_is_taken() {
    let records = over_both(config(24_600..=24_619), "late_reinvite", LINE).await;
    assert_eq!(ends(&records), [(200, "caller_hung_up", 16, Side::Caller); 2]);
    assert!(records.iter().all(|r| r.codec == Some("PCMU")), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reinvite_may_come_at_once_or_overtake_the_ack() {
    let line = Line::start(config(24_620..=24_719)).await;
    for (transport, scenario) in [("UDP", "reinvite_at_once"), ("TCP", "reinvite_at_once"), ("UDP", "reinvite_before_ack")] {
        line.passes(transport, scenario, LINE, &["-m", "20", "-r", "20"]).await;
    }
    let records = line.handler.wait_for_records(60).await;
    assert!(ends(&records).iter().all(|end| *end == (200, "caller_hung_up", 16, Side::Caller)), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_hang_up_at_once() {
    let records = over_both(config(24_840..=24_859), "bye_crossing", SHORT).await;
    assert_eq!(ends(&records), [(200, "we_hung_up", 16, Side::Line); 2]);
}

/// INVITE and CANCEL in one breath, over a socket that writes and reads messages; the answers.
fn invite_and_cancel(address: SocketAddr, transport: &str, mut exchange: impl FnMut(&[String]) -> String) -> String {
    let message = |method: &str, body: &str| {
        format!(
            "{method} sip:{SLOW}@{address} SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;branch=z9hG4bKearly{transport};rport\r\n\
             From: <sip:0182970000@127.0.0.1>;tag=early\r\nTo: <sip:{SLOW}@{address}>\r\nCall-ID: early{transport}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:caller@127.0.0.1:9>\r\nMax-Forwards: 70\r\n{body}",
        )
    };
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n";
    let offer = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    let empty = "Content-Length: 0\r\n\r\n";
    let answers = exchange(&[message("INVITE", &offer), message("CANCEL", empty)]);
    exchange(&[message("ACK", empty)]);
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_give_up_in_the_same_breath() {
    let line = Line::start(config(46_100..=46_119)).await;
    let (udp, tcp) = (line.address("UDP"), line.address("TCP"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(tcp).unwrap();
    for timeout in [socket.set_read_timeout(Some(PATIENCE)), stream.set_read_timeout(Some(PATIENCE))] {
        timeout.unwrap();
    }
    // Both answers may come in one piece, and 100 before them or not.
    let complete = |answers: &str| answers.contains("CSeq: 1 CANCEL") && answers.contains("SIP/2.0 487");
    let by_udp = move |messages: &[String]| {
        let (mut answers, mut buffer) = (String::new(), [0; 4_000]);
        for message in messages {
            socket.send_to(message.as_bytes(), udp).unwrap();
        }
        while messages.len() > 1 && !complete(&answers) {
            let length = socket.recv(&mut buffer).unwrap();
            answers += &String::from_utf8_lossy(&buffer[..length]);
        }
        answers
    };
    let by_tcp = move |messages: &[String]| {
        let (mut answers, mut buffer) = (String::new(), [0; 4_000]);
        stream.write_all(messages.concat().as_bytes()).unwrap();
        while messages.len() > 1 && !complete(&answers) {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "{answers}");
            answers += &String::from_utf8_lossy(&buffer[..length]);
        }
        answers
    };
    let answers = tokio::task::spawn_blocking(move || [invite_and_cancel(udp, "UDP", by_udp), invite_and_cancel(tcp, "TCP", by_tcp)]);
    for answers in answers.await.unwrap() {
        assert!(answers.contains("SIP/2.0 200"), "{answers}");
    }
    let records = line.handler.wait_for_records(2).await;
    assert_eq!(ends(&records), [(487, "abandoned", 16, Side::Caller); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_give_up_too_late() {
    let records = over_both(config(46_140..=46_159), "cancel_crossing", LINE).await;
    assert_eq!(ends(&records), [(200, "caller_hung_up", 16, Side::Caller); 2]);
    assert!(records.iter().all(|r| r.packets_sent >= 40), "the call is there, and speaks: {records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pbx_may_bring_the_media_to_another_host_and_back() {
    let line = Line::start(config(46_120..=46_139)).await;
    for transport in ["UDP", "TCP"] {
        let (mut own, mut other) = (Ear::new(), Ear::at("127.0.0.2".parse().unwrap()));
        let ports = [own.port(), other.port()];
        let keys = tokio::task::spawn_blocking(move || {
            other.packet();
            other.press(101, 1_000, 4, 5, 3);
            other.press(101, 9_000, 2, 5, 3);
            // What still came to the first port before the change, and what comes after the change back.
            own.socket.set_nonblocking(true).unwrap();
            while own.socket.recv_from(&mut [0; 2_000]).is_ok() {}
            own.socket.set_nonblocking(false).unwrap();
            own.packet();
            own.press(101, 17_000, 9, 5, 3);
        });
        let more = ["-key", "rtp_port", &ports[0], "-key", "other_ip", "127.0.0.2", "-key", "other_port", &ports[1]];
        line.passes(transport, "direct_media", LINE, &more).await;
        keys.await.unwrap();
    }
    let records = line.handler.wait_for_records(2).await;
    assert_eq!(ends(&records), [(200, "we_hung_up", 16, Side::Line); 2]);
    assert_eq!(line.handler.keys(), "429429");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_refresh_meets_theirs_and_every_objection() {
    let line = Line::start(config(24_720..=24_739)).await;
    // Half of the shortest session is 45 seconds: all at once.
    tokio::join!(
        line.passes("UDP", "glare", LINE, &["-timeout", "300"]),
        line.passes("TCP", "glare", LINE, &["-timeout", "300"]),
        line.passes("UDP", "refresh_stubborn", LINE, &["-timeout", "300"]),
    );
    let records = line.handler.wait_for_records(3).await;
    assert_eq!(ends(&records), [(200, "caller_hung_up", 16, Side::Caller); 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_follow_the_route_set_and_answers_go_where_they_came_from() {
    let line = Line::start(config(24_740..=24_759)).await;
    line.passes("UDP", "route_set", SHORT, &[]).await;
    line.passes("TCP", "route_set", SHORT, &[]).await;
    line.passes("UDP", "nat_rport", LINE, &[]).await;
    line.passes("UDP", "nat_received", LINE, &[]).await;
    let records = line.handler.wait_for_records(4).await;
    assert_eq!(records.iter().filter(|r| r.cause == "we_hung_up").count(), 2, "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nat_the_line_says_where_it_is_seen() {
    let seen = SipConfig { external_address: Some("192.0.2.200".parse().unwrap()), ..config(24_760..=24_779) };
    let line = Line::start(seen).await;
    line.passes("UDP", "external", SHORT, &[]).await;
    assert_eq!(ends(&line.handler.wait_for_records(1).await), [(200, "we_hung_up", 16, Side::Line)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_line_does_not_do_in_a_call_is_refused_and_the_call_goes_on() {
    let records = over_both(config(24_780..=24_799), "in_call_refusals", LINE).await;
    assert_eq!(ends(&records), [(200, "caller_hung_up", 31, Side::Caller); 2]);
    for record in &records {
        assert_eq!(record.reason.as_deref(), Some("Q.850;cause=31;text=\"Normal, unspecified\""));
        let call = &record.call;
        assert_eq!((call.caller.as_deref(), call.diverted_from.as_deref()), (Some("+393471234567"), Some("0182971111")));
        assert_eq!((call.user_agent.as_deref(), record.digits), (Some("SBC of the carrier/9"), 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_came_already_or_replaces_nothing_is_no_call() {
    let line = Line::start(config(24_800..=24_819)).await;
    for scenario in ["merged", "replaces", "replaces_required"] {
        line.passes("UDP", scenario, LINE, &[]).await;
    }
    let records = line.handler.wait_for_records(2).await;
    assert_eq!(
        ends(&records),
        [(200, "caller_hung_up", 16, Side::Caller), (420, "refused: unsupported extension required", 127, Side::Line)]
    );
}

/// What tshark says of these fields, a line a packet.
fn tshark(file: &std::path::Path, more: &[&str]) -> String {
    let output = program("tshark").arg("-r").arg(file).args(more).output().expect("tshark runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_call_is_traced_for_wireshark_and_homer_and_no_key_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let collector = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let trace = Trace::default();
    let line = Line::start(SipConfig { trace: trace.clone(), ..config(24_820..=24_839) }).await;
    let chosen = TraceSettings {
        hep: Some(collector.local_addr().unwrap()),
        pcap: Some(dir.path().into()),
        called: vec![LINE.into()],
        ..TraceSettings::default()
    };
    trace.set(Some(chosen)).unwrap();
    line.passes("UDP", "info", LINE, &[]).await;
    line.passes("UDP", "options", LINE, &[]).await;
    line.passes("UDP", "we_hang_up", SHORT, &[]).await;
    line.handler.wait_for_records(2).await;
    assert_eq!(line.handler.keys(), "4#", "the line itself hears them");
    trace.finish();
    assert_eq!(trace.dropped(), 0);

    let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let port = line.address("UDP").port().to_string();
    let decode = format!("udp.port=={port},sip");
    let listed = tshark(
        &file,
        &["-d", &decode, "-Y", "sip", "-T", "fields", "-e", "udp.dstport", "-e", "sip.Request-Line", "-e", "sip.Status-Code"],
    );
    let lines: Vec<Vec<&str>> = listed.lines().map(|l| l.split('\t').collect()).collect();
    let shown: Vec<_> =
        lines.iter().map(|l| format!("{} {}{}", if l[0] == port { ">" } else { "<" }, l[1].split(' ').next().unwrap(), l[2])).collect();
    assert_eq!(shown[..4], ["> INVITE", "< 100", "< 200", "> ACK"], "{listed}");
    assert_eq!(shown[shown.len() - 2..], ["> BYE", "< 200"], "{listed}");
    assert!(!listed.contains("OPTIONS") && !listed.contains(SHORT), "{listed}");
    let bytes = std::fs::read(&file).unwrap();
    let signals: Vec<_> = bytes.windows(8).filter(|w| w.starts_with(b"Signal=")).map(|w| w[7]).collect();
    assert!(!signals.is_empty() && signals.iter().all(|key| *key == b'x'), "{}", String::from_utf8_lossy(&bytes));

    // The collector's datagrams end with the messages (Debian's tshark knows no HEP).
    let mut buffer = vec![0; 65_536];
    let mut heard = Vec::new();
    while let Ok((length, _)) = collector.recv_from(&mut buffer) {
        let datagram = &buffer[..length];
        assert_eq!((&datagram[..4], usize::from(u16::from_be_bytes([datagram[4], datagram[5]]))), (b"HEP3".as_slice(), length));
        let text = String::from_utf8_lossy(datagram);
        assert!(!text.contains("Signal=") || text.contains("Signal=x"), "{text}");
        heard.push(text.contains("INVITE sip:").then_some("INVITE").or(text.contains("BYE sip:").then_some("BYE")));
    }
    assert_eq!((heard.len(), heard[0]), (shown.len(), Some("INVITE")));
    assert!(heard.contains(&Some("BYE")));
}
