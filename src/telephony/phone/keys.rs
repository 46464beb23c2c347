//! Pressing keys: RFC 4733 event packets, 20 ms at a time. Pure.

use std::collections::VecDeque;

use rtp_rs::{RtpPacketBuilder, Seq};

/// Frames that a key is held: 100 ms.
const HELD: u16 = 5;
/// Repetitions of the end packet (RFC 4733 §2.5.1.4).
const ENDS: usize = 3;
/// Frames of pause after a key: 100 ms.
const PAUSE: usize = 5;
/// Samples in 20 ms.
const FRAME: u32 = 160;

/// The telephone's outgoing stream: silence, and keys as they are pressed.
#[derive(Debug)]
pub struct Keypad {
    payload_type: u8,
    silence: u8,
    events: Option<u8>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    waiting: VecDeque<char>,
    pressing: Option<Press>,
    pause: usize,
}

#[derive(Debug)]
struct Press {
    event: u8,
    timestamp: u32,
    sent: u16,
}

impl Keypad {
    /// A stream of this payload type; keys go by `events`, if agreed on.
    pub fn new(payload_type: u8, silence: u8, events: Option<u8>, ssrc: u32) -> Self {
        Self { payload_type, silence, events, ssrc, sequence: 0, timestamp: 0, waiting: VecDeque::new(), pressing: None, pause: 0 }
    }

    /// Puts keys into the queue; what is no key is left out.
    pub fn press(&mut self, keys: &str) {
        self.waiting.extend(keys.chars().filter(|key| event_code(*key).is_some()));
    }

    /// Have all keys been sent?
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.pressing.is_none() && self.pause == 0
    }

    /// The packets of the next 20 ms.
    pub fn next_packets(&mut self) -> Vec<Vec<u8>> {
        self.timestamp = self.timestamp.wrapping_add(FRAME);
        self.pause = self.pause.saturating_sub(1);
        if self.pressing.is_none() && self.pause == 0 && self.events.is_some() {
            self.pressing = self.waiting.pop_front().and_then(event_code).map(|event| Press { event, timestamp: self.timestamp, sent: 0 });
        }
        let (Some(events), Some(press)) = (self.events, &mut self.pressing) else {
            let payload = [self.silence; FRAME as usize];
            return vec![self.packet(self.payload_type, self.timestamp, false, &payload)].into_iter().flatten().collect();
        };
        press.sent += 1;
        let (event, timestamp, sent) = (press.event, press.timestamp, press.sent);
        let [high, low] = (sent * FRAME as u16).to_be_bytes();
        if sent <= HELD {
            return self.packet(events, timestamp, sent == 1, &[event, 10, high, low]).into_iter().collect();
        }
        self.pressing = None;
        self.pause = PAUSE;
        (0..ENDS).filter_map(|_| self.packet(events, timestamp, false, &[event, 0x80 | 10, high, low])).collect()
    }

    fn packet(&mut self, payload_type: u8, timestamp: u32, mark: bool, payload: &[u8]) -> Option<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        let builder = RtpPacketBuilder::new().payload_type(payload_type).ssrc(self.ssrc).sequence(Seq::from(self.sequence));
        builder.timestamp(timestamp).marked(mark).payload(payload).build().ok()
    }
}

/// RFC 4733 §3.2.
fn event_code(key: char) -> Option<u8> {
    Some(match key {
        '0'..='9' => key as u8 - b'0',
        '*' => 10,
        '#' => 11,
        'A'..='D' => key as u8 - b'A' + 12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rtp_rs::RtpReader;

    use super::*;
    use crate::telephony::rtp::dtmf::EventReceiver;

    #[test]
    fn what_is_pressed_is_what_the_line_hears() {
        let mut keypad = Keypad::new(8, 0xd5, Some(101), 7);
        keypad.press("12 2#*x");
        let (mut heard, mut events, mut last) = (String::new(), EventReceiver::default(), None);
        let mut frames = 0;
        while !keypad.is_idle() {
            for packet in keypad.next_packets() {
                let packet = RtpReader::new(&packet).unwrap();
                assert!(last.is_none_or(|last: u16| u16::from(packet.sequence_number()) == last.wrapping_add(1)));
                last = Some(u16::from(packet.sequence_number()));
                if packet.payload_type() == 101 {
                    heard.extend(events.receive(packet.timestamp(), packet.payload()));
                }
            }
            frames += 1;
        }
        assert_eq!(heard, "122#*");
        // 100 ms held, its end, 100 ms of pause: some 220 ms a key.
        assert!((50..60).contains(&frames), "{frames}");
    }

    #[test]
    fn a_press_has_one_timestamp_a_mark_and_three_ends() {
        let mut keypad = Keypad::new(8, 0xd5, Some(101), 7);
        keypad.press("5");
        let packets: Vec<_> = (0..6).flat_map(|_| keypad.next_packets()).collect();
        let read: Vec<_> = packets.iter().map(|p| RtpReader::new(p).unwrap()).collect();
        assert_eq!(read.len(), 8);
        assert!(read.iter().all(|p| p.timestamp() == read[0].timestamp()));
        assert_eq!(read.iter().map(|p| p.mark()).collect::<Vec<_>>(), [true, false, false, false, false, false, false, false]);
        let durations: Vec<_> = read.iter().map(|p| u16::from_be_bytes([p.payload()[2], p.payload()[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 960, 960, 960]);
        assert_eq!(read.iter().filter(|p| p.payload()[1] & 0x80 != 0).count(), 3);
    }
}
