//! Keys as telephone events (RFC 4733): pure.

/// Tells each key press once, however its packets are repeated, lost or reordered.
///
/// All packets of one press carry the same RTP timestamp (RFC 4733 §2.2.1), the last one is sent
/// three times (§2.5.1.4). So a press is told at the first packet with a timestamp later than the
/// last one's, be it the press's first, middle or last packet: nothing is lost with its start or end,
/// and the key is heard while it is still being held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventReceiver {
    last: Option<u32>,
}

/// The keys, by event code (RFC 4733 §3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

impl EventReceiver {
    /// Takes an event packet's RTP timestamp and payload; returns the key, once a press.
    pub fn receive(&mut self, timestamp: u32, payload: &[u8]) -> Option<char> {
        // Event, E R volume, duration (2): four octets; more may follow and is not ours.
        let (event, _rest) = payload.get(..4)?.split_first()?;
        let key = char::from(*KEYS.get(usize::from(*event))?);
        // Later in the sense of a clock that wraps around (RFC 1982).
        let later = self.last.is_none_or(|last| timestamp != last && timestamp.wrapping_sub(last) < 1 << 31);
        later.then(|| {
            self.last = Some(timestamp);
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(event: u8, end: bool, duration: u16) -> [u8; 4] {
        let [high, low] = duration.to_be_bytes();
        [event, if end { 0x8a } else { 0x0a }, high, low]
    }

    /// The packets of a press of 100 ms: five updates, three ends.
    fn press(event: u8) -> Vec<[u8; 4]> {
        let updates = (1..=5).map(|n| packet(event, false, n * 160));
        updates.chain(std::iter::repeat_n(packet(event, true, 800), 3)).collect()
    }

    #[test]
    fn a_press_is_told_once_and_the_same_key_again_is_another_press() {
        let mut events = EventReceiver::default();
        let mut heard = String::new();
        for (timestamp, key) in [(1_000, 5u8), (3_000, 5), (5_000, 11), (7_000, 10)] {
            heard.extend(press(key).iter().filter_map(|p| events.receive(timestamp, p)));
        }
        assert_eq!(heard, "55#*");
    }

    #[test]
    fn what_is_no_key_is_no_key() {
        let mut events = EventReceiver::default();
        assert_eq!(events.receive(1, &packet(16, false, 160)), None, "flash");
        assert_eq!(events.receive(1, &[5, 0, 0]), None, "truncated");
        assert_eq!(events.receive(1, &[]), None);
    }

    #[test]
    fn the_clock_may_wrap_around() {
        let mut events = EventReceiver::default();
        assert_eq!(events.receive(u32::MAX - 100, &packet(1, false, 160)), Some('1'));
        assert_eq!(events.receive(500, &packet(2, false, 160)), Some('2'));
        assert_eq!(events.receive(u32::MAX - 100, &packet(1, true, 800)), None, "late end of the first");
    }

    proptest! {
        /// However many packets are lost or doubled: each press of which one packet arrives is told once, in order.
        #[test]
        fn loss_and_repetition_do_not_matter(keys in prop::collection::vec((0u8..16, prop::collection::vec(0usize..3, 8)), 1..20), start: u32) {
            let mut events = EventReceiver::default();
            let (mut sent, mut heard, mut timestamp) = (String::new(), String::new(), start);
            for (key, copies) in keys {
                let arrived: Vec<_> = press(key).into_iter().zip(copies).flat_map(|(p, n)| std::iter::repeat_n(p, n)).collect();
                if !arrived.is_empty() {
                    sent.push(char::from(KEYS[usize::from(key)]));
                }
                heard.extend(arrived.iter().filter_map(|p| events.receive(timestamp, p)));
                timestamp = timestamp.wrapping_add(1_600);
            }
            prop_assert_eq!(sent, heard);
        }
    }
}
