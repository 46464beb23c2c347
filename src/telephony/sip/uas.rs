//! The life of one call, from INVITE to CDR, readable from top to bottom; [`super::answered`] is its middle.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
};

use rand::Rng;
use rsipstack::{
    dialog::dialog_layer::DialogLayer,
    sip::{Auth, Header, HeadersExt, Method, Param, Request, Scheme, SipMessage, Uri},
    transaction::transaction::Transaction,
};
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span, debug, info, info_span};

use super::{
    answered::Running,
    config::Transport,
    dispatch::answer,
    early::Early,
    headers, identity, in_dialog,
    leg::{Leg, STATE_QUEUE, cseq},
    reason::{self, Reason},
    refresh::session_expires,
    sdp::{Agreed, Description, Local, RANDOM_BYTES, SdpError, Terms},
    server::{ALLOW, Shared, local_ip_towards},
    session_timer::{MIN_SE, SessionTimer},
    trunks::{Place, TrunkState},
};
use crate::telephony::{
    call::{Admission, CallHandler, CallRecord, EndCause, IncomingCall, KeyWays, MediaQuality, Side},
    rtp::engine::{Media, MediaEvent},
};

/// The extensions that a caller's side may require.
const EXTENSIONS: [&str; 2] = ["timer", "100rel"];
/// The most characters of a peer's name that are kept.
const LONGEST_AGENT: usize = 80;
/// PRACKs that may wait; more than one at once is nonsense.
const PRACK_QUEUE: usize = 2;

/// An INVITE that has passed the trunk's checks, holding its place among the calls.
pub(super) struct NewCall {
    pub shared: Arc<Shared>,
    pub dialogs: Arc<DialogLayer>,
    pub trunk: Arc<TrunkState>,
    pub peer: SocketAddr,
    /// The transport that the INVITE came by, and the address of ours that more can come to (its IP unspecified where we listen at all).
    pub reached: (Transport, SocketAddr),
    pub place: Place,
}

/// How an INVITE is refused.
pub(super) struct Refusal {
    pub status: u16,
    pub cause: String,
    pub headers: Vec<Header>,
}

impl Refusal {
    pub fn new(status: u16, cause: impl Into<String>) -> Self {
        Self { status, cause: cause.into(), headers: Vec::new() }
    }
}

impl From<SdpError> for Refusal {
    fn from(error: SdpError) -> Self {
        let status = if error == SdpError::Malformed { 400 } else { 488 };
        Self::new(status, error.to_string())
    }
}

