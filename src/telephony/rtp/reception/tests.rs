use proptest::prelude::*;

use super::*;

const PACKET: u64 = 20_000;

/// Packet `n` of a stream of 20 ms packets that begins with number `base`, on its time.
fn packet(base: u16, n: u64) -> Seen {
    Seen {
        ssrc: 7,
        sequence: base.wrapping_add(n as u16),
        timestamp: 4_294_960_000u32.wrapping_add(n as u32 * 160),
        marker: false,
        content: Content::Audio,
        at_micros: 1_000_000 + n * PACKET,
    }
}

fn reception(packets: impl IntoIterator<Item = Seen>) -> Reception {
    let mut reception = Reception::new(8_000);
    packets.into_iter().for_each(|packet| reception.observe(&packet));
    reception
}

#[test]
fn a_clean_stream_is_clean_over_all_wraps() {
    let mut all = reception((0..200_000).map(|n| packet(65_000, n)));
    assert_eq!(all.totals(), Totals { expected: 200_000, received: 200_000, jitter_micros: 0 });
    let highest = 65_000 + 199_999;
    assert_eq!(all.report(), Some(Report { ssrc: 7, fraction_lost: 0, cumulative_lost: 0, highest, jitter: 0 }));
    assert_eq!(Reception::new(8_000).report(), None);
}

#[test]
fn loss_is_told_since_the_last_report_and_in_all() {
    let mut stream = reception((0..1_001).filter(|n| n % 10 != 5).map(|n| packet(0, n)));
    let report = stream.report().unwrap();
    assert_eq!((report.fraction_lost, report.cumulative_lost), (25, 100), "a tenth of 256");
    (1_001..1_101).for_each(|n| stream.observe(&packet(0, n)));
    let report = stream.report().unwrap();
    assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 100));
    assert_eq!(stream.report().unwrap().fraction_lost, 0, "nothing since");
    assert_eq!(stream.totals().loss_per_10k(), 908);
}

#[test]
fn overtaken_packets_are_not_lost_and_doubled_ones_hide_no_loss() {
    let order = [0, 1, 3, 2, 4, 4, 4, 6, 5, 9];
    assert_eq!(reception(order.map(|n| packet(65_533, n))).totals(), Totals { expected: 10, received: 8, jitter_micros: 0 });
}

#[test]
fn a_sender_that_begins_anew_or_is_replaced_loses_nothing() {
    let first = (0..100).map(|n| packet(10, n));
    // The same source jumps to another number: believed at the second packet.
    let jumped = (100..200).map(|n| packet(30_000, n));
    // Another source.
    let replaced = (200..300).map(|n| Seen { ssrc: 8, ..packet(0, n) });
    let mut all = reception(first.chain(jumped).chain(replaced));
    assert_eq!(all.totals(), Totals { expected: 298, received: 298, jitter_micros: 0 });
    assert_eq!(all.report().unwrap().ssrc, 8);
    // A stray packet of either kind changes nothing.
    let stray =
        [packet(0, 0), packet(20_000, 1), Seen { ssrc: 9, ..packet(0, 1) }, packet(0, 1), Seen { ssrc: 9, ..packet(0, 7) }, packet(0, 2)];
    assert_eq!(reception(stray).totals(), Totals { expected: 3, received: 3, jitter_micros: 0 });
}

#[test]
fn jitter_is_that_of_appendix_a_8() {
    // Packets alternately on time and 4 ms late differ by 4 ms each time: J tends to 4 ms.
    let late = |n: u64| Seen { at_micros: packet(0, n).at_micros + n % 2 * 4_000, ..packet(0, n) };
    let mut stream = reception((0..300).map(late));
    assert_eq!(stream.totals().jitter_micros, 4_000);
    assert_eq!(stream.report().unwrap().jitter, 31, "4 ms are 32 units of 8 kHz, less what 300 packets leave of the beginning");
    // One packet that is 16 ms late counts 1/16 of it, and again when the next is on time.
    let once = |n: u64| Seen { at_micros: packet(0, n).at_micros + u64::from(n == 9) * 16_000, ..packet(0, n) };
    assert_eq!(reception((0..10).map(once)).report().unwrap().jitter, 8);
}

