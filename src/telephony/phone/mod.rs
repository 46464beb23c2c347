//! A little SIP phone: dials, presses keys, hears prompts. For `voceguida call` and for tests that
//! call the server as a parent would (design §5). Knows nothing of meals.
//!
//! [`Phone::dial`] returns an answered [`PhoneCall`]. Many calls run side by side in one process:
//! each has its own SIP and RTP ports, chosen by the system. The parts that decide are pure:
//! [`recogniser`] names prompts, [`quiet`] tells their end, [`keys`] makes packets of keys, [`ear`]
//! brings them together, [`transcript`] tells what happened.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rand::Rng;
use rsipstack::{
    dialog::invite_dialog::InviteDialog,
    sip::{Header, Response, StatusCodeKind},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::DropGuard;

pub mod ear;
pub mod keys;
mod media;
pub mod quiet;
pub mod recogniser;
pub mod sdp;
mod signalling;
pub mod sound;
pub mod transcript;

pub use recogniser::{ClipIndex, Heard, Recogniser};

use self::{
    ear::Ear,
    keys::{KeyScript, Step, UnknownKey},
    media::{Presses, SharedEar, StreamStart},
    transcript::{Log, Moment},
};
use crate::{
    ops::chance,
    telephony::{
        clip::Clip,
        rtp::srtp::{Srtp, SrtpError, Suite},
        sip::sdp::{Codec, crypto::Line},
    },
};

/// How often the waiting functions look again.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a BYE may take to be answered.
const BYE_TIMEOUT: Duration = Duration::from_secs(3);

/// How the phone behaves.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// The prompts it can name; none: only sound and silence are told apart.
    pub clips: Vec<Arc<Clip>>,
    /// Their index, where many calls share one; it then stands for `clips`.
    pub index: Option<Arc<ClipIndex>>,
    /// The number it calls from; empty withholds it.
    pub caller: String,
    /// Keep what is heard (16 kB a second, an hour at most).
    pub record: bool,
    /// How long it lets the other side ring.
    pub answer_timeout: Duration,
    /// How long a comma waits for a prompt to end; then the next key is pressed all the same.
    pub comma_timeout: Duration,
    /// Commas are only a pause of 300 ms: keys go into the prompt.
    pub barge: bool,
    /// Codecs offered, best first.
    pub codecs: Vec<Codec>,
    /// Offer telephone-event (RFC 4733)? Without it keys are sent as tones in the audio.
    pub events: bool,
    /// Encrypt the audio with this suite, and take nothing else.
    pub srtp: Option<Suite>,
    /// Call from this address of the machine; `None` for the one that leads to the peer.
    pub local_ip: Option<IpAddr>,
}

impl Default for PhoneConfig {
    fn default() -> Self {
        Self {
            clips: Vec::new(),
            index: None,
            caller: "0101234567".to_owned(),
            record: false,
            answer_timeout: Duration::from_secs(20),
            comma_timeout: Duration::from_mins(1),
            barge: false,
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            events: true,
            srtp: None,
            local_ip: None,
        }
    }
}

