//! A call's two streams as agreed on: writing packets, reading them. Pure.

use std::{io, net::SocketAddr};

use rtp_rs::RtpReader;

use super::{
    audio::ToneEar,
    keys::Way,
    quality::Coding,
    receiver::{Received, Receiver},
    reception::{Content, Seen},
    sender::{MOST_BYTES, Sender},
    session::Channel,
    srtp::{Crypto, Srtp},
};
use crate::telephony::{codec::Codec, sip::sdp::Agreed};

/// Comfort noise (RFC 3389).
const COMFORT_NOISE: u8 = 13;

/// What goes out and what comes in.
pub(super) struct Stream {
    pub sender: Sender,
    pub receiver: Receiver,
    /// The negotiated peer, to which the port's own socket is connected.
    pub peer: Option<SocketAddr>,
    pub sending: bool,
    pub ptime: u64,
    pub codec: Codec,
    pub payload_type: u8,
    /// The payload type of telephone events, where agreed.
    pub events: Option<u8>,
    /// Listens for tones where no events were agreed.
    pub ear: Option<Box<ToneEar>>,
    /// The socket whose audio the kernel sifts, once the caller has been heard on it.
    pub sifted: Option<Channel>,
    /// Is the port's own socket connected to the peer?
    pub connected: bool,
    pub srtp: Option<Box<Srtp>>,
    pub encrypted: bool,
}

/// What a datagram was.
pub(super) struct Heard {
    pub what: Received,
    /// Where it was of the caller's stream.
    pub seen: Option<Seen>,
    /// The keys as tones in it: a datagram has a quarter of a second at the most, a key with its pause 65 ms at least.
    pub tones: [Option<char>; 4],
}

impl Heard {
    const NOTHING: Self = Self { what: Received::Stranger, seen: None, tones: [None; 4] };

    /// The keys in it, and how they were told.
    pub fn keys(&self) -> impl Iterator<Item = (char, Way)> {
        let event = if let Received::Key(key) = self.what { Some((key, Way::Events)) } else { None };
        event.into_iter().chain(self.tones.into_iter().flatten().map(|key| (key, Way::Tones)))
    }
}

impl Stream {
    /// As agreed on, sending by `sender`.
    pub fn new(sender: Sender, agreed: &Agreed) -> io::Result<Self> {
        Ok(Self {
            sender,
            receiver: Receiver::new(agreed.peer, agreed.payload_type, agreed.events),
            peer: agreed.peer,
            sending: agreed.send,
            ptime: agreed.ptime_ms.into(),
            codec: agreed.codec,
            payload_type: agreed.payload_type,
            events: agreed.events,
            ear: agreed.events.is_none().then(Box::default),
            sifted: None,
            connected: false,
            srtp: encryption(agreed.crypto.as_ref())?,
            encrypted: agreed.crypto.is_some(),
        })
    }

    /// Goes on under a new agreement.
    pub fn renegotiate(&mut self, agreed: &Agreed) -> io::Result<()> {
        self.sender.set_codec(agreed.codec, agreed.payload_type, agreed.ptime_ms as usize);
        self.receiver.renegotiate(agreed.peer, agreed.payload_type, agreed.events);
        (self.sending, self.ptime, self.encrypted) = (agreed.send, agreed.ptime_ms.into(), agreed.crypto.is_some());
        match (&mut self.srtp, &agreed.crypto) {
            (Some(srtp), Some(crypto)) => srtp.renegotiate(crypto).map_err(io::Error::other)?,
            // Kept while plain: the same keys must not begin at the same count again.
            (Some(_), None) => {}
            (none, crypto) => *none = encryption(crypto.as_ref())?,
        }
        if agreed.events.is_some() {
            self.ear = None;
        } else if self.ear.is_none() || agreed.codec != self.codec {
            self.ear = Some(Box::default());
        }
        self.peer = agreed.peer.or(self.peer);
        (self.codec, self.payload_type, self.events) = (agreed.codec, agreed.payload_type, agreed.events);
        Ok(())
    }

    /// Writes the next packet, encrypted where agreed; its length, 0 where it cannot be, and the playing that ends with it.
    pub fn write(&mut self, buffer: &mut [u8; MOST_BYTES]) -> (usize, Option<u64>) {
        let packet = self.sender.next_packet(buffer);
        let length = match self.srtp.as_mut().filter(|_| self.encrypted) {
            // What cannot be encrypted is not sent.
            Some(srtp) => srtp.protect_rtp(buffer, packet.length).unwrap_or_default(),
            None => packet.length,
        };
        (length, packet.played)
    }

    /// What a datagram says that arrived at `at_micros`, decrypted in place where agreed.
    pub fn hear(&mut self, datagram: &mut [u8], from: SocketAddr, at_micros: u64) -> Heard {
        let length = match self.srtp.as_mut().filter(|_| self.encrypted) {
            Some(srtp) => srtp.unprotect_rtp(datagram).unwrap_or_default(),
            None => datagram.len(),
        };
        let datagram = datagram.get(..length).unwrap_or_default();
        let mut heard = Heard { what: self.receiver.receive(datagram, from), ..Heard::NOTHING };
        let (Received::Audio | Received::Key(_), Ok(packet)) = (heard.what, RtpReader::new(datagram)) else { return heard };
        let payload_type = packet.payload_type();
        let content = match payload_type {
            _ if self.events == Some(payload_type) => Content::Event,
            COMFORT_NOISE if self.payload_type != COMFORT_NOISE => Content::ComfortNoise,
            _ => Content::Audio,
        };
        let seen = Seen {
            ssrc: packet.ssrc(),
            sequence: packet.sequence_number().into(),
            timestamp: packet.timestamp(),
            marker: packet.mark(),
            content,
            at_micros,
        };
        if let Some(ear) = self.ear.as_mut().filter(|_| content == Content::Audio) {
            let mut free = heard.tones.iter_mut();
            ear.hear(self.codec, &seen, packet.payload(), |key| {
                if let Some(place) = free.next() {
                    *place = Some(key);
                }
            });
        }
        heard.seen = Some(seen);
        heard
    }

    /// How the caller's audio is coded, as far as quality goes.
    pub fn coding(&self) -> Coding {
        match self.codec {
            Codec::Pcma | Codec::Pcmu => Coding::G711,
            Codec::G722 => Coding::G722,
        }
    }
}

fn encryption(crypto: Option<&Crypto>) -> io::Result<Option<Box<Srtp>>> {
    crypto.map(|crypto| Srtp::new(crypto).map(Box::new)).transpose().map_err(io::Error::other)
}
