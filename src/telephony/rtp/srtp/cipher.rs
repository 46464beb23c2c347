//! The transforms: what a suite does with one packet whose place is known (RFC 3711 §4, RFC 7714).

use aes::{
    Aes128Enc,
    cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper},
};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::{
    SrtpError,
    keys::{Label, MasterKey, SALT_BYTES, Suite},
};

/// Octets of the tag on RTCP, and on RTP with [`Suite::AesCm80`].
const LONG_TAG: usize = 10;
/// Octets of the tag on RTP with [`Suite::AesCm32`].
const SHORT_TAG: usize = 4;
/// Octets of AES-GCM's tag.
const GCM_TAG: usize = 16;
/// Octets of the index that goes with every SRTCP packet.
const INDEX: usize = 4;
/// The index' first bit: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;
/// Octets of an RTCP packet that stay readable: the first header and the sender's SSRC.
pub(super) const RTCP_HEADER: usize = 8;

/// One direction's session keys.
pub(super) enum Cipher {
    Counter(Box<CounterMode>),
    Gcm(Box<Gcm>),
}

impl Cipher {
    pub(super) fn new(suite: Suite, master: &MasterKey) -> Result<Self, SrtpError> {
        let counter = |rtp_tag| {
            let rtp = Half::new(master, [Label::Rtp, Label::RtpAuthentication, Label::RtpSalt])?;
            let rtcp = Half::new(master, [Label::Rtcp, Label::RtcpAuthentication, Label::RtcpSalt])?;
            Ok(Self::Counter(Box::new(CounterMode { rtp, rtcp, rtp_tag })))
        };
        match suite {
            Suite::AesCm80 => counter(LONG_TAG),
            Suite::AesCm32 => counter(SHORT_TAG),
            Suite::AesGcm => {
                let rtp = Aead::new(&master.derive(Label::Rtp), master.derive(Label::RtpSalt))?;
                let rtcp = Aead::new(&master.derive(Label::Rtcp), master.derive(Label::RtcpSalt))?;
                Ok(Self::Gcm(Box::new(Gcm { rtp, rtcp })))
            }
        }
    }

    /// Protects the `length` octets of a packet in `buffer`; the new length.
    pub(super) fn protect_rtp(&self, buffer: &mut [u8], length: usize, place: Place) -> Result<usize, SrtpError> {
        let packet = buffer.get_mut(..length).filter(|p| p.len() >= place.header).ok_or(SrtpError::NoRoom)?;
        let payload = &mut packet[place.header..];
        match self {
            Self::Counter(keys) => {
                keys.rtp.apply(payload, place.ssrc, place.index);
                let tag = keys.rtp.tag(packet, place.roc());
                append(buffer, length, &[&tag[..keys.rtp_tag]])
            }
            Self::Gcm(keys) => {
                let tag = keys.rtp.seal(packet, place.header, &[], keys.rtp.nonce_rtp(place))?;
                append(buffer, length, &[&tag])
            }
        }
    }

    /// Opens a packet in place; its length without the tag.
    pub(super) fn unprotect_rtp(&self, packet: &mut [u8], place: Place) -> Result<usize, SrtpError> {
        let tag = match self {
            Self::Counter(keys) => keys.rtp_tag,
            Self::Gcm(_) => GCM_TAG,
        };
        let length = packet.len().checked_sub(tag).filter(|length| *length >= place.header).ok_or(SrtpError::Malformed)?;
        match self {
            Self::Counter(keys) => {
                let (sealed, tag) = packet.split_at_mut(length);
                keys.rtp.verify(sealed, place.roc(), tag)?;
                keys.rtp.apply(&mut sealed[place.header..], place.ssrc, place.index);
            }
            Self::Gcm(keys) => keys.rtp.open(packet, place.header, &[], keys.rtp.nonce_rtp(place))?,
        }
        Ok(length)
    }

    /// Protects the `length` octets of a compound RTCP packet in `buffer`; the new length.
    pub(super) fn protect_rtcp(&self, buffer: &mut [u8], length: usize, ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let packet = buffer.get_mut(..length).filter(|p| p.len() >= RTCP_HEADER).ok_or(SrtpError::Malformed)?;
        let trailer = (ENCRYPTED | index).to_be_bytes();
        match self {
            Self::Counter(keys) => {
                keys.rtcp.apply(&mut packet[RTCP_HEADER..], ssrc, u64::from(index));
                let tag = keys.rtcp.tag(packet, trailer);
                append(buffer, length, &[&trailer, &tag[..LONG_TAG]])
            }
            Self::Gcm(keys) => {
                let tag = keys.rtcp.seal(packet, RTCP_HEADER, &trailer, keys.rtcp.nonce_rtcp(ssrc, index))?;
                append(buffer, length, &[&tag, &trailer])
            }
        }
    }

