//! SRTP and SRTCP (RFC 3711, RFC 7714) with keys from SDP (RFC 4568). Pure: packets in, packets out, in place.
//!
//! The ciphers are RustCrypto's and ring's; what is here is where a packet stands in its stream, and what of
//! it is protected. No crate fitted: those that were looked at take SRTCP that says to be in clear without
//! asking for its tag, keep a state for every SSRC that a stranger makes up, or make key schedules and
//! buffers anew for each packet.

mod cipher;
mod keys;
mod window;

#[cfg(test)]
mod tests;

use self::{
    cipher::{Cipher, Place, RTCP_HEADER},
    window::Window,
};

pub use keys::{Crypto, KEY_BYTES, MasterKey, SALT_BYTES, Suite};

/// Octets that protection adds at most: GCM's tag and the index of SRTCP.
pub const OVERHEAD: usize = 20;
/// Streams of the peer that are kept apart: audio, keys, and what a transfer may bring.
const MOST_STREAMS: usize = 4;
/// The index of SRTCP has 31 bits.
const LAST_RTCP_INDEX: u32 = (1 << 31) - 1;
/// The index of SRTP has 48.
const LAST_INDEX: u64 = (1 << 48) - 1;

/// Why a packet was not protected or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Too short, or no RTP or RTCP.
    #[error("malformed packet")]
    Malformed,
    /// Not made with the peer's key.
    #[error("not authentic")]
    Forged,
    /// Seen before, or so late that nobody knows.
    #[error("replayed")]
    Replayed,
    /// SRTCP that says it is not encrypted.
    #[error("in clear")]
    InClear,
    /// The buffer is too short for what protection adds.
    #[error("no room")]
    NoRoom,
    /// All packets that a key may protect are sent (RFC 3711 §9.2).
    #[error("the key is worn out")]
    WornOut,
    /// The cipher does not take the key.
    #[error("unusable key")]
    Key,
}

/// Both directions of one call's media.
pub struct Srtp {
    crypto: Crypto,
    out: Outgoing,
    incoming: Incoming,
}

struct Outgoing {
    cipher: Cipher,
    /// Of the last packet, by SSRC: there is one stream of ours.
    last: Option<(u32, u64)>,
    rtcp_index: u32,
}

struct Incoming {
    cipher: Cipher,
    rtp: Streams,
    rtcp: Streams,
}

impl std::fmt::Debug for Srtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Srtp").field("crypto", &self.crypto).finish_non_exhaustive()
    }
}

impl Srtp {
    /// Ready to protect and to open.
    pub fn new(crypto: &Crypto) -> Result<Self, SrtpError> {
        Ok(Self { crypto: crypto.clone(), out: Outgoing::new(crypto)?, incoming: Incoming::new(crypto)? })
    }

    /// Takes a new agreement. A direction whose key stays goes on as it was: a key must never be used
    /// twice from the beginning.
    pub fn renegotiate(&mut self, crypto: &Crypto) -> Result<(), SrtpError> {
        let suite = crypto.suite != self.crypto.suite;
        if suite || crypto.ours != self.crypto.ours {
            self.out = Outgoing::new(crypto)?;
        }
        if suite || crypto.theirs != self.crypto.theirs {
            self.incoming = Incoming::new(crypto)?;
        }
        self.crypto = crypto.clone();
        Ok(())
    }

