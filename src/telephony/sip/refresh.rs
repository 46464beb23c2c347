//! Our own refreshes of a session (RFC 4028), and who may change it at the moment (RFC 3261 §14.1).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rand::RngExt as _;
use rsipstack::{
    dialog::invite_dialog::InviteDialog,
    sip::{Header, Headers, HeadersExt, Response, StatusCodeKind},
};
use tokio::{sync::mpsc, time::sleep};
use tracing::debug;

use super::{
    server::ALLOW,
    session_timer::{AfterRefresh, SessionTimer, glare_wait},
};
use crate::ops::chance;

/// How often one refresh is tried.
const TRIES: usize = 5;

/// Which INVITEs are under way inside the dialog: a second one must not begin before the first is over.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// A re-INVITE of ours waits for its answer.
    pub ours: AtomicBool,
    /// A re-INVITE of the caller's side waits for its ACK.
    pub theirs: AtomicBool,
}

/// What became of a refresh.
#[derive(Debug)]
pub(super) enum Refreshed {
    /// The caller's side is still there.
    Alive {
        /// What holds from now on.
        timer: SessionTimer,
        /// The answer, where it took the refresh.
        answer: Option<Box<Response>>,
    },
    /// It is not.
    Gone,
}

/// One refresh.
pub(super) struct Refresh {
    pub dialog: InviteDialog,
    pub turns: Arc<Turns>,
    /// Our description as last sent.
    pub described: String,
    pub timer: SessionTimer,
    /// Does the caller's side take UPDATE?
    pub by_update: bool,
}

impl Refresh {
    /// Asks, again where the answer says so, and tells what became of it. The call goes on meanwhile.
    pub async fn run(mut self, done: mpsc::Sender<Refreshed>) {
        let mut outcome = None;
        for _ in 0..TRIES {
            if !self.by_update && self.turns.theirs.load(Ordering::Relaxed) {
                sleep(glare_wait(chance::fresh().random())).await;
                continue;
            }
            let answer = self.ask().await;
            let next = match &answer {
                Ok(answer) => judge(answer.as_ref()),
                // It could not even be sent.
                Err(_) => AfterRefresh::Gone,
            };
            match next {
                AfterRefresh::Done => {
                    let taken = answer.ok().flatten().filter(|a| a.status_code.kind() == StatusCodeKind::Successful);
                    if let Some(answer) = &taken {
                        self.timer = self.timer.settled(session_expires(&answer.headers));
                    }
                    outcome = taken.map(Box::new);
                    break;
                }
                AfterRefresh::Longer(least) => self.timer = self.timer.longer(least),
                AfterRefresh::Glare => sleep(glare_wait(chance::fresh().random())).await,
                AfterRefresh::Later(wait) => sleep(wait).await,
                AfterRefresh::ByInvite if self.by_update => self.by_update = false,
                AfterRefresh::ByInvite => break,
                AfterRefresh::Gone => {
                    debug!(?answer, "session refresh");
                    let _ = done.send(Refreshed::Gone).await;
                    return;
                }
            }
        }
        // Nobody waits where the call has ended meanwhile.
        let _ = done.send(Refreshed::Alive { timer: self.timer, answer: outcome }).await;
    }

    async fn ask(&self) -> rsipstack::Result<Option<Response>> {
        if self.by_update {
            return self.dialog.update(Some(self.headers(false)), None).await;
        }
        self.turns.ours.store(true, Ordering::Relaxed);
        // The same description under the same version: nothing changes (RFC 3264 §8).
        let answer = self.dialog.reinvite(Some(self.headers(true)), Some(self.described.clone().into_bytes())).await;
        self.turns.ours.store(false, Ordering::Relaxed);
        answer
    }

    fn headers(&self, body: bool) -> Vec<Header> {
        let mut list = vec![
            Header::Allow(ALLOW.into()),
            Header::Supported("timer".into()),
            Header::Other("Session-Expires".into(), self.timer.header_in_our_request()),
        ];
        list.extend(self.timer.min_se.map(|least| Header::Other("Min-SE".into(), least.to_string())));
        if body {
            list.push(Header::ContentType("application/sdp".into()));
        }
        list
    }
}

/// The value of `Session-Expires`, or of its short form.
pub(super) fn session_expires(headers: &Headers) -> Option<&str> {
    let is_it = |h: &&Header| h.name().eq_ignore_ascii_case("Session-Expires") || h.name().eq_ignore_ascii_case("x");
    headers.iter().find(is_it).map(Header::value)
}

fn judge(answer: Option<&Response>) -> AfterRefresh {
    let number = |name: &str| {
        let value = answer?.header_value(name)?;
        // "Retry-After: 5 (in a meeting);duration=3600"
        value.split([';', '(', ' ']).next()?.parse().ok()
    };
    AfterRefresh::of(answer.map(|a| a.status_code.code()), number("Min-SE"), number("Retry-After"))
}
