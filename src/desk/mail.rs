//! Mail: queued in the transaction of what it is about, sent by a task of its own, looked after by the office.
//!
//! A mail is claimed by one node before it is handed over, so that none is sent twice at once. If the program dies between the server's
//! "taken" and our commit, it is handed over again, under the same Message-ID.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{
    Desk, DeskError, ente_of,
    trail::{Actor, Subject, record},
};
pub use crate::store::{Attachment, MailFilter, MailOrder, MailRow};
use crate::{
    canteen::EnteId,
    ops::smtp::{Courier, Delivery, Outgoing, Pace, WHOLE},
    store::{DueMail, PutMail, Tx},
};

/// Mails of one ente that may wait: some letters to every family of a town.
pub const MOST_WAITING: i64 = 20_000;
/// The longest subject, in characters.
pub const LONGEST_SUBJECT: usize = 200;
/// The longest text, in characters.
pub const LONGEST_BODY: usize = 20_000;

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailKind {
    /// The letter with codes and credentials.
    Letter,
    /// The kitchen's sheet.
    Kitchen,
    /// News to families.
    News,
    /// An answer to what a family asked.
    Answer,
    /// A trial of the settings.
    Trial,
}

impl MailKind {
    fn word(self) -> &'static str {
        match self {
            Self::Letter => "letter",
            Self::Kitchen => "kitchen",
            Self::News => "news",
            Self::Answer => "answer",
            Self::Trial => "trial",
        }
    }
}

/// A mail to be queued. No `Debug`: letters hold codes.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "letters hold codes")]
pub struct NewMail {
    /// What it is about.
    pub kind: MailKind,
    /// Where it must not be queued twice: what it is for.
    pub cause: Option<String>,
    /// Address.
    pub recipient: String,
    /// The addressee's name.
    pub recipient_name: String,
    /// Subject.
    pub subject: String,
    /// Text, plain.
    pub body: String,
    /// Files.
    pub attachments: Vec<Attachment>,
}

/// Why a mail was not queued.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The address is none.
    #[error("this is no e-mail address")]
    Address,
    /// Too much is waiting already.
    #[error("{MOST_WAITING} mails are waiting already")]
    Full,
    /// Subject or text is too long.
    #[error("subject or text is too long")]
    TooLong,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<crate::store::StoreError> for MailError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// Is this an address that mail can be sent to?
pub fn is_address(text: &str) -> bool {
    text.parse::<lettre::Address>().is_ok() && text.len() <= 254
}

/// Queues a mail within `tx`: it is sent if, and only if, that commits. `None` where one for the same cause is there already.
pub async fn queue(tx: &mut Tx, at: DateTime<Utc>, actor: &Actor, mail: &NewMail) -> Result<Option<i64>, MailError> {
    if !is_address(&mail.recipient) {
        return Err(MailError::Address);
    }
    if mail.subject.chars().count() > LONGEST_SUBJECT || mail.body.chars().count() > LONGEST_BODY {
        return Err(MailError::TooLong);
    }
    if tx.mails_waiting(actor.ente).await? >= MOST_WAITING {
        return Err(MailError::Full);
    }
    let put = PutMail {
        ente: actor.ente,
        token: &Uuid::new_v4().simple().to_string(),
        cause_key: mail.cause.as_deref(),
        kind: mail.kind.word(),
        recipient: &mail.recipient,
        recipient_name: &mail.recipient_name,
        subject: &mail.subject,
        body: &mail.body,
        actor: &actor.name,
        at,
    };
    Ok(tx.put_mail(&put, &mail.attachments).await?)
}

/// What a round of sending did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// A mail came to its end: sent, refused or given up.
    Ended,
    /// A mail was not taken now.
    Postponed,
    /// The server is away.
    Away,
    /// As many as may be in a minute were sent.
    Enough,
    /// Nothing is due.
    Idle,
}

/// How long a claim holds: longer than handing over can take.
fn claim() -> TimeDelta {
    TimeDelta::from_std(WHOLE * 2).unwrap_or(TimeDelta::minutes(10))
}

/// How long to wait after so many attempts.
fn back_off(attempts: i64) -> TimeDelta {
    TimeDelta::minutes(match attempts {
        ..=1 => 1,
        2 => 5,
        3 => 15,
        4 => 60,
        _ => 240,
    })
}

