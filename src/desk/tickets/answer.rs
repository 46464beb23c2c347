//! What is written into a ticket: the office's answers and notes, and what the family says next.

use serde_json::json;

use super::{
    LONGEST_TEXT, LONGEST_TITLE, MOST_MESSAGES, TicketEdit, TicketError, TicketRow, TicketState, addressees, change, is_text, name_of,
    subject,
};
use crate::{
    desk::{
        Desk, ente_of,
        mail::{self, MailError, MailKind, NewMail},
        trail::{self, Actor},
    },
    store::{Ente, PutMessage, Tx},
};

/// How often what a family writes is tried again where somebody else writes at the same time.
const TRIES: usize = 5;

/// An answer of the office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What the family is told, plain text.
    pub text: String,
    /// The adult to whom it is mailed as well.
    pub to: Option<i64>,
    /// How the ticket stands then.
    pub becomes: TicketState,
}

/// The mail that carries an answer.
pub fn letter(ente: &Ente, ticket: &TicketRow, text: &str, (name, email): (&str, &str)) -> NewMail {
    let body = format!(
        "{text}\n\n-- \n{}, servizio mensa\nIn risposta alla Sua segnalazione n. {} del {}: {}\n",
        ente.name,
        ticket.id,
        crate::canteen::words::date_in_words(ente.window.local(ticket.opened_at).date()),
        ticket.title
    );
    NewMail {
        kind: MailKind::Answer,
        cause: None,
        recipient: email.to_owned(),
        recipient_name: name.to_owned(),
        subject: format!("Segnalazione n. {}: {}", ticket.id, ticket.title),
        body,
        attachments: vec![],
    }
}

/// A ticket under way at the version that was shown, with room for a message.
async fn open(tx: &mut Tx, actor: &Actor, id: i64, version: i64) -> Result<TicketRow, TicketError> {
    let row = tx.ticket(actor.ente, id).await?.ok_or(TicketError::Gone)?;
    if row.version != version {
        return Err(TicketError::Stale);
    }
    if tx.ticket_messages(id).await?.len() >= MOST_MESSAGES {
        return Err(TicketError::Full);
    }
    Ok(row)
}

impl Desk {
    /// Answers a family, by mail too where `reply.to` says to whom: that is queued in the same transaction. Gives the address.
    pub async fn answer_ticket(&self, actor: &Actor, id: i64, version: i64, reply: &Reply) -> Result<Option<String>, TicketError> {
        if !is_text(&reply.text, LONGEST_TEXT) {
            return Err(TicketError::Text);
        }
        if reply.to.is_some() && !self.has_mail {
            return Err(TicketError::NoMail);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = open(&mut tx, actor, id, version).await?;
        let text = reply.text.trim();
        let mut sent = None;
        if let Some(to) = reply.to {
            let all = addressees(&mut tx, actor.ente, &row).await?;
            let found = all.into_iter().find(|a| a.id == to).ok_or(TicketError::Unfit)?;
            let email = found.email.ok_or(TicketError::Unfit)?;
            let ente = ente_of(&mut tx, actor.ente).await?;
            let queued = mail::queue(&mut tx, at, actor, &letter(&ente, &row, text, (&found.name, &email))).await;
            let queued = queued.map_err(|error| match error {
                MailError::Desk(error) => TicketError::Desk(error),
                other => TicketError::Mail(other),
            })?;
            sent = queued.map(|mail| (mail, email));
        }
        let edit = TicketEdit { state: reply.becomes, ..TicketEdit::of(&row) };
        if !tx.change_ticket(actor.ente, id, version, &change(&row, &edit, at, at)).await? {
            return Err(TicketError::Stale);
        }
        let mail = sent.as_ref().map(|(mail, _)| *mail);
        tx.add_ticket_message(actor.ente, id, &PutMessage { kind: "office", author: &actor.name, at, body: text, mail }).await?;
        let after = json!({ "stato": reply.becomes.label(), "per posta": sent.is_some() });
        let name = name_of(id, &row.title);
        trail::record(&mut tx, at, actor, "ha risposto a una segnalazione", subject(id, &name), None, Some(after)).await?;
        tx.commit().await?;
        Ok(sent.map(|(_, email)| email))
    }

    /// Writes a note that only the office reads.
    pub async fn note_ticket(&self, actor: &Actor, id: i64, version: i64, text: &str) -> Result<(), TicketError> {
        if !is_text(text, LONGEST_TEXT) {
            return Err(TicketError::Text);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = open(&mut tx, actor, id, version).await?;
        if !tx.change_ticket(actor.ente, id, version, &change(&row, &TicketEdit::of(&row), at, at)).await? {
            return Err(TicketError::Stale);
        }
        tx.add_ticket_message(actor.ente, id, &PutMessage { kind: "note", author: &actor.name, at, body: text.trim(), mail: None }).await?;
        let name = name_of(id, &row.title);
        trail::record(&mut tx, at, actor, "ha annotato una segnalazione", subject(id, &name), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Adds what the family says next: a ticket that waited or was closed is the office's turn again. Whoever else writes at the same time does not keep it out.
    pub async fn family_writes(&self, actor: &Actor, id: i64, author: &str, text: &str) -> Result<(), TicketError> {
        if !is_text(text, LONGEST_TEXT) || author.chars().count() > LONGEST_TITLE {
            return Err(TicketError::Text);
        }
        for _ in 0..TRIES {
            let mut tx = self.db.write().await?;
            let at = tx.instant(&self.clock).await?;
            let version = tx.ticket(actor.ente, id).await?.ok_or(TicketError::Gone)?.version;
            let row = open(&mut tx, actor, id, version).await?;
            let edit = TicketEdit { state: TicketState::Open, ..TicketEdit::of(&row) };
            if !tx.change_ticket(actor.ente, id, version, &change(&row, &edit, at, at)).await? {
                continue;
            }
            let known = row.guardian.clone().unwrap_or_else(|| "famiglia".to_owned());
            let author = if author.trim().is_empty() { &known } else { author.trim() };
            tx.add_ticket_message(actor.ente, id, &PutMessage { kind: "family", author, at, body: text.trim(), mail: None }).await?;
            let before = json!({ "stato": TicketState::of(&row.state).label() });
            let after = json!({ "stato": TicketState::Open.label() });
            let name = name_of(id, &row.title);
            trail::record(&mut tx, at, actor, "ha aggiunto parole della famiglia", subject(id, &name), Some(before), Some(after)).await?;
            tx.commit().await?;
            return Ok(());
        }
        Err(TicketError::Stale)
    }
}