/// Why a call was never answered.
pub(super) enum Unanswered {
    /// We refuse it.
    Refused(Refusal),
    /// The caller's side gave up, and what it said of that.
    Abandoned(Reason),
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl NewCall {
    /// Takes the call, or refuses it; writes its CDR either way.
    ///
    /// The large parts are boxed: what a call's task holds it holds for as long as the call lasts.
    pub async fn run<H: CallHandler>(self, transaction: Box<Transaction>, handler: Arc<H>) {
        let id = uuid::Uuid::new_v4();
        // Every log line of the call has its id.
        let span = info_span!("call", %id);
        self.take_in(id, transaction, handler).instrument(span).await;
    }

    async fn take_in<H: CallHandler>(self, id: uuid::Uuid, mut transaction: Box<Transaction>, handler: Arc<H>) {
        let request = Box::new(transaction.original.clone());
        let invited = self.shared.legs.invite(&request);
        let early_end = match (&invited, identity::called_number(&request)) {
            // By another way it is a call already (RFC 3261 §8.2.2.2).
            (None, _) => Err(482),
            (_, None) => Err(404),
            _ if in_dialog::replaces_nothing(&self.shared.legs, &transaction) => Err(481),
            (_, Some(called)) => Ok(called),
        };
        let called = match early_end {
            Ok(called) => called,
            Err(status) => {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                return answer(*transaction, status, vec![reason::header(reason::of_status(status))]);
            }
        };
        let call = IncomingCall {
            call_id: id.to_string(),
            sip_call_id: request.header_value("Call-ID").unwrap_or_default(),
            trunk: self.trunk.config.name.clone(),
            caller: identity::calling_number(&request),
            called,
            diverted_from: identity::first_called(&request),
            user_agent: request.header_value("User-Agent").map(|v| headers::printable(&v, LONGEST_AGENT)).filter(|v| !v.is_empty()),
            peer: self.peer,
            at: self.shared.clock.now(),
        };
        self.shared.tap.begins(&call, &request);
        // At once, so that the caller's side stops repeating the INVITE while we decide.
        if let Err(error) = transaction.send_trying().await {
            debug!(%error, "100 Trying");
        }
        let prepared = tokio::select! {
            biased;
            reason = cancelled(&mut transaction) => Err(Unanswered::Abandoned(reason)),
            prepared = Box::pin(self.prepare(&request, &call, handler.as_ref())) => prepared.map_err(Unanswered::from),
        };
        drop(request);
        let record = match prepared {
            Ok(ringing) => Box::pin(self.connect(ringing, id, transaction, self.record(call), &handler)).await,
            Err(why) => self.refuse(transaction, self.record(call), why),
        };
        drop(invited);
        Box::pin(handler.finished(*record)).await;
        // The place is free for another call only now.
        drop(self.place);
    }

    fn record(&self, call: IncomingCall) -> Box<CallRecord> {
        Box::new(CallRecord {
            call,
            ringing_at: None,
            answered_at: None,
            ended_at: self.shared.clock.now(),
            status: 200,
            cause: String::new(),
            q850: 16,
            reason: None,
            released_by: Side::Line,
            codec: None,
            srtp: false,
            packets_sent: 0,
            packets_received: 0,
            digits: 0,
            key_ways: KeyWays::default(),
            quality: MediaQuality::default(),
        })
    }

    /// Answers an INVITE that comes to no call, and fills its record in.
    fn refuse(&self, transaction: Box<Transaction>, mut record: Box<CallRecord>, why: Unanswered) -> Box<CallRecord> {
        let counters = &self.shared.counters;
        let mut list = Vec::new();
        match why {
            Unanswered::Abandoned(reason) => {
                counters.cancelled.fetch_add(1, Ordering::Relaxed);
                record.status = 487;
                EndCause::Abandoned.word().clone_into(&mut record.cause);
                record.q850 = reason.q850.unwrap_or(reason::of_status(487));
                record.reason = reason.text;
                record.released_by = Side::Caller;
                info!("the caller gave up");
            }
            Unanswered::Refused(refusal) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                info!(status = refusal.status, cause = refusal.cause, "call refused");
                record.status = refusal.status;
                record.cause = format!("refused: {}", refusal.cause);
                record.q850 = reason::of_status(refusal.status);
                list = refusal.headers;
                list.push(reason::header(record.q850));
            }
        }
        record.ended_at = self.shared.clock.now();
        answer(*transaction, record.status, list);
        record
    }

