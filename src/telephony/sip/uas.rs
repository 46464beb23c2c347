//! The life of one call, from INVITE to CDR, readable from top to bottom; [`super::answered`] is its middle.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
};

use rsipstack::{
    dialog::dialog_layer::DialogLayer,
    sip::{Auth, Header, HeadersExt, Method, Param, Request, Scheme, SipMessage, Uri},
    transaction::transaction::Transaction,
};
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::{
    answered::Running,
    config::Transport,
    dispatch::answer,
    headers,
    sdp::{Agreed, Description, Local, SdpError},
    server::{ALLOW, Shared, local_ip_towards},
    session_timer::{MIN_SE, SessionTimer},
    trunks::{Place, TrunkState},
};
use crate::telephony::{
    call::{Admission, CallHandler, CallRecord, EndCause, IncomingCall},
    rtp::engine::{Media, MediaEvent},
};

/// An INVITE that has passed the trunk's checks, holding its place among the calls.
pub(super) struct NewCall {
    pub shared: Arc<Shared>,
    pub dialogs: Arc<DialogLayer>,
    pub trunk: Arc<TrunkState>,
    pub peer: SocketAddr,
    /// The transport that the INVITE came by, and the port of ours that more can come to.
    pub reached: (Transport, u16),
    pub place: Place,
}

/// How an INVITE is refused.
pub(super) struct Refusal {
    pub status: u16,
    pub cause: String,
    pub headers: Vec<Header>,
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
    pub async fn run<H: CallHandler>(self, mut transaction: Transaction, handler: Arc<H>) {
        let request = transaction.original.clone();
        // At once, so that the caller's side stops repeating the INVITE while we decide.
        if let Err(error) = transaction.send_trying().await {
            debug!(%error, "100 Trying");
        }
        let Some(called) = headers::called_number(&request) else {
            self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            return answer(transaction, 404, vec![]);
        };
        let call = IncomingCall {
            call_id: uuid::Uuid::new_v4().to_string(),
            sip_call_id: request.header_value("Call-ID").unwrap_or_default(),
            trunk: self.trunk.config.name.clone(),
            caller: headers::calling_number(&request),
            called,
            peer: self.peer,
            at: self.shared.clock.now(),
        };
        let prepared = tokio::select! {
            biased;
            () = cancelled(&mut transaction) => Err(Refusal::new(487, "caller gave up")),
            prepared = self.prepare(&request, &call, handler.as_ref()) => prepared,
        };
        let mut ringing = match prepared {
            Ok(ringing) => ringing,
            Err(refusal) if refusal.status == 487 => {
                self.shared.counters.cancelled.fetch_add(1, Ordering::Relaxed);
                let record = self.record(call, 487, EndCause::Abandoned.word().to_owned());
                answer(transaction, 487, vec![]);
                handler.finished(record).await;
                return;
            }
            Err(refusal) => {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                info!(
                    call = call.call_id,
                    trunk = call.trunk,
                    called = call.called,
                    status = refusal.status,
                    cause = refusal.cause,
                    "call refused"
                );
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
        drop(self.place);
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
        let told_ip = self.shared.config.told_address(local_ip, &self.trunk.config);
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
        let contact = self.contact(call, told_ip);
        Ok(Ringing { media, media_events, local, body, agreed, timer, contact })
    }

    /// Where requests inside the dialog reach us: the port and transport that the INVITE came to.
    fn contact(&self, call: &IncomingCall, ip: IpAddr) -> Uri {
        let (transport, port) = self.reached;
        Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user: call.called.clone(), password: None }),
            host_with_port: SocketAddr::new(ip, port).into(),
            params: if transport == Transport::Udp { vec![] } else { vec![Param::Transport(transport.into())] },
            ..Uri::default()
        }
    }
}

/// Until the caller's side cancels its INVITE, which the stack has answered 200 by then.
async fn cancelled(transaction: &mut Transaction) {
    while let Some(message) = transaction.receive().await {
        if matches!(message, SipMessage::Request(request) if request.method == Method::Cancel) {
            return;
        }
    }
    // The transaction is gone: sending the answer will tell.
    std::future::pending::<()>().await;
}

/// The session timer that a request asks for.
pub(super) fn session_timer(request: &Request) -> Result<Option<SessionTimer>, Refusal> {
    let supported = ["Supported", "Require"].iter().any(|h| headers::option_tags(request, h).iter().any(|tag| tag == "timer"));
    // "x" is the compact form of Session-Expires.
    let wanted = request.header_value("Session-Expires").or_else(|| request.header_value("x"));
    SessionTimer::answer(wanted.as_deref(), supported).map_err(|too_small| Refusal {
        headers: vec![Header::Other("Min-SE".into(), MIN_SE.to_string())],
        ..Refusal::new(422, too_small.to_string())
    })
}

/// The headers of a 2xx to INVITE or UPDATE.
pub(super) fn success_headers(timer: Option<SessionTimer>, body: bool) -> Vec<Header> {
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
        let mut record = new.record(call, 200, String::new());
        // Before the transaction is driven: it would send another 100 first.
        if let Err(error) = dialog.accept(Some(success_headers(self.timer, true)), Some(self.body.clone().into_bytes())) {
            debug!(call = record.call.call_id, %error, "the answer could not be sent");
        }
        let mut driver = dialog.clone();
        tokio::spawn(async move {
            if let Err(error) = driver.handle(&mut transaction).await {
                debug!(%error, "INVITE transaction");
            }
        });
        let mut running = Running {
            dialog: &dialog,
            states,
            media: &self.media,
            local: self.local,
            described: self.body.clone(),
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
