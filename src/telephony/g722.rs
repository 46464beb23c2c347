//! G.722 at 64 kbit/s: wideband audio, 16 kHz in, 8 bits for every two samples (ITU-T G.722, 2012).
//!
//! Two bands, each with an adaptive predictor and quantiser; names and arithmetic are those of the
//! Recommendation's §6.2 (in its comments the names of its blocks), so that the result is the same bit for
//! bit. Prompts are encoded at load; decoding is for tests, tools and in-band keys.

/// The octet that is silence: both bands' differences are zero. Whatever went before, after some 60 ms of it every
/// decoder is in the same state, that of [`Encoder::settled`]; so streams that were encoded apart can be joined there.
/// The silence that an encoder makes of zeros has no such end: its predictor wanders about between ±1.
pub const SETTLING: u8 = 0xfd;

/// Coefficients of the poles at the end of it: as far as UPPOL1 and UPPOL2 let them go.
const SETTLED_POLES: [i32; 2] = [27_648, -12_288];

/// Coefficients of the filters that split and join the bands (table 4, halved by symmetry).
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];
/// Decision levels of the lower band's quantiser (table 14).
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219, 1_339, 1_458, 1_612,
    1_765, 1_980, 2_195, 2_557, 2_919,
];
/// Its output values with 6 bits (table 17), indexed by code.
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360, -8_576, -7_856,
    -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032, -1_688, -1_360, -1_040, -728, 24_808,
    21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576, 7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008,
    3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040, 728, 432, 136, -432, -136,
];
/// Its output values with 4 bits, from which both ends adapt.
const QM4: [i32; 16] = [0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0];
/// What each of those codes does to the logarithm of the step.
const W_LOW: [i32; 16] = [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];
/// The higher band's decision level, output values and steps (tables 15, 18): codes 0 and 1 are negative.
const Q2: i32 = 564;
const QM2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
const W_HIGH: [i32; 4] = [798, -214, 798, -214];
/// Powers of two in steps of 1/32, to turn logarithms into steps (table 13).
const ILB: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834, 2_896, 2_960, 3_025,
    3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];

