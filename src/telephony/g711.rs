//! G.711: 16-bit linear samples to 8-bit A-law and µ-law and back (ITU-T G.711).

/// The A-law code of a sample.
pub fn alaw_encode(sample: i16) -> u8 {
    // 13-bit magnitude; negative values are ones' complement, as in the ITU reference software.
    let sign = if sample >= 0 { 0x80 } else { 0 };
    let magnitude = (if sample >= 0 { sample } else { !sample } >> 4) as u16;
    let code = if magnitude < 16 {
        magnitude
    } else {
        // The segment is the place of the leading bit: 16..31 is segment 1.
        let segment = 12 - (magnitude.leading_zeros() as u16);
        (segment << 4) | ((magnitude >> (segment - 1)) & 0x0f)
    };
    // Every second bit is inverted on the line.
    (code as u8 | sign) ^ 0x55
}

/// The sample of an A-law code, in the middle of its interval.
pub fn alaw_decode(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = ((code >> 4) & 7, i16::from(code & 0x0f));
    let magnitude = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// Added before µ-law's logarithm so that each segment begins at a power of two.
const ULAW_BIAS: i32 = 33;
/// The largest 14-bit magnitude that µ-law knows.
const ULAW_CLIP: i32 = 8_158;

/// The µ-law code of a sample.
pub fn ulaw_encode(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80u8, -i32::from(sample)) } else { (0, i32::from(sample)) };
    let biased = ((magnitude >> 2).min(ULAW_CLIP)) + ULAW_BIAS;
    let segment = (26 - biased.leading_zeros() as i32).max(0);
    let step = (biased >> (segment + 1)) & 0x0f;
    // All bits are inverted on the line.
    !(sign | ((segment as u8) << 4) | step as u8)
}

/// The sample of a µ-law code.
pub fn ulaw_decode(code: u8) -> i16 {
    let code = !code;
    let (segment, step) = (i32::from((code >> 4) & 7), i32::from(code & 0x0f));
    let magnitude = ((((step << 1) + ULAW_BIAS) << segment) - ULAW_BIAS) << 2;
    (if code & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        for (sample, alaw, ulaw) in
            [(0i16, 0xd5u8, 0xffu8), (8, 0xd5, 0xfe), (-8, 0x55, 0x7e), (1_000, 0xfa, 0xce), (i16::MAX, 0xaa, 0x80), (i16::MIN, 0x2a, 0x00)]
        {
            assert_eq!((alaw_encode(sample), ulaw_encode(sample)), (alaw, ulaw), "{sample}");
        }
    }

    #[test]
    fn every_code_comes_back_as_itself() {
        for code in 0..=255u8 {
            assert_eq!(alaw_encode(alaw_decode(code)), code, "A-law {code:#x}");
            // µ-law has a zero of either sign; both decode to 0.
            let back = ulaw_encode(ulaw_decode(code));
            assert!(back == code || (code == 0x7f && back == 0xff), "µ-law {code:#x}: {back:#x}");
        }
    }

    proptest! {
        /// The error is at most half a step of the segment: 1/32 of the magnitude, or the smallest step.
        #[test]
        fn the_error_is_within_half_a_step(sample: i16) {
            for decoded in [alaw_decode(alaw_encode(sample)), ulaw_decode(ulaw_encode(sample))] {
                let error = (i32::from(decoded) - i32::from(sample)).abs();
                // The top of the µ-law range is clipped.
                let clipped = 32_767 - 32_124;
                prop_assert!(error <= (i32::from(sample).abs() / 32 + 16).max(8) || (error <= clipped + 1 && sample.unsigned_abs() > 32_000), "{} {}", sample, decoded);
            }
        }
    }
}