    /// The index that an SRTCP packet says it has. Packets that say to be in clear are refused: nobody
    /// agreed to such (RFC 4568 §6.3.2).
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let after = match self {
            Self::Counter(_) => LONG_TAG,
            Self::Gcm(_) => 0,
        };
        let trailer = packet.len().checked_sub(after).and_then(|end| packet.get(RTCP_HEADER..end)).and_then(|p| p.last_chunk::<INDEX>());
        let word = u32::from_be_bytes(*trailer.ok_or(SrtpError::Malformed)?);
        if word & ENCRYPTED == 0 { Err(SrtpError::InClear) } else { Ok(word & !ENCRYPTED) }
    }

    /// Opens a compound RTCP packet in place; its length without index and tag.
    pub(super) fn unprotect_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let trailer = (ENCRYPTED | index).to_be_bytes();
        let tag = match self {
            Self::Counter(_) => LONG_TAG,
            Self::Gcm(_) => GCM_TAG,
        };
        let length = packet.len().checked_sub(tag + INDEX).filter(|length| *length >= RTCP_HEADER).ok_or(SrtpError::Malformed)?;
        match self {
            Self::Counter(keys) => {
                let (sealed, tag) = packet.split_at_mut(length + INDEX);
                keys.rtcp.verify(&sealed[..length], trailer, tag)?;
                keys.rtcp.apply(&mut sealed[RTCP_HEADER..length], ssrc, u64::from(index));
            }
            Self::Gcm(keys) => {
                keys.rtcp.open(&mut packet[..length + GCM_TAG], RTCP_HEADER, &trailer, keys.rtcp.nonce_rtcp(ssrc, index))?;
            }
        }
        Ok(length)
    }
}

/// Writes `parts` after the first `length` octets; the new length.
fn append(buffer: &mut [u8], length: usize, parts: &[&[u8]]) -> Result<usize, SrtpError> {
    let mut end = length;
    for part in parts {
        buffer.get_mut(end..end + part.len()).ok_or(SrtpError::NoRoom)?.copy_from_slice(part);
        end += part.len();
    }
    Ok(end)
}

/// Where an RTP packet stands in its stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Octets of its header, which stays readable.
    pub header: usize,
    pub ssrc: u32,
    /// Roll-over counter and sequence number: 48 bits.
    pub index: u64,
}

impl Place {
    fn roc(self) -> [u8; 4] {
        ((self.index >> 16) as u32).to_be_bytes()
    }
}

/// Counter mode and HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).
pub(super) struct CounterMode {
    rtp: Half,
    rtcp: Half,
    rtp_tag: usize,
}

/// The session keys of RTP or of RTCP, ready for use: no key schedule is made for a packet.
struct Half {
    aes: Aes128Enc,
    mac: Hmac<Sha1>,
    salt: [u8; SALT_BYTES],
}

/// The cipher of one packet, on the key schedule of all.
type CounterCore<'a> = ctr::CtrCore<&'a Aes128Enc, ctr::flavors::Ctr32BE>;

impl Half {
    fn new(master: &MasterKey, [cipher, authentication, salt]: [Label; 3]) -> Result<Self, SrtpError> {
        // HMAC takes keys of any length.
        let mac = Hmac::new_from_slice(&master.derive::<20>(authentication)).map_err(|_| SrtpError::Key)?;
        Ok(Self { aes: master.derive_aes(cipher), mac, salt: master.derive(salt) })
    }

    /// Encrypts or decrypts.
    fn apply(&self, data: &mut [u8], ssrc: u32, index: u64) {
        // Salt, SSRC and index, added to each other; the last two octets count blocks.
        let value = u128::from(ssrc) << 64 | u128::from(index) << 16;
        let mut iv = value.to_be_bytes();
        for (octet, salt) in iv.iter_mut().zip(self.salt) {
            *octet ^= salt;
        }
        let core = CounterCore::inner_iv_init(&self.aes, &iv.into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
    }

    fn digest(&self, packet: &[u8], after: [u8; 4]) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(packet);
        mac.update(&after);
        mac
    }

