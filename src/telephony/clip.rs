//! A prompt ready to be sent: encoded once for every codec, and shared by every call.

use super::{codec::Codec, g711, g722};

/// Samples at 8 kHz, and encoded bytes whichever the codec, in 20 ms.
pub const FRAME_SAMPLES: usize = 160;
/// Bytes of the longest packet, of 60 ms.
pub const LONGEST_PACKET_BYTES: usize = 60 * Codec::BYTES_PER_MS;
/// At a prompt's end, what is no louder than this is silence: 60 dB below full scale.
const SILENT: u16 = 32;

/// Audio encoded at load, 8 bytes a millisecond in each codec: packets of any length are slices of it.
/// G.722 only where asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    name: String,
    alaw: Vec<u8>,
    ulaw: Vec<u8>,
    g722: Vec<u8>,
}

impl Clip {
    /// Encodes samples at 8 kHz in G.711; the last 20 ms are filled up with silence.
    pub fn from_pcm(name: impl Into<String>, samples: &[i16]) -> Self {
        let whole = samples.len().div_ceil(FRAME_SAMPLES) * FRAME_SAMPLES;
        let padded = || samples.iter().copied().chain(std::iter::repeat(0)).take(whole);
        let (alaw, ulaw) = (padded().map(g711::alaw_encode).collect(), padded().map(g711::ulaw_encode).collect());
        Self { name: name.into(), alaw, ulaw, g722: Vec::new() }
    }

    /// Encodes in G.722 as well, from the same sound at 16 kHz.
    #[must_use]
    pub fn with_wide_pcm(mut self, wide: &[i16]) -> Self {
        let sounding = wide.iter().rposition(|s| s.unsigned_abs() > SILENT).map_or(0, |last| last + 1);
        let mut encoder = g722::Encoder::settled();
        let pairs = wide[..sounding].chunks(2).map(|pair| [pair[0], pair.get(1).copied().unwrap_or(0)]);
        self.g722 = pairs.map(|pair| encoder.encode(pair)).collect();
        // The silence at the end is not encoded: it is the kind after which the next prompt can begin.
        self.g722.resize(self.alaw.len(), g722::SETTLING);
        self
    }

    /// Silence, of at least `ms` milliseconds.
    pub fn silence(ms: u32) -> Self {
        Self::from_pcm("silence", &vec![0; ms as usize * 8])
    }

    /// The prompt's name, for logs and for `call --heard`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it, [`Codec::BYTES_PER_MS`] bytes a millisecond; nothing where it was not encoded for this codec.
    pub fn encoded(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcma => &self.alaw,
            Codec::Pcmu => &self.ulaw,
            Codec::G722 => &self.g722,
        }
    }

    /// Number of 20 ms frames.
    pub fn frames(&self) -> usize {
        self.alaw.len() / FRAME_SAMPLES
    }

    /// Length in ms.
    pub fn duration_ms(&self) -> u64 {
        self.frames() as u64 * 20
    }

    /// 20 ms, the `index`th.
    pub fn frame(&self, codec: Codec, index: usize) -> Option<&[u8]> {
        let start = index.checked_mul(FRAME_SAMPLES)?;
        self.encoded(codec).get(start..start + FRAME_SAMPLES)
    }

    /// Frame `index` as A-law bytes.
    pub fn alaw_frame(&self, index: usize) -> Option<&[u8]> {
        self.frame(Codec::Pcma, index)
    }

    /// Frame `index` as µ-law bytes.
    pub fn ulaw_frame(&self, index: usize) -> Option<&[u8]> {
        self.frame(Codec::Pcmu, index)
    }
}

/// Encoded silence, as much as the longest packet holds.
///
/// A call in G.722 begins with all of it, and so does what follows a prompt that was cut off: see [`g722::SETTLING`].
pub fn silence(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::Pcma => &[0xd5; LONGEST_PACKET_BYTES],
        Codec::Pcmu => &[0xff; LONGEST_PACKET_BYTES],
        Codec::G722 => &[g722::SETTLING; LONGEST_PACKET_BYTES],
    }
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
        for codec in [Codec::Pcma, Codec::Pcmu] {
            assert_eq!(self::silence(codec), Clip::silence(60).encoded(codec));
        }
    }

    #[test]
    fn every_codec_has_the_same_length_whatever_was_given() {
        for (narrow, wide) in [(0, 0), (1, 2), (160, 320), (161, 321), (161, 100), (161, 9_000)] {
            let clip = Clip::from_pcm("a", &vec![100; narrow]).with_wide_pcm(&vec![100; wide]);
            let lengths = Codec::ALL.map(|codec| clip.encoded(codec).len());
            assert_eq!(lengths, [narrow.div_ceil(FRAME_SAMPLES) * FRAME_SAMPLES; 3], "{wide}");
        }
    }

    fn decoded(octets: &[u8]) -> Vec<i16> {
        let mut decoder = g722::Decoder::default();
        octets.iter().flat_map(|octet| decoder.decode(*octet)).collect()
    }

    /// A decoder goes on from one prompt to the next, while each was encoded by itself.
    #[test]
    fn prompts_joined_in_g722_do_not_click() {
        // Noise, and silence after it as prompts have.
        let speech = |seed: u32| -> Vec<i16> {
            let loud = (0..8_000).map(|n: u32| ((n.wrapping_mul(seed) >> 7) % 20_000) as i16 - 10_000);
            loud.chain(std::iter::repeat_n(0, 1_440)).collect()
        };
        let [a, b] = [2_654_435, 40_503].map(|seed| Clip::from_pcm("a", &[0; 4_720]).with_wide_pcm(&speech(seed)));
        let energy = |part: &[i16]| part.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        let [a, b] = [a.encoded(Codec::G722), b.encoded(Codec::G722)];
        let after = |before: &[u8]| decoded(&[before, b].concat())[2 * before.len()..].to_vec();
        let settled = after(&[g722::SETTLING; 4_000]);
        let difference = |joined: &[i16]| -> Vec<i16> { joined.iter().zip(&settled).map(|(a, b)| a.saturating_sub(*b)).collect() };
        // As an encoder that goes on from prompt to prompt would have it, but for less than one per cent.
        assert!(energy(&difference(&after(a))) < energy(&settled) / 100.0);
        // As it would be at a prompt cut off, and at the start of a call.
        for before in [&a[..2_000], &[]] {
            let before = [before, silence(Codec::G722)].concat();
            assert!(energy(&difference(&after(&before))) < energy(&settled) / 10.0);
        }
    }
}