#[test]
fn silence_suppression_is_neither_loss_nor_jitter() {
    // Two seconds of speech; silence of 3.217 s that the timestamps leave out; with the marker or without, on time or 70 ms early.
    for (marker, early) in [(true, 0), (true, 70_000), (false, 0)] {
        let speech = (0..100).map(|n| packet(0, n));
        let again = (100..200).map(|n| {
            let then = packet(0, n);
            let marker = marker && n == 100;
            Seen { timestamp: then.timestamp.wrapping_add(25_736), at_micros: then.at_micros + 3_217_000 - early, marker, ..then }
        });
        let totals = reception(speech.chain(again)).totals();
        assert_eq!(totals, Totals { expected: 200, received: 200, jitter_micros: 0 }, "{marker} {early}");
    }
}

#[test]
fn comfort_noise_and_events_count_as_received_and_not_for_jitter() {
    let content = |n: u64| if n % 10 < 5 { Content::Audio } else { Content::ComfortNoise };
    // Noise packets come when their sender likes.
    let noisy = |n: u64| {
        let wait = if content(n) == Content::ComfortNoise { n * 7_919 % 15_000 } else { 0 };
        Seen { content: content(n), at_micros: packet(0, n).at_micros + wait, ..packet(0, n) }
    };
    assert_eq!(reception((0..100).map(noisy)).totals(), Totals { expected: 100, received: 100, jitter_micros: 0 });
    // Eight packets of an event with one timestamp, in the audio's numbering, …
    let event = |n: u64| Seen { content: Content::Event, timestamp: packet(0, 40).timestamp, ..packet(0, n) };
    let keys = (0..100).map(|n| if (40..48).contains(&n) { event(n) } else { packet(0, n) });
    assert_eq!(reception(keys).totals(), Totals { expected: 100, received: 100, jitter_micros: 0 });
    // … or as a stream of their own, which is not the one that is judged.
    let own = (0..50).flat_map(|n| [packet(0, n), Seen { ssrc: 9, ..event(n + 500) }]);
    assert_eq!(reception(own).totals(), Totals { expected: 50, received: 50, jitter_micros: 0 });
}

/// What gets through a filter that passes every 32nd packet and the one after it.
fn passes(packet: &Seen) -> bool {
    packet.sequence % 32 < 2 || packet.content == Content::Event
}

/// As the engine hears a stream: every 20 ms it reads the filter's count, then what the filter let through.
fn filtered(packets: &[Seen]) -> Reception {
    let mut reception = Reception::new(8_000);
    let (mut next, mut swallowed) = (0, 0);
    let mut waiting: Vec<Seen> = Vec::new();
    for tick in 0.. {
        while let Some(packet) = packets.get(next).filter(|packet| packet.at_micros <= tick * PACKET + 7_000) {
            if passes(packet) {
                waiting.push(*packet);
            } else {
                swallowed += 1;
            }
            next += 1;
        }
        reception.swallowed(swallowed);
        waiting.drain(..).for_each(|packet| reception.observe(&packet));
        if next == packets.len() {
            return reception;
        }
    }
    reception
}

