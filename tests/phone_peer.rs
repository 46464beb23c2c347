//! The phone against a real SIP peer (sipp), over UDP and TCP: calls, keys, prompts, ends.
#![allow(clippy::expect_used, reason = "a test that cannot go on fails here")]

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use clap::Parser;
use voceguida::{
    cli::call::{self, Args},
    telephony::{
        clip::Clip,
        phone::{CallEnd, Phone, PhoneConfig, PhoneError},
    },
};

#[path = "support/phone_peer.rs"]
mod peer;

use peer::{RtpPeer, Sipp, spoken};

const LONG: Duration = Duration::from_secs(20);

fn clips() -> Vec<Arc<Clip>> {
    static CLIPS: LazyLock<[Arc<Clip>; 3]> = LazyLock::new(|| [spoken("welcome", 1, 50), spoken("menu", 2, 60), spoken("goodbye", 3, 40)]);
    CLIPS.to_vec()
}

/// A phone that knows the clips.
fn phone() -> PhoneConfig {
    PhoneConfig { clips: clips(), ..PhoneConfig::default() }
}

/// An RTP peer that plays `menu` at `#` and `goodbye` at `1`.
async fn rtp_peer(is_alaw: bool) -> RtpPeer {
    let clips = clips();
    RtpPeer::start(is_alaw, move |key| match key {
        '#' => clips.get(1).cloned(),
        '1' => clips.get(2).cloned(),
        _ => None,
    })
    .await
}

fn words(rtp: &RtpPeer, codec: u8) -> Vec<(&'static str, String)> {
    vec![("rtp_port", rtp.port.to_string()), ("codec", codec.to_string())]
}

async fn a_conversation(tcp: bool, is_alaw: bool) {
    let rtp = rtp_peer(is_alaw).await;
    let mut sipp = Sipp::start("answer.xml", tcp, 1, &words(&rtp, if is_alaw { 8 } else { 0 }));
    let uri = format!("sip:0182@127.0.0.1:{}{}", sipp.port, if tcp { ";transport=tcp" } else { "" });
    let call = Phone::dial(&uri, PhoneConfig { record: true, ..phone() }).await.expect("answered");
    rtp.play(&clips()[0]);
    assert!(call.wait_begun("welcome", LONG).await);
    assert!(!call.heard()[0].complete, "it has only begun");
    assert!(call.press(",23#,1").await);
    assert!(call.wait_quiet(LONG).await);

    let heard: Vec<_> = call.heard().into_iter().map(|heard| (heard.name, heard.complete)).collect();
    let whole = |name: &str| (name.to_owned(), true);
    assert_eq!(heard, [whole("welcome"), whole("menu"), whole("goodbye")], "each comma waited for the end");
    let seen = rtp.only();
    assert_eq!(seen.keys, "23#1");
    for packets in seen.events.values() {
        let expected = [(160, false), (320, false), (480, false), (640, false), (800, false), (800, true), (800, true), (800, true)];
        assert_eq!(packets, &expected);
    }
    assert_eq!(seen.gaps, 0);
    assert!(seen.audio > 100, "silence is sent all the time");

    assert!(call.hang_up().await);
    assert_eq!(call.end(), Some(CallEnd::WeHungUp));
    assert!(!call.press("1").await);
    assert!(call.recording().iter().any(|sample| sample.unsigned_abs() > 1_000), "the prompts are in the recording");
    assert_eq!(sipp.finished(LONG).await, Some(0), "{}", sipp.complaints());
}

#[tokio::test]
async fn keys_and_prompts_over_udp() {
    a_conversation(false, true).await;
}

#[tokio::test]
async fn keys_and_prompts_over_tcp_in_mu_law() {
    a_conversation(true, false).await;
}

async fn they_hang_up(tcp: bool) {
    let rtp = rtp_peer(true).await;
    let mut sipp = Sipp::start("answer_and_hang_up.xml", tcp, 1, &words(&rtp, 8));
    let uri = format!("127.0.0.1:{}{}", sipp.port, if tcp { ";transport=tcp" } else { "" });
    let call = Phone::dial(&uri, PhoneConfig::default()).await.expect("answered");
    assert_eq!(call.end(), None);
    // No prompt ever ends here: the wait is over with the call.
    assert!(!call.wait_quiet(LONG).await);
    let seen = rtp.only();
    assert!(seen.audio > 20 && seen.gaps == 0, "the renewed session goes on: {seen:?}");
    assert!(call.wait_ended(LONG).await);
    assert_eq!(call.end(), Some(CallEnd::TheyHungUp));
    assert_eq!(sipp.finished(LONG).await, Some(0), "{}", sipp.complaints());
}