    fn tag(&self, packet: &[u8], after: [u8; 4]) -> [u8; 20] {
        self.digest(packet, after).finalize().into_bytes().into()
    }

    fn verify(&self, packet: &[u8], after: [u8; 4], tag: &[u8]) -> Result<(), SrtpError> {
        // In a time that does not depend on where the difference is.
        self.digest(packet, after).verify_truncated_left(tag).map_err(|_| SrtpError::Forged)
    }
}

/// AES-GCM (RFC 7714 §8, §9).
pub(super) struct Gcm {
    rtp: Aead,
    rtcp: Aead,
}

struct Aead {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Aead {
    fn new(key: &[u8; 16], salt: [u8; 12]) -> Result<Self, SrtpError> {
        let key = UnboundKey::new(&AES_128_GCM, key).map_err(|_| SrtpError::Key)?;
        Ok(Self { key: LessSafeKey::new(key), salt })
    }

    fn nonce(&self, value: u128) -> Nonce {
        let mut nonce = self.salt;
        for (octet, value) in nonce.iter_mut().zip(&value.to_be_bytes()[4..]) {
            *octet ^= value;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn nonce_rtp(&self, place: Place) -> Nonce {
        self.nonce(u128::from(place.ssrc) << 48 | u128::from(place.index))
    }

    fn nonce_rtcp(&self, ssrc: u32, index: u32) -> Nonce {
        self.nonce(u128::from(ssrc) << 48 | u128::from(index))
    }

    /// Encrypts what is after the header; the tag. The header and `after` are authenticated along.
    fn seal(&self, packet: &mut [u8], header: usize, after: &[u8], nonce: Nonce) -> Result<[u8; GCM_TAG], SrtpError> {
        let (header, payload) = packet.split_at_mut(header);
        let sealed = if after.is_empty() {
            self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
        } else {
            self.key.seal_in_place_separate_tag(nonce, Aad::from([&*header, after].concat()), payload)
        };
        let tag = sealed.map_err(|_| SrtpError::NoRoom)?;
        tag.as_ref().try_into().map_err(|_| SrtpError::Key)
    }

    /// Decrypts what is after the header and before the tag at the end.
    fn open(&self, packet: &mut [u8], header: usize, after: &[u8], nonce: Nonce) -> Result<(), SrtpError> {
        let (header, payload) = packet.split_at_mut(header);
        let opened = if after.is_empty() {
            self.key.open_in_place(nonce, Aad::from(&*header), payload)
        } else {
            self.key.open_in_place(nonce, Aad::from([&*header, after].concat()), payload)
        };
        opened.map(|_| ()).map_err(|_| SrtpError::Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter(char::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
    }

    /// RFC 7714 §16.1.1 and §17.1: session keys and packets.
    #[test]
    fn gcm_is_that_of_the_rfc() {
        let aead = || Aead::new(&std::array::from_fn(|n| n as u8), *b"Quid pro quo").unwrap();
        let cipher = Cipher::Gcm(Box::new(Gcm { rtp: aead(), rtcp: aead() }));
        let plain = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573");
        let sealed = hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        );
        let mut buffer = [0; 100];
        buffer[..plain.len()].copy_from_slice(&plain);
        let place = Place { header: 12, ssrc: 0x5501_a0b2, index: 0xf17b };
        let length = cipher.protect_rtp(&mut buffer, plain.len(), place).unwrap();
        assert_eq!(buffer[..length], sealed);
        assert_eq!(cipher.unprotect_rtp(&mut buffer[..length], place), Ok(plain.len()));
        assert_eq!(buffer[..plain.len()], plain);

        let plain =
            hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef");
        let sealed = hex(
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        );
        buffer[..plain.len()].copy_from_slice(&plain);
        let length = cipher.protect_rtcp(&mut buffer, plain.len(), 0x4d61_7273, 0x5d4).unwrap();
        assert_eq!(buffer[..length], sealed);
        assert_eq!(cipher.rtcp_index(&buffer[..length]), Ok(0x5d4));
        assert_eq!(cipher.unprotect_rtcp(&mut buffer[..length], 0x4d61_7273, 0x5d4), Ok(plain.len()));
        assert_eq!(buffer[..plain.len()], plain);
    }
}
