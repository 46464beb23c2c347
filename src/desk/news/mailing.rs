//! News by mail: queued once for each address, some at a time, as soon as the news are public.
//!
//! How far it has come stands in the row: a node that dies leaves the rest to the next that looks, and an address that was written to is not written to again,
//! whatever becomes of the news afterwards (the cause of each mail is the news item and the address).

use serde_json::json;

use super::{subject, text};
use crate::{
    canteen::EnteId,
    desk::{
        Desk, DeskError, ente_of,
        mail::{self, MailError, MailKind, NewMail},
        trail::{self, Actor},
    },
    store::{Ente, NewsReader, NewsRow},
};

/// Adults of one transaction: a caller on the line waits for it no longer than a moment.
const AT_ONCE: i64 = 100;

/// The mail of a news item to one reader. `portal` is its address, where there is one.
pub fn letter(ente: &Ente, portal: Option<&str>, news: &NewsRow, reader: &NewsReader) -> NewMail {
    let portal = portal.map(|portal| format!("Trova gli avvisi anche sul portale: {portal}\n")).unwrap_or_default();
    let body = format!(
        "{}\n\n-- \n{}, servizio mensa\n{portal}Riceve questo messaggio perché un bambino della Sua famiglia è iscritto alla mensa.\n",
        text::plain(&news.body),
        ente.name
    );
    NewMail {
        kind: MailKind::News,
        cause: Some(format!("avviso:{}:{}", news.id, reader.email.to_lowercase())),
        recipient: reader.email.clone(),
        recipient_name: format!("{} {}", reader.first_name, reader.last_name),
        subject: news.title.clone(),
        body,
        attachments: vec![],
    }
}

/// What one step did.
enum Step {
    /// There may be more.
    More(i64),
    /// All of it is queued.
    Done(i64),
    /// As much is waiting as may be; another time.
    Full(i64),
}

impl Desk {
    /// Queues the mail of all news that are public and not mailed yet; gives how many mails that were. Nothing where there is no mail server.
    pub async fn mail_news(&self, ente: EnteId) -> Result<i64, DeskError> {
        if !self.has_mail {
            return Ok(0);
        }
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let due = tx.news_to_mail(ente, now).await?;
        drop(tx);
        let mut queued = 0;
        for id in due {
            loop {
                match self.mail_some(ente, id).await? {
                    Step::More(n) => queued += n,
                    Step::Done(n) => {
                        queued += n;
                        break;
                    }
                    Step::Full(n) => return Ok(queued + n),
                }
            }
        }
        Ok(queued)
    }

    async fn mail_some(&self, ente: EnteId, id: i64) -> Result<Step, DeskError> {
        let mut tx = self.db.write().await?;
        let Some(mut to) = tx.take_news_mail(id).await? else { return Ok(Step::Done(0)) };
        let at = tx.instant(&self.clock).await?;
        let Some(news) = tx.news(ente, id).await? else { return Ok(Step::Done(0)) };
        let row = ente_of(&mut tx, ente).await?;
        let portal = tx.settings(ente).await?.and_then(|set| set.portal);
        let actor = Actor { name: news.published_by.clone().unwrap_or_default(), ..Actor::system(ente) };
        let readers = tx.news_readers(id, row.window.local(at).date(), to, AT_ONCE).await?;
        let all = (readers.len() as i64) < AT_ONCE;
        let (mut queued, mut full) = (0, false);
        for reader in &readers {
            match mail::queue(&mut tx, at, &actor, &letter(&row, portal.as_deref(), &news, reader)).await {
                Ok(mail) => queued += i64::from(mail.is_some()),
                // Nobody can be reached there.
                Err(MailError::Address | MailError::TooLong) => {}
                Err(MailError::Full) => {
                    full = true;
                    break;
                }
                Err(MailError::Desk(error)) => return Err(error),
            }
            to = reader.id;
        }
        let done = all && !full;
        tx.put_news_mail(id, to, queued, done.then_some(at)).await?;
        if done {
            let after = json!({ "messaggi": news.mailed + queued });
            trail::record(
                &mut tx,
                at,
                &Actor::system(ente),
                "ha messo in coda un avviso per posta",
                subject(id, &news.title),
                None,
                Some(after),
            )
            .await?;
        }
        tx.commit().await?;
        Ok(match (full, done) {
            (true, _) => Step::Full(queued),
            (false, true) => Step::Done(queued),
            (false, false) => Step::More(queued),
        })
    }
}
