//! `a=crypto`: keys in SDP (RFC 4568).

use std::fmt::Write as _;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::telephony::rtp::srtp::{MasterKey, Suite};

/// Some telephones leave the padding out, or are careless with the bits before it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);
/// A key that may protect fewer packets than this does not last for a call: 22 minutes of them.
const SHORTEST_LIFETIME: u64 = 1 << 16;
/// No key may protect more (RFC 3711 §9.2).
const LONGEST_LIFETIME: u64 = 1 << 48;

/// One line, that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Tells the lines of a description apart; an answer repeats it.
    pub tag: u32,
    /// What is done with the key.
    pub suite: Suite,
    /// The writer's key: for what it sends.
    pub key: MasterKey,
}

impl Line {
    /// Reads what follows `crypto:`. `None` for what we cannot or will not do: other suites, several keys and
    /// MKIs to tell them apart, session parameters that take protection away (RFC 4568 §6.3), keys of a wrong length.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= 9)?.parse().ok()?;
        let suite = Suite::named(words.next()?)?;
        let mut parameters = words.next()?.strip_prefix("inline:")?.split('|');
        let octets = BASE64.decode(parameters.next()?).ok()?;
        let lifetime = parameters.next().is_none_or(lasts);
        let mki = parameters.next().is_some();
        let session = words.all(harmless);
        (lifetime && !mki && session).then_some(())?;
        Some(Self { tag, suite, key: MasterKey::from_octets(suite, &octets)? })
    }

    /// Writes the whole line.
    pub fn write(&self, body: &mut String) {
        let key = BASE64.encode(self.key.octets(self.suite));
        let _ = write!(body, "a=crypto:{} {} inline:{key}\r\n", self.tag, self.suite.name());
    }
}

/// Is it a lifetime, and one that is long enough? What has a colon is an MKI, and is not.
fn lasts(text: &str) -> bool {
    let packets = match text.strip_prefix("2^") {
        Some(exponent) => exponent.parse().ok().and_then(|exponent| 1u64.checked_shl(exponent)),
        None => text.parse().ok(),
    };
    packets.is_some_and(|packets| (SHORTEST_LIFETIME..=LONGEST_LIFETIME).contains(&packets))
}

/// A session parameter that changes nothing for us: a hint for the replay window, the default key derivation, and
/// what says of itself that it may be passed over.
fn harmless(parameter: &str) -> bool {
    parameter.starts_with("WSH=") || parameter == "KDR=0" || parameter.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4568 §9.1's example key, 30 octets.
    const KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    fn read(value: &str) -> Option<(u32, Suite)> {
        Line::parse(value).map(|line| (line.tag, line.suite))
    }

    #[test]
    fn lines_as_telephones_write_them() {
        for (line, expected) in [
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), Some((1, Suite::AesCm80))),
            (format!("2 aes_cm_128_hmac_sha1_32 inline:{KEY}|2^20"), Some((2, Suite::AesCm32))),
            (format!("01 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1048576 WSH=128 -NEW=1 KDR=0"), Some((1, Suite::AesCm80))),
            (format!("3 AEAD_AES_128_GCM inline:{}", &KEY[..38]), Some((3, Suite::AesGcm))),
            (format!("3 AEAD_AES_128_GCM inline:{}==", &KEY[..38]), Some((3, Suite::AesGcm))),
        ] {
            assert_eq!(read(&line), expected, "{line}");
        }
    }

    #[test]
    fn lines_that_are_passed_over() {
        for line in [
            format!("1 AES_256_CM_HMAC_SHA1_80 inline:{KEY}"),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{}", &KEY[..36]),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:*{}", &KEY[1..]),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^10"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^49"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^99999999999"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNAUTHENTICATED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTCP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 uri:{KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80".to_owned(),
            String::new(),
        ] {
            assert_eq!(read(&line), None, "{line}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for (tag, suite) in Suite::ALL.into_iter().enumerate() {
            let line = Line { tag: tag as u32, suite, key: MasterKey::new(suite, &[7; 30]) };
            let mut body = String::new();
            line.write(&mut body);
            assert_eq!(Line::parse(body.trim_end().strip_prefix("a=crypto:").unwrap()), Some(line));
        }
    }
}
