//! Takes away what lies below the keys' tones: dial tone, hum, the lowest part of a voice. Pure.

/// An elliptic high-pass of the fourth order at 8 kHz, designed for this: within 0.2 dB from 640 Hz
/// up, at least 30 dB down below 450 Hz, 59 dB at the Italian dial tone's 425 Hz. Two sections, each b₀ b₁ b₂ a₁ a₂.
const SECTIONS: [[f32; 5]; 2] =
    [[0.586_141_6, -1.157_999_9, 0.586_141_6, -1.177_359_9, 0.424_555], [1.0, -1.889_052_3, 1.0, -1.680_727_2, 0.883_450_75]];

/// The filter's memory: the last two samples before the first section, between the two, and after the second.
#[derive(Debug, Clone, Default)]
pub(super) struct HighPass([[f32; 2]; 3]);

impl HighPass {
    /// Filters a sample.
    #[inline]
    pub fn filter(&mut self, sample: i16) -> f32 {
        let mut value = f32::from(sample);
        for (n, [b0, b1, b2, a1, a2]) in SECTIONS.iter().enumerate() {
            let ([x1, x2], [y1, y2]) = (self.0[n], self.0[n + 1]);
            // Only the last product waits for the sample before: the processor does the others meanwhile.
            let output = b0 * value + b1 * x1 + (b2 * x2 - a2 * y2) - a1 * y1;
            self.0[n] = [value, x1];
            value = output;
        }
        self.0[2] = [value, self.0[2][0]];
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The level of a sine after the filter has settled, in dB of what went in.
    fn decibels(hz: f64) -> f64 {
        let mut filter = HighPass::default();
        let (mut seen, mut given) = (0.0, 0.0);
        for n in 0..8_000 {
            let sample = (10_000.0 * (std::f64::consts::TAU * hz * f64::from(n) / 8_000.0).sin()) as i16;
            let output = filter.filter(sample);
            if n >= 800 {
                seen += f64::from(output).powi(2);
                given += f64::from(sample).powi(2);
            }
        }
        10.0 * (seen / given).log10()
    }

    #[test]
    fn keys_pass_and_what_is_below_them_does_not() {
        for hz in [686.0, 697.0, 941.0, 1_209.0, 1_658.0, 3_000.0] {
            assert!(decibels(hz).abs() < 0.3, "{hz} Hz: {} dB", decibels(hz));
        }
        for (hz, most) in [(50.0, -30.0), (350.0, -29.5), (440.0, -30.0), (425.0, -50.0)] {
            assert!(decibels(hz) < most, "{hz} Hz: {} dB", decibels(hz));
        }
    }
}
