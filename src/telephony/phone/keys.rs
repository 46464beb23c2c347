//! What `--keys` says, and the RFC 4733 packets a pressed key becomes. Pure.

use std::str::FromStr;

/// One step of a key script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Press this key: `0`–`9`, `*`, `#`, `A`–`D`.
    Press(Key),
    /// `,`: wait for the end of the prompt.
    Wait,
    /// `!`: hang up.
    HangUp,
}

/// A telephone key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(char);

impl Key {
    /// The key with this sign, `None` when telephones have none such.
    pub fn new(sign: char) -> Option<Self> {
        matches!(sign, '0'..='9' | '*' | '#' | 'A'..='D').then_some(Self(sign))
    }

    /// Its sign.
    pub fn sign(self) -> char {
        self.0
    }

    /// Its event code (RFC 4733 §3.2, table 3).
    pub fn event(self) -> u8 {
        match self.0 {
            '*' => 10,
            '#' => 11,
            letter @ 'A'..='D' => letter as u8 - b'A' + 12,
            digit => digit as u8 - b'0',
        }
    }

    /// Its two tones in Hz (ITU-T Q.23), low and high, for peers that take no telephone-events.
    pub fn tones(self) -> (f64, f64) {
        let (row, column) = match self.0 {
            '*' => (3, 0),
            '0' => (3, 1),
            '#' => (3, 2),
            letter @ 'A'..='D' => (letter as usize - 'A' as usize, 3),
            digit => ((digit as usize - '1' as usize) / 3, (digit as usize - '1' as usize) % 3),
        };
        ([697.0, 770.0, 852.0, 941.0][row], [1209.0, 1336.0, 1477.0, 1633.0][column])
    }
}

/// A sequence of keys, waits and a hang-up, as typed: `1234567#,1,1`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyScript(Vec<Step>);

/// A sign no telephone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no telephone has the key {0:?}; keys are 0-9 * # A-D, a comma waits, ! hangs up")]
pub struct UnknownKey(pub char);

impl FromStr for KeyScript {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let step = |sign: char| match sign {
            ',' => Ok(Step::Wait),
            '!' => Ok(Step::HangUp),
            _ => Key::new(sign.to_ascii_uppercase()).map(Step::Press).ok_or(UnknownKey(sign)),
        };
        text.chars().filter(|sign| !sign.is_whitespace()).map(step).collect::<Result<_, _>>().map(Self)
    }
}

impl KeyScript {
    /// The steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The script as it may be shown: a run of four digits or more may be a child's code, so each
    /// of its digits is a dot (R5: codes are never shown).
    pub fn masked(&self) -> String {
        masked(&self.0)
    }
}

/// Steps as they may be shown, see [`KeyScript::masked`].
pub fn masked(steps: &[Step]) -> String {
    let digit = |step: &Step| matches!(step, Step::Press(Key('0'..='9')));
    steps
        .chunk_by(|a, b| digit(a) && digit(b))
        .flat_map(|run| {
            run.iter().map(move |step| match step {
                Step::Press(_) if run.len() >= 4 => '•',
                Step::Press(key) => key.sign(),
                Step::Wait => ',',
                Step::HangUp => '!',
            })
        })
        .collect()
}

impl std::fmt::Debug for KeyScript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyScript({})", self.masked())
    }
}

/// Ticks (20 ms) a key sounds: 100 ms.
const TONE_TICKS: u32 = 5;
/// Ticks of quiet before the next key may follow: 100 ms.
const GAP_TICKS: u32 = 5;
/// How often the end is told (RFC 4733 §2.5.1.4).
const END_PACKETS: u32 = 3;
/// RTP clock units in a tick.
pub const TICK_UNITS: u32 = 160;
/// Tone level in −dBm0 (RFC 4733 §2.3.3).
const VOLUME: u8 = 10;