/// Why a call was not made, or a key not pressed.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// Not a URI the phone can call.
    #[error("{uri:?} cannot be called: {why}")]
    BadUri {
        /// As given.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// The host has no address.
    #[error("no address for {host}: {why}")]
    Unresolved {
        /// The host.
        host: String,
        /// The resolver's words.
        why: String,
    },
    /// The other side refused the call.
    #[error("refused: {status} {reason}")]
    Refused {
        /// SIP status, 300–699.
        status: u16,
        /// Its meaning.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("no answer")]
    NoAnswer,
    /// Answered, but without audio the phone can use.
    #[error(transparent)]
    BadAnswer(#[from] sdp::BadAnswer),
    /// The agreed keys cannot be used.
    #[error("SRTP: {0}")]
    Srtp(#[from] SrtpError),
    /// The system refused a socket.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The SIP stack's words.
    #[error("SIP: {0}")]
    Sip(String),
    /// A sign that is no key.
    #[error(transparent)]
    UnknownKey(#[from] UnknownKey),
    /// The call is over.
    #[error("the call is over")]
    Over,
}

impl PhoneError {
    /// The other side's refusal, in SIP's words or in its own (RFC 3261 §7.2).
    fn refused(response: &Response) -> Self {
        let reason = response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned());
        Self::Refused { status: response.status_code.code(), reason }
    }
}

impl From<rsipstack::Error> for PhoneError {
    fn from(error: rsipstack::Error) -> Self {
        Self::Sip(error.to_string())
    }
}

impl From<rsipstack::sip::Error> for PhoneError {
    fn from(error: rsipstack::sip::Error) -> Self {
        Self::Sip(error.to_string())
    }
}

/// How an answered call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// The other side sent BYE.
    TheyHungUp,
    /// We sent BYE.
    WeHungUp,
    /// Neither: killed, or the signalling failed.
    Lost,
}

/// Calls `uri`, see [`Phone::dial`].
pub async fn dial(uri: &str, config: PhoneConfig) -> Result<PhoneCall, PhoneError> {
    Phone::dial(uri, config).await
}

/// The phone.
#[derive(Debug, Clone, Copy)]
pub struct Phone;

impl Phone {
    /// Calls `uri` (`sip:number@host:port`, `;transport=tcp` for TCP) and returns once it is
    /// answered. Must run inside a tokio runtime.
    pub async fn dial(uri: &str, config: PhoneConfig) -> Result<PhoneCall, PhoneError> {
        let mut rng = chance::fresh();
        let signalling = signalling::dial(uri, &config, &mut rng).await?;
        let index = config.index.clone().unwrap_or_else(|| Arc::new(ClipIndex::new(&config.clips)));
        let ear = SharedEar::new(Ear::new(index, signalling.answer.remote, config.record));
        let srtp = signalling.answer.crypto.as_ref().map(Srtp::new).transpose()?;
        // In the lower half: see `Srtp::protect_rtp`.
        let start = StreamStart { ssrc: rng.next_u32(), sequence: rng.next_u32() as u16 >> 1, timestamp: rng.next_u32() };
        let (presses, receiver) = mpsc::channel(16);
        let local = signalling.rtp.local_addr()?;
        let log = Log::default();
        let media = media::run(signalling.rtp, signalling.answer, srtp, start, ear.clone(), receiver);
        let mut ended = signalling.ended.clone();
        let (ending, clock) = (log.clone(), ear.clone());
        let media = tokio::spawn(async move {
            tokio::select! {
                () = media => {}
                _ = ended.wait_for(Option::is_some) => {}
            }
            let end = ended.borrow().unwrap_or(CallEnd::Lost);
            ending.ended(clock.now_ms(), end);
        });
        Ok(PhoneCall {
            dialog: signalling.dialog,
            ended: signalling.ended,
            ear,
            presses,
            log,
            local,
            session: signalling.session,
            key: signalling.key,
            versions: AtomicU32::new(0),
            _media: AbortOnDrop(media),
            _endpoint: signalling.token.drop_guard(),
            config,
        })
    }
}

/// The media task goes with the call.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answered call. Dropping it is like pulling the plug: no BYE, no more RTP.
pub struct PhoneCall {
    dialog: InviteDialog,
    ended: watch::Receiver<Option<CallEnd>>,
    ear: SharedEar,
    presses: mpsc::Sender<Presses>,
    log: Log,
    local: SocketAddr,
    session: u32,
    key: Option<Line>,
    versions: AtomicU32,
    _media: AbortOnDrop,
    _endpoint: DropGuard,
    config: PhoneConfig,
}

impl std::fmt::Debug for PhoneCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhoneCall").field("ended", &*self.ended.borrow()).finish_non_exhaustive()
    }
}

impl PhoneCall {
    /// Presses keys: `1234567#,1` (see [`KeyScript`]); a comma waits for the end of the prompt, `!`
    /// hangs up. Returns when the last key is up and its pause over; `false` when the call ended on
    /// the way. With signs that are no keys among them nothing is pressed and it is `false` as well.
    pub async fn press(&self, keys: &str) -> bool {
        let pressed = match keys.parse() {
            Ok(script) => self.run(&script).await,
            Err(error) => Err(PhoneError::UnknownKey(error)),
        };
        if let Err(error) = &pressed {
            tracing::debug!(%error, "keys not pressed");
        }
        pressed.is_ok()
    }

