//! The life of one call that we answer, from INVITE to CDR, readable from top to bottom.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use rsipstack::{
    dialog::{
        dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle},
        dialog_layer::DialogLayer,
        invite_dialog::InviteDialog,
    },
    sip::{Auth, Header, HeadersExt, Method, Param, Request, Scheme, StatusCode, Transport, Uri},
    transaction::transaction::Transaction,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    headers,
    sdp::{Agreed, Description, Local, SdpError},
    server::{ALLOW, Shared, answer, local_ip_towards},
    session_timer::{MIN_SE, Refresher, SessionTimer},
};
use crate::telephony::{
    call::{Admission, Call, CallCommand, CallEvent, CallHandler, CallRecord, EndCause, IncomingCall},
    rtp::engine::{Media, MediaEvent},
};

/// Events that may wait for the call's user.
const EVENT_QUEUE: usize = 64;
/// Commands that may wait for us.
const COMMAND_QUEUE: usize = 16;
/// How long the caller's side may take to acknowledge our answer: 64 × T1 (RFC 3261 §13.3.1.4), and a little.
const ACK_PATIENCE: Duration = Duration::from_secs(35);

/// How long the answer to our BYE is waited for before the call's place is free again.
const BYE_PATIENCE: Duration = Duration::from_millis(500);

/// An INVITE that has passed the trunk's checks, holding its place among the calls.
pub(super) struct NewCall {
    pub shared: Arc<Shared>,
    pub dialogs: Arc<DialogLayer>,
    pub trunk: String,
    pub peer: SocketAddr,
    pub slot: OwnedSemaphorePermit,
}

/// How an INVITE is refused.
struct Refusal {
    status: u16,
    cause: String,
    headers: Vec<Header>,
}

impl Refusal {
    fn new(status: u16, cause: impl Into<String>) -> Self {
        Self { status, cause: cause.into(), headers: Vec::new() }
    }
}

impl From<SdpError> for Refusal {
    fn from(error: SdpError) -> Self {
        let status = if error == SdpError::Malformed { 400 } else { 488 };
        Self::new(status, error.to_string())
    }
}

impl NewCall {
    /// Takes the call, or refuses it; writes its CDR either way.
    pub async fn run<H: CallHandler>(self, transaction: Transaction, handler: Arc<H>) {
        let request = transaction.original.clone();
        let Some(called) = headers::called_number(&request) else {
            self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            return answer(transaction, 404, vec![]);
        };
        let call = IncomingCall {
            call_id: uuid::Uuid::new_v4().to_string(),
            sip_call_id: request.header_value("Call-ID").unwrap_or_default(),
            trunk: self.trunk.clone(),
            caller: headers::calling_number(&request),
            called,
            peer: self.peer,
            at: self.shared.clock.now(),
        };
        let mut ringing = match self.prepare(&request, &call, handler.as_ref()).await {
            Ok(ringing) => ringing,
            Err(refusal) => {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                info!(call = call.call_id, status = refusal.status, cause = refusal.cause, "call refused");
                let record = self.record(call, refusal.status, format!("refused: {}", refusal.cause));
                answer(transaction, refusal.status, refusal.headers);
                handler.finished(record).await;
                return;
            }
        };
        let record = ringing.take(&self, transaction, call, &handler).await;
        info!(call = record.call.call_id, cause = record.cause, keys = record.digits, "call ended");
        handler.finished(record).await;
        // The place is free for another call only now.
        drop(self.slot);
    }

    fn record(&self, call: IncomingCall, status: u16, cause: String) -> CallRecord {
        CallRecord {
            call,
            answered_at: None,
            ended_at: self.shared.clock.now(),
            status,
            cause,
            codec: None,
            packets_sent: 0,
            packets_received: 0,
            digits: 0,
        }
    }

