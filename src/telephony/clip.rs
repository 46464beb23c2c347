//! A prompt ready to be sent: 20 ms G.711 frames, encoded once and shared by every call.

/// Audio encoded at load into 20 ms frames of A-law and µ-law, 8 kHz (160 bytes a frame).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// The prompt's name, for logs and for `call --heard`.
    pub name: String,
    alaw: Vec<u8>,
    ulaw: Vec<u8>,
}

/// Samples (and G.711 bytes) in a 20 ms frame at 8 kHz.
pub const FRAME_SAMPLES: usize = 160;

impl Clip {
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
        self.alaw.chunks_exact(FRAME_SAMPLES).nth(index)
    }

    /// Frame `index` as µ-law bytes.
    pub fn ulaw_frame(&self, index: usize) -> Option<&[u8]> {
        self.ulaw.chunks_exact(FRAME_SAMPLES).nth(index)
    }
}
