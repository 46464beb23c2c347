//! A prompt ready to be sent: 20 ms G.711 frames, encoded once and shared by every call.

use super::{g711, sip::sdp::Codec};

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

    /// Silence, of at least `ms` milliseconds.
    pub fn silence(ms: u32) -> Self {
        Self::from_pcm("silence", &vec![0; ms as usize * 8])
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

    /// All of it in this codec: 8 bytes a ms, whole 20 ms frames.
    pub fn encoded(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcma => &self.alaw,
            Codec::Pcmu => &self.ulaw,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frame_is_filled_up_with_silence() {
        let clip = Clip::from_pcm("a", &[1_000; FRAME_SAMPLES + 1]);
        assert_eq!((clip.frames(), clip.duration_ms(), clip.name()), (2, 40, "a"));
        assert_eq!(clip.alaw_frame(0), Some(&[0xfa; FRAME_SAMPLES][..]));
        let last = clip.ulaw_frame(1).unwrap();
        assert_eq!((last[0], &last[1..]), (0xce, &[0xff; FRAME_SAMPLES - 1][..]));
        assert_eq!((clip.alaw_frame(2), clip.ulaw_frame(usize::MAX)), (None, None));
    }

    #[test]
    fn silence_is_silent_and_nothing_is_empty() {
        let silence = Clip::silence(50);
        assert_eq!((silence.frames(), silence.alaw_frame(2)), (3, Some(&[0xd5; FRAME_SAMPLES][..])));
        assert_eq!(Clip::from_pcm("", &[]).frames(), 0);
    }
}
