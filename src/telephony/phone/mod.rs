//! A little SIP telephone: dials, presses keys, listens, and knows what it hears. For
//! `voceguida call` and for the end-to-end tests; many may run in one process.

pub mod keys;
pub mod recogniser;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rsipstack::{
    EndpointBuilder,
    dialog::{
        dialog::{DialogState, DialogStateReceiver},
        dialog_layer::DialogLayer,
        invitation::InviteOption,
        invite_dialog::InviteDialog,
    },
    sip::{Auth, Scheme, StatusCodeKind, Uri},
    transport::{TransportLayer, udp::UdpConnection},
};
use rtp_rs::RtpReader;
use tokio::{
    net::UdpSocket,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    keys::Keypad,
    recogniser::{Heard, Recogniser, decoder, is_silent},
};
use super::{
    clip::Clip,
    sip::{
        sdp::{Agreed, Codec, Description, Local},
        server::local_ip_towards,
    },
};

/// Frames of silence after speech that make a pause: 500 ms where the prompts are known and none is
/// under way, more where a pause might be one between two sentences.
const PAUSE_KNOWN: u64 = 25;
const PAUSE_UNKNOWN: u64 = 60;
/// The most that is recorded: an hour.
const MOST_SAMPLES: usize = 3_600 * 8_000;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// Not a SIP URI with an address that we can reach.
    #[error("\"{0}\" is no SIP URI with an IP address: use sip:NUMBER@ADDRESS:PORT")]
    Uri(String),
    /// The other side refused.
    #[error("refused: {0}")]
    Refused(String),
    /// Nobody answered.
    #[error("no answer")]
    NoAnswer,
    /// The answer was of no use.
    #[error("unusable answer: {0}")]
    Answer(String),
    /// The network.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The SIP stack.
    #[error("SIP: {0}")]
    Stack(String),
}

impl From<rsipstack::Error> for PhoneError {
    fn from(error: rsipstack::Error) -> Self {
        Self::Stack(error.to_string())
    }
}

/// How to dial.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// The prompts to recognise; none: only sound and silence are told apart.
    pub clips: Vec<Arc<Clip>>,
    /// The calling number.
    pub caller: String,
    /// How long to wait for an answer.
    pub patience: Duration,
    /// Keep what is heard?
    pub record: bool,
}

impl Default for PhoneConfig {
    fn default() -> Self {
        Self { clips: vec![], caller: "0101234567".to_owned(), patience: Duration::from_secs(20), record: false }
    }
}

/// What the telephone has heard.
#[derive(Debug)]
struct Ear {
    recogniser: Recogniser,
    knows_prompts: bool,
    record: Option<Vec<i16>>,
    packets: u64,
    /// Frames since the last sound, and whether there was any sound since the last pause was waited for.
    silent: u64,
    sounded: bool,
}

/// A call that was answered. Dropping it without [`PhoneCall::hang_up`] is a telephone that dies.
#[derive(Debug)]
pub struct PhoneCall {
    dialog: DialogHolder,
    ear: Arc<Mutex<Ear>>,
    keypad: Arc<Mutex<Keypad>>,
    changed: watch::Receiver<u64>,
    ended: watch::Receiver<bool>,
    stop: CancellationToken,
}

struct DialogHolder(InviteDialog);

impl std::fmt::Debug for DialogHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.id())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn peer_of(uri: &Uri) -> Option<SocketAddr> {
    let ip: IpAddr = uri.host_with_port.host.to_string().trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, uri.host_with_port.port.as_ref().map_or(5060, |port| port.value())))
}

