//! A prompt ready to be sent: 20 ms G.711 frames, encoded once and shared by every call.

use super::g711;

/// Samples (and G.711 bytes) in a 20 ms frame at 8 kHz.
pub const FRAME_SAMPLES: usize = 160;

/// Audio encoded at load into 20 ms frames of A-law and µ-law, 8 kHz (160 bytes a frame).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    name: String,
    alaw: Vec<u8>,
    ulaw: Vec<u8>,
}

impl Clip {
    /// Encodes samples at 8 kHz; the last frame is filled up with silence.
    pub fn from_pcm(name: impl Into<String>, samples: &[i16]) -> Self {
        let whole = samples.len().div_ceil(FRAME_SAMPLES) * FRAME_SAMPLES;
        let padded = || samples.iter().copied().chain(std::iter::repeat(0)).take(whole);
        Self { name: name.into(), alaw: padded().map(g711::alaw_encode).collect(), ulaw: padded().map(g711::ulaw_encode).collect() }
    }

    /// The prompt's name, for logs and for `call --heard`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of 20 ms frames.
    pub fn frames(&self) -> usize {
        self.alaw.len() / FRAME_SAMPLES
    }

    /// Length in ms.
    pub fn duration_ms(&self) -> u64 {
        self.frames() as u64 * 20
    }

    /// Frame `index` as A-law bytes.
    pub fn alaw_frame(&self, index: usize) -> Option<&[u8]> {
        frame(&self.alaw, index)
    }

    /// Frame `index` as µ-law bytes.
    pub fn ulaw_frame(&self, index: usize) -> Option<&[u8]> {
        frame(&self.ulaw, index)
    }
}

fn frame(encoded: &[u8], index: usize) -> Option<&[u8]> {
    let start = index.checked_mul(FRAME_SAMPLES)?;
    encoded.get(start..start + FRAME_SAMPLES)
}
