//! What is sent on a call, 20 ms at a time: prompts, and silence between them. Pure.

use std::sync::Arc;

use rtp_rs::{RtpPacketBuilder, Seq};

use crate::telephony::{
    clip::{Clip, FRAME_SAMPLES},
    sip::sdp::Codec,
};

/// Bytes of a packet: RTP header and one frame.
pub const PACKET_BYTES: usize = 12 + FRAME_SAMPLES;

/// Silence, encoded: the code of a sample of 0.
const ALAW_SILENCE: [u8; FRAME_SAMPLES] = [0xd5; FRAME_SAMPLES];
const ULAW_SILENCE: [u8; FRAME_SAMPLES] = [0xff; FRAME_SAMPLES];

/// The outgoing stream of one call. It never pauses: silence is sent between prompts, so that NAT
/// bindings stay open and the caller's telephone does not take the line for dead.
#[derive(Debug)]
pub struct Sender {
    codec: Codec,
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    playing: Option<Playing>,
    /// The next packet begins a talkspurt: marker bit (RFC 3551 §4.1).
    mark: bool,
}

#[derive(Debug)]
struct Playing {
    id: u64,
    clips: Vec<Arc<Clip>>,
    clip: usize,
    frame: usize,
}

/// A packet to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its bytes.
    pub bytes: [u8; PACKET_BYTES],
    /// The playing with this id ends with it.
    pub played: Option<u64>,
}

impl Sender {
    /// A stream; `ssrc`, `sequence` and `timestamp` begin at random (RFC 3550 §5.1).
    pub fn new(codec: Codec, payload_type: u8, ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self { codec, payload_type, ssrc, sequence, timestamp, playing: None, mark: true }
    }

    /// Changes the codec in mid-call (re-INVITE).
    pub fn set_codec(&mut self, codec: Codec, payload_type: u8) {
        (self.codec, self.payload_type) = (codec, payload_type);
    }

    /// Plays `clips` in place of whatever plays. Returns `id` at once where there is nothing to hear.
    pub fn play(&mut self, id: u64, mut clips: Vec<Arc<Clip>>) -> Option<u64> {
        clips.retain(|clip| clip.frames() > 0);
        self.mark = true;
        if clips.is_empty() {
            self.playing = None;
            return Some(id);
        }
        self.playing = Some(Playing { id, clips, clip: 0, frame: 0 });
        None
    }

    /// Stops playing.
    pub fn stop(&mut self) {
        self.playing = None;
    }

    /// Lets 20 ms go by without sending (on hold); what plays waits.
    pub fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME_SAMPLES as u32);
        self.mark = true;
    }

    /// The next 20 ms.
    pub fn next_packet(&mut self) -> Packet {
        let mut played = None;
        let frame = self.playing.as_ref().and_then(|p| p.frame(self.codec)).unwrap_or(silence(self.codec));
        let mut bytes = [0; PACKET_BYTES];
        let builder = RtpPacketBuilder::new()
            .payload_type(self.payload_type)
            .ssrc(self.ssrc)
            .sequence(Seq::from(self.sequence))
            .timestamp(self.timestamp)
            .marked(self.mark)
            .payload(frame);
        // The buffer is as long as header and frame together: it cannot be too small.
        let _ = builder.build_into(&mut bytes);
        if let Some(playing) = &mut self.playing {
            played = playing.advance();
        }
        if played.is_some() {
            self.playing = None;
        }
        self.mark = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(FRAME_SAMPLES as u32);
        Packet { bytes, played }
    }
}

fn silence(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::Pcma => &ALAW_SILENCE,
        Codec::Pcmu => &ULAW_SILENCE,
        Codec::G722 => crate::telephony::clip::silence(codec).get(..FRAME_SAMPLES).unwrap_or_default(),
    }
}

impl Playing {
    /// The frame to send now.
    fn frame(&self, codec: Codec) -> Option<&[u8]> {
        let clip = self.clips.get(self.clip)?;
        clip.frame(codec, self.frame)
    }

    /// Goes on by a frame; the id once the last one is gone.
    fn advance(&mut self) -> Option<u64> {
        self.frame += 1;
        if self.clips.get(self.clip).is_none_or(|clip| self.frame >= clip.frames()) {
            (self.clip, self.frame) = (self.clip + 1, 0);
        }
        (self.clip >= self.clips.len()).then_some(self.id)
    }
}

#[cfg(test)]
mod tests {
    use rtp_rs::RtpReader;

    use super::*;

    fn clip(name: &str, level: i16, frames: usize) -> Arc<Clip> {
        Arc::new(Clip::from_pcm(name, &vec![level; frames * FRAME_SAMPLES]))
    }

    #[test]
    fn prompts_follow_each_other_without_a_gap_and_end_once() {
        let mut sender = Sender::new(Codec::Pcma, 8, 1, 65_535, u32::MAX - 100);
        assert_eq!(sender.play(4, vec![clip("a", 1_000, 2), clip("b", -1_000, 1)]), None);
        let packets: Vec<_> = (0..4).map(|_| sender.next_packet()).collect();
        assert_eq!(packets.iter().map(|p| p.played).collect::<Vec<_>>(), [None, None, Some(4), None]);
        let first = RtpReader::new(&packets[0].bytes).unwrap();
        assert!(first.mark());
        for (n, pair) in packets.windows(2).enumerate() {
            let (a, b) = (RtpReader::new(&pair[0].bytes).unwrap(), RtpReader::new(&pair[1].bytes).unwrap());
            assert_eq!(u16::from(b.sequence_number()), u16::from(a.sequence_number()).wrapping_add(1));
            assert_eq!(b.timestamp(), a.timestamp().wrapping_add(160));
            assert!(!b.mark(), "packet {}", n + 1);
        }
        assert_eq!(RtpReader::new(&packets[3].bytes).unwrap().payload(), ALAW_SILENCE);
    }

    #[test]
    fn stopping_and_replacing_tell_nothing_and_nothing_to_play_is_told_at_once() {
        let mut sender = Sender::new(Codec::Pcmu, 0, 1, 0, 0);
        assert_eq!(sender.play(1, vec![]), Some(1));
        sender.play(2, vec![clip("a", 500, 3)]);
        sender.next_packet();
        sender.play(3, vec![clip("b", 500, 1)]);
        assert_eq!(sender.next_packet().played, Some(3));
        sender.play(5, vec![clip("a", 500, 1)]);
        sender.stop();
        assert_eq!(sender.next_packet().played, None);
    }
}
