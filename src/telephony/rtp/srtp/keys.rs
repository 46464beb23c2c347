//! Suites and master keys, as SDP carries them (RFC 4568), and the keys made of them (RFC 3711 §4.3).

use std::fmt;

use aes::{
    Aes128Enc,
    cipher::{KeyInit, KeyIvInit, StreamCipher},
};

/// Octets of a master key.
pub const KEY_BYTES: usize = 16;
/// Octets of the longest master salt.
pub const SALT_BYTES: usize = 14;

/// A crypto suite of SDP security descriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES in counter mode, tags of 80 bits: what every telephone has (RFC 4568 §6.2.1).
    AesCm80,
    /// The same with tags of 32 bits on RTP; those on RTCP stay at 80 (RFC 4568 §6.2.2).
    AesCm32,
    /// AES-GCM (RFC 7714).
    AesGcm,
}

impl Suite {
    /// All, the best first.
    pub const ALL: [Self; 3] = [Self::AesGcm, Self::AesCm80, Self::AesCm32];

    /// Its name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesGcm => "AEAD_AES_128_GCM",
        }
    }

    /// The suite of this name, in whichever case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Octets of its master salt.
    pub fn salt_bytes(self) -> usize {
        match self {
            Self::AesCm80 | Self::AesCm32 => SALT_BYTES,
            Self::AesGcm => 12,
        }
    }
}

/// A master key with its salt. What it is never shows in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    key: [u8; KEY_BYTES],
    /// Filled up with zeros where the suite's is shorter (RFC 7714 §11).
    salt: [u8; SALT_BYTES],
}

impl MasterKey {
    /// From random octets; a suite with a shorter salt does without the last of them.
    pub fn new(suite: Suite, random: &[u8; KEY_BYTES + SALT_BYTES]) -> Self {
        let (mut key, mut salt) = ([0; KEY_BYTES], [0; SALT_BYTES]);
        key.copy_from_slice(&random[..KEY_BYTES]);
        salt[..suite.salt_bytes()].copy_from_slice(&random[KEY_BYTES..][..suite.salt_bytes()]);
        Self { key, salt }
    }

    /// From key and salt, one after the other as `inline:` has them; `None` where the length is not the suite's.
    pub fn from_octets(suite: Suite, octets: &[u8]) -> Option<Self> {
        let mut random = [0; KEY_BYTES + SALT_BYTES];
        random.get_mut(..octets.len())?.copy_from_slice(octets);
        (octets.len() == KEY_BYTES + suite.salt_bytes()).then(|| Self::new(suite, &random))
    }

    /// Key and salt, one after the other, for `inline:`.
    pub fn octets(&self, suite: Suite) -> Vec<u8> {
        [&self.key[..], &self.salt[..suite.salt_bytes()]].concat()
    }

    /// A session key, by its label: the key stream of AES in counter mode (RFC 3711 §4.3.3).
    pub(super) fn derive<const N: usize>(&self, label: Label) -> [u8; N] {
        let mut iv = [0; 16];
        iv[..SALT_BYTES].copy_from_slice(&self.salt);
        iv[7] ^= label as u8;
        let mut derived = [0; N];
        ctr::Ctr32BE::<Aes128Enc>::new(&self.key.into(), &iv.into()).apply_keystream(&mut derived);
        derived
    }

    pub(super) fn derive_aes(&self, label: Label) -> Aes128Enc {
        Aes128Enc::new(&self.derive::<KEY_BYTES>(label).into())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// What a session key is for (RFC 3711 §4.3.1, §4.3.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    Rtp = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    Rtcp = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// What both sides have agreed on for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// The suite, the same in both directions.
    pub suite: Suite,
    /// What we send is protected with.
    pub ours: MasterKey,
    /// What the peer sends is protected with.
    pub theirs: MasterKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711 appendix B.3.
    #[test]
    fn session_keys_are_those_of_the_rfc() {
        let octets = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::from_octets(Suite::AesCm80, &octets).unwrap();
        assert_eq!(master.derive::<16>(Label::Rtp).to_vec(), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(master.derive::<14>(Label::RtpSalt).to_vec(), hex("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(master.derive::<20>(Label::RtpAuthentication).to_vec(), hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn keys_have_the_suites_length_and_do_not_show() {
        for suite in Suite::ALL {
            let octets: Vec<u8> = (1..=(KEY_BYTES + suite.salt_bytes()) as u8).collect();
            let key = MasterKey::from_octets(suite, &octets).unwrap();
            assert_eq!(key.octets(suite), octets);
            assert_eq!(Suite::named(&suite.name().to_lowercase()), Some(suite));
            for wrong in [&octets[1..], &[&octets[..], &[0]].concat(), &[0; 60], &[]] {
                assert_eq!(MasterKey::from_octets(suite, wrong), None);
            }
            let crypto = Crypto { suite, ours: key.clone(), theirs: key };
            let shown = format!("{crypto:?}");
            assert!(shown.contains("MasterKey(..)") && !shown.contains("16"), "{shown}");
        }
    }
}
