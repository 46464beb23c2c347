//! G.711: the two companding laws of the telephone network (ITU-T G.711, 1988; sample values
//! scaled to 16 bits as ITU-T G.191 does: 13-bit A-law and 14-bit µ-law, left-justified).
//!
//! Decoding is a table, encoding a few shifts. A decoded value encodes to the octet it came
//! from, so a recording can be compared with what was sent octet by octet.

/// A-law octets have their even bits inverted on the line (G.711 §3, table 1a, note 2).
const ALAW_MASK: u8 = 0x55;
/// µ-law adds this to the 14-bit magnitude, so that every segment starts at a power of two.
const ULAW_BIAS: i32 = 33;

static ALAW: [i16; 256] = alaw_table();
static ULAW: [i16; 256] = ulaw_table();

const fn alaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = code as u8 ^ ALAW_MASK;
        let segment = (bits >> 4) & 7;
        let mantissa = (bits & 0x0F) as i32;
        // The middle of the quantising interval; segments 0 and 1 have the same step.
        let magnitude =
            if segment == 0 { (mantissa << 4) + 8 } else { ((mantissa + 16) << (segment as u32 + 3)) + (8 << (segment as u32 - 1)) };
        table[code] = if bits & 0x80 == 0 { -magnitude as i16 } else { magnitude as i16 };
        code += 1;
    }
    table
}

const fn ulaw_table() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let segment = ((bits >> 4) & 7) as u32;
        let mantissa = (bits & 0x0F) as i32;
        let magnitude = (((2 * mantissa + ULAW_BIAS) << segment) - ULAW_BIAS) << 2;
        table[code] = if bits & 0x80 == 0 { magnitude as i16 } else { -magnitude as i16 };
        code += 1;
    }
    table
}

/// One A-law octet (as on the line) to a 16-bit sample.
#[inline]
pub fn alaw_decode(code: u8) -> i16 {
    ALAW[usize::from(code)]
}

/// One µ-law octet (as on the line) to a 16-bit sample.
#[inline]
pub fn ulaw_decode(code: u8) -> i16 {
    ULAW[usize::from(code)]
}

/// A 16-bit sample to its A-law octet.
#[inline]
pub fn alaw_encode(sample: i16) -> u8 {
    // One's complement for negative samples, as G.191 has it: both signs get equal intervals.
    let (sign, magnitude) = if sample < 0 { (0, !sample >> 4) } else { (0x80, sample >> 4) };
    let magnitude = magnitude as u16;
    let bits = if magnitude < 32 {
        magnitude
    } else {
        let shift = 11 - magnitude.leading_zeros();
        ((shift as u16) << 4) + (magnitude >> shift)
    };
    (sign | bits as u8) ^ ALAW_MASK
}

/// A 16-bit sample to its µ-law octet.
#[inline]
pub fn ulaw_encode(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80, !sample >> 2) } else { (0, sample >> 2) };
    let biased = (i32::from(magnitude) + ULAW_BIAS).min(0x1FFF) as u16;
    // The bias makes bit 5 the lowest that can lead.
    let segment = 10 - biased.leading_zeros();
    let bits = ((segment as u8) << 4) | ((biased >> (segment + 1)) as u8 & 0x0F);
    !(sign | bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoder_outputs_are_those_of_the_recommendation() {
        // G.711 tables 1a/1b and 2a/2b, decoder output values scaled to 16 bits (×16 on 12-bit A-law halves, ×4 on µ-law).
        for (code, value) in [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0x80, 5504), (0xC5, 264), (0xF5, 528)] {
            assert_eq!(alaw_decode(code), value, "A-law {code:#04x}");
        }
        for (code, value) in [(0xFF, 0), (0x7F, 0), (0x80, 32124), (0x00, -32124), (0xFE, 8), (0xEF, 132), (0x8F, 16764)] {
            assert_eq!(ulaw_decode(code), value, "µ-law {code:#04x}");
        }
    }

    #[test]
    fn every_octet_survives_decode_and_encode() {
        for code in 0..=255u8 {
            assert_eq!(alaw_encode(alaw_decode(code)), code, "A-law");
            // µ-law has two zeros; the positive one is what an encoder makes.
            let expected = if code == 0x7F { 0xFF } else { code };
            assert_eq!(ulaw_encode(ulaw_decode(code)), expected, "µ-law");
        }
    }

    #[test]
    fn each_sample_gets_a_nearest_octet_and_order_is_kept() {
        let (mut last_a, mut last_u) = (i16::MIN, i16::MIN);
        for sample in i16::MIN..=i16::MAX {
            let (a, u) = (alaw_decode(alaw_encode(sample)), ulaw_decode(ulaw_encode(sample)));
            assert!(a >= last_a && u >= last_u, "monotonic at {sample}");
            (last_a, last_u) = (a, u);
            let error = |value: i16| (i32::from(sample) - i32::from(value)).abs();
            // Half of the largest step of the segment, plus the clipping at the ends.
            let loudness = i32::from(sample).abs();
            assert!(error(a) <= 8.max(loudness / 32), "A-law {sample} -> {a}");
            assert!(error(u) <= ((loudness + 132) / 32).max(loudness - 32124), "µ-law {sample} -> {u}");
        }
    }

    #[test]
    fn silence_is_the_usual_octet() {
        assert_eq!(alaw_encode(0), 0xD5);
        assert_eq!(ulaw_encode(0), 0xFF);
    }
}
