//! The RTP side of a call: silence or a key out every 20 ms, whatever arrives into the [`Ear`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rtp_rs::{RtpPacketBuilder, Seq};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    ear::Ear,
    keys::{Key, KeyPress, KeyTick, TICK_UNITS},
    sdp::{Answer, PCMA, PCMU},
    sound::tone,
};
use crate::telephony::{
    clip::FRAME_SAMPLES,
    rtp::srtp::{OVERHEAD, Srtp},
};

/// Keys to press one after the other, and whom to tell when the last is done.
#[derive(Debug)]
pub struct Presses {
    /// The keys.
    pub keys: VecDeque<Key>,
    /// Told after the last key's gap.
    pub done: oneshot::Sender<()>,
}

/// The ear of a call, shared between its media task and its user.
#[derive(Debug, Clone)]
pub struct SharedEar {
    ear: Arc<Mutex<Ear>>,
    answered: Instant,
}

impl SharedEar {
    /// Shares an ear; time is counted from now.
    pub fn new(ear: Ear) -> Self {
        Self { ear: Arc::new(Mutex::new(ear)), answered: Instant::now() }
    }

    /// Milliseconds since the answer.
    pub fn now_ms(&self) -> u64 {
        self.answered.elapsed().as_millis() as u64
    }

    /// Uses the ear; the closure is given the ms since the answer.
    pub fn with<T>(&self, f: impl FnOnce(&mut Ear, u64) -> T) -> T {
        let now = self.now_ms();
        // A panic while listening leaves at worst a half-taken packet behind.
        f(&mut self.ear.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// Where an outgoing stream begins; random, as RFC 3550 §5.1 asks.
#[derive(Debug, Clone, Copy)]
pub struct StreamStart {
    /// Synchronisation source.
    pub ssrc: u32,
    /// First sequence number.
    pub sequence: u16,
    /// First timestamp.
    pub timestamp: u32,
}

/// Runs the media of a call until it is aborted or all [`Presses`] senders are gone.
pub async fn run(
    socket: UdpSocket,
    answer: Answer,
    mut srtp: Option<Srtp>,
    start: StreamStart,
    ear: SharedEar,
    mut presses: mpsc::Receiver<Presses>,
) {
    let remote = answer.remote;
    let mut mouth = Mouth::new(answer, start);
    let mut current: Option<Presses> = None;
    let mut ticks = interval_at(Instant::now(), Duration::from_millis(20));
    // After a stall all packets still go out: the timestamps count on it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut buffer = [0; 2_048];
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let (packet, key_up) = mouth.tick();
                if let Some(packet) = packet.and_then(|packet| protected(srtp.as_mut(), packet))
                    && let Err(error) = socket.send_to(&packet, remote).await
                {
                    // The peer may have closed its port while its BYE is under way.
                    tracing::debug!(%error, "RTP not sent");
                }
                if key_up {
                    ear.with(|ear, _| ear.key_pressed());
                }
                if mouth.idle()
                    && let Some(mut list) = current.take()
                {
                    if let Some(key) = list.keys.pop_front() {
                        mouth.press(key);
                        current = Some(list);
                    } else {
                        // Whoever waited may have given up.
                        let _ = list.done.send(());
                    }
                }
            }
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let datagram = buffer.get_mut(..length).unwrap_or_default();
                    if let Some(packet) = opened(srtp.as_mut(), datagram) {
                        ear.with(|ear, now| ear.datagram(from, packet, now));
                    }
                }
                Err(error) => tracing::debug!(%error, "RTP not received"),
            },
            list = presses.recv(), if current.is_none() => match list {
                Some(list) => current = Some(list),
                None => return,
            },
        }
    }
}

/// The packet as it goes out.
fn protected(srtp: Option<&mut Srtp>, mut packet: Vec<u8>) -> Option<Vec<u8>> {
    let Some(srtp) = srtp else { return Some(packet) };
    let length = packet.len();
    packet.resize(length + OVERHEAD, 0);
    let length = srtp.protect_rtp(&mut packet, length).ok()?;
    packet.truncate(length);
    Some(packet)
}

/// The packet that came in, `None` where it is not the peer's.
fn opened<'a>(srtp: Option<&mut Srtp>, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
    match srtp {
        None => Some(datagram),
        Some(srtp) => {
            let length = srtp.unprotect_rtp(datagram).ok()?;
            datagram.get(..length)
        }
    }
}

/// What the phone says: 20 ms packets of silence, keys in between. Pure.
#[derive(Debug)]
struct Mouth {
    answer: Answer,
    ssrc: u32,
    sequence: Seq,
    timestamp: u32,
    pressing: Option<(KeyPress, bool)>,
    first: bool,
}

impl Mouth {
    fn new(answer: Answer, start: StreamStart) -> Self {
        Self { answer, ssrc: start.ssrc, sequence: start.sequence.into(), timestamp: start.timestamp, pressing: None, first: true }
    }

    fn idle(&self) -> bool {
        self.pressing.is_none()
    }

    fn press(&mut self, key: Key) {
        self.pressing = Some((KeyPress::new(key), false));
    }