    /// Everything that can refuse the call, before anything is answered.
    async fn prepare<H: CallHandler>(&self, request: &Request, call: &IncomingCall, handler: &H) -> Result<Ringing, Refusal> {
        let unknown: Vec<_> = headers::option_tags(request, "Require").into_iter().filter(|tag| tag != "timer").collect();
        if !unknown.is_empty() {
            let unsupported = Header::Other("Unsupported".into(), unknown.join(", "));
            return Err(Refusal { headers: vec![unsupported], ..Refusal::new(420, "unsupported extension required") });
        }
        let timer = session_timer(request)?;
        if let Admission::Refuse { status, cause } = handler.admit(call).await {
            return Err(Refusal::new(status, cause));
        }
        let offered = !request.body.is_empty();
        if offered && !headers::has_sdp(request) {
            let accept = Header::Other("Accept".into(), "application/sdp".into());
            return Err(Refusal { headers: vec![accept], ..Refusal::new(415, "no session description") });
        }
        let offer = offered.then(|| Description::parse(&request.body)).transpose()?;
        if let Some(offer) = &offer {
            offer.agree()?;
        }
        let unavailable = |e: std::io::Error| Refusal::new(503, e.to_string());
        let local_ip = local_ip_towards(self.peer).map_err(unavailable)?;
        // With NAT between, the socket cannot be bound to the address that the peer is told.
        let (media, media_events) = self.shared.engine.open(local_ip).map_err(unavailable)?;
        let told_ip = self.shared.config.external_address.unwrap_or(local_ip);
        // Any number that no earlier session of ours had (RFC 8866 §5.2).
        let session = u64::from(media.port) << 32 | u64::from(call.at.timestamp() as u32);
        let local = Local { media: SocketAddr::new(told_ip, media.port), session, version: 1 };
        let (body, agreed) = match offer {
            Some(offer) => {
                let (body, agreed) = local.answer(&offer)?;
                (body, Some(agreed))
            }
            None => (local.offer(), None),
        };
        let contact = self.contact(request, call, told_ip);
        Ok(Ringing { media, media_events, local, body, agreed, timer, contact })
    }

    /// Where requests inside the dialog reach us: the port and transport that the INVITE came to.
    fn contact(&self, request: &Request, call: &IncomingCall, ip: IpAddr) -> Uri {
        let tcp = request.via_header().is_ok_and(|via| via.value().to_ascii_uppercase().contains("/TCP"));
        let listening = if tcp { &self.shared.config.tcp } else { &self.shared.config.udp };
        let port = listening.iter().find(|a| a.ip() == ip || a.ip().is_unspecified()).or(listening.first()).map_or(5060, SocketAddr::port);
        Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user: call.called.clone(), password: None }),
            host_with_port: SocketAddr::new(ip, port).into(),
            params: if tcp { vec![Param::Transport(Transport::Tcp)] } else { vec![] },
            ..Uri::default()
        }
    }
}

fn session_timer(request: &Request) -> Result<Option<SessionTimer>, Refusal> {
    let supported = ["Supported", "Require"].iter().any(|h| headers::option_tags(request, h).iter().any(|tag| tag == "timer"));
    // "x" is the compact form of Session-Expires.
    let wanted = request.header_value("Session-Expires").or_else(|| request.header_value("x"));
    SessionTimer::answer(wanted.as_deref(), supported).map_err(|too_small| Refusal {
        headers: vec![Header::Other("Min-SE".into(), MIN_SE.to_string())],
        ..Refusal::new(422, too_small.to_string())
    })
}

/// The headers of a 2xx to INVITE or UPDATE.
fn success_headers(timer: Option<SessionTimer>, body: bool) -> Vec<Header> {
    let mut list = vec![Header::Allow(ALLOW.into()), Header::Supported("timer".into())];
    if body {
        list.push(Header::ContentType("application/sdp".into()));
    }
    if let Some(timer) = timer {
        list.push(Header::Other("Session-Expires".into(), timer.header()));
        if timer.supported {
            list.push(Header::Require("timer".into()));
        }
    }
    list
}

/// A call whose media is ready and which is about to be answered.
struct Ringing {
    media: Media,
    media_events: mpsc::Receiver<MediaEvent>,
    local: Local,
    body: String,
    /// `None` where the answer comes with the ACK (delayed offer).
    agreed: Option<Agreed>,
    timer: Option<SessionTimer>,
    contact: Uri,
}

/// Why the caller's side could not be told of its call's end, or was.
struct Ended {
    cause: EndCause,
    /// The final status of the INVITE.
    status: u16,
}