/// What a key being pressed sends in one 20 ms tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTick {
    /// A telephone-event packet, in place of audio.
    Event {
        /// Its payload.
        payload: [u8; 4],
        /// The marker bit: set on the first packet only.
        marker: bool,
        /// Ticks since the key went down: the packet's RTP timestamp is that much in the past.
        ticks_since_down: u32,
        /// The key is up: the server has seen all of it.
        up: bool,
    },
    /// The gap after it: audio goes on.
    Gap,
    /// Over.
    Over,
}

/// One key press in time: 100 ms of rising duration, the end three times, a gap (RFC 4733 §2.5).
#[derive(Debug, Clone, Copy)]
pub struct KeyPress {
    key: Key,
    tick: u32,
}

impl KeyPress {
    /// The key goes down.
    pub fn new(key: Key) -> Self {
        Self { key, tick: 0 }
    }

    /// The key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// What to send in the next tick. All event packets of a press carry the timestamp of its beginning.
    pub fn next_tick(&mut self) -> KeyTick {
        let tick = self.tick;
        self.tick = self.tick.saturating_add(1);
        if tick >= TONE_TICKS + GAP_TICKS {
            KeyTick::Over
        } else if tick >= TONE_TICKS + END_PACKETS {
            KeyTick::Gap
        } else {
            let up = tick >= TONE_TICKS;
            let duration = ((tick + 1).min(TONE_TICKS) * TICK_UNITS) as u16;
            let [high, low] = duration.to_be_bytes();
            let payload = [self.key.event(), if up { 0x80 | VOLUME } else { VOLUME }, high, low];
            KeyTick::Event { payload, marker: tick == 0, ticks_since_down: tick, up }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_five_rising_packets_three_ends_and_a_gap_all_with_one_timestamp() {
        let mut press = KeyPress::new(Key::new('#').unwrap());
        let mut packets = Vec::new();
        let mut gaps = 0;
        for tick in 0.. {
            match press.next_tick() {
                KeyTick::Event { payload, marker, ticks_since_down, up } => {
                    assert_eq!(ticks_since_down, tick, "so that send time − it is the same for all");
                    assert_eq!(payload[0], 11);
                    assert_eq!(payload[1] & 0x7f, 10);
                    assert_eq!(payload[1] & 0x80 != 0, up);
                    packets.push((u16::from_be_bytes([payload[2], payload[3]]), marker, up));
                }
                KeyTick::Gap => gaps += 1,
                KeyTick::Over => break,
            }
        }
        let expected = [
            (160, true, false),
            (320, false, false),
            (480, false, false),
            (640, false, false),
            (800, false, false),
            (800, false, true),
            (800, false, true),
            (800, false, true),
        ];
        assert_eq!(packets, expected);
        assert_eq!(gaps, 2, "ten ticks, 200 ms, in all");
        assert_eq!(press.next_tick(), KeyTick::Over);
    }

    #[test]
    fn every_key_has_its_event_and_its_tones() {
        let events: Vec<u8> = "0123456789*#ABCD".chars().filter_map(Key::new).map(Key::event).collect();
        assert_eq!(events, (0..16).collect::<Vec<u8>>());
        let tones = |sign| Key::new(sign).unwrap().tones();
        assert_eq!(tones('1'), (697.0, 1209.0));
        assert_eq!(tones('6'), (770.0, 1477.0));
        assert_eq!(tones('0'), (941.0, 1336.0));
        assert_eq!(tones('#'), (941.0, 1477.0));
        assert_eq!(tones('D'), (941.0, 1633.0));
        assert_eq!(Key::new('x'), None);
    }

    #[test]
    fn a_script_reads_as_typed_and_shows_no_code() {
        let script: KeyScript = "1234567#,1,1!".parse().unwrap();
        assert_eq!(script.steps().len(), 13);
        assert_eq!(script.steps()[8], Step::Wait);
        assert_eq!(script.steps()[12], Step::HangUp);
        assert_eq!(script.masked(), "•••••••#,1,1!");
        assert_eq!(format!("{script:?}"), "KeyScript(•••••••#,1,1!)");
        assert_eq!("12*a".parse::<KeyScript>().unwrap().masked(), "12*A");
        assert_eq!("12x".parse::<KeyScript>(), Err(UnknownKey('x')));
    }
}
