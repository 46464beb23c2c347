//! Keys by every way: RFC 4733 event packets in any order, lost, doubled, cut short; INFO; tones in the audio; and one count of them all.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use voceguida::telephony::rtp::{
    dtmf::EventReceiver,
    inband::ToneDetector,
    keys::{KeyMerger, Way},
};

const KEYS: &str = "0123456789*#ABCD";

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// A telephone event: how its timestamp goes on, and its payload.
    Event(u16, &'a [u8]),
    /// An INFO with this key.
    Info(u8),
    /// Two tones (Q.23) and noise: which key, how loud each, for how many steps of 10 ms.
    Tones(u8, u8, u8, u8, u8),
    /// Audio as it comes.
    Audio(&'a [u8]),
    /// So many samples are lost.
    Lost(u16),
    /// Nothing for so many ms.
    Later(u16),
    /// A new agreement.
    Renegotiated,
}

struct Caller {
    events: EventReceiver,
    tones: ToneDetector,
    merger: KeyMerger,
    timestamp: u32,
    now: u64,
}

impl Caller {
    /// A key as one way tells it: itself or nothing, and once for all ways.
    fn told(&mut self, way: Way, key: char) {
        assert!(KEYS.contains(key));
        let Some(merged) = self.merger.hear(way, key, self.now) else { return };
        assert_eq!(merged, key, "another key than was pressed");
        for other in [Way::Events, Way::Info, Way::Tones].into_iter().filter(|other| *other != way) {
            assert_eq!(self.merger.clone().hear(other, key, self.now + 400), None, "each press once");
        }
    }

    fn event(&mut self, step: u16, payload: &[u8]) {
        // Forward mostly, back sometimes, far ahead at times.
        self.timestamp = match step % 4 {
            0 => self.timestamp,
            1 => self.timestamp.wrapping_sub(u32::from(step)),
            2 => self.timestamp.wrapping_add(u32::from(step) << 16),
            _ => self.timestamp.wrapping_add(u32::from(step)),
        };
        if let Some(key) = self.events.receive(self.timestamp, payload) {
            assert!(payload.len() >= 4);
            assert_eq!(self.events.receive(self.timestamp, payload), None, "each press once");
            self.told(Way::Events, key);
        }
    }

    fn hear(&mut self, samples: impl Iterator<Item = i16>) {
        let mut keys = Vec::new();
        let mut heard = 0u64;
        self.tones.hear(samples.inspect(|_| heard += 1), |key| keys.push(key));
        self.now += heard / 8;
        // A key is 40 ms, a pause as long.
        assert!(keys.len() as u64 <= heard / 320 + 1, "more keys than fit");
        keys.into_iter().for_each(|key| self.told(Way::Tones, key));
    }
}

/// Two tones of a key and a noise beside them, 8 kHz.
fn tones(key: u8, (row, column, noise): (u8, u8, u8), tens_of_ms: u8) -> impl Iterator<Item = i16> {
    let rows = [697.0, 770.0, 852.0, 941.0];
    let columns = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    let (low, high): (f64, f64) = (rows[usize::from(key / 4 % 4)], columns[usize::from(key % 4)]);
    let mut chance = u32::from(key) + 1;
    (0..usize::from(tens_of_ms) * 80).map(move |n| {
        let wave = |frequency: f64, level: u8| (std::f64::consts::TAU * frequency * n as f64 / 8_000.0).sin() * f64::from(level) * 64.0;
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hiss = f64::from((chance >> 16) as i16) / 32_768.0 * f64::from(noise) * 32.0;
        (wave(low, row) + wave(high, column) + hiss) as i16
    })
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut caller =
        Caller { events: EventReceiver::default(), tones: ToneDetector::default(), merger: KeyMerger::default(), timestamp: 0, now: 0 };
    for step in steps {
        match step {
            Step::Event(step, payload) => caller.event(step, payload),
            Step::Info(key) => {
                let key = KEYS.as_bytes()[usize::from(key) % KEYS.len()];
                caller.told(Way::Info, char::from(key));
            }
            Step::Tones(key, row, column, noise, long) => caller.hear(tones(key, (row, column, noise), long % 64)),
            Step::Audio(bytes) => caller.hear(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]))),
            Step::Lost(samples) => caller.tones.lost(samples.into()),
            Step::Later(ms) => caller.now += u64::from(ms),
            Step::Renegotiated => caller.merger.renegotiated(),
        }
    }
});