impl Ringing {
    /// Answers, waits for the ACK, and sees the call through.
    async fn take<H: CallHandler>(
        &mut self,
        new: &NewCall,
        mut transaction: Transaction,
        call: IncomingCall,
        handler: &Arc<H>,
    ) -> CallRecord {
        let (state_sender, states) = new.dialogs.new_dialog_state_channel();
        let dialog = match new.dialogs.get_or_create_server_invite(&transaction, state_sender, None, Some(self.contact.clone())) {
            Ok(dialog) => dialog,
            Err(error) => {
                debug!(call = call.call_id, %error, "no dialog");
                answer(transaction, 400, vec![]);
                return new.record(call, 400, format!("refused: {error}"));
            }
        };
        let mut driver = dialog.clone();
        tokio::spawn(async move {
            if let Err(error) = driver.handle(&mut transaction).await {
                debug!(%error, "INVITE transaction");
            }
        });
        let mut record = new.record(call, 200, String::new());
        if let Err(error) = dialog.accept(Some(success_headers(self.timer, true)), Some(self.body.clone().into_bytes())) {
            debug!(call = record.call.call_id, %error, "the answer could not be sent");
        }
        let mut running = Running {
            dialog: &dialog,
            states,
            media: &self.media,
            local: self.local,
            agreed: self.agreed.take(),
            timer: self.timer,
            shared: &new.shared,
            digits: 0,
            answered_at: None,
            offer_pending: false,
        };
        let ended = running.run(&record.call, &mut self.media_events, handler).await;
        record.answered_at = running.answered_at;
        record.digits = running.digits;
        record.codec = running.agreed.as_ref().map(|a| a.codec.name());
        record.status = ended.status;
        ended.cause.word().clone_into(&mut record.cause);
        record.ended_at = new.shared.clock.now();
        record.packets_sent = self.media.counters.sent.load(Ordering::Relaxed);
        record.packets_received = self.media.counters.received.load(Ordering::Relaxed);
        new.dialogs.remove_dialog(&dialog.id());
        record
    }
}

impl EndCause {
    /// The cause as it stands in the CDR.
    pub fn word(self) -> &'static str {
        match self {
            Self::CallerHungUp => "caller_hung_up",
            Self::WeHungUp => "we_hung_up",
            Self::Abandoned => "abandoned",
            Self::Failed(why) => why,
            Self::Shutdown => "shutdown",
        }
    }
}

/// A call that has been answered.
struct Running<'a> {
    dialog: &'a InviteDialog,
    states: DialogStateReceiver,
    media: &'a Media,
    local: Local,
    agreed: Option<Agreed>,
    timer: Option<SessionTimer>,
    shared: &'a Shared,
    digits: u32,
    answered_at: Option<DateTime<Utc>>,
    /// We have sent an offer (delayed offer, or in a re-INVITE) whose answer comes with the ACK.
    offer_pending: bool,
}

