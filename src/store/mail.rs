//! Mail: what is to be sent, and what became of it.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A mail to be queued. No `Debug`: letters hold codes.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "letters hold codes")]
pub struct PutMail<'a> {
    /// Whose.
    pub ente: EnteId,
    /// The Message-ID's left half.
    pub token: &'a str,
    /// What it is for, where it must not be queued twice.
    pub cause_key: Option<&'a str>,
    /// What kind of mail.
    pub kind: &'a str,
    /// Address.
    pub recipient: &'a str,
    /// The addressee's name.
    pub recipient_name: &'a str,
    /// Subject.
    pub subject: &'a str,
    /// Text.
    pub body: &'a str,
    /// Who has it sent.
    pub actor: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// A file that goes along.
#[derive(Clone, sqlx::FromRow)]
#[expect(missing_debug_implementations, reason = "letters hold codes")]
pub struct Attachment {
    /// File name.
    pub name: String,
    /// Media type (RFC 6838).
    pub media_type: String,
    /// The file.
    pub content: Vec<u8>,
}

/// A mail whose turn it is.
#[derive(Clone, sqlx::FromRow)]
#[expect(missing_debug_implementations, reason = "letters hold codes")]
pub struct DueMail {
    /// Row.
    pub id: i64,
    /// Whose.
    pub ente_id: i64,
    /// The Message-ID's left half.
    pub token: String,
    /// Address.
    pub recipient: String,
    /// The addressee's name.
    pub recipient_name: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub body: Option<String>,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
    /// Attempts, this one included.
    pub attempts: i64,
}

/// A mail as the office sees it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct MailRow {
    /// Row.
    pub id: i64,
    /// What kind of mail.
    pub kind: String,
    /// Address.
    pub recipient: String,
    /// The addressee's name.
    pub recipient_name: String,
    /// Subject.
    pub subject: String,
    /// Who had it sent.
    pub actor: String,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
    /// What became of it.
    pub state: String,
    /// Attempts so far.
    pub attempts: i64,
    /// When the next one is due.
    pub next_at: DateTime<Utc>,
    /// The server's last words.
    pub answer: Option<String>,
    /// When it came to an end.
    pub ended_at: Option<DateTime<Utc>>,
}

/// How the list of mail is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailOrder {
    /// By the time of queueing.
    #[default]
    Time,
    /// By address.
    Recipient,
    /// By subject.
    Subject,
}

/// Which mail is listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct MailFilter<'a> {
    /// Only in this state.
    pub state: Option<&'a str>,
    /// Only to this address, exactly.
    pub recipient: Option<&'a str>,
    /// How it is sorted.
    pub order: MailOrder,
    /// The other way round.
    pub descending: bool,
}

const ROW: &str = "id, kind, recipient, recipient_name, subject, actor, queued_at, state, attempts, next_at, answer, ended_at";

impl Tx {
    /// Queues a mail; `None` where one for the same cause is there already.
    pub async fn put_mail(&mut self, mail: &PutMail<'_>, attachments: &[Attachment]) -> Result<Option<i64>, StoreError> {
        const SQL: &str = "INSERT INTO mail (ente_id, token, cause_key, kind, recipient, recipient_name, subject, body, actor, queued_at,
                state, attempts, next_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', 0, $10)
            ON CONFLICT (cause_key) DO NOTHING RETURNING id";
        let id: Option<i64> = on!(self, |c| sqlx::query_scalar(SQL)
            .bind(mail.ente.0)
            .bind(mail.token)
            .bind(mail.cause_key)
            .bind(mail.kind)
            .bind(mail.recipient)
            .bind(mail.recipient_name)
            .bind(mail.subject)
            .bind(mail.body)
            .bind(mail.actor)
            .bind(mail.at)
            .fetch_optional(c))?;
        let Some(id) = id else { return Ok(None) };
        for (position, attachment) in attachments.iter().enumerate() {
            const SQL: &str = "INSERT INTO mail_attachment (mail_id, position, name, media_type, content) VALUES ($1, $2, $3, $4, $5)";
            let position = position as i64;
            run!(
                self,
                sqlx::query(SQL)
                    .bind(id)
                    .bind(position)
                    .bind(&attachment.name)
                    .bind(&attachment.media_type)
                    .bind(attachment.content.as_slice())
            );
        }
        Ok(Some(id))
    }

