//! What becomes of a request: decided at once, and without waiting.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use rsipstack::{
    dialog::dialog_layer::DialogLayer,
    sip::{Header, HeadersExt, Method, Request, StatusCode},
    transaction::transaction::Transaction,
};
use tracing::debug;

use super::{
    config::Transport,
    gate::RETRY_AFTER,
    identity, in_dialog,
    server::{ALLOW, Shared},
    trunks::{NoTrunk, Standing},
    uas,
};
use crate::telephony::call::CallHandler;

/// Where a request really came from.
fn source(transaction: &Transaction) -> Option<SocketAddr> {
    transaction.connection.as_ref()?.get_remote_addr()?.get_socketaddr().ok()
}

/// Decides what becomes of a request.
pub(super) fn dispatch<H: CallHandler>(shared: &Arc<Shared>, dialogs: &Arc<DialogLayer>, handler: &Arc<H>, transaction: Transaction) {
    let Some(peer) = source(&transaction) else { return };
    let now = Instant::now();
    let standing = shared.trunks.standing(peer, now);
    // The door is shut to strangers already; dropping the transaction forgets it.
    if standing == Standing::Stranger {
        return;
    }
    // Over UDP the door has counted it.
    let datagrams = transaction.connection.as_ref().is_some_and(|c| !c.is_reliable());
    if let Standing::MayProve { per_second, proven } = standing
        && !datagrams
        && !(proven && transaction.original.method != Method::Invite)
        && !shared.may_ask(peer.ip(), per_second, now)
    {
        return;
    }
    shared.trunks.heard(peer, now);
    let in_dialog = transaction.original.to_header().is_ok_and(|to| to.tag().is_ok_and(|tag| tag.is_some()));
    if in_dialog {
        return in_dialog::handle(shared, dialogs, transaction);
    }
    if transaction.original.method != Method::Invite && !shared.may_answer() {
        return;
    }
    if let Some((status, list)) = in_dialog::refusal(transaction.original.method) {
        return answer(transaction, status, list);
    }
    match transaction.original.method {
        Method::Invite => invite(shared, dialogs, handler, transaction, peer),
        Method::Options => {
            let status = if shared.is_draining() { 503 } else { 200 };
            let accept = Header::Other("Accept".into(), "application/sdp".into());
            answer(transaction, status, vec![Header::Allow(ALLOW.into()), accept]);
        }
        Method::Ack => {}
        // They make sense only inside a call.
        _ => answer(transaction, 481, vec![]),
    }
}

/// A new call: whose is it, and is there room?
fn invite<H: CallHandler>(shared: &Arc<Shared>, dialogs: &Arc<DialogLayer>, handler: &Arc<H>, transaction: Transaction, peer: SocketAddr) {
    let now = Instant::now();
    let request = &transaction.original;
    let called = identity::called_number(request);
    let trunk = match shared.trunks.of_call(peer, called.as_deref(), authorizations(request), now) {
        Ok(trunk) => Arc::clone(trunk),
        Err(NoTrunk::Stranger) => return,
        Err(NoTrunk::Unproven { stale }) => {
            if shared.may_answer() {
                let challenges = shared.trunks.challenges(peer.ip(), stale, now);
                answer(transaction, 401, challenges.into_iter().map(|c| Header::WwwAuthenticate(c.into())).collect());
            }
            return;
        }
    };
    trunk.counters.invites.fetch_add(1, Ordering::Relaxed);
    let place = if shared.is_draining() { None } else { trunk.place(&shared.slots, now) };
    let Some(place) = place else {
        shared.counters.full.fetch_add(1, Ordering::Relaxed);
        trunk.counters.limited.fetch_add(1, Ordering::Relaxed);
        if shared.may_answer() {
            answer(transaction, 503, vec![Header::Other("Retry-After".into(), RETRY_AFTER.into())]);
        }
        return;
    };
    shared.counters.invites.fetch_add(1, Ordering::Relaxed);
    let reached = reached(shared, &transaction);
    let call = uas::NewCall { shared: Arc::clone(shared), dialogs: Arc::clone(dialogs), trunk, peer, reached, place };
    tokio::spawn(call.run(Box::new(transaction), Arc::clone(handler)));
}

/// The transport that a request came by, and the address of ours at which more can come; its IP is unspecified where we listen at all.
fn reached(shared: &Shared, transaction: &Transaction) -> (Transport, SocketAddr) {
    let connection = transaction.connection.as_ref();
    let transport = connection.and_then(|c| c.transport().try_into().ok()).unwrap_or_default();
    let own = connection.and_then(|c| c.get_addr().get_socketaddr().ok());
    let mut own = own.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 5060)));
    if !shared.config.listening(transport).iter().any(|a| a.port() == own.port()) {
        // A connection that we have opened came from any port.
        own.set_port(shared.config.port_at(transport, own.ip()).unwrap_or(own.port()));
    }
    (transport, own)
}

fn authorizations(request: &Request) -> impl Iterator<Item = &str> {
    request.headers.iter().filter_map(|header| match header {
        Header::Authorization(value) => Some(value.value()),
        _ => None,
    })
}

/// Sends a final answer and sees the transaction to its end (the ACK of a refused INVITE).
pub(super) fn answer(mut transaction: Transaction, status: u16, headers: Vec<Header>) {
    tokio::spawn(async move {
        if let Err(error) = transaction.reply_with(StatusCode::from(status), headers, None).await {
            debug!(%error, status, "the answer could not be sent");
            return;
        }
        while transaction.receive().await.is_some() {}
    });
}
