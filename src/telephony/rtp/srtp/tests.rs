use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The two ends of a call.
fn pair(suite: Suite) -> (Srtp, Srtp) {
    let key = |n: u8| MasterKey::new(suite, &[n; KEY_BYTES + SALT_BYTES]);
    let ends = |ours, theirs| Srtp::new(&Crypto { suite, ours: key(ours), theirs: key(theirs) }).unwrap();
    (ends(1, 2), ends(2, 1))
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let [s1, s0] = sequence.to_be_bytes();
    [&[0x80, 8, s1, s0, 0, 0, 0, 9][..], &ssrc.to_be_bytes(), payload].concat()
}

fn protected(by: &mut Srtp, packet: &[u8]) -> Vec<u8> {
    through(packet, |buffer, length| by.protect_rtp(buffer, length))
}

fn protected_rtcp(by: &mut Srtp, packet: &[u8]) -> Vec<u8> {
    through(packet, |buffer, length| by.protect_rtcp(buffer, length))
}

fn through(packet: &[u8], protect: impl FnOnce(&mut [u8], usize) -> Result<usize, SrtpError>) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD, 0);
    let length = protect(&mut buffer, packet.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn opened(by: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = packet.to_vec();
    let length = by.unprotect_rtp(&mut packet)?;
    Ok(packet[..length].to_vec())
}

fn opened_rtcp(by: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = packet.to_vec();
    let length = by.unprotect_rtcp(&mut packet)?;
    Ok(packet[..length].to_vec())
}

/// Headers with CSRCs and extensions, empty payloads, a roll-over, two streams, RTCP: octet for octet.
#[test]
fn packets_are_those_of_libsrtp2() {
    let text = std::fs::read_to_string("tests/fixtures/srtp/libsrtp2.txt").unwrap();
    let mut ends: Option<(Srtp, Srtp)> = None;
    let mut packets = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<_> = line.split(' ').collect();
        let (kind, first, second) = (words[0], words[1], hex(words[2]));
        if kind == "suite" {
            let suite = Suite::named(first).unwrap();
            let key = MasterKey::from_octets(suite, &second).unwrap();
            let crypto = Crypto { suite, ours: key.clone(), theirs: key };
            let mut sender = Srtp::new(&crypto).unwrap();
            // libsrtp2 counts SRTCP from 1.
            sender.out.rtcp_index = 1;
            ends = Some((sender, Srtp::new(&crypto).unwrap()));
            continue;
        }
        let (sender, receiver) = ends.as_mut().unwrap();
        let plain = hex(first);
        if kind == "rtp" {
            assert_eq!(protected(sender, &plain), second, "{line}");
            assert_eq!(opened(receiver, &second), Ok(plain), "{line}");
        } else {
            assert_eq!(protected_rtcp(sender, &plain), second, "{line}");
            assert_eq!(opened_rtcp(receiver, &second), Ok(plain), "{line}");
        }
        packets += 1;
    }
    assert_eq!(packets, 33);
}

#[test]
fn a_packet_is_taken_once_and_only_from_whoever_has_the_key() {
    for suite in Suite::ALL {
        let (mut a, mut b) = pair(suite);
        let packets: Vec<_> = (0..100).map(|n| protected(&mut a, &rtp(7, n, b"audio"))).collect();
        assert_eq!(opened(&mut b, &packets[1]), Ok(rtp(7, 1, b"audio")));
        assert_eq!(opened(&mut b, &packets[1]), Err(SrtpError::Replayed));
        assert_eq!(opened(&mut b, &packets[0]), Ok(rtp(7, 0, b"audio")), "late, not replayed");
        assert_eq!(opened(&mut b, &packets[99]), Ok(rtp(7, 99, b"audio")));
        assert_eq!(opened(&mut b, &packets[20]), Err(SrtpError::Replayed), "too late to tell");
        assert_eq!(opened(&mut b, &rtp(7, 100, &[0; 60])), Err(SrtpError::Forged));
        let own = protected(&mut b, &rtp(7, 98, b"audio"));
        assert_eq!(opened(&mut b, &own), Err(SrtpError::Forged), "its own packet sent back");
        assert_eq!(opened(&mut b, &packets[98]), Ok(rtp(7, 98, b"audio")), "a forged packet moves nothing");
    }
}