    /// Everything that can refuse the call, before anything is answered.
    async fn prepare<H: CallHandler>(&self, request: &Request, call: &IncomingCall, handler: &H) -> Result<Box<Ringing>, Refusal> {
        extensions(request)?;
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
        let terms = Terms { codecs: self.trunk.config.codecs.clone(), srtp: self.trunk.config.srtp };
        if let Some(offer) = &offer {
            terms.check(offer)?;
        }
        let unavailable = |e: std::io::Error| Refusal::new(503, e.to_string());
        let local_ip = local_ip_towards(self.peer).map_err(unavailable)?;
        // With NAT between, the socket cannot be bound to the address that the peer is told.
        let (media, media_events) = self.shared.engine.open(local_ip).map_err(unavailable)?;
        let told_ip = self.shared.config.told_address(local_ip, &self.trunk.config);
        // Any number that no earlier session of ours had (RFC 8866 §5.2).
        let session = u64::from(media.port) << 32 | u64::from(call.at.timestamp() as u32);
        let mut random = [0; RANDOM_BYTES];
        crate::ops::chance::fresh().fill_bytes(&mut random);
        let mut local = Local::new(SocketAddr::new(told_ip, media.port), session, random, terms);
        let (body, agreed) = match offer {
            Some(offer) => {
                let (body, agreed) = local.answer(&offer)?;
                (body, Some(agreed))
            }
            None => (local.offer(), None),
        };
        let contact = self.contact(call, local_ip);
        let reliable = headers::option_tags(request, "Require").iter().any(|tag| tag == "100rel");
        let takes_update = headers::allows(request, "UPDATE");
        let offer_answered = false;
        Ok(Box::new(Ringing { media, media_events, local, body, agreed, timer, contact, reliable, offer_answered, takes_update }))
    }

    /// Where requests inside the dialog reach us: the address and transport that the INVITE came to. That address need not be the one that
    /// leads to the caller's side: it may be one that moves between hosts.
    fn contact(&self, call: &IncomingCall, local_ip: IpAddr) -> Uri {
        let (transport, own) = self.reached;
        let ip = if own.ip().is_unspecified() { local_ip } else { own.ip() };
        let ip = self.shared.config.told_address(ip, &self.trunk.config);
        Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user: call.called.clone(), password: None }),
            host_with_port: SocketAddr::new(ip, own.port()).into(),
            params: if transport == Transport::Udp { vec![] } else { vec![Param::Transport(transport.into())] },
            ..Uri::default()
        }
    }
}

/// Until the caller's side cancels its INVITE, which the stack has answered 200 by then; what it said of it.
pub(super) async fn cancelled(transaction: &mut Transaction) -> Reason {
    while let Some(message) = transaction.receive().await {
        if let SipMessage::Request(request) = message
            && request.method == Method::Cancel
        {
            return Reason::of(&request);
        }
    }
    // The transaction is gone: sending the answer will tell.
    std::future::pending().await
}

/// Refuses what a request requires and we do not have.
pub(super) fn extensions(request: &Request) -> Result<(), Refusal> {
    let unknown: Vec<_> = headers::option_tags(request, "Require").into_iter().filter(|tag| !EXTENSIONS.contains(&tag.as_str())).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let unsupported = Header::Other("Unsupported".into(), unknown.join(", "));
    Err(Refusal { headers: vec![unsupported], ..Refusal::new(420, "unsupported extension required") })
}

/// The session timer that a request asks for.
pub(super) fn session_timer(request: &Request) -> Result<Option<SessionTimer>, Refusal> {
    let supported = ["Supported", "Require"].iter().any(|h| headers::option_tags(request, h).iter().any(|tag| tag == "timer"));
    SessionTimer::answer(session_expires(&request.headers), supported).map_err(|too_small| Refusal {
        headers: vec![Header::Other("Min-SE".into(), MIN_SE.to_string())],
        ..Refusal::new(422, too_small.to_string())
    })
}

