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
use crate::telephony::clip::FRAME_SAMPLES;

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

    /// Uses the ear; the closure is given the ms since the answer.
    pub fn with<T>(&self, f: impl FnOnce(&mut Ear, u64) -> T) -> T {
        let now = self.answered.elapsed().as_millis() as u64;
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
pub async fn run(socket: UdpSocket, answer: Answer, start: StreamStart, ear: SharedEar, mut presses: mpsc::Receiver<Presses>) {
    let mut mouth = Mouth::new(answer, start);
    let mut current: Option<Presses> = None;
    let mut ticks = interval_at(Instant::now(), Duration::from_millis(20));
    // After a stall all packets still go out: the timestamps count on it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut buffer = [0; 2_048];
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let (packet, event) = mouth.tick();
                if let Some(packet) = packet
                    && let Err(error) = socket.send_to(&packet, answer.remote).await
                {
                    // The peer may have closed its port while its BYE is under way.
                    tracing::debug!(%error, "RTP not sent");
                }
                match event {
                    Some(KeyMoment::Up) => ear.with(|ear, _| ear.key_pressed()),
                    Some(KeyMoment::Done) | None => {}
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
                Ok((length, from)) => ear.with(|ear, now| ear.datagram(from, buffer.get(..length).unwrap_or_default(), now)),
                Err(error) => tracing::debug!(%error, "RTP not received"),
            },
            list = presses.recv(), if current.is_none() => match list {
                Some(list) => current = Some(list),
                None => return,
            },
        }
    }
}

/// Something the pressing of a key has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyMoment {
    Up,
    Done,
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

    /// The packet of the next 20 ms.
    fn tick(&mut self) -> (Option<Vec<u8>>, Option<KeyMoment>) {
        let now = self.timestamp;
        self.timestamp = now.wrapping_add(TICK_UNITS);
        let mut moment = None;
        if let Some((press, was_up)) = &mut self.pressing {
            let key = press.key();
            match press.next_tick() {
                KeyTick::Event { payload, marker, ticks_since_down, up } => {
                    if up && !*was_up {
                        *was_up = true;
                        moment = Some(KeyMoment::Up);
                    }
                    if let Some(event_type) = self.answer.event_type {
                        let down = now.wrapping_sub(ticks_since_down * TICK_UNITS);
                        return (self.packet(event_type, down, marker, &payload), moment);
                    }
                    if !up {
                        let tone = tone(key, ticks_since_down, self.answer.is_alaw);
                        return (self.audio(now, &tone), moment);
                    }
                }
                KeyTick::Gap => {}
                KeyTick::Over => {
                    self.pressing = None;
                    moment = Some(KeyMoment::Done);
                }
            }
        }
        let silence = if self.answer.is_alaw { 0xd5 } else { 0xff };
        (self.audio(now, &[silence; FRAME_SAMPLES]), moment)
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
