//! What is sent on a call, one packet at a time: prompts, and silence between them. Pure.

use std::sync::Arc;

use rtp_rs::{RtpPacketBuilder, Seq};

use super::srtp;
use crate::telephony::{
    clip::{Clip, LONGEST_PACKET_BYTES, silence},
    codec::Codec,
};

/// Bytes of an RTP header without extensions (RFC 3550 §5.1).
const HEADER_BYTES: usize = 12;
/// Every codec of ours has so many bytes a ms, and as many ticks of the RTP clock (RFC 3551 §4.5).
const PER_MS: usize = Codec::BYTES_PER_MS;
/// The longest packet, in ms.
pub const MOST_MS: usize = 60;
/// Room for the longest packet, encrypted.
pub const MOST_BYTES: usize = HEADER_BYTES + LONGEST_PACKET_BYTES + srtp::OVERHEAD;

/// The outgoing stream of one call. It never pauses: silence is sent between prompts, so that NAT
/// bindings stay open and the caller's telephone does not take the line for dead.
#[derive(Debug)]
pub struct Sender {
    codec: Codec,
    payload_type: u8,
    /// The length of a packet, in ms.
    ptime: usize,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    playing: Option<Playing>,
    /// Bytes of silence to be sent before anything plays: G.722 adapts, and a prompt begins where silence has settled.
    settling: usize,
    /// The next packet begins a talkspurt: marker bit (RFC 3551 §4.1).
    mark: bool,
}

#[derive(Debug)]
struct Playing {
    id: u64,
    clips: Vec<Arc<Clip>>,
    /// The clip that plays, and how much of it has been sent, in bytes.
    clip: usize,
    sent: usize,
}

/// A packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Its length.
    pub length: usize,
    /// The playing with this id ends with it.
    pub played: Option<u64>,
}

impl Sender {
    /// A stream of packets of `ptime` ms; `ssrc`, `sequence` and `timestamp` begin at random (RFC 3550 §5.1).
    pub fn new(codec: Codec, payload_type: u8, ptime: usize, ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            codec,
            payload_type,
            ptime: ptime.clamp(1, MOST_MS),
            ssrc,
            sequence,
            timestamp,
            playing: None,
            settling: settling(codec),
            mark: true,
        }
    }

    /// Changes the codec or the packets' length in mid-call (re-INVITE).
    pub fn set_codec(&mut self, codec: Codec, payload_type: u8, ptime: usize) {
        if codec != self.codec {
            self.settling = settling(codec);
        }
        (self.codec, self.payload_type, self.ptime) = (codec, payload_type, ptime.clamp(1, MOST_MS));
    }

    /// Plays `clips` in place of whatever plays. Returns `id` at once where there is nothing to hear.
    pub fn play(&mut self, id: u64, mut clips: Vec<Arc<Clip>>) -> Option<u64> {
        clips.retain(|clip| clip.frames() > 0);
        self.mark = true;
        self.stop();
        if clips.is_empty() {
            return Some(id);
        }
        self.playing = Some(Playing { id, clips, clip: 0, sent: 0 });
        None
    }

    /// Stops playing.
    pub fn stop(&mut self) {
        if self.playing.take().is_some() {
            self.settling = settling(self.codec);
        }
    }

    /// The stream's source, for RTCP.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The timestamp of the next packet, for RTCP.
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Lets a packet's time go by without sending (on hold); what plays waits.
    pub fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add((self.ptime * PER_MS) as u32);
        self.mark = true;
    }

    /// Writes the next packet.
    pub fn next_packet(&mut self, buffer: &mut [u8; MOST_BYTES]) -> Packet {
        let mut payload = [0; LONGEST_PACKET_BYTES];
        let payload = &mut payload[..self.ptime * PER_MS];
        let played = self.fill(payload);
        let builder = RtpPacketBuilder::new()
            .payload_type(self.payload_type)
            .ssrc(self.ssrc)
            .sequence(Seq::from(self.sequence))
            .timestamp(self.timestamp)
            .marked(self.mark)
            .payload(payload);
        // The buffer has room for header and payload: it cannot be too small.
        let length = builder.build_into(buffer).unwrap_or_default();
        self.mark = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add((self.ptime * PER_MS) as u32);
        Packet { length, played }
    }

    /// Fills a payload with what plays, and with silence behind it; the id of a playing that ends with it.
    fn fill(&mut self, mut payload: &mut [u8]) -> Option<u64> {
        let codec = self.codec;
        let quiet = silence(codec);
        let (before, after) = payload.split_at_mut(self.settling.min(payload.len()));
        before.copy_from_slice(quiet.get(..before.len()).unwrap_or_default());
        self.settling -= before.len();
        payload = after;
        if payload.is_empty() {
            return None;
        }
        while let Some(playing) = &mut self.playing
            && let Some(clip) = playing.clips.get(playing.clip)
        {
            let left = clip.encoded(codec).get(playing.sent..).unwrap_or_default();
            let (now, later) = payload.split_at_mut(left.len().min(payload.len()));
            now.copy_from_slice(&left[..now.len()]);
            playing.sent += now.len();
            payload = later;
            if now.len() < left.len() {
                return None;
            }
            (playing.clip, playing.sent) = (playing.clip + 1, 0);
            if payload.is_empty() && playing.clip < playing.clips.len() {
                return None;
            }
        }
        payload.copy_from_slice(quiet.get(..payload.len()).unwrap_or_default());
        self.playing.take().map(|playing| playing.id)
    }
}