impl Running<'_> {
    async fn run<H: CallHandler>(&mut self, info: &IncomingCall, media_events: &mut mpsc::Receiver<MediaEvent>, handler: &Arc<H>) -> Ended {
        self.offer_pending = self.agreed.is_none();
        if let Some(ended) = self.wait_for_ack().await {
            return ended;
        }
        if self.offer_pending && !self.take_answer_in_ack() {
            return self.hang_up(EndCause::Failed("no usable answer in ACK")).await;
        }
        let Some(agreed) = self.agreed.clone() else { return self.hang_up(EndCause::Failed("nothing agreed on")).await };
        self.media.start(agreed);
        self.answered_at = Some(self.shared.clock.now());
        self.shared.counters.answered.fetch_add(1, Ordering::Relaxed);
        info!(call = info.call_id, trunk = info.trunk, called = info.called, "call answered");

        let (command_sender, mut commands) = mpsc::channel(COMMAND_QUEUE);
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let user = Arc::clone(handler);
        let call = Call { info: info.clone(), commands: command_sender, events: event_receiver };
        tokio::spawn(async move { user.run(call).await });

        let call_ends = Instant::now() + self.shared.config.max_call;
        let mut session_acts = self.session_deadline();
        let cause = loop {
            tokio::select! {
                state = self.states.recv() => match self.on_state(state, &events).await {
                    Some(cause) => break cause,
                    None => session_acts = self.session_deadline_after(session_acts),
                },
                event = media_events.recv() => match event {
                    Some(MediaEvent::Key(key)) => self.on_key(key, &events),
                    Some(MediaEvent::Played(id)) => tell(&events, CallEvent::Played { id }),
                    Some(MediaEvent::Dead) => break EndCause::Failed("dead media"),
                    None => break EndCause::Failed("media gone"),
                },
                command = commands.recv() => match command {
                    Some(CallCommand::Play { id, clips }) => self.media.play(id, clips),
                    Some(CallCommand::Stop) => self.media.stop(),
                    // The user has returned or asks for it.
                    Some(CallCommand::HangUp) | None => break EndCause::WeHungUp,
                },
                () = sleep_until(call_ends) => break EndCause::Failed("longest call"),
                () = sleep_until(session_acts) => match self.timer.map(|t| t.refresher) {
                    Some(Refresher::Us) => {
                        self.refresh().await;
                        session_acts = self.session_deadline();
                    }
                    _ => break EndCause::Failed("session expired"),
                },
                () = self.shared.hang_up.cancelled() => break EndCause::Shutdown,
            }
        };
        tell(&events, CallEvent::Ended(cause));
        if cause == EndCause::CallerHungUp {
            return Ended { cause, status: 200 };
        }
        self.hang_up(cause).await
    }

    /// Until the ACK; `Some` when the call is over before it.
    async fn wait_for_ack(&mut self) -> Option<Ended> {
        let abandoned = Some(Ended { cause: EndCause::Abandoned, status: 487 });
        let patience = Instant::now() + ACK_PATIENCE;
        loop {
            let state = tokio::select! {
                state = self.states.recv() => state,
                () = sleep_until(patience) => return Some(self.hang_up(EndCause::Failed("no ACK")).await),
            };
            match state {
                Some(DialogState::Confirmed(..)) => return None,
                Some(DialogState::Terminated(_, TerminatedReason::UacCancel)) | None => return abandoned,
                Some(DialogState::Terminated(_, TerminatedReason::Timeout)) => {
                    return Some(Ended { cause: EndCause::Failed("no ACK"), status: 200 });
                }
                // BYE may overtake the ACK.
                Some(DialogState::Terminated(..)) => return Some(Ended { cause: EndCause::CallerHungUp, status: 200 }),
                Some(_) => {}
            }
        }
    }

    /// The caller's side answered our offer in its ACK.
    fn take_answer_in_ack(&mut self) -> bool {
        self.offer_pending = false;
        let Some(ack) = self.dialog.last_remote_ack() else { return false };
        let agreed = Description::parse(&ack.body).and_then(|d| d.agree());
        if let Err(error) = &agreed {
            debug!(%error, "answer in ACK");
        }
        self.agreed = agreed.ok().or(self.agreed.take());
        self.agreed.is_some()
    }

    fn on_key(&mut self, key: char, events: &mpsc::Sender<CallEvent>) {
        self.digits += 1;
        self.shared.counters.keys.fetch_add(1, Ordering::Relaxed);
        tell(events, CallEvent::Digit(key));
    }

    /// A change of the dialog; `Some` when the call is over.
    async fn on_state(&mut self, state: Option<DialogState>, events: &mpsc::Sender<CallEvent>) -> Option<EndCause> {
        match state? {
            DialogState::Terminated(..) => return Some(EndCause::CallerHungUp),
            DialogState::Updated(_, request, handle) => self.on_update(&request, &handle).await,
            DialogState::Confirmed(..) if self.offer_pending && self.take_answer_in_ack() => self.restart_media(),
            DialogState::Info(_, request, handle) => {
                // Where telephone events were agreed on, INFO would tell the same key twice.
                let key = headers::info_key(&request).filter(|_| self.agreed.as_ref().is_none_or(|a| a.events.is_none()));
                if let Some(key) = key {
                    self.on_key(key, events);
                }
                reply(&handle, 200, vec![], None).await;
            }
            DialogState::Options(_, _, handle) => reply(&handle, 200, vec![Header::Allow(ALLOW.into())], None).await,
            // We are nobody who can be transferred.
            DialogState::Refer(_, _, handle) => reply(&handle, 603, vec![], None).await,
            DialogState::Message(_, _, handle) | DialogState::Notify(_, _, handle) => {
                reply(&handle, 405, vec![Header::Allow(ALLOW.into())], None).await;
            }
            _ => {}
        }
        None
    }

    /// re-INVITE or UPDATE: hold, resume, a new address, or only a session refresh.
    async fn on_update(&mut self, request: &Request, handle: &TransactionHandle) {
        match self.negotiate(request) {
            Ok(body) => {
                let list = success_headers(self.timer, body.is_some());
                reply(handle, 200, list, body.map(String::into_bytes)).await;
                if !self.offer_pending {
                    self.restart_media();
                }
            }
            // The session goes on as it was (RFC 3261 §14.2).
            Err(refusal) => {
                debug!(status = refusal.status, cause = refusal.cause, "offer in mid-call refused");
                reply(handle, refusal.status, refusal.headers, None).await;
            }
        }
    }

    /// The body to answer with.
    fn negotiate(&mut self, request: &Request) -> Result<Option<String>, Refusal> {
        let timer = session_timer(request)?;
        let invite = request.method == Method::Invite;
        if request.body.is_empty() {
            self.timer = timer.or(self.timer);
            // A re-INVITE without offer asks for ours; an UPDATE without one is a mere refresh.
            self.offer_pending = invite;
            return Ok(invite.then(|| {
                self.local.version += 1;
                self.local.offer()
            }));
        }
        let next = Local { version: self.local.version + 1, ..self.local };
        let (body, agreed) = next.answer(&Description::parse(&request.body)?)?;
        (self.local, self.agreed, self.timer) = (next, Some(agreed), timer.or(self.timer));
        Ok(Some(body))
    }

    fn restart_media(&self) {
        if let Some(agreed) = self.agreed.clone() {
            self.media.start(agreed);
        }
    }

    /// When the session timer has to act; far away without one.
    fn session_deadline(&self) -> Instant {
        let far = self.shared.config.max_call + Duration::from_mins(1);
        Instant::now() + self.timer.map_or(far, |timer| timer.act_after())
    }

    /// A request of the caller's side inside the dialog counts as its refresh.
    fn session_deadline_after(&self, before: Instant) -> Instant {
        if self.timer.is_some_and(|t| t.refresher == Refresher::Caller) { self.session_deadline() } else { before }
    }

    /// Keeps the session alive where that fell to us.
    async fn refresh(&mut self) {
        let request = self.dialog.initial_request();
        let list = success_headers(self.timer, false);
        let refreshed = if headers::allows(&request, "UPDATE") {
            self.dialog.update(Some(list), None).await
        } else {
            // The same description as before, under the same version: nothing changes (RFC 3264 §8).
            self.dialog.reinvite(Some(success_headers(self.timer, true)), Some(self.local.offer().into_bytes())).await
        };
        if let Err(error) = refreshed {
            warn!(%error, "session refresh");
        }
    }

    /// Sends BYE. A side that does not answer it is not waited for; the transaction goes on by itself.
    async fn hang_up(&self, cause: EndCause) -> Ended {
        let dialog = self.dialog.clone();
        let bye = tokio::spawn(async move {
            if let Err(error) = dialog.hangup().await {
                debug!(%error, "BYE");
            }
        });
        let _ = tokio::time::timeout(BYE_PATIENCE, bye).await;
        Ended { cause, status: 200 }
    }
}

fn tell(events: &mpsc::Sender<CallEvent>, event: CallEvent) {
    // The user may be slow or gone; a call never waits for it.
    if events.try_send(event).is_err() {
        debug!("an event of a call found nobody");
    }
}

async fn reply(handle: &TransactionHandle, status: u16, list: Vec<Header>, body: Option<Vec<u8>>) {
    if handle.respond(StatusCode::from(status), Some(list), body).await.is_err() {
        debug!(status, "the transaction was gone before its answer");
    }
}
