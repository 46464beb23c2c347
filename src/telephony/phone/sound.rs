//! Samples of received G.711, and the in-band tones of keys.

use super::keys::Key;
use crate::telephony::{clip::FRAME_SAMPLES, g711};

/// Peak of each of the two tones: about −9 dBm0 each, as telephones send.
const TONE_PEAK: f64 = 8_000.0;

/// The samples of a G.711 payload.
pub fn decode(payload: &[u8], is_alaw: bool) -> Vec<i16> {
    payload.iter().map(|&byte| if is_alaw { g711::alaw_decode(byte) } else { g711::ulaw_decode(byte) }).collect()
}

/// 20 ms of a key's two tones, `tick` ticks after it went down (ITU-T Q.23).
pub fn tone(key: Key, tick: u32, is_alaw: bool) -> Vec<u8> {
    let (low, high) = key.tones();
    let begin = tick as usize * FRAME_SAMPLES;
    let sample = |n: usize| {
        let t = n as f64 / 8_000.0 * std::f64::consts::TAU;
        (TONE_PEAK * ((low * t).sin() + (high * t).sin())) as i16
    };
    let encode = if is_alaw { g711::alaw_encode } else { g711::ulaw_encode };
    (begin..begin + FRAME_SAMPLES).map(|n| encode(sample(n))).collect()
}