/// The headers of a 2xx to INVITE or UPDATE.
pub(super) fn success_headers(timer: Option<SessionTimer>, body: bool) -> Vec<Header> {
    let mut list = vec![Header::Allow(ALLOW.into()), Header::Supported(EXTENSIONS.join(", ").into())];
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
pub(super) struct Ringing {
    pub media: Media,
    pub media_events: mpsc::Receiver<MediaEvent>,
    pub local: Local,
    pub body: String,
    /// `None` where the answer comes with the ACK (delayed offer).
    pub agreed: Option<Agreed>,
    pub timer: Option<SessionTimer>,
    pub contact: Uri,
    /// The caller's side requires that what we say before the answer arrives (RFC 3262).
    pub reliable: bool,
    /// Our offer has been answered already, by a PRACK.
    pub offer_answered: bool,
    /// The caller's side takes UPDATE.
    pub takes_update: bool,
}

impl NewCall {
    /// Answers, waits for the ACK, and sees the call through.
    async fn connect<H: CallHandler>(
        &self,
        mut ringing: Box<Ringing>,
        id: uuid::Uuid,
        mut transaction: Box<Transaction>,
        mut record: Box<CallRecord>,
        handler: &Arc<H>,
    ) -> Box<CallRecord> {
        let (to_call, mut states) = mpsc::channel(STATE_QUEUE);
        let contact = ringing.contact.clone();
        let dialog = match self.dialogs.get_or_create_server_invite(&transaction, self.shared.states.clone(), None, Some(contact.clone())) {
            Ok(dialog) => dialog,
            Err(error) => return self.refuse(transaction, record, Refusal::new(400, error.to_string()).into()),
        };
        let dialog_id = dialog.id();
        // Whatever answers this INVITE from now on has the dialog's tag.
        if let Ok(to) = transaction.original.to_header().cloned() {
            let tagged = to.with_tag(dialog_id.local_tag.clone().into());
            transaction.original.headers.unique_push(tagged.into());
        }
        let (pracks, mut prack) = mpsc::channel(PRACK_QUEUE);
        let leg = Arc::new(Leg::new(Span::current(), contact, cseq(&transaction.original).unwrap_or_default(), pracks, to_call));
        let registered = self.shared.legs.register(dialog_id.local_tag.clone(), Arc::clone(&leg));
        if ringing.reliable {
            record.ringing_at = Some(self.shared.clock.now());
            let early = Early { dialog: &dialog, leg: &leg, shared: &self.shared, chance: id.as_u128() as u32 };
            if let Err(why) = Box::pin(early.ring(&mut ringing, &mut transaction, &mut states, &mut prack)).await {
                self.dialogs.remove_dialog(&dialog_id);
                return self.refuse(transaction, record, why);
            }
        }
        drop(prack);
        // An offer of ours that the PRACK has answered is not repeated.
        let body = (!ringing.offer_answered).then(|| ringing.body.clone().into_bytes());
        // Before the transaction is driven, so that it sends nothing else first.
        if let Err(error) = dialog.accept(Some(success_headers(ringing.timer, body.is_some())), body) {
            debug!(%error, "the answer could not be sent");
        }
        let mut driver = dialog.clone();
        let drive = async move {
            if let Err(error) = driver.handle(&mut transaction).await {
                debug!(%error, "INVITE transaction");
            }
        };
        tokio::spawn(drive.in_current_span());
        let mut running = Running::new(&dialog, &leg, states, &ringing.media, ringing.local.clone(), &self.shared);
        running.agreed = ringing.agreed.take();
        running.timer = ringing.timer;
        running.takes_update = ringing.takes_update;
        let ended = Box::pin(running.run(&record.call, &mut ringing.media_events, handler)).await;
        record.answered_at = running.answered_at;
        record.digits = running.digits;
        record.key_ways = running.key_ways;
        record.codec = running.agreed.as_ref().map(|a| a.codec.name());
        record.status = ended.status;
        ended.cause.word().clone_into(&mut record.cause);
        record.q850 = ended.reason.q850.unwrap_or_else(|| reason::of_end(ended.cause));
        record.reason = ended.reason.text;
        record.released_by = ended.cause.released_by();
        record.ended_at = self.shared.clock.now();
        let media = ringing.media.finish().await;
        (record.packets_sent, record.packets_received) = (media.packets_sent, media.packets_received);
        (record.srtp, record.quality) = (media.srtp, media.quality);
        drop(registered);
        self.dialogs.remove_dialog(&dialog_id);
        info!(cause = record.cause, q850 = record.q850, keys = record.digits, "call ended");
        record
    }
}
