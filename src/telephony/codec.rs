//! The codecs of the telephone network.

/// A codec, at 64 kbit/s each: 8 bytes a millisecond, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.711 µ-law, static payload type 0.
    Pcmu,
    /// G.722 wideband, static payload type 9.
    G722,
}

impl Codec {
    /// All, in the order in which Italian trunks like them; wideband last, as few carriers take it through.
    pub const ALL: [Self; 3] = [Self::Pcma, Self::Pcmu, Self::G722];
    /// Bytes a millisecond: 64 kbit/s.
    pub const BYTES_PER_MS: usize = 8;
    /// Ticks of the RTP clock in a second. G.722 has 16,000 samples a second and a clock of 8,000 all the
    /// same: an error of the first profile that stayed (RFC 3551 §4.5.2).
    pub const CLOCK: u32 = 8_000;

    /// Name in `a=rtpmap` and in the CDR.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
            Self::G722 => "G722",
        }
    }

    /// Static payload type (RFC 3551 §6).
    pub fn static_payload_type(self) -> u8 {
        match self {
            Self::Pcma => 8,
            Self::Pcmu => 0,
            Self::G722 => 9,
        }
    }

    /// The codec of this name in `a=rtpmap`, in whichever case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// The codec with this static payload type.
    pub fn of_static_type(payload_type: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.static_payload_type() == payload_type)
    }
}
