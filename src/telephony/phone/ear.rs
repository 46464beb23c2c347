//! What the phone makes of received RTP: names of prompts, the end of a prompt, a recording. Pure:
//! packets and the time in, answers out.

use std::{net::SocketAddr, sync::Arc};

use rtp_rs::RtpReader;

use super::{
    quiet::{QuietDetector, is_speech},
    recogniser::{ClipIndex, FRAME_MS, Heard, Recogniser},
    sdp::{PCMA, PCMU},
    sound::decode,
};
use crate::telephony::clip::FRAME_SAMPLES;

/// A recording ends after an hour (58 MB).
const MAX_RECORDED: usize = 8_000 * 3_600;
/// A timestamp further than this from the time it arrives (frames: 1 s) begins a new reckoning.
const MAX_DRIFT: u64 = 50;
/// Without a packet for this long (ms) nothing is being played, whatever was under way.
const STREAM_GAP_MS: u64 = 200;

/// Where the stream's timestamps lie in the call.
#[derive(Debug, Clone, Copy)]
struct Reckoning {
    ssrc: u32,
    timestamp: u32,
    place: u64,
}

/// Listens to one call.
#[derive(Debug)]
pub struct Ear {
    expected: SocketAddr,
    latched: Option<SocketAddr>,
    reckoning: Option<Reckoning>,
    recogniser: Recogniser,
    quiet: QuietDetector,
    recording: Option<Vec<i16>>,
    packets: u64,
    last_packet_ms: u64,
}

impl Ear {
    /// An ear for a call whose peer announced this RTP address.
    pub fn new(index: Arc<ClipIndex>, expected: SocketAddr, record: bool) -> Self {
        Self {
            expected,
            latched: None,
            reckoning: None,
            recogniser: Recogniser::with_index(index),
            quiet: QuietDetector::default(),
            recording: record.then(Vec::new),
            packets: 0,
            last_packet_ms: 0,
        }
    }

