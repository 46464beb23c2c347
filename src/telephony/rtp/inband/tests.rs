use proptest::prelude::*;

use super::*;
use crate::telephony::phone::{keys::Key as Pressed, sound};

/// Packets of a press, of silence, of a press and so on, as a telephone sends them (A-law, 20 ms).
fn audio(keys: &str, ticks_down: u32, ticks_up: u32) -> Vec<i16> {
    let press = |key| (0..ticks_down).flat_map(move |tick| sound::tone(Pressed::new(key).unwrap(), tick, true));
    let silence = |ticks: u32| std::iter::repeat_n(0xd5, ticks as usize * 160);
    let octets: Vec<u8> = keys.chars().flat_map(|key| silence(ticks_up).chain(press(key))).chain(silence(3)).collect();
    sound::decode(&octets, true)
}

fn heard(detector: &mut ToneDetector, samples: &[i16]) -> String {
    let mut keys = String::new();
    detector.hear(samples.iter().copied(), |key| keys.push(key));
    keys
}

#[test]
fn every_key_is_heard_once_a_press_however_long_it_is_held() {
    let all = "123A456B789C*0#D1122";
    for (down, up) in [(2, 2), (5, 5), (50, 5), (500, 2)] {
        assert_eq!(heard(&mut ToneDetector::default(), &audio(all, down, up)), all, "{down} {up}");
    }
}

#[test]
fn it_is_small() {
    assert!(size_of::<ToneDetector>() < 1_000, "{}", size_of::<ToneDetector>());
}

#[test]
fn a_key_is_told_while_it_is_held_40_ms_after_it_went_down() {
    let samples = audio("5", 50, 5);
    assert_eq!(heard(&mut ToneDetector::default(), &samples[..800 + 28 * 8]), "");
    assert_eq!(heard(&mut ToneDetector::default(), &samples[..800 + 40 * 8]), "5");
}

#[test]
fn a_lost_packet_does_not_make_two_presses_and_a_long_loss_ends_one() {
    let samples = audio("7", 20, 5);
    let (before, after) = samples.split_at(800 + 1_600);
    let with_loss = |packets: u32| {
        let mut detector = ToneDetector::default();
        let mut keys = heard(&mut detector, before);
        for _ in 0..packets {
            detector.lost(160);
        }
        keys += &heard(&mut detector, &after[packets as usize * 160..]);
        keys
    };
    assert_eq!((with_loss(1).as_str(), with_loss(3).as_str()), ("7", "7"));
    assert_eq!(with_loss(6), "77", "nobody can tell what happened meanwhile");
    // Played as silence instead, a single packet is bridged as well.
    let mut filled = samples.clone();
    filled[2_400..2_560].fill(0);
    assert_eq!(heard(&mut ToneDetector::default(), &filled), "7");
}

#[test]
fn another_key_may_follow_at_once() {
    let mut samples = audio("1", 5, 5);
    samples.truncate(1_600);
    samples.extend(&audio("9", 5, 5)[800..]);
    assert_eq!(heard(&mut ToneDetector::default(), &samples), "19");
}

#[test]
fn one_tone_alone_silence_and_full_scale_square_waves_are_no_keys() {
    for hz in (100..4_000).step_by(7) {
        let sine = |n: usize| (10_000.0 * (f64::from(hz) * n as f64 / 8_000.0 * std::f64::consts::TAU).sin()) as i16;
        let samples: Vec<i16> = (0..800).map(sine).collect();
        assert_eq!(heard(&mut ToneDetector::default(), &samples), "", "{hz} Hz");
        let square: Vec<i16> = samples.iter().map(|s| if *s < 0 { i16::MIN } else { i16::MAX }).collect();
        assert_eq!(heard(&mut ToneDetector::default(), &square), "", "{hz} Hz");
    }
    assert_eq!(heard(&mut ToneDetector::default(), &[0; 8_000]), "");
    assert_eq!(heard(&mut ToneDetector::default(), &[i16::MIN; 8_000]), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Presses as people and diallers make them, in pieces of whatever length: each is told once, in order.
    #[test]
    fn pieces_do_not_matter(keys in "[0-9*#A-D]{1,6}", down in 3u32..12, up in 3u32..12, pieces in prop::collection::vec(1usize..500, 1..20)) {
        let samples = audio(&keys, down, up);
        let mut detector = ToneDetector::default();
        let (mut rest, mut told) = (&samples[..], String::new());
        for length in pieces.iter().cycle() {
            let (piece, others) = rest.split_at((*length).min(rest.len()));
            told += &heard(&mut detector, piece);
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(told, keys);
    }

    /// Whatever comes in, and however much of it is lost: no panic, and no key out of noise.
    #[test]
    fn noise_is_no_key(parts in prop::collection::vec((prop::collection::vec(any::<i16>(), 0..700), 0u32..1_000), 1..8)) {
        let mut detector = ToneDetector::default();
        for (samples, lost) in parts {
            prop_assert_eq!(heard(&mut detector, &samples), "");
            detector.lost(lost);
        }
    }
}
