//! Listens for keys in a caller's packets of audio: pure.

use super::{inband::ToneDetector, reception::Seen};
use crate::telephony::{
    codec::Codec,
    g711::{alaw_decode, ulaw_decode},
    g722,
};

/// A packet that is so far behind is a new beginning, not one that was overtaken: a second.
const MOST_BEHIND: u32 = Codec::CLOCK;

/// Puts a caller's packets in order of time and hears keys in them.
#[derive(Debug, Clone, Default)]
pub(super) struct ToneEar {
    tones: ToneDetector,
    wideband: g722::Decoder,
    /// The stream, and the timestamp that follows what has been heard.
    next: Option<(u32, u32)>,
}

impl ToneEar {
    /// Takes a packet of audio; the keys that are recognised in it. What was overtaken or came twice is passed over.
    pub fn hear(&mut self, codec: Codec, packet: &Seen, payload: &[u8], key: impl FnMut(char)) {
        let gap = match self.next {
            Some((ssrc, next)) if ssrc == packet.ssrc => packet.timestamp.wrapping_sub(next),
            Some(_) => u32::MAX / 2,
            None => 0,
        };
        if gap > u32::MAX - MOST_BEHIND {
            return;
        }
        if gap > 0 {
            self.tones.lost(gap);
        }
        // Every codec of ours has an octet for each tick of the clock.
        self.next = Some((packet.ssrc, packet.timestamp.wrapping_add(payload.len() as u32)));
        let octets = payload.iter().copied();
        match codec {
            Codec::Pcma => self.tones.hear(octets.map(alaw_decode), key),
            Codec::Pcmu => self.tones.hear(octets.map(ulaw_decode), key),
            Codec::G722 => {
                let Self { tones, wideband, .. } = self;
                tones.hear(octets.map(|octet| wideband.decode_narrow(octet)), key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telephony::{g711::alaw_encode, rtp::reception::Content};

    /// So many packets of the key 5.
    fn five(packets: usize) -> Vec<Vec<u8>> {
        let sample = |n: usize| {
            let at = n as f64 / 8_000.0 * std::f64::consts::TAU;
            ((at * 770.0).sin() * 6_000.0 + (at * 1_336.0).sin() * 6_000.0) as i16
        };
        let audio: Vec<u8> = (0..packets * 160).map(|n| alaw_encode(sample(n))).collect();
        audio.chunks(160).map(<[u8]>::to_vec).collect()
    }

    fn hear(ear: &mut ToneEar, ssrc: u32, timestamp: u32, payload: &[u8], keys: &mut String) {
        let seen = Seen { ssrc, sequence: 0, timestamp, marker: false, content: Content::Audio, at_micros: 0 };
        ear.hear(Codec::Pcma, &seen, payload, |key| keys.push(key));
    }

    #[test]
    fn a_key_is_heard_over_a_lost_packet_and_whatever_came_twice() {
        let (mut ear, mut keys) = (ToneEar::default(), String::new());
        let start = u32::MAX - 1_000;
        for (n, payload) in five(15).iter().enumerate().filter(|(n, _)| *n != 7) {
            for _ in 0..2 {
                hear(&mut ear, 1, start.wrapping_add(n as u32 * 160), payload, &mut keys);
            }
        }
        assert_eq!(keys, "5");
    }

    #[test]
    fn another_stream_or_a_clock_set_back_is_heard_anew() {
        let (mut ear, mut keys) = (ToneEar::default(), String::new());
        for (ssrc, start) in [(1, 900_000), (2, 5_000), (2, 3_000_000), (2, 1_000)] {
            for (n, payload) in five(5).iter().enumerate() {
                hear(&mut ear, ssrc, start + n as u32 * 160, payload, &mut keys);
            }
        }
        assert_eq!(keys, "5555");
    }
}