/// The Recommendation's saturating 16-bit arithmetic.
fn sat(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// A product with a 15-bit fraction.
fn scaled(a: i32, b: i32) -> i32 {
    (a * b) >> 15
}

/// Which of the two bands, as far as they differ.
#[derive(Debug, Clone, Copy)]
struct Kind {
    most: i32,
    octaves: i32,
}

const LOW: Kind = Kind { most: 18_432, octaves: 8 };
const HIGH: Kind = Kind { most: 22_528, octaves: 10 };

/// Predictor and quantiser step of one band; the same in encoder and decoder.
#[derive(Debug, Clone)]
struct Band {
    kind: Kind,
    /// The prediction of the next sample, and the share of it that comes from the zeros.
    s: i32,
    sz: i32,
    /// The last reconstructed signal.
    r: i32,
    /// Coefficients of the poles, and the signs they follow.
    a: [i32; 2],
    p: [i32; 2],
    /// Coefficients of the zeros, and the differences they weigh.
    b: [i32; 6],
    d: [i32; 6],
    /// Logarithm of the step, and the step.
    nb: i32,
    det: i32,
}

impl Band {
    fn new(kind: Kind) -> Self {
        let det = if kind.octaves == LOW.octaves { 32 } else { 8 };
        Self { kind, s: 0, sz: 0, r: 0, a: [0; 2], p: [0; 2], b: [0; 6], d: [0; 6], nb: 0, det }
    }

    /// The step follows the code just sent (LOGSCL/LOGSCH, SCALEL/SCALEH).
    fn rescale(&mut self, w: i32) {
        self.nb = (((self.nb * 127) >> 7) + w).clamp(0, self.kind.most);
        let shift = self.kind.octaves - (self.nb >> 11);
        let power = ILB[(self.nb >> 6) as usize & 31];
        self.det = if shift < 0 { power << -shift } else { power >> shift } << 2;
    }

    /// The predictor follows the quantised difference `d` (block 4).
    fn adapt(&mut self, d: i32) {
        // RECONS, PARREC.
        let r = sat(self.s + d);
        let p = sat(self.sz + d);
        // UPPOL2: signs as those of the sum of zeros and difference.
        let same = |other: i32| (p < 0) == (other < 0);
        let a1 = sat(self.a[0] << 2);
        let lean = if same(self.p[0]) { -a1 } else { a1 }.min(32_767);
        let a2 = (lean >> 7) + if same(self.p[1]) { 128 } else { -128 } + scaled(self.a[1], 32_512);
        let a2 = a2.clamp(-12_288, 12_288);
        // UPPOL1.
        let a1 = sat(if same(self.p[0]) { 192 } else { -192 } + scaled(self.a[0], 32_640));
        let limit = sat(15_360 - a2);
        self.a = [a1.clamp(-limit, limit), a2];
        self.p = [p, self.p[0]];
        // UPZERO, DELAYA.
        let step = if d == 0 { 0 } else { 128 };
        for (b, old) in self.b.iter_mut().zip(self.d) {
            *b = sat(if (d < 0) == (old < 0) { step } else { -step } + scaled(*b, 32_640));
        }
        self.d.copy_within(0..5, 1);
        self.d[0] = d;
        // FILTEP, FILTEZ, PREDIC.
        let poles = scaled(self.a[0], sat(r << 1)) + scaled(self.a[1], sat(self.r << 1));
        self.r = r;
        self.sz = sat(self.b.iter().zip(self.d).map(|(b, d)| scaled(*b, sat(d << 1))).sum());
        self.s = sat(sat(poles) + self.sz);
    }

    /// Adapts to a code of the lower band, of which only the upper 4 bits count.
    fn adapt_low(&mut self, code: usize) {
        let short = code >> 2;
        let d = scaled(self.det, QM4[short]);
        self.rescale(W_LOW[short]);
        self.adapt(d);
    }

    fn adapt_high(&mut self, code: usize) {
        let d = scaled(self.det, QM2[code]);
        self.rescale(W_HIGH[code]);
        self.adapt(d);
    }

    /// The code of a sample of the lower band (SUBTRA, QUANTL).
    fn quantise_low(&self, x: i32) -> usize {
        let e = sat(x - self.s);
        let size = if e < 0 { !e } else { e };
        let level = Q6.partition_point(|q| size >= (q * self.det) >> 12);
        // Codes count down from the largest value; the two smallest negative ones are out of line, as
        // code 0 must not occur.
        match (e < 0, level) {
            (true, 0..2) => 63 - level,
            (true, _) => 33 - level,
            (false, _) => 61 - level,
        }
    }

    /// The code of a sample of the higher band (SUBTRA, QUANTH).
    fn quantise_high(&self, x: i32) -> usize {
        let e = sat(x - self.s);
        let size = if e < 0 { !e } else { e };
        let large = size >= (Q2 * self.det) >> 12;
        match (e < 0, large) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }
    }
}

/// Encodes at 64 kbit/s.
#[derive(Debug, Clone)]
pub struct Encoder {
    low: Band,
    high: Band,
    /// The last 24 samples, the oldest first.
    x: [i32; 24],
}

impl Default for Encoder {
    fn default() -> Self {
        Self { low: Band::new(LOW), high: Band::new(HIGH), x: [0; 24] }
    }
}

impl Encoder {
    /// An encoder in the state that any is in after long enough [`SETTLING`].
    pub fn settled() -> Self {
        let mut encoder = Self::default();
        encoder.low.a = SETTLED_POLES;
        encoder.high.a = SETTLED_POLES;
        encoder
    }

    /// Two samples at 16 kHz to an octet.
    pub fn encode(&mut self, samples: [i16; 2]) -> u8 {
        self.x.copy_within(2.., 0);
        (self.x[22], self.x[23]) = (samples[0].into(), samples[1].into());
        let even: i32 = self.x.iter().step_by(2).zip(QMF).map(|(x, c)| x * c).sum();
        let odd: i32 = self.x.iter().skip(1).step_by(2).zip(QMF.iter().rev()).map(|(x, c)| x * c).sum();
        let low = self.low.quantise_low((odd + even) >> 14);
        let high = self.high.quantise_high((odd - even) >> 14);
        self.low.adapt_low(low);
        self.high.adapt_high(high);
        (high << 6 | low) as u8
    }
}

/// Decodes 64 kbit/s (mode 1).
#[derive(Debug, Clone)]
pub struct Decoder {
    low: Band,
    high: Band,
    x: [i32; 24],
}

impl Default for Decoder {
    fn default() -> Self {
        Self { low: Band::new(LOW), high: Band::new(HIGH), x: [0; 24] }
    }
}

