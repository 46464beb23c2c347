//! A call that has been answered, until it is over.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use rsipstack::{
    dialog::{
        dialog::{Dialog, DialogState, TerminatedReason, TransactionHandle},
        invite_dialog::InviteDialog,
    },
    sip::{Header, HeadersExt, Method, Param, Request, Response, StatusCode, ToTypedHeader as _, Transport},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, debug, info};

use super::{
    headers,
    leg::{Leg, cseq},
    reason::{self, Reason},
    refresh::{Refresh, Refreshed, Turns},
    sdp::{Agreed, Description, Local},
    server::{ALLOW, Shared},
    session_timer::{Refresher, SessionTimer},
    uas::{Refusal, extensions, session_timer, success_headers},
};
use crate::telephony::{
    call::{Call, CallCommand, CallEvent, CallHandler, EndCause, Failure, IncomingCall, KeyWays},
    rtp::{
        engine::{Media, MediaEvent},
        keys::{KeyMerger, Way},
    },
};

/// Events that may wait for the call's user.
const EVENT_QUEUE: usize = 64;
/// Commands that may wait for us.
const COMMAND_QUEUE: usize = 16;
/// How long the caller's side may take to acknowledge our answer: 64 × T1 (RFC 3261 §13.3.1.4), and a little.
const ACK_PATIENCE: Duration = Duration::from_secs(35);
/// How long the answer to our BYE is waited for before the call's place is free again.
const BYE_PATIENCE: Duration = Duration::from_millis(500);

/// How a call ended.
pub(super) struct Ended {
    pub cause: EndCause,
    /// The final status of the INVITE.
    pub status: u16,
    /// What the caller's side said of it.
    pub reason: Reason,
}

impl Ended {
    fn new(cause: EndCause) -> Self {
        Self { cause, status: 200, reason: Reason::default() }
    }
}

/// A call that has been answered.
pub(super) struct Running<'a> {
    dialog: &'a InviteDialog,
    leg: &'a Leg,
    states: mpsc::Receiver<Box<DialogState>>,
    media: &'a Media,
    local: Local,
    shared: &'a Shared,
    pub agreed: Option<Agreed>,
    pub timer: Option<SessionTimer>,
    pub digits: u32,
    pub key_ways: KeyWays,
    keys: KeyMerger,
    /// What the times of the keys are counted from.
    began: Instant,
    pub answered_at: Option<DateTime<Utc>>,
    /// We have sent an offer (delayed offer, or in a re-INVITE) whose answer comes with the ACK.
    offer_pending: bool,
    /// The CSeq of the caller's side's re-INVITE that we have accepted and whose ACK has not come yet.
    unacknowledged: Option<u32>,
    turns: Arc<Turns>,
    /// Does the caller's side take UPDATE?
    pub takes_update: bool,
}

impl<'a> Running<'a> {
    /// A call that has just been answered.
    pub fn new(
        dialog: &'a InviteDialog,
        leg: &'a Leg,
        states: mpsc::Receiver<Box<DialogState>>,
        media: &'a Media,
        local: Local,
        shared: &'a Shared,
    ) -> Self {
        Self {
            dialog,
            leg,
            states,
            media,
            local,
            shared,
            agreed: None,
            timer: None,
            digits: 0,
            key_ways: KeyWays::default(),
            keys: KeyMerger::default(),
            began: Instant::now(),
            answered_at: None,
            offer_pending: false,
            unacknowledged: None,
            turns: Arc::default(),
            takes_update: false,
        }
    }

