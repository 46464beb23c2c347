//! The SIP endpoint as a provider's trunk sees it: real calls by sipp, over UDP and TCP. The
//! conversations are in `tests/sipp/`; what the line made of them is checked here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

mod telephony_support;

use std::time::Duration;

use telephony_support::{Ear, LINE, Line, QUIET, SHORT, SLOW, UNKNOWN, config, sipp_at};
use voceguida::telephony::{
    call::CallRecord,
    sip::{SipConfig, Trunk},
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

fn causes(records: &[CallRecord]) -> Vec<(u16, &str)> {
    records.iter().map(|r| (r.status, r.cause.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_taken_heard_and_ended() {
    let records = over_both(config(21_000..=21_099), "basic", LINE).await;
    assert_eq!(causes(&records), [(200, "caller_hung_up"); 2]);
    for record in records {
        assert_eq!((record.call.called.as_str(), record.call.caller.as_deref()), (LINE, Some("0182970000")));
        assert_eq!((record.call.trunk.as_str(), record.codec), ("test", Some("PCMA")));
        assert!(record.answered_at.is_some_and(|at| at >= record.call.at && at <= record.ended_at));
        // A second at 50 packets a second; a busy machine may take longer over it.
        assert!(record.packets_sent >= 40, "{} packets", record.packets_sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_hang_up_at_any_moment() {
    let records = over_both(config(21_100..=21_199), "early_bye", LINE).await;
    assert_eq!(causes(&records), [(200, "caller_hung_up"); 2]);
    let records = over_both(config(21_100..=21_199), "bye_before_ack", LINE).await;
    assert_eq!(causes(&records), [(200, "caller_hung_up"); 2]);
    assert!(records.iter().all(|r| r.answered_at.is_none()), "never acknowledged");
    let records = over_both(config(21_100..=21_199), "cancel", SLOW).await;
    assert_eq!(causes(&records), [(487, "abandoned"); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_hangs_up_when_it_is_done() {
    let records = over_both(config(21_200..=21_299), "we_hang_up", SHORT).await;
    assert_eq!(causes(&records), [(200, "we_hung_up"); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_listens_everywhere_is_the_same_line() {
    let everywhere = vec!["0.0.0.0:0".parse().unwrap()];
    let config = SipConfig { udp: everywhere.clone(), tcp: everywhere, ..config(22_900..=22_999) };
    // Our BYE has to find its way out, and its answer the way back.
    let records = over_both(config, "we_hang_up", SHORT).await;
    assert_eq!(causes(&records), [(200, "we_hung_up"); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offer_may_come_from_us() {
    let records = over_both(config(21_300..=21_399), "delayed_offer", LINE).await;
    assert_eq!(causes(&records), [(200, "caller_hung_up"); 2]);
    assert!(records.iter().all(|r| r.codec == Some("PCMU") && r.packets_sent >= 40), "{records:?}");
    let records = over_both(config(21_300..=21_399), "delayed_no_answer", LINE).await;
    assert_eq!(causes(&records), [(200, "no usable answer in ACK"); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_held_and_resumed() {
    let records = over_both(config(21_400..=21_499), "hold", LINE).await;
    assert_eq!(causes(&records), [(200, "caller_hung_up"); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_timers_are_agreed_on() {
    let records = over_both(config(21_500..=21_599), "session_timer", LINE).await;
    assert_eq!(causes(&records), [(200, "caller_hung_up"); 2]);
    let records = over_both(config(21_500..=21_599), "short_session", LINE).await;
    assert_eq!(causes(&records), [(422, "refused: session interval too small"); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_falls_to_us_is_refreshed() {
    let line = Line::start(config(21_600..=21_699)).await;
    // Half of the shortest session is 45 seconds: all at once.
    tokio::join!(
        line.passes("UDP", "session_timer_ours", LINE, &[]),
        line.passes("UDP", "session_timer_reinvite", LINE, &[]),
        line.passes("UDP", "refresh_refused", LINE, &[]),
    );
    let mut records = line.handler.wait_for_records(3).await;
    records.sort_by(|a, b| a.cause.cmp(&b.cause));
    assert_eq!(causes(&records), [(200, "caller_hung_up"), (200, "caller_hung_up"), (200, "session refresh unanswered")]);
}

/// A caller that is heard for a moment and then no more.
fn says_a_word(mut ear: Ear) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        ear.packet();
        ear.send(8, 0, &QUIET);
        // The socket stays open: a closed port would tell the line that nobody is there.
        std::thread::sleep(Duration::from_secs(8));
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_falls_silent_is_given_up_but_not_on_hold() {
    let line = Line::start(SipConfig { dead_media: Duration::from_secs(2), ..config(22_800..=22_899) }).await;
    for (scenario, cause) in [("until_bye", "dead media"), ("long_hold", "caller_hung_up")] {
        let ear = Ear::new();
        let port = ear.port();
        let word = says_a_word(ear);
        line.passes("UDP", scenario, LINE, &["-key", "rtp_port", &port]).await;
        word.await.unwrap();
        let records = line.handler.wait_for_records(1).await;
        assert_eq!(records.last().map(|r| (r.cause.as_str(), r.packets_received)), Some((cause, 1)), "{scenario}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why() {
    for (scenario, number, status, cause) in [
        ("unknown_number", UNKNOWN, 404, "refused: unknown number"),
        ("no_common_codec", LINE, 488, "refused: no common codec"),
        ("bad_sdp", LINE, 400, "refused: not a session description"),
        ("bad_extension", LINE, 420, "refused: unsupported extension required"),
    ] {
        assert_eq!(causes(&over_both(config(21_700..=21_799), scenario, number).await), [(status, cause); 2], "{scenario}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_so_many_calls_and_no_more() {
    let line = Line::start(SipConfig { max_calls: 1, ..config(21_800..=21_899) }).await;
    let first = line.sipp("UDP", "listen", LINE, &["-d", "3000"]);
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(line.server.active(), 1);
        line.passes("UDP", "full", LINE, &[]).await;
        line.passes("TCP", "full", LINE, &[]).await;
    };
    let (first, ()) = tokio::join!(first, second);
    assert!(first.status.success(), "the call that was there goes on: {}", String::from_utf8_lossy(&first.stderr));
    line.handler.wait_for_records(1).await;
    let stats = line.server.monitor().stats();
    assert_eq!((stats.answered, stats.full), (1, 2));
    line.passes("UDP", "basic", LINE, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_line_takes_no_calls_and_lets_the_running_one_finish() {
    let line = Line::start(config(21_900..=21_999)).await;
    let (handler, address) = (line.handler.clone(), line.address("UDP"));
    let call = tokio::spawn(line.sipp("UDP", "listen", LINE, &["-d", "3000"]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let monitor = line.server.monitor();
    let draining = tokio::spawn(line.server.drain(Duration::from_secs(20)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stats = monitor.stats();
    assert_eq!((stats.draining, stats.active), (true, 1), "the places that are held free are no calls");
    let refused = sipp_at(address, "UDP", "full", LINE, &[]).await;
    assert!(refused.status.success(), "{}", String::from_utf8_lossy(&refused.stderr));
    let output = call.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(draining.await.unwrap(), 0, "nobody had to be hung up");
    assert_eq!(causes(&handler.records()), [(200, "caller_hung_up")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_finish_in_time_is_hung_up_when_draining() {
    let line = Line::start(config(22_000..=22_099)).await;
    let handler = line.handler.clone();
    let call = tokio::spawn(line.sipp("UDP", "until_bye", LINE, &[]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(line.server.drain(Duration::from_millis(200)).await, 1);
    let output = call.await.unwrap();
    assert!(output.status.success(), "the caller gets a BYE: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(causes(&handler.records()), [(200, "shutdown")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_never_acknowledged_is_repeated_and_given_up() {
    let line = Line::start(config(22_100..=22_199)).await;
    let output = line.sipp("UDP", "no_ack", LINE, &[]).await;
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    // After 0.5, 1, 2, 4, 4 … s (RFC 3261 §13.3.1.4); sipp itself passes over what it has seen.
    let answers = messages.matches("SIP/2.0 200 OK\r\nVia").count() + messages.matches("SIP/2.0 200 OK\nVia").count();
    assert!(answers >= 8, "the answer came {answers} times");
    let records = line.handler.wait_for_records(1).await;
    assert_eq!(causes(&records), [(200, "no ACK")]);
    assert_eq!((records[0].answered_at, line.server.active()), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_call_has_an_end() {
    let line = Line::start(SipConfig { max_call: Duration::from_secs(2), ..config(22_200..=22_299) }).await;
    line.passes("UDP", "until_bye", LINE, &[]).await;
    assert_eq!(causes(&line.handler.wait_for_records(1).await), [(200, "longest call")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_answered_by_the_rfc() {
    let line = Line::start(config(22_300..=22_399)).await;
    for transport in ["UDP", "TCP"] {
        line.passes(transport, "options", LINE, &[]).await;
        line.passes(transport, "strange_requests", LINE, &[]).await;
    }
    line.passes("UDP", "unknown_method", LINE, &[]).await;
    assert_eq!(line.handler.records(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_further_than_the_door() {
    let nobody =
        vec![Trunk { name: "far away".into(), sources: vec!["192.0.2.0/24".parse().unwrap()], calls_per_second: 10, ..Trunk::default() }];
    let line = Line::start(SipConfig { trunks: nobody, ..config(22_400..=22_499) }).await;
    line.passes("UDP", "stranger", LINE, &[]).await;
    let output = line.sipp("TCP", "stranger", LINE, &["-timeout", "3"]).await;
    assert!(!output.status.success(), "a stranger's connection is closed");
    let stats = line.server.monitor().stats();
    assert!(stats.strangers >= 2 && stats.invites == 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_calls_too_often_is_told_to_wait() {
    let mut slow = config(22_500..=22_599);
    slow.trunks[0].calls_per_second = 1;
    let line = Line::start(slow).await;
    // Two at once are borne, and one a second comes to it.
    let output = line.sipp("UDP", "basic", LINE, &["-m", "10", "-r", "100"]).await;
    assert!(!output.status.success());
    let stats = line.server.monitor().stats();
    assert!((2..=4).contains(&stats.invites) && stats.full >= 6, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_info_are_heard_where_events_were_not_agreed_on() {
    let line = Line::start(config(22_600..=22_699)).await;
    line.passes("UDP", "info", LINE, &[]).await;
    assert_eq!(line.handler.wait_for_records(1).await[0].digits, 2);
    assert_eq!(line.handler.keys(), "4#");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_is_heard_once_and_nine_hangs_up() {
    let line = Line::start(config(22_700..=22_799)).await;
    let mut ear = Ear::new();
    let port = ear.port();
    let presses = tokio::task::spawn_blocking(move || {
        ear.packet();
        let mut clock = 4_000_000_000;
        // A whole press; the same key again; ends lost; beginning lost; one single packet; the last one is 9.
        for (code, updates, ends) in [(1, 5, 3), (1, 5, 3), (2, 5, 0), (11, 0, 1), (3, 1, 0), (10, 3, 3), (9, 3, 3)] {
            ear.send(8, clock, &QUIET);
            clock = clock.wrapping_add(160);
            ear.press(101, clock, code, updates, ends);
            clock = clock.wrapping_add(8_000);
        }
    });
    line.passes("UDP", "until_bye", LINE, &["-key", "rtp_port", &port]).await;
    presses.await.unwrap();
    let records = line.handler.wait_for_records(1).await;
    assert_eq!(line.handler.keys(), "112#3*9");
    assert_eq!(causes(&records), [(200, "we_hung_up")]);
    assert!(records[0].packets_received >= 30, "{records:?}");
}