#[test]
fn a_filtered_stream_without_loss_shows_none_and_its_jitter() {
    let jittered = |n: u64| Seen { at_micros: packet(60_000, n).at_micros + n * 7_919 % 3_000, ..packet(60_000, n) };
    let packets: Vec<_> = (0..20_000).map(jittered).collect();
    let (some, all) = (filtered(&packets).totals(), reception(packets).totals());
    assert_eq!(some.loss_per_10k(), 0, "{some:?}");
    assert!(some.expected > 19_960);
    assert!(some.jitter_micros.abs_diff(all.jitter_micros) < 200, "{some:?} {all:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Filtered or not, the same loss is found, give or take what arrives within a tick.
    #[test]
    fn a_filter_does_not_change_what_is_found(lost in prop::collection::vec(0u8..100, 500..4_000), per_cent in 0u8..30, base: u16, spread in 1u64..15_000) {
        let all = (0..lost.len() as u64).map(|n| Seen { at_micros: packet(base, n).at_micros + n * 7_919 % spread, ..packet(base, n) });
        let packets: Vec<_> = all.zip(&lost).filter(|(_, lost)| **lost >= per_cent).map(|(packet, _)| packet).collect();
        let some = filtered(&packets).totals();
        // What is known of the stream ends with the last packets let through, and begins with the first.
        let let_through = |packet: &&Seen| passes(packet);
        let (Some(first), Some(last)) = (packets.iter().find(let_through), packets.iter().rfind(let_through)) else { return Ok(()) };
        let whole: Vec<_> = packets.iter().copied().filter(|p| (first.at_micros..=last.at_micros).contains(&p.at_micros)).collect();
        let all = reception(whole).totals();
        prop_assert_eq!(some.expected, all.expected);
        prop_assert!(some.received.abs_diff(all.received) <= 2, "{:?} {:?}", some, all);
    }

    /// The numbers of appendix A.3 and A.8, done plainly with all packets at hand.
    #[test]
    fn an_unfiltered_stream_is_counted_as_the_appendix_does(
        late in prop::collection::vec(prop::option::weighted(0.9, 0u64..19_000), 2..600),
        base: u16,
        clock in prop::sample::select(vec![8_000u32, 16_000]),
    ) {
        let at = |n: usize, late: u64| Seen { at_micros: packet(0, n as u64).at_micros + late, timestamp: n as u32 * clock / 50, ..packet(base, n as u64) };
        let packets: Vec<_> = late.iter().enumerate().filter_map(|(n, late)| late.map(|late| at(n, late))).collect();
        let mut stream = Reception::new(clock);
        for packet in &packets {
            stream.observe(packet);
        }
        let Some((first, last)) = packets.first().zip(packets.last()) else { return Ok(()) };
        let expected = u64::from((last.timestamp - first.timestamp) / (clock / 50)) + 1;
        let mut jitter = 0.0f64;
        for pair in packets.windows(2).filter(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)) {
            let transit = |packet: &Seen| packet.at_micros as f64 - f64::from(packet.timestamp) * 1e6 / f64::from(clock);
            jitter += ((transit(&pair[1]) - transit(&pair[0])).abs() - jitter) / 16.0;
        }
        let report = stream.report().unwrap();
        prop_assert_eq!(stream.totals().expected, expected);
        prop_assert_eq!(stream.totals().received, packets.len() as u64);
        prop_assert_eq!(i64::from(report.cumulative_lost), expected as i64 - packets.len() as i64);
        prop_assert_eq!(u64::from(report.fraction_lost), (expected - packets.len() as u64) * 256 / expected);
        prop_assert!((f64::from(report.jitter) - jitter * f64::from(clock) / 1e6).abs() <= 1.1, "{} {}", report.jitter, jitter);
    }

    /// Whatever comes in: no panic, and never more than all lost.
    #[test]
    fn anything_may_come(list in prop::collection::vec((0u32..3, any::<u16>(), any::<u32>(), any::<bool>(), 0u8..3, any::<u64>(), any::<u64>()), 0..200)) {
        let mut stream = Reception::new(8_000);
        for (ssrc, sequence, timestamp, marker, content, at_micros, swallowed) in list {
            let content = [Content::Audio, Content::ComfortNoise, Content::Event][usize::from(content)];
            stream.swallowed(swallowed >> 20);
            stream.observe(&Seen { ssrc, sequence, timestamp, marker, content, at_micros });
            stream.report();
            prop_assert!(stream.totals().loss_per_10k() <= 10_000);
        }
    }
}