    /// Takes a datagram that arrived `now_ms` after the answer. What is not G.711 RTP, or comes from
    /// a second source, is passed over.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now_ms: u64) {
        let Ok(packet) = RtpReader::new(bytes) else { return };
        let is_alaw = match packet.payload_type() {
            PCMA => true,
            PCMU => false,
            _ => return,
        };
        if from != self.expected && *self.latched.get_or_insert(from) != from {
            return;
        }
        self.packets += 1;
        self.last_packet_ms = now_ms;
        let first = self.place(packet.ssrc(), packet.timestamp(), now_ms / FRAME_MS);
        for (n, frame) in packet.payload().chunks(FRAME_SAMPLES).enumerate() {
            let place = first + n as u64;
            let samples = decode(frame, is_alaw);
            if is_speech(&samples) {
                self.quiet.speech(now_ms);
            }
            self.recogniser.frame_at(place, frame, is_alaw);
            self.record(place, &samples);
        }
    }

    /// The place of a timestamp, reckoned from the stream's first packet, or anew after a jump.
    fn place(&mut self, ssrc: u32, timestamp: u32, now: u64) -> u64 {
        if let Some(known) = self.reckoning.filter(|known| known.ssrc == ssrc) {
            let units = i64::from(timestamp.wrapping_sub(known.timestamp) as i32);
            let place = known.place.checked_add_signed(units.div_euclid(FRAME_SAMPLES as i64));
            if let Some(place) = place.filter(|place| place.abs_diff(now) <= MAX_DRIFT) {
                self.reckoning = Some(Reckoning { ssrc, timestamp, place });
                return place;
            }
        }
        // Never back: after a stall packets come in a burst, all of them late.
        let place = now.max(self.recogniser.next_place());
        self.reckoning = Some(Reckoning { ssrc, timestamp, place });
        place
    }

    fn record(&mut self, place: u64, samples: &[i16]) {
        let Some(recording) = &mut self.recording else { return };
        let Some(from) = usize::try_from(place).ok().and_then(|place| place.checked_mul(FRAME_SAMPLES)) else { return };
        let until = from.saturating_add(samples.len());
        if until <= MAX_RECORDED {
            if recording.len() < until {
                recording.resize(until, 0);
            }
            if let Some(room) = recording.get_mut(from..until) {
                room.copy_from_slice(samples);
            }
        }
    }

    /// The next prompt is to be a new one: called when a key is up.
    pub fn key_pressed(&mut self) {
        self.quiet.reset();
    }

    /// Whether a prompt was heard since the last key and has ended. A pause within a prompt that is
    /// known does not end it, however long.
    pub fn prompt_ended(&self, now_ms: u64) -> bool {
        let pausing = self.recogniser.mid_prompt() && now_ms.saturating_sub(self.last_packet_ms) < STREAM_GAP_MS;
        self.quiet.prompt_ended(now_ms) && !pausing
    }

    /// The prompts heard so far, in order.
    pub fn heard(&self) -> Vec<Heard> {
        self.recogniser.heard()
    }

    /// Audio packets taken.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// The samples recorded so far, 8 kHz; empty when none were asked for.
    pub fn recording(&self) -> &[i16] {
        self.recording.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rtp_rs::RtpPacketBuilder;

    use super::*;
    use crate::telephony::{clip::Clip, phone::quiet::END_OF_PROMPT_MS};

    const PEER: &str = "127.0.0.1:4000";

    fn clip() -> Arc<Clip> {
        let pcm: Vec<i16> = (0..30 * 160_i32).map(|n| (n.wrapping_mul(n).wrapping_mul(7_919) % 16_384) as i16).collect();
        Arc::new(Clip::from_pcm("prompt", &pcm))
    }

    fn ear() -> Ear {
        Ear::new(Arc::new(ClipIndex::new(&[clip()])), PEER.parse().unwrap(), true)
    }

    fn packet(ssrc: u32, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        RtpPacketBuilder::new().payload_type(PCMA).ssrc(ssrc).sequence(0.into()).timestamp(timestamp).payload(payload).build().unwrap()
    }

    /// Plays the clip from `from_ms` on, its timestamps beginning with `timestamp`.
    fn play(ear: &mut Ear, from: &str, ssrc: u32, timestamp: u32, from_ms: u64) {
        for f in 0..30 {
            let bytes = packet(ssrc, timestamp.wrapping_add(f * 160), clip().alaw_frame(f as usize).unwrap());
            ear.datagram(from.parse().unwrap(), &bytes, from_ms + u64::from(f) * 20);
        }
    }

    fn starts(ear: &Ear) -> Vec<(bool, u64)> {
        ear.heard().into_iter().map(|heard| (heard.complete, heard.start_ms)).collect()
    }

    #[test]
    fn prompts_lie_where_they_arrived_in_the_call_whatever_the_timestamps() {
        let mut ear = ear();
        play(&mut ear, PEER, 1, u32::MAX - 1_000, 400);
        play(&mut ear, PEER, 1, 1_000_000_000, 2_000);
        play(&mut ear, PEER, 2, 5, 4_000);
        assert_eq!(starts(&ear), [(true, 400), (true, 2_000), (true, 4_000)], "a wrap, a jump, another source");
        assert_eq!(ear.packets(), 90);
        assert_eq!(ear.recording().len(), (4_000 + 600) * 8);
        assert!(ear.recording()[..400 * 8].iter().all(|&sample| sample == 0));
        assert!(ear.recording()[400 * 8..1_000 * 8].iter().any(|&sample| sample != 0));
        assert!(ear.recording()[1_000 * 8..2_000 * 8].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn packets_held_up_and_then_coming_all_at_once_are_still_one_prompt() {
        let mut ear = ear();
        ear.datagram(PEER.parse().unwrap(), &packet(1, 0, &[0xd5; 160]), 0);
        for f in 0..30 {
            ear.datagram(PEER.parse().unwrap(), &packet(1, 160 + f * 160, clip().alaw_frame(f as usize).unwrap()), 20_000);
        }
        assert_eq!(starts(&ear), [(true, 20_000)]);
    }

    #[test]
    fn two_frames_in_a_packet_are_two_frames() {
        let mut ear = ear();
        for f in (0..30).step_by(2) {
            let payload = [clip().alaw_frame(f).unwrap(), clip().alaw_frame(f + 1).unwrap()].concat();
            ear.datagram(PEER.parse().unwrap(), &packet(1, f as u32 * 160, &payload), f as u64 * 20);
        }
        assert_eq!(starts(&ear), [(true, 0)]);
    }

    #[test]
    fn a_second_stranger_and_what_is_no_audio_are_not_listened_to() {
        let mut ear = ear();
        play(&mut ear, "127.0.0.1:5000", 1, 0, 0);
        play(&mut ear, "127.0.0.1:6000", 2, 0, 1_000);
        assert_eq!(starts(&ear), [(true, 0)], "the first stranger may be the peer behind a NAT");
        ear.datagram(PEER.parse().unwrap(), b"nonsense", 3_000);
        ear.datagram(PEER.parse().unwrap(), &[], 3_000);
        let event =
            RtpPacketBuilder::new().payload_type(101).ssrc(1).sequence(0.into()).timestamp(0).payload(&[1, 0, 0, 160]).build().unwrap();
        ear.datagram(PEER.parse().unwrap(), &event, 3_000);
        assert_eq!(ear.packets(), 30);
    }

    #[test]
    fn a_long_pause_within_a_known_prompt_is_not_its_end_but_its_being_stopped_there_is() {
        let speech: Vec<i16> = (0..10 * 160_i32).map(|n| (n.wrapping_mul(n).wrapping_mul(7_919) % 16_384) as i16).collect();
        let after: Vec<i16> = speech.iter().map(|sample| sample / 3).collect();
        let paused = Arc::new(Clip::from_pcm("paused", &[speech, vec![0; 60 * 160], after].concat()));
        let frame = |f: u64| paused.alaw_frame(f as usize).unwrap();
        for stopped in [false, true] {
            let mut ear = Ear::new(Arc::new(ClipIndex::new(&[Arc::clone(&paused)])), PEER.parse().unwrap(), false);
            for f in 0..69 {
                ear.datagram(PEER.parse().unwrap(), &packet(1, f as u32 * 160, frame(f)), f * 20);
            }
            assert!(!ear.prompt_ended(69 * 20), "1.2 s of silence, and then it goes on");
            if stopped {
                assert!(ear.prompt_ended(69 * 20 + STREAM_GAP_MS), "nothing comes any more");
            } else {
                for f in 69..80 {
                    ear.datagram(PEER.parse().unwrap(), &packet(1, f as u32 * 160, frame(f)), f * 20);
                }
                assert!(!ear.prompt_ended(79 * 20 + END_OF_PROMPT_MS - 1));
                assert!(ear.prompt_ended(79 * 20 + END_OF_PROMPT_MS));
            }
        }
    }

    #[test]
    fn the_end_of_a_prompt_is_its_last_loud_frame_and_a_key_asks_for_a_new_one() {
        let mut ear = ear();
        play(&mut ear, PEER, 1, 0, 0);
        ear.datagram(PEER.parse().unwrap(), &packet(1, 30 * 160, &[0xd5; 160]), 600);
        let end = 580 + END_OF_PROMPT_MS;
        assert!(!ear.prompt_ended(end - 1));
        assert!(ear.prompt_ended(end), "even when nothing arrives any more");
        ear.key_pressed();
        assert!(!ear.prompt_ended(end + 60_000));
    }
}