#[tokio::test]
async fn the_other_side_renews_the_session_and_hangs_up_over_udp() {
    they_hang_up(false).await;
}

#[tokio::test]
async fn the_other_side_renews_the_session_and_hangs_up_over_tcp() {
    they_hang_up(true).await;
}

#[tokio::test]
async fn a_refused_call_tells_the_status() {
    let mut sipp = Sipp::start("refuse.xml", false, 2, &[]);
    let uri = format!("sip:nobody@127.0.0.1:{}", sipp.port);
    let refused = Phone::dial(&uri, PhoneConfig::default()).await.expect_err("refused");
    assert!(matches!(refused, PhoneError::Refused { status: 404, .. }), "{refused}");
    let code = call::call(args(&[&uri]), &[], |_| None).await.expect("a refusal is not a failure of the program");
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::from(2)));
    assert_eq!(sipp.finished(LONG).await, Some(0), "{}", sipp.complaints());
}

#[tokio::test]
async fn nobody_answers() {
    // A socket that is there and silent.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let uri = format!("sip:0182@{}", silent.local_addr().expect("its address"));
    let config = PhoneConfig { answer_timeout: Duration::from_millis(300), ..PhoneConfig::default() };
    assert!(matches!(Phone::dial(&uri, config).await, Err(PhoneError::NoAnswer)));
}

#[tokio::test]
async fn a_killed_call_says_no_bye_and_no_more_rtp() {
    let rtp = rtp_peer(true).await;
    let mut sipp = Sipp::start("answer.xml", false, 1, &words(&rtp, 8));
    let call = Phone::dial(&format!("127.0.0.1:{}", sipp.port), PhoneConfig::default()).await.expect("answered");
    tokio::time::sleep(Duration::from_millis(200)).await;
    call.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let audio = rtp.only().audio;
    assert!(audio > 0);
    assert_eq!(sipp.finished(Duration::from_secs(1)).await, None, "a BYE would have ended it");
    assert_eq!(rtp.only().audio, audio);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_phones_at_once_in_one_process() {
    let rtp = rtp_peer(true).await;
    let mut sipp = Sipp::start("answer.xml", false, 20, &words(&rtp, 8));
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let config = phone();
    let uri = format!("127.0.0.1:{}", sipp.port);
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(Phone::dial(&uri, config.clone()).await.expect("answered"));
    }
    let press = |call: voceguida::telephony::phone::PhoneCall| async move {
        assert!(call.press("456").await);
        call
    };
    let pressing: Vec<_> = calls.into_iter().map(|call| tokio::spawn(press(call))).collect();
    let mut calls = Vec::new();
    for pressed in pressing {
        calls.push(pressed.await.expect("no panic"));
    }
    rtp.play(&clips()[1]);
    for call in &calls {
        assert!(call.wait_begun("menu", LONG).await);
        assert!(call.hang_up().await);
    }
    let keys: Vec<_> = rtp.seen().into_iter().map(|seen| seen.keys).collect();
    assert_eq!(keys, vec!["456"; 20]);
    assert_eq!(sipp.finished(LONG).await, Some(0), "{}", sipp.complaints());
    // Each call takes its tasks, and with them its sockets, along.
    drop(calls);
    for _ in 0..100 {
        if alive() <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} tasks live on, {before} before", alive());
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    call: Args,
}

fn args(words: &[&str]) -> Args {
    Program::try_parse_from(["call"].iter().chain(words)).expect("arguments").call
}

#[tokio::test]
async fn the_command_calls_presses_records_and_hangs_up() {
    let rtp = rtp_peer(true).await;
    let mut sipp = Sipp::start("answer.xml", false, 1, &words(&rtp, 8));
    let dir = tempfile::tempdir().expect("a directory");
    let wav = dir.path().join("out.wav");
    let uri = format!("sip:0182@127.0.0.1:{}", sipp.port);
    let file = wav.to_str().expect("UTF-8");
    let code = call::call(args(&[&uri, "--keys", "1234567#,!", "--record", file, "--heard"]), &clips(), |_| None).await.expect("called");
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
    assert_eq!(rtp.only().keys, "1234567#");
    let mut recorded = hound::WavReader::open(&wav).expect("a WAV file");
    assert_eq!((recorded.spec().sample_rate, recorded.spec().channels, recorded.spec().bits_per_sample), (8_000, 1, 16));
    let loud = recorded.samples::<i16>().filter(|sample| sample.as_ref().is_ok_and(|sample| sample.unsigned_abs() > 1_000)).count();
    assert!(loud > 5_000, "only {loud} loud samples");
    assert_eq!(sipp.finished(LONG).await, Some(0), "{}", sipp.complaints());
}
