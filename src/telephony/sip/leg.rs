//! What a call shares with whoever takes in the requests inside its dialog, and the calls there are.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use rsipstack::{
    dialog::dialog::{DialogState, DialogStateReceiver},
    sip::{HeadersExt, Request, Uri},
    transaction::transaction::Transaction,
};
use tokio::sync::mpsc;
use tracing::Span;

use super::{headers, reason::Reason};

/// One call, as requests inside its dialog meet it.
#[derive(Debug)]
pub(super) struct Leg {
    /// The call's span: every log line within carries its id.
    pub span: Span,
    /// Where requests inside the dialog reach us.
    pub contact: Uri,
    /// The highest CSeq that came from the caller's side.
    remote_cseq: AtomicU32,
    /// PRACKs, for whoever waits for one. Boxed: a queue takes room for 32 at once, which were 29 kB for each call.
    pub pracks: mpsc::Sender<Box<Transaction>>,
    /// Changes of the dialog, for whoever runs the call.
    states: mpsc::Sender<Box<DialogState>>,
    /// What the BYE of the caller's side said.
    bye: OnceLock<Reason>,
}

/// Changes of its dialog that may wait for a call.
pub(super) const STATE_QUEUE: usize = 32;

impl Leg {
    /// A call that began with an INVITE of this CSeq.
    pub fn new(
        span: Span,
        contact: Uri,
        cseq: u32,
        pracks: mpsc::Sender<Box<Transaction>>,
        states: mpsc::Sender<Box<DialogState>>,
    ) -> Self {
        Self { span, contact, remote_cseq: AtomicU32::new(cseq), pracks, states, bye: OnceLock::new() }
    }

    /// Is this request newer than, or as new as, every one before? An older one has been overtaken (RFC 3261 §12.2.2).
    pub fn is_in_order(&self, cseq: u32) -> bool {
        self.remote_cseq.fetch_max(cseq, Ordering::Relaxed) <= cseq
    }

    /// Keeps what the BYE says for the call's record.
    pub fn keep_bye(&self, request: &Request) {
        // The first one counts.
        let _ = self.bye.set(Reason::of(request));
    }

    /// What the caller's side said when it hung up.
    pub fn bye_reason(&self) -> Reason {
        self.bye.get().cloned().unwrap_or_default()
    }
}

/// What makes two INVITEs the same one that came by two ways (RFC 3261 §8.2.2.2): Call-ID, From tag, CSeq.
type InviteKey = (String, String, u32);

/// The calls there are. Bounded by the places for calls: whoever is in here holds one.
#[derive(Debug, Default)]
pub(super) struct Legs {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By our tag, which nobody else has.
    by_tag: HashMap<String, Arc<Leg>>,
    /// INVITEs whose call goes on.
    invites: HashSet<InviteKey>,
}

/// A place in the register of INVITEs; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Invited<'a> {
    legs: &'a Legs,
    key: Option<InviteKey>,
}

/// A place in the register of calls; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Registered<'a> {
    legs: &'a Legs,
    tag: String,
}

impl Legs {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an INVITE in; `None` where the same one has come already by another way.
    pub fn invite(&self, request: &Request) -> Option<Invited<'_>> {
        let key = invite_key(request);
        if let Some(key) = &key
            && !self.inner().invites.insert(key.clone())
        {
            return None;
        }
        Some(Invited { legs: self, key })
    }

    /// Makes a call known under our tag.
    pub fn register(&self, tag: String, leg: Arc<Leg>) -> Registered<'_> {
        self.inner().by_tag.insert(tag.clone(), leg);
        Registered { legs: self, tag }
    }

    /// Hands the stack's changes of dialogs to their calls. A queue for all of them: the stack's are made for 32
    /// changes of some 300 bytes each, and nearly always hold none.
    pub async fn relay(&self, mut states: DialogStateReceiver) {
        while let Some(state) = states.recv().await {
            // A call that is over needs no more changes; one that is flooded by its peer misses some.
            if let Some(leg) = self.get(&state.id().local_tag)
                && let Err(mpsc::error::TrySendError::Full(lost)) = leg.states.try_send(Box::new(state))
            {
                tracing::debug!(parent: &leg.span, dialog = %lost.id(), "too many requests at once inside a call");
            }
        }
    }

    /// The call with this tag of ours.
    pub fn get(&self, tag: &str) -> Option<Arc<Leg>> {
        self.inner().by_tag.get(tag).cloned()
    }
}

impl Drop for Invited<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.legs.inner().invites.remove(key);
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.legs.inner().by_tag.remove(&self.tag);
    }
}

/// `None` where a header is missing: the stack will have refused it, or the dialog will not come about.
fn invite_key(request: &Request) -> Option<InviteKey> {
    let tag = headers::NameAddr::parse(headers::values(request, "From").next()?)?.param("tag")?.to_owned();
    Some((headers::values(request, "Call-ID").next()?.to_owned(), tag, cseq(request)?))
}

/// The CSeq number.
pub(super) fn cseq(request: &Request) -> Option<u32> {
    request.cseq_header().ok()?.seq().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::headers::tests::request, *};

    #[test]
    fn an_invite_that_comes_by_two_ways_is_taken_once() {
        let legs = Legs::default();
        let one = request("From: <sip:1@h>;tag=1\r\n", "");
        let other = request("From: <sip:1@h>;tag=2\r\n", "");
        let first = legs.invite(&one);
        assert!(first.is_some() && legs.invite(&one).is_none());
        assert!(legs.invite(&other).is_some());
        drop(first);
        assert!(legs.invite(&one).is_some(), "its call is over");
        assert_eq!(legs.inner().invites.len(), 0);
    }

    #[test]
    fn requests_that_were_overtaken_are_told_apart() {
        let leg = Leg::new(Span::none(), Uri::default(), 7, mpsc::channel(1).0, mpsc::channel(1).0);
        assert_eq!([8, 10, 9, 10, 11].map(|cseq| leg.is_in_order(cseq)), [true, true, false, true, true]);
    }
}
