//! One parent on the telephone: dials, types the code, chooses, confirms, listens, hangs up. A machine that is driven every 20 ms.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use voceguida::telephony::{
    clip::FRAME_SAMPLES,
    phone::{
        keys::{Key, KeyPress, KeyTick, TICK_UNITS},
        sdp::{self, PCMA},
    },
};

use super::{
    ear::{Ear, Prompts},
    sip::{Dialog, Message, contact_uri},
};

/// From the answer to the first digit, and from hearing a prompt begin to the key that it asks for.
const REACTION: Duration = Duration::from_millis(500);
/// How long a caller hears the receipt before hanging up.
const LISTENING: Duration = Duration::from_secs(2);
/// Without what was waited for a call has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests are repeated so often (RFC 3261 §17.1.1.1, T1), and at most so many times.
const REPEAT: Duration = Duration::from_millis(500);
const REPEATS: u32 = 6;
/// Beginnings of the prompts that a caller acts on.
const MENU: &str = "menu";
const DAY: &str = "anteprima_cancel";
const REGISTERED: &str = "registrata_cancel";

/// What a call measured: from the first packet of a key to the first packet of what it asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// From the code's last digit to the menu: the code was looked up.
    pub menu: Duration,
    /// From 1 to the day.
    pub day: Duration,
    /// From the confirming 1 to "registrata": the operation was committed.
    pub registered: Duration,
    /// From INVITE to 200.
    pub answer: Duration,
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// INVITE sent.
    Ringing,
    /// These keys go down from `at` on.
    Keys { keys: &'static [u8], code: bool, at: Instant, next: &'static str },
    /// The last key went down; this prompt is waited for.
    Awaiting { prompt: &'static str, since: Instant },
    /// "registrata" was heard.
    Listening { until: Instant },
    /// BYE sent.
    HangingUp,
    /// Over.
    Over,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// The child's code.
    pub code: String,
    /// Which of the driver's RTP sockets is its own.
    pub socket: usize,
    /// Where its RTP goes, once answered.
    pub remote: Option<SocketAddr>,
    /// What was measured.
    pub times: Times,
    /// Was "registrata" heard?
    pub registered: bool,
    /// Why it is no good.
    pub failure: Option<String>,
    dialog: Dialog,
    offer: String,
    ear: Ear,
    stage: Stage,
    began: Instant,
    /// When the last request was sent, and how often.
    sent: (Instant, u32),
    /// Keys pressed of those that the stage wants; the one that is down.
    pressed: usize,
    press: Option<KeyPress>,
    event_type: u8,
    sequence: u16,
    timestamp: u32,
}

/// What is to be sent.
pub enum Send {
    /// SIP.
    Sip(String),
    /// RTP.
    Rtp(Vec<u8>),
}

impl Call {
    /// A call that begins now; the first thing it sends is the INVITE.
    pub fn new(dialog: Dialog, code: String, socket: usize, offer: String, now: Instant) -> (Self, Send) {
        let invite = Send::Sip(dialog.invite(&offer));
        let call = Self {
            code,
            socket,
            remote: None,
            times: Times::default(),
            registered: false,
            failure: None,
            dialog,
            offer,
            ear: Ear::new(),
            stage: Stage::Ringing,
            began: now,
            sent: (now, 1),
            pressed: 0,
            press: None,
            event_type: 101,
            sequence: 1,
            timestamp: 0,
        };
        (call, invite)
    }

    /// Is it over?
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn fail(&mut self, why: String, now: Instant) -> Option<Send> {
        self.failure.get_or_insert(why);
        self.hang_up(now)
    }

    fn hang_up(&mut self, now: Instant) -> Option<Send> {
        if self.dialog.answered.is_none() {
            self.stage = Stage::Over;
            return None;
        }
        self.stage = Stage::HangingUp;
        self.sent = (now, 1);
        Some(Send::Sip(self.dialog.bye()))
    }

    /// Takes a SIP message of this call.
    pub fn sip(&mut self, message: &Message<'_>, now: Instant) -> Option<Send> {
        if message.status.is_none() {
            if message.method == "BYE" {
                if !matches!(self.stage, Stage::Listening { .. } | Stage::HangingUp | Stage::Over) {
                    self.failure.get_or_insert(format!("the line hung up at {:?}", self.stage));
                }
                self.stage = Stage::Over;
            }
            return (message.method != "ACK").then(|| Send::Sip(message.ok()));
        }
        if message.answers("BYE", 2) || message.answers("BYE", 4) {
            self.stage = Stage::Over;
            return None;
        }
        if !message.answers("INVITE", 2) {
            if message.method == "INVITE" && message.status >= Some(300) {
                self.failure.get_or_insert(format!("refused: {}", message.status.unwrap_or_default()));
                self.stage = Stage::Over;
                return Some(Send::Sip(self.dialog.ack(message.header("To"))));
            }
            return None;
        }
        if self.stage == Stage::Ringing {
            let answer = match sdp::answer(message.body, None) {
                Ok(answer) => answer,
                Err(error) => return self.fail(error.to_string(), now),
            };
            let uri = message.header("Contact").map(contact_uri).unwrap_or_default();
            self.dialog.answered = Some((message.header("To").unwrap_or_default().to_owned(), uri.to_owned()));
            self.remote = Some(answer.remote);
            self.event_type = answer.event_type.unwrap_or(self.event_type);
            self.times.answer = now - self.began;
            self.stage = Stage::Keys { keys: &[], code: true, at: now + REACTION, next: MENU };
        }
        // The 200 may be repeated; each gets its ACK.
        self.dialog.answered.is_some().then(|| Send::Sip(self.dialog.ack(None)))
    }