    /// Protects the RTP packet in the first `length` octets of `buffer`, which needs [`OVERHEAD`] more. Returns
    /// the length to send. The stream must begin below sequence number 2^15, so that a peer which misses the
    /// first packets cannot miss a roll-over.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let header = Header::of(buffer.get(..length).ok_or(SrtpError::NoRoom)?)?;
        let index = match self.out.last {
            Some((ssrc, last)) if ssrc == header.ssrc => Window::starting(last).index_of(header.sequence),
            _ => u64::from(header.sequence),
        };
        if index > LAST_INDEX {
            return Err(SrtpError::WornOut);
        }
        let protected = self.out.cipher.protect_rtp(buffer, length, header.place(index))?;
        self.out.last = Some((header.ssrc, index));
        Ok(protected)
    }

    /// Opens an SRTP packet in place: it is RTP up to the returned length. After an error its octets are of no use.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let header = Header::of(packet)?;
        let Incoming { cipher, rtp, .. } = &mut self.incoming;
        if let Some(window) = rtp.of(header.ssrc) {
            let index = window.index_of(header.sequence);
            if !window.is_new(index) {
                return Err(SrtpError::Replayed);
            }
            let length = cipher.unprotect_rtp(packet, header.place(index))?;
            window.note(index);
            return Ok(length);
        }
        // A new stream is kept only once it has shown that it has the key.
        let first = u64::from(header.sequence);
        if header.sequence >= 1 << 15 {
            let length = cipher.unprotect_rtp(packet, header.place(first))?;
            rtp.begin(header.ssrc, first);
            return Ok(length);
        }
        // It may have begun close to the last number, and have gone round before anything arrived.
        let copy = packet.to_vec();
        for index in [first, first | 1 << 16] {
            packet.copy_from_slice(&copy);
            if let Ok(length) = cipher.unprotect_rtp(packet, header.place(index)) {
                rtp.begin(header.ssrc, index);
                return Ok(length);
            }
        }
        Err(SrtpError::Forged)
    }

    /// Protects the compound RTCP packet in the first `length` octets of `buffer`, which needs [`OVERHEAD`] more.
    /// Returns the length to send.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..length).ok_or(SrtpError::NoRoom)?)?;
        let index = self.out.rtcp_index;
        if index > LAST_RTCP_INDEX {
            return Err(SrtpError::WornOut);
        }
        let protected = self.out.cipher.protect_rtcp(buffer, length, ssrc, index)?;
        self.out.rtcp_index = index + 1;
        Ok(protected)
    }

    /// Opens an SRTCP packet in place: it is RTCP up to the returned length. After an error its octets are of no use.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let Incoming { cipher, rtcp, .. } = &mut self.incoming;
        let index = cipher.rtcp_index(packet)?;
        let known = rtcp.of(ssrc);
        if known.as_ref().is_some_and(|window| !window.is_new(index.into())) {
            return Err(SrtpError::Replayed);
        }
        let length = cipher.unprotect_rtcp(packet, ssrc, index)?;
        match known {
            Some(window) => window.note(index.into()),
            None => rtcp.begin(ssrc, index.into()),
        }
        Ok(length)
    }
}

impl Outgoing {
    fn new(crypto: &Crypto) -> Result<Self, SrtpError> {
        Ok(Self { cipher: Cipher::new(crypto.suite, &crypto.ours)?, last: None, rtcp_index: 0 })
    }
}

impl Incoming {
    fn new(crypto: &Crypto) -> Result<Self, SrtpError> {
        Ok(Self { cipher: Cipher::new(crypto.suite, &crypto.theirs)?, rtp: Streams::default(), rtcp: Streams::default() })
    }
}

/// The peer's streams, by SSRC; only authentic ones come in, and the oldest makes room.
#[derive(Debug, Default)]
struct Streams(Vec<(u32, Window)>);

impl Streams {
    fn of(&mut self, ssrc: u32) -> Option<&mut Window> {
        self.0.iter_mut().find(|(other, _)| *other == ssrc).map(|(_, window)| window)
    }

    fn begin(&mut self, ssrc: u32, index: u64) {
        if self.0.len() >= MOST_STREAMS {
            self.0.remove(0);
        }
        self.0.push((ssrc, Window::starting(index)));
    }
}

/// What SRTP reads of an RTP header.
#[derive(Debug, Clone, Copy)]
struct Header {
    length: usize,
    sequence: u16,
    ssrc: u32,
}

impl Header {
    fn of(packet: &[u8]) -> Result<Self, SrtpError> {
        let fixed = packet.first_chunk::<12>().filter(|fixed| fixed[0] >> 6 == 2).ok_or(SrtpError::Malformed)?;
        let [flags, _, s1, s0, _, _, _, _, ssrc @ ..] = *fixed;
        let mut length = fixed.len() + 4 * usize::from(flags & 15);
        if flags & 0x10 != 0 {
            // Extension: two octets of its own, and how many words follow.
            let words = packet.get(length + 2..length + 4).and_then(|w| w.first_chunk::<2>()).ok_or(SrtpError::Malformed)?;
            length += 4 + 4 * usize::from(u16::from_be_bytes(*words));
        }
        if packet.len() < length {
            return Err(SrtpError::Malformed);
        }
        Ok(Self { length, sequence: u16::from_be_bytes([s1, s0]), ssrc: u32::from_be_bytes(ssrc) })
    }

    fn place(self, index: u64) -> Place {
        Place { header: self.length, ssrc: self.ssrc, index }
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let header = packet.first_chunk::<RTCP_HEADER>().filter(|header| header[0] >> 6 == 2).ok_or(SrtpError::Malformed)?;
    let [_, _, _, _, ssrc @ ..] = *header;
    Ok(u32::from_be_bytes(ssrc))
}