    /// Mails that are still to be sent.
    pub async fn mails_waiting(&mut self, ente: EnteId) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM mail WHERE ente_id = $1 AND ended_at IS NULL";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).fetch_one(c))?)
    }

    /// Attempts since `since`, by all nodes.
    pub async fn mail_attempts(&mut self, since: DateTime<Utc>) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM mail WHERE attempted_at > $1";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(since).fetch_one(c))?)
    }

    /// Is there a mail to hand over?
    pub async fn is_mail_due(&mut self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM mail WHERE ended_at IS NULL AND next_at <= $1)";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(now).fetch_one(c))?)
    }

    /// Takes the next mail that is due, for this node alone until `claimed_until`. Of two nodes that mean the same one, the second
    /// waits for the first one's commit and then finds it taken.
    pub async fn claim_mail(&mut self, now: DateTime<Utc>, claimed_until: DateTime<Utc>) -> Result<Option<DueMail>, StoreError> {
        const SQL: &str = "UPDATE mail SET state = 'sending', attempts = attempts + 1, attempted_at = $1, next_at = $2
            WHERE id = (SELECT id FROM mail WHERE ended_at IS NULL AND next_at <= $1 ORDER BY next_at, id LIMIT 1)
                AND ended_at IS NULL AND next_at <= $1
            RETURNING id, ente_id, token, recipient, recipient_name, subject, body, queued_at, attempts";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(now).bind(claimed_until).fetch_optional(c))?)
    }

    /// The files that go along.
    pub async fn attachments(&mut self, mail: i64) -> Result<Vec<Attachment>, StoreError> {
        const SQL: &str = "SELECT name, media_type, content FROM mail_attachment WHERE mail_id = $1 ORDER BY position";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(mail).fetch_all(c))?)
    }

    /// Puts a mail back that was not taken: due again at `next_at`. Nothing where it has ended meanwhile.
    pub async fn postpone_mail(&mut self, mail: i64, next_at: DateTime<Utc>, answer: &str) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE mail SET state = 'queued', next_at = $2, answer = $3 WHERE id = $1 AND ended_at IS NULL";
        run!(self, sqlx::query(SQL).bind(mail).bind(next_at).bind(answer));
        Ok(())
    }

    /// Brings a mail to its end. What was sent is forgotten at once, since it may hold codes; what was refused can still be tried again.
    pub async fn end_mail(&mut self, mail: i64, state: &str, answer: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE mail SET state = $2, answer = $3, ended_at = $4 WHERE id = $1 AND ended_at IS NULL";
        run!(self, sqlx::query(SQL).bind(mail).bind(state).bind(answer).bind(at));
        if state == "sent" { self.forget_mail_content(mail).await } else { Ok(()) }
    }

    /// A mail that nobody took in all that time; the server's last words stay.
    pub async fn give_up_mail(&mut self, mail: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE mail SET state = 'given_up', ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
        run!(self, sqlx::query(SQL).bind(mail).bind(at));
        Ok(())
    }

    async fn forget_mail_content(&mut self, mail: i64) -> Result<(), StoreError> {
        run!(self, sqlx::query("UPDATE mail SET body = NULL WHERE id = $1").bind(mail));
        run!(self, sqlx::query("DELETE FROM mail_attachment WHERE mail_id = $1").bind(mail));
        Ok(())
    }

    /// Makes a mail due at once whose text is still there; one that had ended waits as if it were new. `false` where there is none.
    pub async fn retry_mail(&mut self, ente: EnteId, mail: i64, now: DateTime<Utc>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE mail SET next_at = $3, state = 'queued', ended_at = NULL,
                queued_at = CASE WHEN ended_at IS NULL THEN queued_at ELSE $3 END
            WHERE id = $2 AND ente_id = $1 AND body IS NOT NULL AND state IN ('queued', 'refused', 'given_up')";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(mail).bind(now)) > 0)
    }

    /// Takes a mail out of the queue, unless a node is handing it over.
    pub async fn withdraw_mail(&mut self, ente: EnteId, mail: i64, at: DateTime<Utc>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE mail SET state = 'withdrawn', ended_at = $3 WHERE id = $2 AND ente_id = $1 AND state = 'queued'";
        let done = run!(self, sqlx::query(SQL).bind(ente.0).bind(mail).bind(at)) > 0;
        if done {
            self.forget_mail_content(mail).await?;
        }
        Ok(done)
    }

    /// Forgets what mails said that came to another end than being sent before `before`.
    pub async fn forget_old_mail_content(&mut self, ente: EnteId, before: DateTime<Utc>) -> Result<u64, StoreError> {
        const OLD: &str = "SELECT id FROM mail WHERE ente_id = $1 AND ended_at < $2 AND body IS NOT NULL";
        const SQL: &str = "UPDATE mail SET body = NULL WHERE ente_id = $1 AND ended_at < $2 AND body IS NOT NULL";
        let files = sqlx::AssertSqlSafe(format!("DELETE FROM mail_attachment WHERE mail_id IN ({OLD})"));
        run!(self, sqlx::query(files).bind(ente.0).bind(before));
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(before)))
    }

    /// One mail of an ente.
    pub async fn mail(&mut self, ente: EnteId, mail: i64) -> Result<Option<MailRow>, StoreError> {
        let sql = format!("SELECT {ROW} FROM mail WHERE ente_id = $1 AND id = $2");
        let sql = sqlx::AssertSqlSafe(sql);
        Ok(on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(mail).fetch_optional(c))?)
    }

    /// A page of an ente's mail, and how many there are in all.
    pub async fn mails(
        &mut self,
        ente: EnteId,
        filter: MailFilter<'_>,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<MailRow>, i64), StoreError> {
        let mut wanted = "ente_id = $1".to_owned();
        // Only what is asked for stands in the text, so that the index for it is used; the values are bound.
        wanted += if filter.state.is_some() { " AND state = $2" } else { " AND $2 = ''" };
        wanted += if filter.recipient.is_some() { " AND recipient = $3" } else { " AND $3 = ''" };
        let column = match filter.order {
            MailOrder::Time => "queued_at",
            MailOrder::Recipient => "recipient",
            MailOrder::Subject => "subject",
        };
        let way = if filter.descending { "DESC" } else { "ASC" };
        let rows =
            sqlx::AssertSqlSafe(format!("SELECT {ROW} FROM mail WHERE {wanted} ORDER BY {column} {way}, id {way} LIMIT $4 OFFSET $5"));
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM mail WHERE {wanted}"));
        let (state, recipient) = (filter.state.unwrap_or_default(), filter.recipient.unwrap_or_default());
        let rows =
            on!(&mut *self, |c| sqlx::query_as(rows).bind(ente.0).bind(state).bind(recipient).bind(limit).bind(offset).fetch_all(c))?;
        let count = on!(self, |c| sqlx::query_scalar(count).bind(ente.0).bind(state).bind(recipient).fetch_one(c))?;
        Ok((rows, count))
    }

    /// How many mails of an ente are in each state.
    pub async fn mail_states(&mut self, ente: EnteId) -> Result<Vec<(String, i64)>, StoreError> {
        const SQL: &str = "SELECT state, COUNT(*) FROM mail WHERE ente_id = $1 GROUP BY state ORDER BY state";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }
}
