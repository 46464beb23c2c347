//! Requests inside the dialog of a call, and those that no call of ours will ever take.
//!
//! The stack takes them in once the call has been acknowledged, and drops them without a word before. So the
//! ones that come early are answered here, and the ones whose ACK is still on its way wait for it.

use std::{sync::Arc, time::Duration};

use rsipstack::{
    dialog::{
        dialog::{Dialog, DialogState},
        dialog_layer::DialogLayer,
    },
    sip::{Header, Method},
    transaction::transaction::Transaction,
};
use tokio::{sync::mpsc::error::TrySendError, time::sleep};
use tracing::{Instrument as _, debug};

use super::{
    dispatch::answer,
    headers::{self, NameAddr},
    leg::{Leg, Legs, cseq},
    server::{ALLOW, Shared},
};

/// How long a request waits for the ACK that it has overtaken.
const ACK_ON_ITS_WAY: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);

/// A `Retry-After` of so many seconds.
fn retry_after(seconds: u32) -> Header {
    Header::Other("Retry-After".into(), seconds.to_string())
}

fn allow() -> Header {
    Header::Allow(ALLOW.into())
}

/// How a method is refused that no call takes, inside a dialog or outside.
pub(super) fn refusal(method: Method) -> Option<(u16, Vec<Header>)> {
    Some(match method {
        Method::Invite | Method::Ack | Method::Bye | Method::Cancel | Method::Options | Method::Update | Method::Info | Method::PRack => {
            return None;
        }
        // We are nobody who can be transferred.
        Method::Refer => (603, vec![]),
        // There is no event package that we know (RFC 6665 §7.3.2); 481 could take the whole dialog down with it (RFC 5057).
        Method::Subscribe | Method::Notify => (489, vec![allow()]),
        Method::Message | Method::Publish | Method::Register => (405, vec![allow()]),
    })
}

/// Is this INVITE to take over a call (RFC 3891) that is none of ours? One that names a call of ours is a call
/// like any other: we do not say that we support it, and whoever transfers hangs up the old one himself.
pub(super) fn replaces_nothing(legs: &Legs, transaction: &Transaction) -> bool {
    let Some(replaces) = headers::values(&transaction.original, "Replaces").next() else { return false };
    // The header has the form of an address without brackets.
    let tag = NameAddr::parse(replaces).and_then(|r| r.param("to-tag"));
    tag.and_then(|tag| legs.get(tag)).is_none()
}

/// Takes in a request that names a dialog.
pub(super) fn handle(shared: &Arc<Shared>, dialogs: &DialogLayer, transaction: Transaction) {
    let tag = headers::values(&transaction.original, "To").next().and_then(NameAddr::parse).and_then(|to| to.param("tag"));
    let leg = tag.and_then(|tag| shared.legs.get(tag));
    let Some((dialog, leg)) = dialogs.match_dialog(&transaction).zip(leg) else {
        if transaction.original.method != Method::Ack && shared.may_answer() {
            answer(transaction, 481, vec![]);
        }
        return;
    };
    // Here, and not in the task: in the order in which they came.
    let in_order = transaction.original.method == Method::Ack || cseq(&transaction.original).is_some_and(|n| leg.is_in_order(n));
    if !in_order {
        return answer(transaction, 500, vec![]);
    }
    if let Some((status, list)) = refusal(transaction.original.method) {
        return answer(transaction, status, list);
    }
    let span = leg.span.clone();
    tokio::spawn(take(leg, dialog, transaction).instrument(span));
}

async fn take(leg: Arc<Leg>, mut dialog: Dialog, mut transaction: Transaction) {
    match transaction.original.method {
        Method::Ack => {}
        Method::Bye => leg.keep_bye(&transaction.original),
        Method::PRack => {
            // Nobody waits for one, or for one more.
            if let Err(TrySendError::Full(prack) | TrySendError::Closed(prack)) = leg.pracks.try_send(Box::new(transaction)) {
                answer(*prack, 481, vec![]);
            }
            return;
        }
        _ => match dialog.state() {
            DialogState::Calling(_) | DialogState::Trying(_) | DialogState::Early(..) => return early(&leg, transaction),
            // Hung up, and about to be forgotten.
            DialogState::Terminated(..) => return answer(transaction, 481, vec![]),
            DialogState::WaitAck(..) if !is_acknowledged(&dialog).await => {
                // The answer stands, but whether the caller knows of it is not certain: later (RFC 3261 §14.2).
                return answer(transaction, 500, vec![retry_after(2)]);
            }
            _ => {}
        },
    }
    if let Err(error) = dialog.handle(&mut transaction).await {
        debug!(%error, "request in the call");
    }
}

/// Waits until the ACK has come.
async fn is_acknowledged(dialog: &Dialog) -> bool {
    let mut waited = Duration::ZERO;
    while matches!(dialog.state(), DialogState::WaitAck(..)) {
        if waited >= ACK_ON_ITS_WAY {
            return false;
        }
        sleep(LOOK).await;
        waited += LOOK;
    }
    true
}

/// A request that comes before we have answered the INVITE.
fn early(leg: &Leg, transaction: Transaction) {
    match transaction.original.method {
        // A second offer before the first is answered (RFC 3311 §5.2), a second INVITE (RFC 3261 §14.2).
        Method::Invite => answer(transaction, 500, vec![retry_after(1)]),
        Method::Update if !transaction.original.body.is_empty() => answer(transaction, 500, vec![retry_after(1)]),
        Method::Update => {
            let contact = Header::Contact(format!("<{}>", leg.contact).into());
            answer(transaction, 200, vec![contact, allow()]);
        }
        // Nothing asks for keys yet.
        _ => answer(transaction, 200, vec![allow()]),
    }
}