#[test]
fn control_packets_must_be_encrypted_and_are_taken_once() {
    let report = [&[0x80, 201, 0, 1][..], &7u32.to_be_bytes(), b"more"].concat();
    for suite in Suite::ALL {
        let (mut a, mut b) = pair(suite);
        let first = protected_rtcp(&mut a, &report);
        let second = protected_rtcp(&mut a, &report);
        assert_ne!(first, second);
        assert_eq!(opened_rtcp(&mut b, &second), Ok(report.clone()));
        assert_eq!(opened_rtcp(&mut b, &first), Ok(report.clone()));
        assert_eq!(opened_rtcp(&mut b, &first), Err(SrtpError::Replayed));
        // A BYE that anybody can write: in clear, under a new index, with any tag.
        let forged = [&[0x80, 203, 0, 1][..], &7u32.to_be_bytes(), &[0, 0, 0, 9], &[0; 16]].concat();
        let forged = if suite == Suite::AesGcm { [&forged[..], &[0, 0, 0, 9]].concat() } else { forged };
        assert!(matches!(opened_rtcp(&mut b, &forged), Err(SrtpError::InClear)), "{suite:?}");
    }
}

#[test]
fn strangers_streams_take_no_room_and_do_not_push_the_callers_out() {
    let (mut a, mut b) = pair(Suite::AesCm80);
    let packet = protected(&mut a, &rtp(1, 5, b"audio"));
    assert!(opened(&mut b, &packet).is_ok());
    for ssrc in 100..200 {
        assert_eq!(opened(&mut b, &rtp(ssrc, ssrc as u16, &[0; 60])), Err(SrtpError::Forged));
    }
    assert_eq!(b.incoming.rtp.0.len(), 1);
    assert_eq!(opened(&mut b, &packet), Err(SrtpError::Replayed));
    for ssrc in 2..20 {
        let packet = protected(&mut a, &rtp(ssrc, 5, b"audio"));
        assert!(opened(&mut b, &packet).is_ok());
        assert!(b.incoming.rtp.0.len() <= MOST_STREAMS);
    }
}

#[test]
fn the_first_packet_heard_may_come_after_the_numbers_went_round() {
    for suite in Suite::ALL {
        let (mut a, mut b) = pair(suite);
        for sequence in [65_534, 65_535] {
            protected(&mut a, &rtp(7, sequence, b"lost"));
        }
        let heard = [0, 1].map(|n| protected(&mut a, &rtp(7, n, b"heard")));
        assert_eq!(opened(&mut b, &heard[0]), Ok(rtp(7, 0, b"heard")));
        assert_eq!(opened(&mut b, &heard[1]), Ok(rtp(7, 1, b"heard")));
    }
}

#[test]
fn a_new_agreement_changes_the_direction_whose_key_is_new() {
    let suite = Suite::AesCm80;
    let (mut a, mut b) = pair(suite);
    let early: Vec<_> = [65_535, 0].map(|n| protected(&mut a, &rtp(7, n, b"audio"))).to_vec();
    assert!(opened(&mut b, &early[0]).is_ok());
    // b's key changes, a's stays: a goes on in its second round of numbers.
    let fresh = MasterKey::new(suite, &[3; KEY_BYTES + SALT_BYTES]);
    let of_a = Crypto { theirs: fresh.clone(), ..a.crypto.clone() };
    let of_b = Crypto { ours: fresh, ..b.crypto.clone() };
    a.renegotiate(&of_a).unwrap();
    b.renegotiate(&of_b).unwrap();
    assert_eq!(opened(&mut b, &early[0]), Err(SrtpError::Replayed));
    let later = protected(&mut a, &rtp(7, 1, b"audio"));
    assert_eq!(opened(&mut b, &later), Ok(rtp(7, 1, b"audio")));
    let other = protected(&mut b, &rtp(8, 1, b"audio"));
    assert_eq!(opened(&mut a, &other), Ok(rtp(8, 1, b"audio")));
    a.renegotiate(&of_a).unwrap();
    assert_eq!(opened(&mut a, &other), Err(SrtpError::Replayed), "nothing begins anew when nothing changes");
}