/// Dials a SIP URI (`;transport=tcp` for TCP) and returns once it is answered.
pub async fn dial(uri: &str, config: PhoneConfig) -> Result<PhoneCall, PhoneError> {
    let callee = Uri::try_from(uri).map_err(|_| PhoneError::Uri(uri.to_owned()))?;
    let peer = peer_of(&callee).ok_or_else(|| PhoneError::Uri(uri.to_owned()))?;
    let ip = local_ip_towards(peer)?;
    let stop = CancellationToken::new();
    let transports = TransportLayer::new(stop.clone());
    let signalling = UdpConnection::create_connection(SocketAddr::new(ip, 0), None, Some(stop.child_token())).await?;
    let address = signalling.get_addr().addr.clone();
    transports.add_transport(signalling.into());
    let endpoint = EndpointBuilder::new()
        .with_cancel_token(stop.clone())
        .with_transport_layer(transports)
        .with_user_agent(concat!("VoceGuida-call/", env!("CARGO_PKG_VERSION")))
        .build();
    let mut incoming = endpoint.incoming_transactions()?;
    let inner = endpoint.inner.clone();
    tokio::spawn(async move {
        // Ends when the call is dropped.
        let _ = inner.serve().await;
    });
    let dialogs = Arc::new(DialogLayer::new(endpoint.inner.clone()));
    let in_dialog = Arc::clone(&dialogs);
    tokio::spawn(async move {
        let _endpoint = endpoint;
        while let Some(mut transaction) = incoming.recv().await {
            if let Some(mut dialog) = in_dialog.match_dialog(&transaction) {
                tokio::spawn(async move { dialog.handle(&mut transaction).await });
            }
        }
    });

    let media = UdpSocket::bind(SocketAddr::new(ip, 0)).await?;
    let me = Uri {
        scheme: Some(Scheme::Sip),
        auth: Some(Auth { user: config.caller.clone(), password: None }),
        host_with_port: address,
        ..Uri::default()
    };
    let offer = Local { media: media.local_addr()?, session: 1, version: 1 }.offer();
    let invite = InviteOption {
        caller: me.clone(),
        contact: me,
        callee,
        content_type: Some("application/sdp".into()),
        offer: Some(offer.into_bytes()),
        ..InviteOption::default()
    };
    let (state_sender, states) = dialogs.new_dialog_state_channel();
    let answered = timeout(config.patience, dialogs.do_invite(invite, state_sender)).await.map_err(|_| PhoneError::NoAnswer)?;
    let (dialog, response) = answered.map_err(|e| match e {
        rsipstack::Error::DialogError(why, _, status) => PhoneError::Refused(format!("{} {why}", status.code())),
        other => other.into(),
    })?;
    let response = response.ok_or(PhoneError::NoAnswer)?;
    if response.status_code.kind() != StatusCodeKind::Successful {
        return Err(PhoneError::Refused(response.status_code.to_string()));
    }
    let agreed = Description::parse(&response.body).and_then(|d| d.agree()).map_err(|e| PhoneError::Answer(e.to_string()))?;
    Ok(begin(dialog, states, media, &agreed, config, stop))
}

fn begin(
    dialog: InviteDialog,
    mut states: DialogStateReceiver,
    media: UdpSocket,
    agreed: &Agreed,
    config: PhoneConfig,
    stop: CancellationToken,
) -> PhoneCall {
    let silence = match agreed.codec {
        Codec::Pcma => 0xd5,
        Codec::Pcmu => 0xff,
    };
    let ssrc = rand::Rng::next_u32(&mut crate::ops::chance::fresh());
    let keypad = Arc::new(Mutex::new(Keypad::new(agreed.payload_type, silence, agreed.events, ssrc)));
    let ear = Arc::new(Mutex::new(Ear {
        knows_prompts: !config.clips.is_empty(),
        recogniser: Recogniser::new(config.clips),
        record: config.record.then(Vec::new),
        packets: 0,
        silent: 0,
        sounded: false,
    }));
    let (change, changed) = watch::channel(0);
    let (end, ended) = watch::channel(false);
    tokio::spawn(talk(media, agreed.clone(), Arc::clone(&keypad), Arc::clone(&ear), change, stop.clone()));
    let over = stop.clone();
    tokio::spawn(async move {
        loop {
            match states.recv().await {
                Some(DialogState::Updated(_, _, handle) | DialogState::Info(_, _, handle) | DialogState::Options(_, _, handle)) => {
                    let _ = handle.reply(rsipstack::sip::StatusCode::OK).await;
                }
                Some(DialogState::Terminated(..)) | None => break,
                Some(_) => {}
            }
        }
        let _ = end.send(true);
        // The 200 to the BYE has to get out before everything stops.
        sleep(Duration::from_millis(200)).await;
        over.cancel();
    });
    PhoneCall { dialog: DialogHolder(dialog), ear, keypad, changed, ended, stop }
}