impl Decoder {
    /// An octet to two samples at 16 kHz.
    pub fn decode(&mut self, octet: u8) -> [i16; 2] {
        let (low, high) = self.bands(octet);
        self.x.copy_within(2.., 0);
        (self.x[22], self.x[23]) = (low + high, low - high);
        let second: i32 = self.x.iter().step_by(2).zip(QMF).map(|(x, c)| x * c).sum();
        let first: i32 = self.x.iter().skip(1).step_by(2).zip(QMF.iter().rev()).map(|(x, c)| x * c).sum();
        [sat(first >> 11) as i16, sat(second >> 11) as i16]
    }

    /// An octet to a sample at 8 kHz: the lower band alone, which is what a telephone would pass.
    pub fn decode_narrow(&mut self, octet: u8) -> i16 {
        let (low, _) = self.bands(octet);
        sat(low << 1) as i16
    }

    /// The two bands' samples (RECONS with 6 bits, LIMIT).
    fn bands(&mut self, octet: u8) -> (i32, i32) {
        let (low, high) = (usize::from(octet & 63), usize::from(octet >> 6));
        let limit = |value: i32| value.clamp(-16_384, 16_383);
        let sample_low = limit(self.low.s + scaled(self.low.det, QM6[low]));
        let sample_high = limit(self.high.s + scaled(self.high.det, QM2[high]));
        self.low.adapt_low(low);
        self.high.adapt_high(high);
        (sample_low, sample_high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wav(name: &str) -> Vec<i16> {
        let reader = hound::WavReader::open(format!("tests/fixtures/audio/{name}")).unwrap();
        reader.into_samples().map(Result::unwrap).collect()
    }

    /// Speech, a sweep, noise and a square wave at full scale, digital silence, the faintest noise; encoded and
    /// decoded by ffmpeg 5.1 and, octet for octet alike, by libg722 1.2.
    #[test]
    fn every_bit_is_as_other_implementations_have_it() {
        let mut encoder = Encoder::default();
        let encoded: Vec<u8> = wav("g722_signal.wav").chunks_exact(2).map(|pair| encoder.encode([pair[0], pair[1]])).collect();
        assert_eq!(encoded, std::fs::read("tests/fixtures/audio/g722_signal.g722").unwrap());
        let mut decoder = Decoder::default();
        let decoded: Vec<i16> = encoded.iter().flat_map(|octet| decoder.decode(*octet)).collect();
        assert_eq!(decoded, wav("g722_decoded.wav"));
    }

    #[test]
    fn the_narrow_end_hears_the_lower_band() {
        let tone = |n: u32| (8_000.0 * (f64::from(n) / 16.0 * std::f64::consts::TAU).sin()) as i16;
        let mut encoder = Encoder::default();
        let octets: Vec<u8> = (0..1_600).map(|n| encoder.encode([tone(2 * n), tone(2 * n + 1)])).collect();
        let mut decoder = Decoder::default();
        let decoded: Vec<i16> = octets.iter().map(|octet| decoder.decode_narrow(*octet)).collect();
        // A sine of 1 kHz and 8,000, once the filters have settled.
        let settled = &decoded[400..];
        let rms = (settled.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / settled.len() as f64).sqrt();
        assert!((rms * 2f64.sqrt() - 8_000.0).abs() < 200.0, "{rms}");
    }

    #[test]
    fn any_decoder_settles() {
        let mut decoder = Decoder::default();
        for octet in std::fs::read("tests/fixtures/audio/g722_signal.g722").unwrap() {
            decoder.decode(octet);
        }
        let last = (0..4_000).map(|_| decoder.decode(SETTLING)).last().unwrap();
        // Rounding goes downwards: some 7 of 16,384 may stay, and some of the zeros' coefficients. Nobody hears it.
        assert!(last.iter().all(|sample| sample.abs() <= 16), "{last:?}");
        for (band, settled) in [(&decoder.low, Encoder::settled().low), (&decoder.high, Encoder::settled().high)] {
            assert!(band.b.iter().all(|b| (-256..=0).contains(b)), "{band:?}");
            assert_eq!((band.a, band.nb, band.det, band.d), (settled.a, settled.nb, settled.det, settled.d));
        }
    }

    proptest! {
        /// Whatever comes in, nothing overflows.
        #[test]
        fn no_octets_and_no_samples_are_too_much(octets: Vec<u8>, samples: Vec<[i16; 2]>) {
            let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
            for pair in samples {
                encoder.encode(pair);
            }
            for octet in octets {
                decoder.decode(octet);
            }
        }
    }
}