    /// Waits for the ACK, lets the user have the call, and sees it through.
    pub async fn run<H: CallHandler>(
        &mut self,
        info: &IncomingCall,
        media_events: &mut mpsc::Receiver<MediaEvent>,
        handler: &Arc<H>,
    ) -> Ended {
        self.offer_pending = self.agreed.is_none();
        if let Some(ended) = self.wait_for_ack().await {
            return ended;
        }
        if self.offer_pending {
            self.take_answer(self.dialog.last_remote_ack().as_ref());
        }
        let Some(agreed) = self.agreed.clone() else { return self.hang_up(EndCause::Failed(Failure::NoAnswerInAck)).await };
        self.media.start(agreed);
        self.answered_at = Some(self.shared.clock.now());
        self.shared.counters.answered.fetch_add(1, Ordering::Relaxed);
        info!(trunk = info.trunk, called = info.called, "call answered");

        let (command_sender, mut commands) = mpsc::channel(COMMAND_QUEUE);
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let user = Arc::clone(handler);
        let call = Call { info: info.clone(), commands: command_sender, events: event_receiver, quality: self.media.quality() };
        tokio::spawn(async move { user.run(call).await }.in_current_span());

        let call_ends = Instant::now() + self.shared.config.max_call;
        let (refreshed, mut refreshes) = mpsc::channel(1);
        let mut session_acts = self.session_deadline();
        let cause = loop {
            tokio::select! {
                state = self.states.recv() => match Box::pin(self.on_state(state, &events)).await {
                    Some(cause) => break cause,
                    None => session_acts = self.session_deadline_after(session_acts),
                },
                event = media_events.recv() => match event {
                    Some(MediaEvent::Key(key, way)) => self.on_key(key, way, &events),
                    Some(MediaEvent::Played(id)) => self.tell(&events, CallEvent::Played { id }),
                    Some(MediaEvent::Dead) => break EndCause::Failed(Failure::DeadMedia),
                    None => break EndCause::Failed(Failure::MediaGone),
                },
                command = commands.recv() => match command {
                    Some(CallCommand::Play { id, clips }) => self.media.play(id, clips),
                    Some(CallCommand::Stop) => self.media.stop(),
                    // The user has returned or asks for it.
                    Some(CallCommand::HangUp) | None => break EndCause::WeHungUp,
                },
                () = sleep_until(call_ends) => break EndCause::Failed(Failure::LongestCall),
                () = sleep_until(session_acts) => match self.timer.map(|t| t.refresher) {
                    Some(Refresher::Us) => {
                        self.refresh(&refreshed);
                        session_acts = self.session_deadline();
                    }
                    _ => break EndCause::Failed(Failure::SessionExpired),
                },
                Some(refreshed) = refreshes.recv() => match refreshed {
                    Refreshed::Alive { timer, answer } => {
                        self.on_refreshed(timer, answer.as_deref());
                        session_acts = self.session_deadline();
                    }
                    Refreshed::Gone => break EndCause::Failed(Failure::RefreshUnanswered),
                },
                () = self.shared.hang_up.cancelled() => break EndCause::Shutdown,
            }
        };
        self.tell(&events, CallEvent::Ended(cause));
        if cause == EndCause::CallerHungUp {
            return Ended { reason: self.leg.bye_reason(), ..Ended::new(cause) };
        }
        self.hang_up(cause).await
    }

    /// Until the ACK; `Some` when the call is over before it.
    async fn wait_for_ack(&mut self) -> Option<Ended> {
        let abandoned = || Some(Ended { status: 487, ..Ended::new(EndCause::Abandoned) });
        let patience = Instant::now() + ACK_PATIENCE;
        loop {
            let state = tokio::select! {
                state = self.states.recv() => state,
                () = sleep_until(patience) => return Some(self.hang_up(EndCause::Failed(Failure::NoAck)).await),
                () = self.shared.hang_up.cancelled() => return Some(self.hang_up(EndCause::Shutdown).await),
            };
            match state.map(|state| *state) {
                Some(DialogState::Confirmed(..)) => return None,
                Some(DialogState::Terminated(_, TerminatedReason::UacCancel)) | None => return abandoned(),
                Some(DialogState::Terminated(_, TerminatedReason::Timeout)) => {
                    return Some(Ended::new(EndCause::Failed(Failure::NoAck)));
                }
                // BYE may overtake the ACK.
                Some(DialogState::Terminated(..)) => {
                    return Some(Ended { reason: self.leg.bye_reason(), ..Ended::new(EndCause::CallerHungUp) });
                }
                Some(_) => {}
            }
        }
    }