impl Desk {
    /// Hands over the mail that is due first.
    pub async fn send_next_mail(&self, courier: &impl Courier, pace: Pace) -> Result<Round, DeskError> {
        // Looked at first without the writer's lock: mostly there is nothing.
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        if !tx.is_mail_due(now).await? {
            return Ok(Round::Idle);
        }
        drop(tx);
        let mut tx = self.db.write().await?;
        let now = tx.instant(&self.clock).await?;
        if tx.mail_attempts(now - TimeDelta::minutes(1)).await? >= i64::from(pace.per_minute) {
            return Ok(Round::Enough);
        }
        let Some(due) = tx.claim_mail(now, now + claim()).await? else { return Ok(Round::Idle) };
        let ente = ente_of(&mut tx, EnteId(due.ente_id)).await?;
        let reply_to = tx.settings(ente.id).await?.and_then(|settings| settings.email);
        let attachments = tx.attachments(due.id).await?;
        tx.commit().await?;
        let too_old = now - due.queued_at > pace.give_up_after;
        let (id, attempts) = (due.id, due.attempts);
        let delivery =
            if too_old { Delivery::Away(String::new()) } else { courier.send(&outgoing(due, &ente.name, reply_to, attachments)).await };
        let mut tx = self.db.write().await?;
        let now = tx.instant(&self.clock).await?;
        let round = match delivery {
            _ if too_old => {
                tx.give_up_mail(id, now).await?;
                Round::Ended
            }
            Delivery::Sent(answer) => {
                tx.end_mail(id, "sent", &answer, now).await?;
                Round::Ended
            }
            Delivery::Refused(answer) => {
                tx.end_mail(id, "refused", &answer, now).await?;
                Round::Ended
            }
            Delivery::Later(answer) => {
                tx.postpone_mail(id, now + back_off(attempts), &answer).await?;
                Round::Postponed
            }
            Delivery::Away(answer) => {
                // Says nothing about this mail: it need not wait long once the server is there again.
                tx.postpone_mail(id, now + back_off(1), &answer).await?;
                Round::Away
            }
        };
        tx.commit().await?;
        Ok(round)
    }

    /// A page of an ente's mail, and how many there are.
    pub async fn mails(&self, ente: EnteId, filter: MailFilter<'_>, offset: i64, limit: i64) -> Result<(Vec<MailRow>, i64), DeskError> {
        Ok(self.db.read().await?.mails(ente, filter, offset, limit).await?)
    }

    /// How many mails of an ente are in each state.
    pub async fn mail_states(&self, ente: EnteId) -> Result<Vec<(String, i64)>, DeskError> {
        Ok(self.db.read().await?.mail_states(ente).await?)
    }

    /// Tries a mail again at once, one that was refused or given up too, as long as it is known what it said. `false` where it is not.
    pub async fn retry_mail(&self, actor: &Actor, mail: i64) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let Some(row) = tx.mail(actor.ente, mail).await? else { return Ok(false) };
        let done = tx.retry_mail(actor.ente, mail, at).await?;
        if done {
            note(&mut tx, at, actor, "ha rimesso in coda un messaggio", &row).await?;
            tx.commit().await?;
        }
        Ok(done)
    }

    /// Takes a mail out of the queue; `false` where it is being sent, or has been.
    pub async fn withdraw_mail(&self, actor: &Actor, mail: i64) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let Some(row) = tx.mail(actor.ente, mail).await? else { return Ok(false) };
        let done = tx.withdraw_mail(actor.ente, mail, at).await?;
        if done {
            note(&mut tx, at, actor, "ha ritirato un messaggio", &row).await?;
            tx.commit().await?;
        }
        Ok(done)
    }

    /// Queues a mail that shows whether the settings are right.
    pub async fn send_trial(&self, actor: &Actor, recipient: &str) -> Result<(), MailError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let name = ente_of(&mut tx, actor.ente).await?.name;
        let mail = NewMail {
            kind: MailKind::Trial,
            cause: None,
            recipient: recipient.to_owned(),
            recipient_name: String::new(),
            subject: "Prova di invio".to_owned(),
            body: format!("Questo messaggio è una prova: la posta del servizio mensa di {name} funziona.\n\nNon occorre rispondere.\n"),
            attachments: vec![],
        };
        let id = queue(&mut tx, at, actor, &mail).await?;
        let subject = Subject { kind: "messaggio", id, name: &mail.subject };
        record(&mut tx, at, actor, "ha inviato una prova", subject, None, Some(json!({ "a": recipient }))).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn note(tx: &mut Tx, at: DateTime<Utc>, actor: &Actor, action: &'static str, row: &MailRow) -> Result<(), DeskError> {
    let subject = Subject { kind: "messaggio", id: Some(row.id), name: &row.subject };
    record(tx, at, actor, action, subject, None, Some(json!({ "a": row.recipient }))).await
}

fn outgoing(due: DueMail, from_name: &str, reply_to: Option<String>, attachments: Vec<Attachment>) -> Outgoing {
    Outgoing {
        token: due.token,
        from_name: from_name.to_owned(),
        reply_to,
        recipient: due.recipient,
        recipient_name: due.recipient_name,
        subject: due.subject,
        body: due.body.unwrap_or_default(),
        date: due.queued_at,
        attachments: attachments.into_iter().map(|a| (a.name, a.media_type, a.content)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_from_one() {
        for good in ["ada@famiglia.example", "a.b+mensa@posta.comune.it", "x@[127.0.0.1]"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "ada", "ada@", "@famiglia.example", "a b@c.example", "a@b.example\r\nBcc: c@d.example", "a@b.example,c@d.example"] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn who_does_not_take_a_mail_is_asked_ever_less_often() {
        let waits: Vec<_> = (1..=6).map(|n| back_off(n).num_minutes()).collect();
        assert_eq!(waits, [1, 5, 15, 60, 240, 240]);
    }
}
