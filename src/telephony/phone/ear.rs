//! What the phone makes of received RTP: names of prompts, the end of a prompt, a recording. Pure:
//! packets and the time in, answers out.

use std::{net::SocketAddr, sync::Arc};

use rtp_rs::RtpReader;

use super::{
    quiet::{QuietDetector, is_speech},
    recognise::{ClipIndex, FRAME_MS, Heard, Recogniser},
    sdp::{PCMA, PCMU},
    sound::decode,
};
use crate::telephony::clip::FRAME_SAMPLES;

/// A recording ends after an hour (58 MB).
const MAX_RECORDED: usize = 8_000 * 3_600;
/// A timestamp further than this from the time it arrives (frames: 5 s) begins a new reckoning.
const MAX_DRIFT: u64 = 250;

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

    /// Whether a prompt was heard since the last key and has ended.
    pub fn prompt_ended(&self, now_ms: u64) -> bool {
        self.quiet.prompt_ended(now_ms)
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
