//! What a node does by itself, beside closing the days: mail, and forgetting what is old.

use std::{sync::Arc, time::Duration};

use chrono::Timelike as _;
use tracing::{info, warn};

use crate::{
    canteen::EnteId,
    desk::{Desk, mail::Round},
    ops::smtp::{Courier, Pace},
    store::Ente,
    voice::live::LineWatch,
    voice::prompts::Shelf,
};

/// How often the queue is looked into while nothing is due.
const IDLE: Duration = Duration::from_secs(5);
/// How long the server is left alone once it is away: at first, and at most.
const AWAY: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(5));

/// How often a node tells the others what calls it has.
const TELL: Duration = Duration::from_secs(5);

/// Leaves the picture of this node's calls in the database, for the office on other nodes, as long as there are any.
pub async fn leave_live_pictures(desk: Desk, watch: LineWatch, enti: Vec<EnteId>) {
    let mut told = vec![false; enti.len()];
    loop {
        for (ente, told) in enti.iter().zip(&mut told) {
            let picture = watch.live.picture(*ente);
            let any = picture.calls > 0;
            if (any || *told)
                && let Err(error) = desk.leave_live_picture(&watch.node, *ente, &picture).await
            {
                warn!(%error, "the picture of this node's calls");
            }
            *told = any;
        }
        tokio::time::sleep(TELL).await;
    }
}

/// Hands mail over as long as there is any; a server that is away is asked ever less often.
pub async fn send_mail(desk: Desk, courier: impl Courier, pace: Pace) {
    let mut away = AWAY.0;
    loop {
        let wait = match desk.send_next_mail(&courier, pace).await {
            Ok(Round::Ended | Round::Postponed) => {
                away = AWAY.0;
                Duration::ZERO
            }
            Ok(Round::Idle) => IDLE,
            Ok(Round::Enough) => Duration::from_secs(1),
            Ok(Round::Away) => {
                let wait = away;
                warn!(wait_s = wait.as_secs(), "the mail server is away");
                away = (away * 2).min(AWAY.1);
                wait
            }
            Err(error) => {
                warn!(%error, "mail");
                AWAY.0
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// How often it is asked whether an office has recorded something on another node.
const PROMPTS: Duration = Duration::from_secs(3);

/// Keeps this node's prompts as the offices have them.
pub async fn follow_prompts(desk: Desk, shelf: Arc<Shelf>) {
    loop {
        tokio::time::sleep(PROMPTS).await;
        if let Err(error) = shelf.refresh(&desk).await {
            warn!(%error, "prompts");
        }
    }
}

/// The hour of the night, in the ente's time, at which what is old is forgotten: nobody calls.
const NIGHT: u32 = 3;

/// Forgets what has been kept long enough, every night.
pub async fn forget_what_is_old(desk: Desk, ente: Ente) {
    let mut last = None;
    loop {
        tokio::time::sleep(Duration::from_mins(10)).await;
        let local = ente.window.local(desk.clock().now());
        if local.hour() != NIGHT || last == Some(local.date()) {
            continue;
        }
        match desk.forget_what_is_old(ente.id).await {
            Ok(done) => {
                info!(
                    ente = ente.slug,
                    calls = done.calls,
                    trail = done.trail,
                    mails = done.mails,
                    tickets = done.tickets,
                    children = done.children,
                    "forgotten"
                );
                last = Some(local.date());
            }
            Err(error) => warn!(ente = ente.slug, %error, "old data could not be deleted; trying again"),
        }
    }
}

/// How often it is looked whether news have become public that are to be mailed.
const NEWS_ROUND: Duration = Duration::from_secs(15);

/// Queues the mail of news as they become public.
pub async fn mail_news(desk: Desk, ente: Ente) {
    loop {
        match desk.mail_news(ente.id).await {
            Ok(0) => {}
            Ok(mails) => info!(ente = ente.slug, mails, "news queued as mail"),
            Err(error) => warn!(ente = ente.slug, %error, "news could not be mailed; trying again"),
        }
        tokio::time::sleep(NEWS_ROUND).await;
    }
}