/// How much silence a codec needs before a prompt, in bytes.
fn settling(codec: Codec) -> usize {
    if codec == Codec::G722 { silence(codec).len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtp_rs::RtpReader;

    use super::*;
    use crate::telephony::clip::FRAME_SAMPLES;

    fn clip(name: &str, level: i16, frames: usize) -> Arc<Clip> {
        Arc::new(Clip::from_pcm(name, &vec![level; frames * FRAME_SAMPLES]))
    }

    fn next(sender: &mut Sender) -> (Vec<u8>, Option<u64>) {
        let mut buffer = [0; MOST_BYTES];
        let packet = sender.next_packet(&mut buffer);
        (buffer[..packet.length].to_vec(), packet.played)
    }

    #[test]
    fn prompts_follow_each_other_without_a_gap_and_end_once() {
        let mut sender = Sender::new(Codec::Pcma, 8, 20, 1, 65_535, u32::MAX - 100);
        assert_eq!(sender.play(4, vec![clip("a", 1_000, 2), clip("b", -1_000, 1)]), None);
        let packets: Vec<_> = (0..4).map(|_| next(&mut sender)).collect();
        assert_eq!(packets.iter().map(|p| p.1).collect::<Vec<_>>(), [None, None, Some(4), None]);
        let first = RtpReader::new(&packets[0].0).unwrap();
        assert!(first.mark());
        for (n, pair) in packets.windows(2).enumerate() {
            let (a, b) = (RtpReader::new(&pair[0].0).unwrap(), RtpReader::new(&pair[1].0).unwrap());
            assert_eq!(u16::from(b.sequence_number()), u16::from(a.sequence_number()).wrapping_add(1));
            assert_eq!(b.timestamp(), a.timestamp().wrapping_add(160));
            assert!(!b.mark(), "packet {}", n + 1);
        }
        assert_eq!(RtpReader::new(&packets[3].0).unwrap().payload(), [0xd5; FRAME_SAMPLES]);
    }

    #[test]
    fn stopping_and_replacing_tell_nothing_and_nothing_to_play_is_told_at_once() {
        let mut sender = Sender::new(Codec::Pcmu, 0, 20, 1, 0, 0);
        assert_eq!(sender.play(1, vec![]), Some(1));
        sender.play(2, vec![clip("a", 500, 3)]);
        next(&mut sender);
        sender.play(3, vec![clip("b", 500, 1)]);
        assert_eq!(next(&mut sender).1, Some(3));
        sender.play(5, vec![clip("a", 500, 1)]);
        sender.stop();
        assert_eq!(next(&mut sender).1, None);
    }

    proptest! {
        /// Whatever the packets' length, the same audio goes out, in order, and then silence; the end is told once.
        #[test]
        fn every_packet_length_carries_the_same_audio(ptime in prop::sample::select(vec![10usize, 20, 30, 40, 50, 60]), lengths in prop::collection::vec(0usize..5, 1..6)) {
            let clips: Vec<_> = lengths.iter().enumerate().map(|(n, frames)| clip("a", (n as i16 + 1) * 2_000, *frames)).collect();
            let expected: Vec<u8> = clips.iter().flat_map(|c| c.encoded(Codec::Pcma).to_vec()).collect();
            let mut sender = Sender::new(Codec::Pcma, 8, ptime, 1, 0, 0);
            let mut told = sender.play(9, clips).into_iter().count();
            let mut heard = Vec::new();
            for _ in 0..60 {
                let (packet, played) = next(&mut sender);
                let payload = RtpReader::new(&packet).unwrap().payload().to_vec();
                prop_assert_eq!(payload.len(), ptime * 8);
                heard.extend(payload);
                if played.is_some() {
                    told += 1;
                    prop_assert!(heard.len() >= expected.len() && heard.len() < expected.len() + ptime * 8);
                }
            }
            prop_assert_eq!(told, 1);
            prop_assert_eq!(&heard[..expected.len()], &expected[..]);
            prop_assert!(heard[expected.len()..].iter().all(|b| *b == 0xd5));
        }
    }
}