    /// Takes an RTP packet.
    pub fn rtp(&mut self, prompts: &Prompts, packet: &[u8], at: Instant) -> Option<Send> {
        let (header, payload) = packet.split_at_checked(12)?;
        if header[1] & 0x7f != PCMA {
            return None;
        }
        let (name, began) = self.ear.packet(prompts, u16::from_be_bytes([header[2], header[3]]), payload, at)?;
        let Stage::Awaiting { prompt, since } = self.stage else { return None };
        let took = began.saturating_duration_since(since);
        match (name == prompt, prompt) {
            (true, MENU) => {
                self.times.menu = took;
                self.stage = Stage::Keys { keys: b"1", code: false, at: at + REACTION, next: DAY };
            }
            (true, DAY) => {
                self.times.day = took;
                self.stage = Stage::Keys { keys: b"1", code: false, at: at + REACTION, next: REGISTERED };
            }
            (true, _) => {
                self.times.registered = took;
                self.registered = true;
                self.stage = Stage::Listening { until: at + LISTENING };
            }
            // What the line says when something is wrong.
            (false, _) if ["guasto", "rifiuto", "troppi", "codice_errato", "bloccato", "servizio"].iter().any(|w| name.starts_with(w)) => {
                return self.fail(format!("heard {name} instead of {prompt}"), at);
            }
            (false, _) => {}
        }
        None
    }

    /// 20 ms have gone by.
    pub fn tick(&mut self, now: Instant) -> [Option<Send>; 2] {
        let mut sip = None;
        match &self.stage {
            Stage::Over => return [None, None],
            Stage::Ringing | Stage::HangingUp => sip = self.repeat(now),
            Stage::Keys { keys, code, at, next } if self.press.is_none() && now >= *at => {
                let keys = if *code { self.code.as_bytes() } else { keys };
                self.press = keys.get(self.pressed).and_then(|key| Key::new(char::from(*key))).map(KeyPress::new);
                self.pressed += 1;
                if self.pressed == keys.len() {
                    self.stage = Stage::Awaiting { prompt: next, since: now };
                    self.pressed = 0;
                }
            }
            Stage::Awaiting { prompt, since } if now > *since + PATIENCE => sip = self.fail(format!("{prompt} was not heard"), now),
            Stage::Listening { until } if now >= *until => sip = self.hang_up(now),
            _ => {}
        }
        [sip, self.remote.is_some().then(|| self.speak())]
    }

    fn repeat(&mut self, now: Instant) -> Option<Send> {
        let (last, times) = self.sent;
        if now < last + REPEAT * times {
            return None;
        }
        let ringing = self.stage == Stage::Ringing;
        if times > REPEATS {
            self.failure.get_or_insert(if ringing { "no answer" } else { "no answer to BYE" }.to_owned());
            self.stage = Stage::Over;
            return None;
        }
        self.sent = (now, times + 1);
        Some(Send::Sip(if ringing { self.dialog.invite(&self.offer) } else { self.dialog.bye() }))
    }

    /// The next packet: of a key, or of silence, as telephones send.
    fn speak(&mut self) -> Send {
        let now = self.timestamp;
        self.timestamp = now.wrapping_add(TICK_UNITS);
        let step = self.press.as_mut().map(KeyPress::next_tick);
        match step {
            Some(KeyTick::Event { payload, marker, ticks_since_down, .. }) => {
                self.packet(self.event_type, marker, now.wrapping_sub(ticks_since_down * TICK_UNITS), &payload)
            }
            other => {
                if other == Some(KeyTick::Over) {
                    self.press = None;
                }
                self.packet(PCMA, false, now, &[0xd5; FRAME_SAMPLES])
            }
        }
    }

    fn packet(&mut self, kind: u8, marker: bool, timestamp: u32, payload: &[u8]) -> Send {
        let mut packet = Vec::with_capacity(12 + payload.len());
        packet.extend([0x80, kind | u8::from(marker) << 7]);
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(7u32.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        Send::Rtp(packet)
    }
}
