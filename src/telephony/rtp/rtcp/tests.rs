use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;
/// A moment in 2026, as µs since 1970.
const MORNING: u64 = 1_791_795_300_000_000;

/// `micros` after the call began.
fn now(micros: u64) -> Now {
    Now { micros, ntp: ntp(MORNING + micros) }
}

fn rtcp(ssrc: u32) -> Rtcp {
    Rtcp::new(ssrc, 1_000, *b"0123456789abcdef", 0, 0)
}

const SENT: Sent = Sent { packets: 250, octets: 40_000, timestamp: 123_456 };
const HEARD: Report = Report { ssrc: 0x0b0b_0b0b, fraction_lost: 3, cumulative_lost: -2, highest: 0x0001_0203, jitter: 17 };

fn written(rtcp: &mut Rtcp, at: u64, sent: &Sent, heard: Option<Report>) -> Vec<u8> {
    let mut buffer = [0; MOST_BYTES];
    let length = rtcp.report(now(at), sent, heard, 0, &mut buffer);
    buffer[..length].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let words = bytes.chunks_exact(4).map(|word| format!("{:08x}", u32::from_be_bytes([word[0], word[1], word[2], word[3]])));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_report_reads_as_rfc_3550_draws_it() {
    let mut ours = rtcp(0x0a0a_0a0a);
    // Sender report with a block, then SDES: CNAME with 16 octets, ended by zeros up to the next word.
    let sender = "81c8000c 0a0a0a0a ee771ee4 80000000 0001e240 000000fa 00009c40 \
                  0b0b0b0b 03fffffe 00010203 00000011 00000000 00000000";
    let sdes = "81ca0006 0a0a0a0a 01103031 32333435 36373839 61626364 65660000";
    assert_eq!(hex(&written(&mut ours, SECOND / 2, &SENT, Some(HEARD))), format!("{sender} {sdes}"));
    // Nothing sent since (on hold): a receiver report; without a source to report on, an empty one.
    assert_eq!(hex(&written(&mut ours, SECOND, &SENT, None)), format!("80c90001 0a0a0a0a {sdes}"));
    let mut buffer = [0; MOST_BYTES];
    let length = ours.bye(now(SECOND), &Sent { packets: 251, ..SENT }, Some(HEARD), &mut buffer);
    assert_eq!(length, 88);
    assert_eq!(hex(&buffer[80..length]), "81cb0001 0a0a0a0a");
}

#[test]
fn the_round_trip_is_that_of_the_rfcs_example() {
    // RFC 3550 figure 2.
    assert_eq!(round_trip_micros(0xb710_8000, 0xb705_2000, 0x0005_4000), Some(6_125_000));
    assert_eq!(round_trip_micros(0xb710_8000, 0, 0x0005_4000), None, "no report of ours was heard");
    assert_eq!(round_trip_micros(0x0000_4000, 0xffff_c000, 0), Some(500_000), "the clock wraps around");
    assert_eq!(round_trip_micros(1_000, 1_000, 60), Some(0), "clocks are not that exact");
    assert_eq!(round_trip_micros(1_000, 1_000, 6_554), None, "back before it was sent");
    assert_eq!(round_trip_micros(60 << 16, 1, 0), None);
}

#[test]
fn two_sides_learn_the_way_and_each_others_loss() {
    let (mut ours, mut theirs) = (rtcp(1), rtcp(2));
    let far = 37_000;
    let sent = |packets| Sent { packets, ..SENT };
    let about = |ssrc| Some(Report { ssrc, fraction_lost: 0, cumulative_lost: 5, highest: 1_499, jitter: 80 });
    let report = written(&mut ours, 5 * SECOND, &sent(250), about(2));
    assert_eq!(theirs.receive(&report, now(5 * SECOND + far)), Received::Reports);
    assert_eq!(theirs.round_trip_micros(), None, "they had sent no report yet");
    let report = written(&mut theirs, 8 * SECOND, &sent(400), about(1));
    assert_eq!(ours.receive(&report, now(8 * SECOND + far)), Received::Reports);
    let found = ours.round_trip_micros().unwrap();
    assert!(found.abs_diff(74_000) < 50, "{found} µs");
    let told = ours.far_report().unwrap();
    assert_eq!(told, FarReport { expected: 500, lost: 5, jitter: 80 });
    assert_eq!((told.loss_per_10k(), told.jitter_micros(8_000)), (100, 10_000));
    // What is said of other sources is not of ours.
    let report = written(&mut theirs, 12 * SECOND, &sent(600), about(9));
    assert_eq!(ours.receive(&report, now(12 * SECOND + far)), Received::Reports);
    assert_eq!(ours.far_report(), Some(told));
}

#[test]
fn a_report_of_the_source_before_is_not_answered_for_the_new_one() {
    let (mut ours, mut theirs) = (rtcp(1), rtcp(2));
    let report = written(&mut theirs, SECOND, &SENT, None);
    ours.receive(&report, now(SECOND));
    let delay_in = |report: &[u8]| u32::from_be_bytes(*report[48..].first_chunk().unwrap());
    assert_eq!(delay_in(&written(&mut ours, 3 * SECOND, &SENT, Some(Report { ssrc: 2, ..HEARD }))), 2 << 16);
    let sent = Sent { packets: 300, ..SENT };
    assert_eq!(delay_in(&written(&mut ours, 4 * SECOND, &sent, Some(Report { ssrc: 3, ..HEARD }))), 0);
}

#[test]
fn what_is_not_understood_is_passed_over() {
    let (mut ours, theirs) = (rtcp(1), rtcp(2));
    let mut buffer = [0; MOST_BYTES];
    let about_us = Some(Report { ssrc: 1, fraction_lost: 0, cumulative_lost: 1, highest: 1_009, jitter: 0 });
    let length = theirs.bye(now(0), &SENT, about_us, &mut buffer);
    let (report, rest) = buffer[..length].split_at(52);
    let (sdes, bye) = rest.split_at(28);
    // An extended report (RFC 3611), an application's packet, an SDES whose item is longer than it is, a type that nobody knows.
    let extended = [0x80, 207, 0, 1, 0, 0, 0, 2];
    let application = [0x80, 204, 0, 2, 0, 0, 0, 2, b'n', b'a', b'm', b'e'];
    let broken = [0x81, 202, 0, 2, 0, 0, 0, 2, 1, 200, b'x', b'y'];
    let unknown = [0x80, 222, 0, 0];
    let compound = [&extended[..], &unknown, &broken, report, &application, sdes, bye].concat();
    assert_eq!(ours.receive(&compound, now(0)), Received::Bye);
    assert_eq!(ours.far_report().map(|far| far.lost), Some(1));
    // Cut off anywhere: what is whole counts.
    for length in 0..compound.len() {
        let mut ours = rtcp(1);
        let received = ours.receive(&compound[..length], now(0));
        assert_eq!(received, if length < 2 { Received::Nothing } else { Received::Reports });
        assert_eq!(ours.far_report().is_some(), length >= 24 + 52);
    }
    assert_eq!(ours.receive(b"", now(0)), Received::Nothing);
    assert_eq!(ours.receive(&[0x80, 0, 0, 1, 0, 0, 0, 0], now(0)), Received::Nothing, "RTP");
    assert_eq!(ours.receive(&[0x40, 200, 0, 0], now(0)), Received::Nothing, "another version");
}

#[test]
fn reports_are_due_about_every_five_seconds_and_the_first_one_sooner() {
    assert_eq!((interval_micros(true, 0), interval_micros(true, u32::MAX)), (1_026_035, 3_078_104));
    assert_eq!((interval_micros(false, 0), interval_micros(false, u32::MAX)), (2_052_070, 6_156_209));
    let mut ours = Rtcp::new(1, 0, [b'a'; 16], 10 * SECOND, 1 << 31);
    assert!(!ours.is_due(12 * SECOND));
    assert!(ours.is_due(12 * SECOND + 60_000));
    written(&mut ours, 13 * SECOND, &SENT, None);
    assert!(!ours.is_due(15 * SECOND));
    assert!(ours.is_due(15 * SECOND + 60_000));
}

#[test]
fn clocks_names_and_ports_that_are_shared() {
    assert_eq!(ntp(0), 2_208_988_800 << 32);
    assert_eq!(ntp(1_500_000), (2_208_988_801 << 32) + (1 << 31));
    // 2036: the seconds wrap around.
    assert_eq!(ntp(2_085_978_496_000_000), 0);
    assert_eq!(random_cname([0; 12]), *b"AAAAAAAAAAAAAAAA");
    assert_eq!(random_cname(*b"a short name"), *b"YSBzaG9ydCBuYW1l");
    for (second, is) in
        [(0u8, false), (8, false), (0x80 | 8, false), (13, false), (101, false), (191, false), (192, true), (200, true), (223, true)]
    {
        assert_eq!(is_rtcp(&[0x80, second, 0, 0]), is, "{second}");
    }
}

/// Octets that look like RTCP at least in part.
fn almost_rtcp() -> impl Strategy<Value = Vec<u8>> {
    let packet =
        (0x80u8..=0xbf, 190u8..=225, 0u16..12, prop::collection::vec(any::<u8>(), 0..48)).prop_map(|(first, kind, words, mut body)| {
            body.resize(usize::from(words) * 4, 0);
            [&[first, kind][..], &words.to_be_bytes(), &body].concat()
        });
    prop::collection::vec(packet, 0..8).prop_map(|packets| packets.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever comes in: no panic, and no number that makes no sense.
    #[test]
    fn anything_may_come(
        datagram in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), almost_rtcp()],
        cut in 0usize..200,
        flip in prop::collection::vec((0usize..MOST_BYTES, any::<u8>()), 0..6),
    ) {
        let mut ours = rtcp(1);
        ours.receive(&datagram, now(0));
        ours.receive(&datagram[..cut.min(datagram.len())], now(0));
        // A good one with some octets changed.
        let mut good = written(&mut rtcp(2), SECOND, &SENT, Some(Report { ssrc: 1, ..HEARD }));
        for (place, value) in flip {
            if let Some(octet) = good.get_mut(place) {
                *octet = value;
            }
        }
        ours.receive(&good, now(SECOND));
        if let Some(far) = ours.far_report() {
            prop_assert!(far.loss_per_10k() <= 10_000);
            far.jitter_micros(8_000);
        }
        prop_assert!(ours.round_trip_micros().is_none_or(|micros| u64::from(micros) <= LONGEST_ROUND_TRIP_MICROS));
    }

    /// What is written can be read, whatever the numbers.
    #[test]
    fn whatever_is_written_can_be_read(
        sent in (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(packets, octets, timestamp)| Sent { packets, octets, timestamp }),
        fraction_lost: u8, cumulative_lost in -0x80_0000i32..0x80_0000, highest: u32, jitter: u32, at in 0u64..1 << 50,
    ) {
        let report = Report { ssrc: 1, fraction_lost, cumulative_lost, highest, jitter };
        let mut theirs = rtcp(2);
        let mut buffer = [0; MOST_BYTES];
        let length = theirs.report(now(at), &sent, Some(report), 7, &mut buffer);
        prop_assert!(length >= 60);
        let mut ours = rtcp(1);
        prop_assert_eq!(ours.receive(&buffer[..length], now(at)), Received::Reports);
        let expected = u64::from(highest.wrapping_sub(1_000)) + 1;
        prop_assert_eq!(ours.far_report(), Some(FarReport { expected, lost: cumulative_lost.max(0) as u64, jitter }));
        let length = theirs.bye(now(at), &sent, None, &mut buffer);
        prop_assert_eq!(ours.receive(&buffer[..length], now(at)), Received::Bye);
    }
}
