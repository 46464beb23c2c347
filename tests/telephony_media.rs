//! What the line hears of its caller and says of it: loss, keys by every way, reports (RTCP).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

mod telephony_support;

use std::{net::UdpSocket, thread::sleep, time::Duration};

use telephony_support::{Ear, LINE, Line, QUIET, config, rtp};
use voceguida::telephony::{call::KeyWays, g711::alaw_encode};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_loses_stands_in_the_record() {
    let line = Line::start(config(26_000..=26_049)).await;
    let mut ear = Ear::new();
    let port = ear.port();
    let speaking = tokio::task::spawn_blocking(move || {
        ear.packet();
        // Every tenth packet is lost on the way; the last ones are looked at, so that nothing is uncounted.
        for sequence in (0..=256u16).filter(|n| n % 10 != 5) {
            let packet = rtp(77, 8, sequence, u32::from(sequence) * 160, &QUIET);
            ear.socket.send_to(&packet, ear.line.unwrap()).unwrap();
            sleep(Duration::from_millis(5));
        }
    });
    line.passes("UDP", "listen", LINE, &["-d", "6000", "-key", "rtp_port", &port]).await;
    speaking.await.unwrap();
    let record = line.handler.wait_for_records(1).await.remove(0);
    // 257 numbers, of which 26 never came.
    assert_eq!((record.packets_received, record.quality.lost, record.quality.loss), (231, Some(26), Some(1_011)), "{record:?}");
    assert!(record.quality.mos.is_some_and(|mos| mos < 200), "{record:?}");
    assert!(record.quality.jitter_us.is_some() && !record.srtp, "{record:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tones_are_heard_where_no_events_were_agreed_on() {
    let line = Line::start(config(26_050..=26_099)).await;
    let mut ear = Ear::new();
    let port = ear.port();
    let pressing = tokio::task::spawn_blocking(move || {
        ear.packet();
        // 100 ms each of 7, 7, # and 9, and as much silence.
        let mut clock = 0;
        for (row, column) in [(852.0, 1_209.0), (852.0, 1_209.0), (941.0, 1_477.0), (852.0, 1_477.0)] {
            for packet in 0..10 {
                let sample = |n: usize| {
                    let at = (packet * 160 + n) as f64 / 8_000.0 * std::f64::consts::TAU;
                    alaw_encode(((at * row).sin() * 6_000.0 + (at * column).sin() * 6_000.0) as i16)
                };
                let tones: Vec<u8> = (0..160).map(sample).collect();
                ear.send(8, clock, if packet < 5 { &tones } else { &QUIET });
                clock += 160;
                sleep(Duration::from_millis(5));
            }
        }
        // The port stays open until the line has hung up.
        sleep(Duration::from_secs(1));
    });
    line.passes("UDP", "tones", LINE, &["-key", "rtp_port", &port]).await;
    pressing.await.unwrap();
    let record = line.handler.wait_for_records(1).await.remove(0);
    assert_eq!(line.handler.keys(), "77#9");
    let tones = KeyWays { tones: true, ..KeyWays::default() };
    assert_eq!((record.digits, record.key_ways, record.cause.as_str()), (4, tones, "we_hung_up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_told_by_event_and_info_counts_once() {
    let line = Line::start(config(26_100..=26_149)).await;
    let mut ear = Ear::new();
    let port = ear.port();
    let pressing = tokio::task::spawn_blocking(move || {
        ear.packet();
        ear.press(101, 5_000, 4, 5, 3);
        sleep(Duration::from_secs(2));
    });
    // The scenario tells the same press by INFO as well.
    line.passes("UDP", "info_too", LINE, &["-key", "rtp_port", &port]).await;
    pressing.await.unwrap();
    let record = line.handler.wait_for_records(1).await.remove(0);
    let both = KeyWays { events: true, info: true, tones: false };
    assert_eq!((line.handler.keys().as_str(), record.digits, record.key_ways), ("4", 1, both));
}

/// The types of the RTCP packets in a compound.
fn types(mut compound: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [_, kind, high, low, ..] = compound {
        types.push(*kind);
        compound = compound.get((usize::from(u16::from_be_bytes([*high, *low])) + 1) * 4..).unwrap_or_default();
    }
    types
}

/// Sender report, name, goodbye (RFC 3550 §6).
const REPORT: [u8; 2] = [200, 202];
const GOODBYE: [u8; 3] = [200, 202, 203];

#[tokio::test(flavor = "multi_thread")]
async fn reports_come_from_the_odd_port_to_the_odd_port() {
    let line = Line::start(config(26_150..=26_199)).await;
    // A pair of ports, as callers have.
    let (port, reports) = (26_300..26_400)
        .step_by(2)
        .find_map(|port| UdpSocket::bind(("127.0.0.1", port + 1)).ok().map(|socket| (port.to_string(), socket)))
        .unwrap();
    reports.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let listening = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 500];
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| *last != GOODBYE) {
            let (length, from) = reports.recv_from(&mut buffer).unwrap();
            assert_eq!(from.port() % 2, 1);
            heard.push(types(&buffer[..length]));
        }
        heard
    });
    line.passes("UDP", "listen", LINE, &["-d", "5000", "-key", "rtp_port", &port]).await;
    let heard = listening.await.unwrap();
    assert!(heard.len() >= 2 && heard[0] == REPORT, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_share_the_port_where_agreed() {
    let line = Line::start(config(26_200..=26_249)).await;
    let mut ear = Ear::new();
    let port = ear.port();
    let listening = tokio::task::spawn_blocking(move || {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last: &Vec<u8>| *last != GOODBYE) {
            let packet = ear.packet();
            if (192..=223).contains(&packet[1]) {
                heard.push(types(&packet));
            }
        }
        heard
    });
    line.passes("UDP", "muxed", LINE, &["-d", "5000", "-key", "rtp_port", &port]).await;
    let heard = listening.await.unwrap();
    assert!(heard.len() >= 2 && heard[0] == REPORT, "{heard:?}");
}

/// A receiver report about nothing, with a name (RFC 3550 §6.4.2).
const RECEIVER_REPORT: [u8; 24] = *b"\x80\xc9\0\x01\0\0\0\x09\x81\xca\0\x03\0\0\0\x09\x01\x01x\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn reports_go_where_the_callers_come_from() {
    let line = Line::start(config(26_400..=26_449)).await;
    let (port, reports) = (26_450..26_550)
        .step_by(2)
        .find_map(|port| UdpSocket::bind(("127.0.0.1", port + 1)).ok().map(|socket| (port.to_string(), socket)))
        .unwrap();
    // Behind NAT the caller's reports come from another port than it says.
    let nat = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in [&reports, &nat] {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let listening = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 500];
        let (length, from) = reports.recv_from(&mut buffer).unwrap();
        assert_eq!(types(&buffer[..length]), REPORT);
        nat.send_to(&RECEIVER_REPORT, from).unwrap();
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| *last != GOODBYE) {
            let (length, again) = nat.recv_from(&mut buffer).unwrap();
            assert_eq!(again, from);
            heard.push(types(&buffer[..length]));
        }
    });
    line.passes("UDP", "listen", LINE, &["-d", "5000", "-key", "rtp_port", &port]).await;
    listening.await.unwrap();
}