#[test]
fn a_buffer_without_room_and_a_worn_out_key_are_told() {
    let (mut a, _) = pair(Suite::AesGcm);
    let mut packet = rtp(7, 1, b"audio");
    let length = packet.len();
    assert_eq!(a.protect_rtp(&mut packet, length), Err(SrtpError::NoRoom));
    assert_eq!(a.protect_rtp(&mut packet, length + 1), Err(SrtpError::NoRoom));
    let mut report = [[0x80, 201, 0, 1, 0, 0, 0, 7].to_vec(), vec![0; OVERHEAD]].concat();
    a.out.rtcp_index = LAST_RTCP_INDEX + 1;
    assert_eq!(a.protect_rtcp(&mut report, 8), Err(SrtpError::WornOut));
    a.out.last = Some((7, LAST_INDEX));
    let mut packet = [rtp(7, 1, b"audio"), vec![0; OVERHEAD]].concat();
    assert_eq!(a.protect_rtp(&mut packet, length), Err(SrtpError::WornOut));
}

fn suites() -> impl Strategy<Value = Suite> {
    prop::sample::select(&Suite::ALL[..])
}

proptest! {
    /// Whatever is lost and however the rest is shuffled a little, what arrives comes out as it was sent.
    #[test]
    fn everything_comes_through(
        suite in suites(),
        start in 0u16..1 << 15,
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 1u16..400, any::<bool>()), 1..60),
    ) {
        let (mut a, mut b) = pair(suite);
        let mut sequence = start;
        let mut held = None;
        for (payload, step, late) in packets {
            sequence = sequence.wrapping_add(step);
            let plain = rtp(7, sequence, &payload);
            let sent = protected(&mut a, &plain);
            prop_assert!(payload.len() < 4 || !sent.windows(payload.len()).any(|w| w == payload));
            if late && held.is_none() {
                held = Some((plain, sent, sequence));
                continue;
            }
            prop_assert_eq!(opened(&mut b, &sent), Ok(plain));
            if let Some((plain, sent, number)) = held.take() {
                let expected = if sequence.wrapping_sub(number) < 64 { Ok(plain) } else { Err(SrtpError::Replayed) };
                prop_assert_eq!(opened(&mut b, &sent), expected);
            }
        }
    }

    /// No octet can be changed, none left out.
    #[test]
    fn nothing_changed_is_taken(suite in suites(), payload: Vec<u8>, at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let (mut a, mut b) = pair(suite);
        let sent = protected(&mut a, &rtp(7, 40_000, &payload));
        let mut changed = sent.clone();
        changed[at.index(sent.len())] ^= 1 << bit;
        prop_assert!(opened(&mut b, &changed).is_err());
        prop_assert!(opened(&mut b, &sent[..cut.index(sent.len())]).is_err());
        let report = protected_rtcp(&mut a, &[&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &payload].concat());
        let mut changed = report.clone();
        changed[at.index(report.len())] ^= 1 << bit;
        prop_assert!(opened_rtcp(&mut b, &changed).is_err());
        prop_assert!(opened_rtcp(&mut b, &report[..cut.index(report.len())]).is_err());
        prop_assert!(opened(&mut b, &sent).is_ok() && opened_rtcp(&mut b, &report).is_ok());
    }

    #[test]
    fn garbage_is_refused(suite in suites(), garbage: Vec<u8>, length: usize) {
        let (mut a, mut b) = pair(suite);
        prop_assert!(opened(&mut b, &garbage).is_err() && opened_rtcp(&mut b, &garbage).is_err());
        let _ = a.protect_rtp(&mut garbage.clone(), length);
        let _ = a.protect_rtcp(&mut garbage.clone(), length);
    }
}
