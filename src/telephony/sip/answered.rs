//! A call that has been answered, until it is over.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use rsipstack::{
    dialog::{
        dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle},
        invite_dialog::InviteDialog,
    },
    sip::{Header, Method, Request, StatusCode},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{debug, info};

use super::{
    headers,
    sdp::{Agreed, Description, Local},
    server::{ALLOW, Shared},
    session_timer::{Refresher, SessionTimer},
    uas::{Refusal, session_timer, success_headers},
};
use crate::telephony::{
    call::{Call, CallCommand, CallEvent, CallHandler, EndCause, IncomingCall},
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

/// The headers of a request of ours that refreshes the session.
fn refresh_headers(timer: SessionTimer, body: bool) -> Vec<Header> {
    let mut list = vec![
        Header::Allow(ALLOW.into()),
        Header::Supported("timer".into()),
        Header::Other("Session-Expires".into(), timer.header_in_our_request()),
    ];
    if body {
        list.push(Header::ContentType("application/sdp".into()));
    }
    list
}

/// Why the caller's side could not be told of its call's end, or was.
pub(super) struct Ended {
    pub cause: EndCause,
    /// The final status of the INVITE.
    pub status: u16,
}

/// A call that has been answered.
pub(super) struct Running<'a> {
    pub dialog: &'a InviteDialog,
    pub states: DialogStateReceiver,
    pub media: &'a Media,
    pub local: Local,
    pub agreed: Option<Agreed>,
    pub timer: Option<SessionTimer>,
    pub shared: &'a Shared,
    pub digits: u32,
    pub answered_at: Option<DateTime<Utc>>,
    /// We have sent an offer (delayed offer, or in a re-INVITE) whose answer comes with the ACK.
    pub offer_pending: bool,
}

impl Running<'_> {
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
        let (refreshed, mut refreshes) = mpsc::channel(1);
        let mut session_acts = self.session_deadline();
        let cause = loop {
            tokio::select! {
                state = self.states.recv() => match self.on_state(state, &events).await {
                    Some(cause) => break cause,
                    None => session_acts = self.session_deadline_after(session_acts),
                },
                event = media_events.recv() => match event {
                    Some(MediaEvent::Key(key)) => self.on_key(key, &events),
                    Some(MediaEvent::Played(id)) => self.tell(&events, CallEvent::Played { id }),
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
                        self.refresh(&refreshed);
                        session_acts = self.session_deadline();
                    }
                    _ => break EndCause::Failed("session expired"),
                },
                Some(alive) = refreshes.recv() => if !alive {
                    break EndCause::Failed("session refresh unanswered");
                },
                () = self.shared.hang_up.cancelled() => break EndCause::Shutdown,
            }
        };
        self.tell(&events, CallEvent::Ended(cause));
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
                () = self.shared.hang_up.cancelled() => return Some(self.hang_up(EndCause::Shutdown).await),
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
        let agreed = Description::parse(&ack.body).and_then(|answer| self.local.accept(&answer));
        if let Err(error) = &agreed {
            debug!(%error, "answer in ACK");
        }
        self.agreed = agreed.ok().or(self.agreed.take());
        self.agreed.is_some()
    }

    /// The user may be slow or gone; a call never waits for it.
    fn tell(&self, events: &mpsc::Sender<CallEvent>, event: CallEvent) {
        if events.try_send(event).is_err() {
            self.shared.engine.counters().dropped_events.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_key(&mut self, key: char, events: &mpsc::Sender<CallEvent>) {
        self.digits += 1;
        self.shared.counters.keys.fetch_add(1, Ordering::Relaxed);
        self.tell(events, CallEvent::Digit(key));
    }

    /// A change of the dialog; `Some` when the call is over.
    async fn on_state(&mut self, state: Option<DialogState>, events: &mpsc::Sender<CallEvent>) -> Option<EndCause> {
        match state? {
            // A re-INVITE of the caller's side was answered and never acknowledged.
            DialogState::Terminated(_, TerminatedReason::Timeout) => return Some(EndCause::Failed("no ACK")),
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
            return Ok(invite.then(|| self.local.offer()));
        }
        let (body, agreed) = self.local.answer(&Description::parse(&request.body)?)?;
        (self.agreed, self.timer) = (Some(agreed), timer.or(self.timer));
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

    /// Keeps the session alive where that fell to us. The answer may take its time: the call goes
    /// on meanwhile, and `done` is told whether the caller's side is still there.
    fn refresh(&self, done: &mpsc::Sender<bool>) {
        let Some(timer) = self.timer else { return };
        let (dialog, described, done) = (self.dialog.clone(), self.local.described(), done.clone());
        tokio::spawn(async move {
            let answer = if headers::allows(&dialog.initial_request(), "UPDATE") {
                dialog.update(Some(refresh_headers(timer, false)), None).await
            } else {
                // The same description under the same version: nothing changes (RFC 3264 §8).
                dialog.reinvite(Some(refresh_headers(timer, true)), Some(described.into_bytes())).await
            };
            // Refused is still alive; gone is who knows of no such call, or does not answer (RFC 4028 §10).
            // No answer at all: the dialog was busy with a request of the caller's side, which is as good.
            let gone = |status: u16| matches!(status, 408 | 481);
            let alive = answer.as_ref().is_ok_and(|a| a.as_ref().is_none_or(|response| !gone(response.status_code.code())));
            if !alive {
                debug!(?answer, "session refresh");
            }
            // Nobody waits where the call has ended meanwhile.
            let _ = done.send(alive).await;
        });
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

async fn reply(handle: &TransactionHandle, status: u16, list: Vec<Header>, body: Option<Vec<u8>>) {
    if handle.respond(StatusCode::from(status), Some(list), body).await.is_err() {
        debug!(status, "the transaction was gone before its answer");
    }
}
