//! The SIP side of a call: an endpoint of its own per call, INVITE out, BYE in or out (RFC 3261).

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use rand::Rng;
use rsipstack::{
    EndpointBuilder,
    dialog::{
        DialogId,
        dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle},
        dialog_layer::DialogLayer,
        invitation::InviteOption,
        invite_dialog::InviteDialog,
    },
    sip::{Auth, Header, Method, Param, Response, Scheme, StatusCode, StatusCodeKind, Transport, Uri},
    transaction::{Transaction, TransactionReceiver},
    transport::{SipAddr, SipConnection, TcpListenerConnection, TransportLayer, udp::UdpConnection},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{CallEnd, PhoneConfig, PhoneError, sdp};
use crate::telephony::{
    rtp::srtp::{KEY_BYTES, MasterKey, SALT_BYTES},
    sip::sdp::crypto::Line,
};

/// How long a CANCEL may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// A task of the call.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An answered call's signalling.
pub struct Signalling {
    /// To end the call.
    pub dialog: InviteDialog,
    /// Cancelling it drops everything SIP of this call, without a word to the peer.
    pub token: CancellationToken,
    /// Told when the call is over.
    pub ended: watch::Receiver<Option<CallEnd>>,
    /// What was agreed.
    pub answer: sdp::Answer,
    /// Id of the SDP session.
    pub session: u32,
    /// Our key, where audio is encrypted.
    pub key: Option<Line>,
    /// Our RTP socket.
    pub rtp: UdpSocket,
}

/// Where to call, as far as SIP has to know.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    uri: Uri,
    transport: Transport,
}

/// Reads what a person types: `sip:` may be missing, `;transport=` chooses between UDP and TCP.
fn target(text: &str) -> Result<Target, PhoneError> {
    let bad = |why: String| PhoneError::BadUri { uri: text.to_owned(), why };
    let text = text.trim();
    if text.starts_with("tel:") {
        return Err(bad("only sip: URIs can be called".to_owned()));
    }
    let full = if text.contains("sip:") || text.contains("sips:") { text.to_owned() } else { format!("sip:{text}") };
    let uri = Uri::try_from(full.as_str()).map_err(|error| bad(error.to_string()))?;
    if uri.scheme != Some(Scheme::Sip) {
        return Err(bad("only sip: URIs can be called".to_owned()));
    }
    let asked = uri.params.iter().find_map(|param| if let Param::Transport(transport) = param { Some(*transport) } else { None });
    match asked.unwrap_or(Transport::Udp) {
        transport @ (Transport::Udp | Transport::Tcp) => Ok(Target { uri, transport }),
        other => Err(bad(format!("transport {other} is not offered, only UDP and TCP"))),
    }
}

/// Our address on the way to `remote`.
async fn local_ip(remote: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if remote.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(remote).await?;
    Ok(socket.local_addr()?.ip())
}