    /// As [`Self::press`], with a script already read.
    ///
    /// # Errors
    /// [`PhoneError::Over`] when the call ends on the way.
    pub async fn run(&self, script: &KeyScript) -> Result<(), PhoneError> {
        for run in script.steps().chunk_by(|a, b| matches!((a, b), (Step::Press(_), Step::Press(_)))) {
            if self.end().is_some() {
                return Err(PhoneError::Over);
            }
            match run.first() {
                Some(Step::Wait) if self.config.barge => sleep(Duration::from_millis(300)).await,
                Some(Step::Wait) => {
                    self.wait_quiet(self.config.comma_timeout).await;
                }
                Some(Step::HangUp) => {
                    self.hang_up().await;
                    return Ok(());
                }
                _ => {
                    let keys = run.iter().filter_map(|step| if let Step::Press(key) = step { Some(*key) } else { None }).collect();
                    self.log.pressed(self.ear.now_ms(), run);
                    let (done, pressed) = oneshot::channel();
                    self.presses.send(Presses { keys, done }).await.map_err(|_| PhoneError::Over)?;
                    let mut ended = self.ended.clone();
                    tokio::select! {
                        done = pressed => done.map_err(|_| PhoneError::Over)?,
                        _ = ended.wait_for(Option::is_some) => return Err(PhoneError::Over),
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for the end of the prompt: speech since the last key, then 700 ms of silence that is not
    /// a pause within a prompt it knows. `false` when the time-out or the end of the call came first.
    pub async fn wait_quiet(&self, limit: Duration) -> bool {
        self.wait_until(limit, |ear, now| ear.prompt_ended(now)).await
    }

    /// Waits until this prompt is recognised; it may still be playing then. `true` at once if it
    /// was heard before.
    pub async fn wait_begun(&self, name: &str, limit: Duration) -> bool {
        self.wait_heard_after(0, name, limit).await.is_some()
    }

    /// Waits until this prompt has been heard to its end; `true` at once if it was before.
    pub async fn wait_heard(&self, name: &str, limit: Duration) -> bool {
        self.wait_until(limit, |ear, _| ear.heard().iter().any(|heard| heard.complete && heard.may_be(name))).await
    }

    /// Waits until this prompt begins among those after the first `seen` heard ones; how many there
    /// are up to and with it, to go on from.
    pub async fn wait_heard_after(&self, seen: usize, name: &str, limit: Duration) -> Option<usize> {
        let mut found = None;
        self.wait_until(limit, |ear, _| {
            found = ear.heard().iter().skip(seen).position(|heard| heard.may_be(name));
            found.is_some()
        })
        .await;
        found.map(|position| seen + position + 1)
    }

    async fn wait_until(&self, limit: Duration, mut reached: impl FnMut(&mut Ear, u64) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            // Asked before looking, so that what came just before the end still counts.
            let over = self.end().is_some() || Instant::now() >= deadline;
            if self.ear.with(&mut reached) {
                return true;
            }
            if over {
                return false;
            }
            sleep(GLANCE).await;
        }
    }

    /// The prompts heard so far, in order of time; ms count from the answer.
    pub fn heard(&self) -> Vec<Heard> {
        self.ear.with(|ear, _| ear.heard())
    }

    /// What has happened so far, in order: keys (codes masked), prompts, the end.
    pub fn transcript(&self) -> Vec<Moment> {
        self.log.with(self.heard())
    }

    /// What was heard, 16 bit at 8 kHz, from the answer on; empty unless asked for in the config.
    pub fn recording(&self) -> Vec<i16> {
        self.ear.with(|ear, _| ear.recording().to_vec())
    }

    /// Writes [`Self::recording`] as a WAV file.
    pub fn save(&self, path: &Path) -> Result<(), hound::Error> {
        let spec = hound::WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
        let mut writer = hound::WavWriter::create(path, spec)?;
        self.recording().into_iter().try_for_each(|sample| writer.write_sample(sample))?;
        writer.finalize()
    }

    /// RTP audio packets received.
    pub fn packets(&self) -> u64 {
        self.ear.with(|ear, _| ear.packets())
    }

    /// How the call ended, `None` while it goes on.
    pub fn end(&self) -> Option<CallEnd> {
        let ended = self.ended.borrow();
        // The sender gone without a word: the signalling is no more.
        if ended.is_none() && self.ended.has_changed().is_err() { Some(CallEnd::Lost) } else { *ended }
    }

    /// Is the call over?
    pub fn is_over(&self) -> bool {
        self.end().is_some()
    }

    /// Waits for the end of the call, however it comes (see [`Self::end`]); `false` when the time-out came first.
    pub async fn wait_ended(&self, limit: Duration) -> bool {
        let mut ended = self.ended.clone();
        // An error, the sender gone without a word: the signalling is no more.
        timeout(limit, ended.wait_for(Option::is_some)).await.is_ok()
    }

    /// Sends BYE and waits for its answer; `false` when none came. Nothing to do when the call is over.
    pub async fn hang_up(&self) -> bool {
        if self.is_over() {
            return true;
        }
        match timeout(BYE_TIMEOUT, self.dialog.bye()).await {
            Ok(Ok(())) => self.wait_ended(BYE_TIMEOUT).await,
            Ok(Err(error)) => {
                tracing::debug!(%error, "BYE");
                false
            }
            Err(_) => false,
        }
    }

    /// Asks the other side to be silent (re-INVITE, `a=sendonly`), or to speak again.
    pub async fn hold(&self, hold: bool) -> Result<(), PhoneError> {
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        let (codecs, events) = (self.config.codecs.as_slice(), self.config.events);
        let offer = sdp::Offer { local: self.local, session: self.session, version, codecs, events, hold, key: self.key.as_ref() };
        let headers = vec![Header::ContentType("application/sdp".into())];
        let response = self.dialog.reinvite(Some(headers), Some(offer.to_sdp().into_bytes())).await?;
        let response = response.ok_or(PhoneError::Over)?;
        if response.status_code.kind() == StatusCodeKind::Successful { Ok(()) } else { Err(PhoneError::refused(&response)) }
    }

    /// Pulls the plug: no BYE, no more RTP.
    pub fn kill(self) {}
}
