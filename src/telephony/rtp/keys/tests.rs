use proptest::{prelude::*, sample::select};

use super::*;
use Way::{Events, Info, Tones};

const ALL: [Way; 3] = [Events, Info, Tones];

/// What comes out of keys told in this order.
fn told(list: &[(Way, char, u64)]) -> String {
    let mut merger = KeyMerger::default();
    list.iter().filter_map(|(way, key, at)| merger.hear(*way, *key, *at)).collect()
}

#[test]
fn a_press_told_three_ways_is_one_whichever_comes_first() {
    let orders = [
        [Events, Info, Tones],
        [Events, Tones, Info],
        [Info, Events, Tones],
        [Info, Tones, Events],
        [Tones, Info, Events],
        [Tones, Events, Info],
    ];
    for order in orders {
        let list: Vec<_> = order.iter().zip([0, 90, 400]).map(|(way, at)| (*way, '5', at)).collect();
        assert_eq!(told(&list), "5", "{order:?}");
    }
}

#[test]
fn the_same_key_twice_is_two_presses_however_the_ways_mix() {
    assert_eq!(told(&[(Events, '1', 0), (Events, '1', 200), (Tones, '1', 60), (Tones, '1', 260)]), "11");
    assert_eq!(told(&[(Events, '1', 0), (Tones, '1', 60), (Events, '1', 200), (Tones, '1', 260)]), "11");
    assert_eq!(told(&[(Events, '1', 0), (Events, '1', 200), (Info, '1', 900), (Info, '1', 1_100)]), "11", "INFO is late");
    assert_eq!(told(&[(Info, '1', 0), (Info, '1', 200), (Events, '1', 900), (Events, '1', 1_100)]), "11", "INFO is early");
}

#[test]
fn each_way_alone_is_enough() {
    for way in ALL {
        assert_eq!(told(&[(way, '1', 0), (way, '1', 100), (way, '2', 5_000), (way, '#', 5_080)]), "112#");
    }
}

#[test]
fn a_long_press_that_the_detector_hears_twice_or_info_tells_at_its_end_is_one() {
    assert_eq!(told(&[(Events, '7', 0), (Tones, '7', 40), (Tones, '7', 900), (Events, '8', 4_000), (Tones, '8', 4_040)]), "78");
    let long = [(Events, '7', 0), (Info, '7', 3_000), (Events, '8', 5_000), (Info, '8', 8_000), (Events, '9', 9_000), (Info, '9', 9_100)];
    assert_eq!(told(&long), "789");
    // Even when it then comes before the event: which is its echo.
    assert_eq!(told(&[(Events, '7', 0), (Info, '7', 3_000), (Info, '8', 10_000), (Events, '8', 10_020), (Events, '9', 10_500)]), "789");
}

#[test]
fn what_the_detector_misses_is_told_by_the_better_way_and_what_it_imagines_by_none() {
    assert_eq!(
        told(&[(Tones, '1', 40), (Info, '1', 100), (Info, '2', 900), (Info, '1', 1_500), (Tones, '1', 1_540), (Info, '3', 2_000)]),
        "1213"
    );
    assert_eq!(told(&[(Events, '1', 0), (Tones, 'A', 700), (Events, '2', 3_000), (Tones, 'A', 3_900)]), "12");
}

#[test]
fn a_leader_that_falls_silent_is_replaced_at_the_second_press() {
    let silent = [(Events, '1', 0), (Tones, '1', 40), (Tones, '2', 10_000), (Tones, '2', 14_000), (Tones, '3', 15_000)];
    assert_eq!(told(&silent), "123", "the first 2 was not told, the second was");
    // Long ago is no sign: the detector may have imagined something.
    assert_eq!(told(&[(Events, '1', 0), (Tones, '2', 10_000), (Tones, '2', 60_000), (Tones, '3', 62_000)]), "13");
    // It may come back.
    let back =
        [(Events, '1', 0), (Tones, '2', 10_000), (Tones, '2', 14_000), (Events, '3', 20_000), (Tones, '3', 20_040), (Tones, '3', 20_900)];
    assert_eq!(told(&back), "123");
}

#[test]
fn after_a_new_agreement_the_first_way_used_is_believed_at_once() {
    let mut merger = KeyMerger::default();
    assert_eq!(merger.hear(Events, '1', 0), Some('1'));
    assert_eq!(merger.hear(Tones, '2', 5_000), None);
    merger.renegotiated();
    assert_eq!(merger.hear(Tones, '2', 6_000), Some('2'));
    assert_eq!(merger.hear(Events, '2', 6_100), None, "an echo all the same");
}

#[test]
fn keys_are_not_shown() {
    let mut merger = KeyMerger::default();
    merger.hear(Events, '7', 0);
    assert!(!format!("{merger:?}").contains('7'), "{merger:?}");
}

/// A press: the key, and ms since the last one.
fn presses() -> impl Strategy<Value = Vec<(char, u64)>> {
    prop::collection::vec((select("1234567890*#".chars().collect::<Vec<_>>()), prop_oneof![80u64..300, 300u64..4_000]), 1..60)
}