/// Sends silence and keys, and listens.
async fn talk(
    media: UdpSocket,
    agreed: Agreed,
    keypad: Arc<Mutex<Keypad>>,
    ear: Arc<Mutex<Ear>>,
    change: watch::Sender<u64>,
    stop: CancellationToken,
) {
    let mut tick = interval(Duration::from_millis(20));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut buffer = [0; 2_048];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                let packets = lock(&keypad).next_packets();
                for packet in packets {
                    if let Some(peer) = agreed.peer {
                        // A lost packet is a lost packet.
                        let _ = media.send_to(&packet, peer).await;
                    }
                }
            }
            received = media.recv_from(&mut buffer) => {
                let Ok((length, _)) = received else { continue };
                let Ok(packet) = RtpReader::new(&buffer[..length]) else { continue };
                if packet.payload_type() == agreed.payload_type {
                    lock(&ear).hear(agreed.codec, packet.payload());
                    change.send_modify(|n| *n += 1);
                }
            }
        }
    }
}

impl Ear {
    fn hear(&mut self, codec: Codec, payload: &[u8]) {
        self.packets += 1;
        if is_silent(codec, payload) {
            self.silent += 1;
        } else {
            (self.silent, self.sounded) = (0, true);
        }
        self.recogniser.frame(codec, payload);
        if let Some(record) = self.record.as_mut().filter(|r| r.len() < MOST_SAMPLES) {
            record.extend(payload.iter().map(|byte| decoder(codec)(*byte)));
        }
    }

    /// Has what was being said ended?
    fn is_quiet(&self) -> bool {
        let pause = if self.knows_prompts { PAUSE_KNOWN } else { PAUSE_UNKNOWN };
        self.sounded && self.silent >= pause && !self.recogniser.is_listening()
    }
}

impl PhoneCall {
    /// Presses keys one after the other; returns once they are sent.
    pub async fn press(&self, keys: &str) {
        lock(&self.keypad).press(keys);
        while !lock(&self.keypad).is_idle() && !*self.ended.borrow() {
            sleep(Duration::from_millis(20)).await;
        }
        // What is waited for next begins after the key.
        lock(&self.ear).sounded = false;
    }

    /// Waits until `done` holds of what is heard; `false` when the time or the call is over first.
    async fn wait(&self, patience: Duration, mut done: impl FnMut(&mut Ear) -> bool) -> bool {
        let (mut changed, mut ended) = (self.changed.clone(), self.ended.clone());
        let until = Instant::now() + patience;
        loop {
            if done(&mut lock(&self.ear)) {
                return true;
            }
            if *ended.borrow() {
                return false;
            }
            tokio::select! {
                change = changed.changed() => if change.is_err() { return done(&mut lock(&self.ear)) },
                _ = ended.changed() => {}
                () = tokio::time::sleep_until(until) => return false,
            }
        }
    }

    /// Waits until what is being said has ended.
    pub async fn wait_quiet(&self, patience: Duration) -> bool {
        let quiet = self.wait(patience, |ear| ear.is_quiet()).await;
        lock(&self.ear).sounded = false;
        quiet
    }

    /// Waits until a prompt of this name has been heard to its end, from now on or already.
    pub async fn wait_heard(&self, name: &str, patience: Duration) -> bool {
        self.wait(patience, |ear| ear.recogniser.heard().iter().any(|h| h.name == name && h.complete)).await
    }

    /// Waits until the other side has hung up.
    pub async fn wait_ended(&self, patience: Duration) -> bool {
        let mut ended = self.ended.clone();
        matches!(timeout(patience, ended.wait_for(|over| *over)).await, Ok(Ok(_)))
    }

    /// Has the call ended?
    pub fn is_over(&self) -> bool {
        *self.ended.borrow()
    }

    /// The prompts heard so far; once the call is over also the one that was cut short.
    pub fn heard(&self) -> Vec<Heard> {
        let mut ear = lock(&self.ear);
        if *self.ended.borrow() {
            ear.recogniser.finish();
        }
        ear.recogniser.heard().to_vec()
    }

    /// RTP packets received.
    pub fn packets(&self) -> u64 {
        lock(&self.ear).packets
    }

    /// Hangs up.
    pub async fn hang_up(&self) {
        // The other side may have done so at the same moment.
        let _ = timeout(Duration::from_secs(2), self.dialog.0.hangup()).await;
        self.stop.cancel();
    }

    /// Writes what was heard as a 16-bit mono WAV file of 8 kHz.
    pub fn save(&self, path: &Path) -> Result<(), hound::Error> {
        let spec = hound::WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
        let mut writer = hound::WavWriter::create(path, spec)?;
        let samples = lock(&self.ear).record.clone().unwrap_or_default();
        samples.into_iter().try_for_each(|sample| writer.write_sample(sample))?;
        writer.finalize()
    }
}

impl Drop for PhoneCall {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
