//! What is said of a call before it is answered, where the caller's side requires that it arrives (RFC 3262).

use std::pin::pin;

use rsipstack::{
    dialog::{dialog::DialogState, invite_dialog::InviteDialog},
    sip::{Header, StatusCode},
    transaction::transaction::Transaction,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    dispatch::answer,
    headers,
    leg::{Leg, cseq},
    reliable::Reliable,
    sdp::Description,
    server::{ALLOW, Shared},
    uas::{Refusal, Ringing, Unanswered, cancelled},
};

/// A call that is told to be ringing before it is answered.
pub(super) struct Early<'a> {
    pub dialog: &'a InviteDialog,
    pub leg: &'a Leg,
    pub shared: &'a Shared,
    /// Chooses the number of the provisional answer.
    pub chance: u32,
}

impl Early<'_> {
    /// Says 180, or 183 with our offer where there was none, until a PRACK acknowledges it (RFC 3262).
    pub async fn ring(
        &self,
        ringing: &mut Ringing,
        transaction: &mut Transaction,
        states: &mut mpsc::Receiver<Box<DialogState>>,
        pracks: &mut mpsc::Receiver<Box<Transaction>>,
    ) -> Result<(), Unanswered> {
        let offer = ringing.agreed.is_none().then(|| ringing.body.clone());
        let mut provisional = Reliable::new(cseq(&transaction.original).unwrap_or_default(), self.chance);
        let say = |provisional: &Reliable| {
            let mut list = vec![
                Header::Require("100rel".into()),
                Header::Other("RSeq".into(), provisional.rseq().to_string()),
                Header::Allow(ALLOW.into()),
            ];
            if offer.is_some() {
                list.push(Header::ContentType("application/sdp".into()));
            }
            if let Err(error) = self.dialog.ringing(Some(list), offer.clone().map(String::into_bytes)) {
                debug!(%error, "180 Ringing");
            }
        };
        say(&provisional);
        let mut gives_up = pin!(cancelled(transaction));
        let mut repeat_at = Instant::now() + provisional.interval();
        loop {
            tokio::select! {
                biased;
                reason = &mut gives_up => return Err(Unanswered::Abandoned(reason)),
                state = states.recv() => if state.is_none_or(|state| matches!(*state, DialogState::Terminated(..))) {
                    return Err(Unanswered::Abandoned(self.leg.bye_reason()));
                },
                Some(prack) = pracks.recv() => {
                    let rack = headers::values(&prack.original, "RAck").next().unwrap_or_default();
                    if !provisional.is_acknowledged_by(rack) {
                        answer(*prack, 481, vec![]);
                        continue;
                    }
                    return acknowledged(ringing, prack).await.map_err(Unanswered::from);
                }
                () = sleep_until(repeat_at) => {
                    if !provisional.repeat() {
                        return Err(Refusal::new(504, "no PRACK").into());
                    }
                    say(&provisional);
                    repeat_at = Instant::now() + provisional.interval();
                }
                () = self.shared.hang_up.cancelled() => return Err(Refusal::new(503, "shutdown").into()),
            }
        }
    }
}

/// Takes the PRACK, with the answer to our offer where we have made one.
async fn acknowledged(ringing: &mut Ringing, prack: Box<Transaction>) -> Result<(), Refusal> {
    if ringing.agreed.is_some() {
        return now(prack, 200, Ok(())).await;
    }
    match Description::parse(&prack.original.body).and_then(|answer| ringing.local.accept(&answer)) {
        Ok(agreed) => {
            ringing.agreed = Some(agreed);
            ringing.offer_answered = true;
            now(prack, 200, Ok(())).await
        }
        Err(error) => now(prack, 488, Err(Refusal::new(488, format!("answer in PRACK: {error}")))).await,
    }
}

/// Answers a PRACK before anything else is said, so that the answer to the INVITE does not overtake it.
async fn now<T>(mut prack: Box<Transaction>, status: u16, outcome: T) -> T {
    if let Err(error) = prack.reply(StatusCode::from(status)).await {
        debug!(%error, "answer to PRACK");
    }
    outcome
}