    /// The caller's side answered our offer in this ACK; what was agreed on before stands where it did not.
    fn take_answer(&mut self, ack: Option<&Request>) {
        self.offer_pending = false;
        let Some(ack) = ack else { return };
        match Description::parse(&ack.body).and_then(|answer| self.local.accept(&answer)) {
            Ok(agreed) => self.agreed = Some(agreed),
            Err(error) => debug!(%error, "answer in ACK"),
        }
    }

    /// The user may be slow or gone; a call never waits for it.
    fn tell(&self, events: &mpsc::Sender<CallEvent>, event: CallEvent) {
        if events.try_send(event).is_err() {
            self.shared.engine.counters().dropped_events.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A key as told by one way; it counts unless another way has told it before.
    fn on_key(&mut self, key: char, way: Way, events: &mpsc::Sender<CallEvent>) {
        match way {
            Way::Events => self.key_ways.events = true,
            Way::Info => self.key_ways.info = true,
            Way::Tones => self.key_ways.tones = true,
        }
        let now = self.began.elapsed().as_millis() as u64;
        if let Some(key) = self.keys.hear(way, key, now) {
            self.digits += 1;
            self.shared.counters.keys.fetch_add(1, Ordering::Relaxed);
            self.tell(events, CallEvent::Digit(key));
        }
    }

    /// A change of the dialog; `Some` when the call is over.
    async fn on_state(&mut self, state: Option<Box<DialogState>>, events: &mpsc::Sender<CallEvent>) -> Option<EndCause> {
        match *state? {
            // A re-INVITE of the caller's side was answered and never acknowledged.
            DialogState::Terminated(_, TerminatedReason::Timeout) => return Some(EndCause::Failed(Failure::NoAck)),
            DialogState::Terminated(_, TerminatedReason::ProxyAuthRequired) => return Some(EndCause::Failed(Failure::Challenged)),
            DialogState::Terminated(..) => return Some(EndCause::CallerHungUp),
            DialogState::Updated(_, request, handle) => self.on_update(&request, &handle).await,
            DialogState::Confirmed(..) => self.on_ack(),
            DialogState::Info(_, request, handle) => {
                if let Some(key) = headers::info_key(&request) {
                    self.on_key(key, Way::Info, events);
                }
                reply(&handle, 200, vec![], None).await;
            }
            DialogState::Options(_, _, handle) => reply(&handle, 200, vec![Header::Allow(ALLOW.into())], None).await,
            _ => {}
        }
        None
    }

    /// Perhaps the ACK of a re-INVITE: the stack says the same after other requests.
    fn on_ack(&mut self) {
        let Some(ack) = self.dialog.last_remote_ack().filter(|ack| self.unacknowledged.is_some() && cseq(ack) == self.unacknowledged)
        else {
            return;
        };
        self.unacknowledged = None;
        self.turns.theirs.store(false, Ordering::Relaxed);
        if self.offer_pending {
            self.take_answer(Some(&ack));
            self.restart_media();
        }
    }

    /// re-INVITE or UPDATE: hold, resume, a new address or codec, or only a session refresh.
    async fn on_update(&mut self, request: &Request, handle: &TransactionHandle) {
        let invite = request.method == Method::Invite;
        // An offer of each side at once, or two INVITEs (RFC 3261 §14.2, RFC 3311 §5.2).
        let crosses = (invite || !request.body.is_empty()) && (self.offer_pending || self.turns.ours.load(Ordering::Relaxed));
        let outcome = if crosses { Err(Refusal::new(491, "crosses ours")) } else { self.negotiate(request) };
        match outcome {
            Ok(body) => {
                if invite {
                    self.unacknowledged = cseq(request);
                    self.turns.theirs.store(true, Ordering::Relaxed);
                }
                let list = success_headers(self.timer, body.is_some());
                reply(handle, 200, list, body.map(String::into_bytes)).await;
                self.retarget(request);
                if !self.offer_pending {
                    self.restart_media();
                }
            }
            // The session goes on as it was (RFC 3261 §14.2).
            Err(refusal) => {
                debug!(status = refusal.status, cause = refusal.cause, "change in mid-call refused");
                reply(handle, refusal.status, refusal.headers, None).await;
            }
        }
    }

    /// The caller's side may have moved: our requests go to its newest Contact (RFC 3261 §12.2).
    fn retarget(&self, message: &impl HeadersExt) {
        let Some(contact) = message.typed_contact_headers().ok().and_then(|list| list.into_iter().next()) else { return };
        let mut uri = contact.uri;
        let transport = message.via_header().ok().and_then(|via| via.typed().ok()).map_or(Transport::Udp, |via| via.transport);
        if transport != Transport::Udp && !uri.params.iter().any(|p| matches!(p, Param::Transport(_))) {
            // Where its requests come from; the Contact need not say so.
            uri.params.push(Param::Transport(transport));
        }
        Dialog::Invite(self.dialog.clone()).set_remote_target(uri, message.contact_header().ok().cloned());
    }

    /// The body to answer with.
    fn negotiate(&mut self, request: &Request) -> Result<Option<String>, Refusal> {
        extensions(request)?;
        let timer = session_timer(request)?;
        let invite = request.method == Method::Invite;
        if request.body.is_empty() {
            self.timer = timer.or(self.timer);
            // A re-INVITE without offer asks for ours; an UPDATE without one is a mere refresh.
            self.offer_pending = invite;
            return Ok(invite.then(|| self.local.offer()));
        }
        let (body, agreed) = self.local.answer(&Description::parse(&request.body)?)?;
        (self.agreed, self.timer) = (Some(agreed), timer.or(self.timer));
        Ok(Some(body))
    }

    fn restart_media(&mut self) {
        if let Some(agreed) = self.agreed.clone() {
            self.keys.renegotiated();
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

    /// Keeps the session alive where that fell to us. The answer may take its time: the call goes
    /// on meanwhile, and `done` is told what became of it.
    fn refresh(&self, done: &mpsc::Sender<Refreshed>) {
        let Some(timer) = self.timer else { return };
        let refresh = Refresh {
            dialog: self.dialog.clone(),
            turns: Arc::clone(&self.turns),
            described: self.local.described(),
            timer,
            by_update: self.takes_update,
        };
        tokio::spawn(refresh.run(done.clone()).in_current_span());
    }

    /// Our refresh was answered; a re-INVITE's answer may say something new.
    fn on_refreshed(&mut self, timer: SessionTimer, answer: Option<&Response>) {
        self.timer = Some(timer);
        let Some(answer) = answer else { return };
        self.retarget(answer);
        let agreed = Description::parse(&answer.body).and_then(|answer| self.local.accept(&answer)).ok();
        if agreed.is_some() && agreed != self.agreed {
            self.agreed = agreed;
            self.restart_media();
        }
    }

    /// Sends BYE. A side that does not answer it is not waited for; the transaction goes on by itself.
    async fn hang_up(&self, cause: EndCause) -> Ended {
        let dialog = self.dialog.clone();
        let why = reason::header(reason::of_end(cause));
        let bye = async move {
            if let Err(error) = dialog.hangup_with_headers(Some(vec![why])).await {
                debug!(%error, "BYE");
            }
        };
        let _ = tokio::time::timeout(BYE_PATIENCE, tokio::spawn(bye.in_current_span())).await;
        Ended::new(cause)
    }
}

async fn reply(handle: &TransactionHandle, status: u16, list: Vec<Header>, body: Option<Vec<u8>>) {
    if handle.respond(StatusCode::from(status), Some(list), body).await.is_err() {
        debug!(status, "the transaction was gone before its answer");
    }
}