    /// The packet of the next 20 ms, and whether a key has just come up.
    fn tick(&mut self) -> (Option<Vec<u8>>, bool) {
        let now = self.timestamp;
        self.timestamp = now.wrapping_add(TICK_UNITS);
        let mut key_up = false;
        if let Some((press, was_up)) = &mut self.pressing {
            let key = press.key();
            match press.next_tick() {
                KeyTick::Event { payload, marker, ticks_since_down, up } => {
                    key_up = up && !std::mem::replace(was_up, up);
                    if let Some(event_type) = self.answer.event_type {
                        let down = now.wrapping_sub(ticks_since_down * TICK_UNITS);
                        return (self.packet(event_type, down, marker, &payload), key_up);
                    }
                    if !up {
                        let tone = tone(key, ticks_since_down, self.answer.is_alaw);
                        return (self.audio(now, &tone), key_up);
                    }
                }
                KeyTick::Gap => {}
                KeyTick::Over => self.pressing = None,
            }
        }
        let silence = if self.answer.is_alaw { 0xd5 } else { 0xff };
        (self.audio(now, &[silence; FRAME_SAMPLES]), key_up)
    }

    fn audio(&mut self, timestamp: u32, payload: &[u8]) -> Option<Vec<u8>> {
        let payload_type = if self.answer.is_alaw { PCMA } else { PCMU };
        let marker = std::mem::take(&mut self.first);
        self.packet(payload_type, timestamp, marker, payload)
    }

    fn packet(&mut self, payload_type: u8, timestamp: u32, marker: bool, payload: &[u8]) -> Option<Vec<u8>> {
        let sequence = self.sequence;
        self.sequence = sequence.next();
        let builder = RtpPacketBuilder::new().payload_type(payload_type).ssrc(self.ssrc).sequence(sequence);
        builder.timestamp(timestamp).marked(marker).payload(payload).build().ok()
    }
}

#[cfg(test)]
mod tests {
    use rtp_rs::RtpReader;

    use super::*;

    fn mouth(event_type: Option<u8>) -> Mouth {
        let answer = Answer { remote: "127.0.0.1:4000".parse().unwrap(), is_alaw: true, event_type, crypto: None };
        Mouth::new(answer, StreamStart { ssrc: 1, sequence: u16::MAX, timestamp: u32::MAX - 319 })
    }

    /// Payload type, sequence, timestamp, marker, payload of the next packet.
    fn next(mouth: &mut Mouth) -> (u8, u16, u32, bool, Vec<u8>) {
        let (packet, _) = mouth.tick();
        let packet = packet.unwrap();
        let read = RtpReader::new(&packet).unwrap();
        (read.payload_type(), read.sequence_number().into(), read.timestamp(), read.mark(), read.payload().to_vec())
    }

    #[test]
    fn silence_goes_on_around_a_key_and_the_clock_never_stops() {
        let mut mouth = mouth(Some(101));
        assert_eq!(next(&mut mouth), (8, u16::MAX, u32::MAX - 319, true, vec![0xd5; 160]));
        assert_eq!(next(&mut mouth), (8, 0, u32::MAX - 159, false, vec![0xd5; 160]));
        mouth.press(Key::new('5').unwrap());
        let press: Vec<_> = (0..8).map(|_| next(&mut mouth)).collect();
        assert!(press.iter().all(|(pt, _, timestamp, _, payload)| (*pt, *timestamp, payload[0]) == (101, 0, 5)));
        assert!(press.iter().map(|packet| packet.1).eq(1..9));
        assert!(press.iter().map(|packet| packet.3).eq([true, false, false, false, false, false, false, false]));
        assert_eq!(next(&mut mouth), (8, 9, 8 * 160, false, vec![0xd5; 160]), "as much later as time has passed");
        assert!(!mouth.idle());
        next(&mut mouth);
        next(&mut mouth);
        assert!(mouth.idle());
    }

    #[test]
    fn the_key_is_up_once_after_100_ms() {
        for event_type in [Some(101), None] {
            let mut mouth = mouth(event_type);
            mouth.press(Key::new('#').unwrap());
            let ups: Vec<_> = (0..12).filter(|_| mouth.tick().1).collect();
            assert_eq!(ups.len(), 1);
            let mut mouth = self::mouth(event_type);
            mouth.press(Key::new('#').unwrap());
            assert_eq!((0..12).position(|_| mouth.tick().1), Some(5));
        }
    }

    #[test]
    fn a_peer_without_telephone_event_hears_100_ms_of_the_two_tones() {
        let mut mouth = mouth(None);
        mouth.press(Key::new('1').unwrap());
        let packets: Vec<_> = (0..10).map(|_| next(&mut mouth)).collect();
        assert!(packets.iter().all(|packet| packet.0 == 8 && packet.4.len() == 160));
        assert!(packets.iter().map(|packet| packet.4 != vec![0xd5; 160]).eq((0..10).map(|tick| tick < 5)));
        let samples: Vec<f64> =
            packets[..5].iter().flat_map(|packet| super::super::sound::decode(&packet.4, true)).map(f64::from).collect();
        // Power at a frequency, by correlation with a sine and a cosine.
        let power = |hz: f64| {
            let angle = |n: usize| hz * n as f64 / 8_000.0 * std::f64::consts::TAU;
            let (s, c) = samples.iter().enumerate().fold((0.0, 0.0), |(s, c), (n, x)| (s + x * angle(n).sin(), c + x * angle(n).cos()));
            s.hypot(c) * 2.0 / samples.len() as f64
        };
        for hz in [697.0, 1209.0] {
            assert!((7_500.0..8_500.0).contains(&power(hz)), "{hz}: {}", power(hz));
        }
        for hz in [770.0, 852.0, 941.0, 1336.0, 1477.0, 1633.0] {
            assert!(power(hz) < 800.0, "{hz}: {}", power(hz));
        }
    }
}