/// Calls, and waits for the answer.
pub async fn dial(text: &str, config: &PhoneConfig, rng: &mut impl Rng) -> Result<Signalling, PhoneError> {
    let Target { uri, transport } = target(text)?;
    let host = &uri.host_with_port;
    let port = host.port.as_ref().map_or(5060, rsipstack::sip::Port::value);
    let unresolved = |why: String| PhoneError::Unresolved { host: host.host.to_string(), why };
    let remote = tokio::net::lookup_host((host.host.to_string().trim_matches(['[', ']']), port))
        .await
        .map_err(|error| unresolved(error.to_string()))?
        .next()
        .ok_or_else(|| unresolved("no address".to_owned()))?;
    let ip = match config.local_ip {
        Some(ip) => ip,
        None => local_ip(remote).await?,
    };
    let rtp = UdpSocket::bind((ip, 0)).await?;

    let token = CancellationToken::new();
    // Whatever goes wrong from here on takes the endpoint's tasks with it.
    let guard = token.clone().drop_guard();
    let transports = TransportLayer::new(token.clone());
    transports.add_transport(listener(ip, transport, &token).await?);
    let endpoint =
        EndpointBuilder::new().with_cancel_token(token.clone()).with_transport_layer(transports).with_user_agent("VoceGuida-phone").build();
    let incoming = endpoint.incoming_transactions()?;
    let contact_addr = endpoint.get_addrs().into_iter().next().ok_or_else(|| PhoneError::Sip("no local SIP address".to_owned()))?;
    let layer = DialogLayer::new(endpoint.inner.clone());
    tokio::spawn(async move { endpoint.serve().await });

    let user = if config.caller.is_empty() { "anonymous".to_owned() } else { config.caller.clone() };
    let contact = Uri {
        scheme: Some(Scheme::Sip),
        auth: Some(Auth { user: user.clone(), password: None }),
        host_with_port: contact_addr.addr.clone(),
        ..Uri::default()
    };
    // RFC 3323 §4.1.1.3: the From of a call with the number withheld.
    let caller = if config.caller.is_empty() { Uri::try_from("sip:anonymous@anonymous.invalid")? } else { contact.clone() };
    let session = rng.next_u32() >> 1;
    let key = config.srtp.map(|suite| {
        let mut random = [0; KEY_BYTES + SALT_BYTES];
        rng.fill_bytes(&mut random);
        Line { tag: 1, suite, key: MasterKey::new(suite, &random) }
    });
    let (codecs, events) = (config.codecs.as_slice(), config.events);
    let offer = sdp::Offer { local: rtp.local_addr()?, session, version: 0, codecs, events, hold: false, key: key.as_ref() };
    let body = offer.to_sdp();
    let options = InviteOption {
        caller_display_name: config.caller.is_empty().then(|| "Anonymous".to_owned()),
        caller,
        callee: uri,
        destination: Some(SipAddr { r#type: Some(transport), addr: remote.into() }),
        contact,
        offer: Some(body.clone().into_bytes()),
        ..InviteOption::default()
    };
    let (state_sender, states) = layer.new_dialog_state_channel();
    // Not the layer's own `do_invite`: that leaves a task behind, with the socket, when the endpoint ends.
    let (dialog, mut invite) = layer.create_client_invite_dialog(options, state_sender)?;
    let until_over = |task: Task| {
        let over = token.clone();
        tokio::spawn(async move { over.run_until_cancelled(task).await })
    };
    let bye_answered = Arc::new(Notify::new());
    until_over(Box::pin(answer_requests(dialog.clone(), incoming, bye_answered.clone(), token.clone())));
    let Some(response) = invited(&dialog, &mut invite, config.answer_timeout).await? else {
        return Err(PhoneError::NoAnswer);
    };
    // The 2xx may be repeated until its ACK arrives (RFC 3261 §13.2.2.4); each gets its ACK here.
    until_over(Box::pin(async move { while invite.receive().await.is_some() {} }));
    let answer = match settled(&response, key.as_ref()) {
        Ok(answer) => answer,
        Err(error) => {
            // A call was made that cannot be heard; a refused one has nothing to hang up.
            if matches!(error, PhoneError::BadAnswer(_)) {
                dialog.hangup().await?;
            }
            return Err(error);
        }
    };
    let (ended_sender, ended) = watch::channel(None);
    tokio::spawn(follow(states, ended_sender, body, bye_answered, token.clone()));
    Ok(Signalling { dialog, token: guard.disarm(), ended, answer, session, key, rtp })
}

/// A listener on a free port: the peer's requests in the dialog may come on a connection of their own.
async fn listener(ip: IpAddr, transport: Transport, token: &CancellationToken) -> Result<SipConnection, PhoneError> {
    if transport == Transport::Tcp {
        // The stack binds by itself and does not tell the port it got, so a free one is looked up first.
        let port = TcpListener::bind((ip, 0)).await?.local_addr()?.port();
        return Ok(SipConnection::TcpListener(TcpListenerConnection::new((ip, port).into(), None).await?));
    }
    Ok(SipConnection::Udp(UdpConnection::create_connection((ip, 0).into(), None, Some(token.child_token())).await?))
}

/// Sends the INVITE and waits for its final response; `None` when none came in time.
async fn invited(dialog: &InviteDialog, invite: &mut Transaction, limit: Duration) -> Result<Option<Response>, PhoneError> {
    let mut processing = std::pin::pin!(dialog.process_invite(invite));
    if let Ok(done) = timeout(limit, &mut processing).await {
        return Ok(done?.1);
    }
    // The CANCEL is answered, or it is not: either way nobody picked up.
    let cancelling = async { tokio::join!(dialog.cancel(), processing) };
    if let Ok((Err(error), _)) = timeout(CANCEL_TIMEOUT, cancelling).await {
        tracing::debug!(%error, "CANCEL");
    }
    Ok(None)
}

fn settled(response: &Response, key: Option<&Line>) -> Result<sdp::Answer, PhoneError> {
    if response.status_code.kind() != StatusCodeKind::Successful {
        return Err(PhoneError::refused(response));
    }
    Ok(sdp::answer(&String::from_utf8_lossy(&response.body), key)?)
}

/// Hands the peer's requests to the dialog; what does not belong to it is told so.
async fn answer_requests(dialog: InviteDialog, mut incoming: TransactionReceiver, bye_answered: Arc<Notify>, over: CancellationToken) {
    while let Some(mut transaction) = incoming.recv().await {
        let mut dialog = dialog.clone();
        let bye_answered = bye_answered.clone();
        let handling = async move {
            // A BYE may overtake the handling of the 200 it follows.
            for _ in 0..50 {
                if !dialog.state().can_cancel() {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            let result = match DialogId::try_from(&transaction) {
                Ok(id) if id == dialog.id() => dialog.handle(&mut transaction).await,
                _ if transaction.original.method == Method::Ack => Ok(()),
                _ => transaction.reply(StatusCode::CallTransactionDoesNotExist).await,
            };
            if let Err(error) = result {
                tracing::debug!(%error, "request in the dialog");
            }
            if transaction.original.method == Method::Bye {
                bye_answered.notify_one();
            }
        };
        let over = over.clone();
        tokio::spawn(async move { over.run_until_cancelled(handling).await });
    }
}

/// Follows the dialog to its end, and agrees to what a peer may ask on the way.
async fn follow(
    mut states: DialogStateReceiver,
    ended: watch::Sender<Option<CallEnd>>,
    body: String,
    bye_answered: Arc<Notify>,
    token: CancellationToken,
) {
    loop {
        let state = tokio::select! {
            state = states.recv() => state,
            () = token.cancelled() => None,
        };
        match state {
            Some(DialogState::Terminated(_, reason)) => {
                let end = match reason {
                    TerminatedReason::UasBye => {
                        // Whoever hears of the end may drop the call: the BYE is to have its 200 first.
                        if timeout(Duration::from_secs(1), bye_answered.notified()).await.is_err() {
                            tracing::debug!("a BYE without an answer");
                        }
                        CallEnd::TheyHungUp
                    }
                    TerminatedReason::UacBye => CallEnd::WeHungUp,
                    _ => CallEnd::Lost,
                };
                ended.send_replace(Some(end));
                return;
            }
            // A re-INVITE or UPDATE, for a session timer say: all stays as it was.
            Some(DialogState::Updated(_, request, handle)) => {
                let content = (!request.body.is_empty() || request.method == Method::Invite).then(|| body.clone().into_bytes());
                let headers = content.is_some().then(|| vec![Header::ContentType("application/sdp".into())]);
                reply(&handle, headers, content).await;
            }
            Some(
                DialogState::Info(_, _, handle)
                | DialogState::Options(_, _, handle)
                | DialogState::Notify(_, _, handle)
                | DialogState::Message(_, _, handle),
            ) => reply(&handle, None, None).await,
            Some(_) => {}
            None => {
                ended.send_if_modified(|end| end.is_none() && end.replace(CallEnd::Lost).is_none());
                return;
            }
        }
    }
}

async fn reply(handle: &TransactionHandle, headers: Option<Vec<Header>>, body: Option<Vec<u8>>) {
    if handle.respond(StatusCode::OK, headers, body).await.is_err() {
        tracing::debug!("the request was gone before its answer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_as_people_type_them() {
        let read = |text| target(text).map(|target| (target.uri.to_string(), target.transport));
        assert_eq!(read("0182@127.0.0.1:5070").unwrap(), ("sip:0182@127.0.0.1:5070".to_owned(), Transport::Udp));
        assert_eq!(read(" sip:0182@localhost;transport=tcp ").unwrap().1, Transport::Tcp);
        for bad in ["", "sips:a@b", "sip:a@b;transport=ws", "tel:+39"] {
            assert!(matches!(target(bad), Err(PhoneError::BadUri { .. })), "{bad}");
        }
    }
}