/// How one way tells presses: delays in a range, drawn for each press, and whether it is told at all.
fn deliver(way: Way, presses: &[(char, u64)], delays: &[u64], lost: &[bool], range: (u64, u64)) -> Vec<(u64, Way, char)> {
    let (mut at, mut last, mut list) = (0, 0, Vec::new());
    for (n, (key, gap)) in presses.iter().enumerate() {
        at += gap;
        // Each way keeps its own order.
        last = last.max(at + range.0 + delays[n % delays.len()] % (range.1 - range.0));
        if !lost[n % lost.len()] {
            list.push((last, way, *key));
        }
    }
    list
}

fn merged(mut streams: Vec<(u64, Way, char)>) -> String {
    streams.sort_by_key(|(at, way, _)| (*at, *way));
    let mut merger = KeyMerger::default();
    streams.into_iter().filter_map(|(at, way, key)| merger.hear(way, key, at)).collect()
}

/// Is `part` what is left of `whole` when some are left out?
fn is_part_of(part: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    part.chars().all(|key| rest.any(|other| other == key))
}

proptest! {
    /// However many ways tell all presses, with whatever delays: each comes out once, in order.
    #[test]
    fn each_press_comes_out_once_in_order(
        presses in presses(),
        ways in prop::sample::subsequence(ALL.to_vec(), 1..=3),
        delays in prop::collection::vec(0u64..10_000, 40),
    ) {
        let sent: String = presses.iter().map(|(key, _)| *key).collect();
        let streams = ways.iter().enumerate().flat_map(|(n, way)| {
            let range = match way { Events => (0, 200), Info => (0, 1_000), Tones => (30, 300) };
            deliver(*way, &presses, &delays[n * 7..], &[false], range)
        });
        prop_assert_eq!(merged(streams.collect()), sent);
    }

    /// A better way that tells everything is enough, whatever lesser ones, coming after it, leave out or imagine.
    #[test]
    fn lesser_ways_change_nothing(
        presses in presses(),
        delays in prop::collection::vec(0u64..10_000, 40),
        lost in prop::collection::vec(any::<bool>(), 37),
        imagined in prop::collection::vec((0u64..100_000, select(vec!['1', '5', 'A'])), 0..4),
        better in select(vec![Events, Info]),
    ) {
        let sent: String = presses.iter().map(|(key, _)| *key).collect();
        let mut streams = deliver(better, &presses, &delays, &[false], (0, 60));
        streams.extend(deliver(Tones, &presses, &delays[9..], &lost, (65, 300)));
        if better == Events {
            streams.extend(deliver(Info, &presses, &delays[18..], &lost[11..], (65, 1_000)));
        }
        let begin = streams.iter().map(|(at, ..)| *at).min().unwrap();
        // Imagined keys are rare: one in 25 s at most.
        streams.extend(imagined.iter().enumerate().map(|(n, (at, key))| (begin + 1 + n as u64 * 130_000 + at, Tones, *key)));
        prop_assert_eq!(merged(streams), sent);
    }

    /// When the leader falls silent, nothing is doubled, and little is lost: what is pressed while
    /// its silence is not yet certain.
    #[test]
    fn a_silent_leader_costs_a_few_presses_and_doubles_none(
        presses in presses(),
        delays in prop::collection::vec(0u64..10_000, 40),
        silent_from in 1usize..40,
        (leader, other) in select(vec![(Events, Info), (Events, Tones), (Info, Tones)]),
    ) {
        let sent: String = presses.iter().map(|(key, _)| *key).collect();
        let led = silent_from.min(presses.len());
        let mut streams = deliver(leader, &presses[..led], &delays, &[false], (0, 100));
        streams.extend(deliver(other, &presses, &delays[9..], &[false], (0, 300)));
        let heard = merged(streams);
        prop_assert!(is_part_of(&heard, &sent), "{heard} of {sent}");
        // All that was pressed by then, and all that is pressed once a key cannot be an echo, and then another one once it has gone unanswered for long enough.
        let at = |n: usize| presses[..=n].iter().map(|(_, gap)| gap).sum::<u64>();
        let after = |n: usize| (n + 1..presses.len()).find(|later| at(*later) > at(n) + leader.apart(other) + 400);
        let certain = after(led - 1).and_then(after);
        let kept = led + certain.map_or(0, |n| presses.len() - n);
        prop_assert!(heard.len() >= kept, "{heard} of {sent}, silent from {led}, certain at {certain:?}");
    }

    /// Nothing comes out that no way told, whatever comes in.
    #[test]
    fn nothing_is_invented(list in prop::collection::vec((select(ALL.to_vec()), select(vec!['1', '2']), 0u64..3_000), 0..200)) {
        let mut merger = KeyMerger::default();
        let (mut now, mut most, mut heard) = (0, [[0usize; 2]; 3], [0usize; 2]);
        for (way, key, gap) in list {
            now += gap;
            let which = usize::from(key == '2');
            most[way as usize][which] += 1;
            heard[which] += usize::from(merger.hear(way, key, now).is_some());
            prop_assert!(heard[which] <= most.iter().map(|counts| counts[which]).sum());
        }
    }
}
