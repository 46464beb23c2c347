//! The mail of the past: letters to families who came during the year, and the kitchen's sheets of the last days.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::json;

use super::{PastError, Scribe};
use crate::{
    canteen::window::Window,
    desk::{
        explain::day_in_words,
        mail::{MailKind, NewMail, queue},
        trail::{self, Actor, Subject},
    },
    store::{LetterGuardian, StoreError},
};

/// The kitchen's mails are there for so many days.
const KITCHEN_DAYS: TimeDelta = TimeDelta::days(21);

impl Scribe<'_> {
    /// The count of a day that has just been closed goes to the kitchen.
    pub(super) async fn tell_kitchen(&mut self, at: DateTime<Utc>, day: NaiveDate, meals: &HashMap<i64, usize>) -> Result<(), PastError> {
        if at < self.until - KITCHEN_DAYS {
            return Ok(());
        }
        let ente = self.ente;
        let tx = self.tx().await?;
        let schools = tx.schools(ente).await?;
        let recipients = tx.kitchen_recipients(ente).await?;
        for school in schools {
            let Some(meals) = meals.get(&school.id).filter(|meals| **meals > 0) else { continue };
            for recipient in recipients.iter().filter(|r| r.school_id.is_none_or(|id| id == school.id)) {
                let mail = NewMail {
                    kind: MailKind::Kitchen,
                    cause: Some(format!("cucina/{}/{day}/{}", school.id, recipient.email)),
                    recipient: recipient.email.clone(),
                    recipient_name: recipient.name.clone(),
                    subject: format!("Pasti di {}: {meals} ({})", day_in_words(day), school.name),
                    body: "Buongiorno,\n\nin allegato il conteggio.\n".to_owned(),
                    attachments: vec![],
                };
                self.send(at + TimeDelta::milliseconds(60), &Actor::system(ente), &mail, None).await?;
            }
        }
        Ok(())
    }

    /// Queues a mail and hands it over; `refused` is what the server said where it would not have it. Its row.
    async fn send(&mut self, at: DateTime<Utc>, actor: &Actor, mail: &NewMail, refused: Option<&str>) -> Result<Option<i64>, PastError> {
        let tx = self.tx().await?;
        let Some(id) = queue(tx, at, actor, mail).await.map_err(|_| PastError::Unlike(at))? else { return Ok(None) };
        // Nothing else waits: this is the one.
        let sent = at + TimeDelta::milliseconds(800);
        tx.claim_mail(sent, sent + TimeDelta::minutes(10)).await?;
        let (state, answer) = refused.map_or(("sent", "250 2.0.0 Ok: queued"), |answer| ("refused", answer));
        tx.end_mail(id, state, answer, sent + TimeDelta::milliseconds(300)).await?;
        Ok(Some(id))
    }

    /// Letters by mail to the families of children who are enrolled from a day within the year on: some days before it.
    pub(super) async fn letters_to_newcomers(&mut self, window: &Window) -> Result<(), PastError> {
        let Some(roster) = self.told.past.rosters.last() else { return Ok(()) };
        let clerk = self.clerk;
        let mut refused = Some("550 5.1.1 Recipient address rejected: User unknown");
        for (place, child) in roster.children.iter().enumerate() {
            let (Some(from), Some(enrolled)) = (child.enrolled_from, self.enrolled(place)) else { continue };
            let day = from - TimeDelta::days(4);
            let time = NaiveTime::from_hms_opt(10, 15, 0).unwrap_or_default() + TimeDelta::minutes(3 * (place % 18) as i64);
            let at = window.instant(day.and_time(time));
            if at > self.until {
                continue;
            }
            let guardians = self.tx().await?.letter_guardians(&[enrolled.id.0]).await?;
            let mut letters = 0;
            for LetterGuardian { id, last_name, first_name, email, .. } in guardians {
                let Some(email) = email else { continue };
                let name = format!("{first_name} {last_name}");
                let mail = NewMail {
                    kind: MailKind::Letter,
                    cause: Some(format!("lettera:demo:{}:{email}", enrolled.id.0)),
                    recipient: email,
                    recipient_name: name.clone(),
                    subject: "Servizio mensa: lettera codici e credenziali".to_owned(),
                    body: format!("Gentile {name},\n\nin allegato trova la lettera con i codici.\n"),
                    attachments: vec![],
                };
                let answer = refused.take();
                if let Some(row) = self.send(at, clerk, &mail, answer).await? {
                    let ente = self.ente;
                    self.tx().await?.add_letter(ente, enrolled.id, at, &clerk.name, Some((id, row))).await?;
                    letters += 1;
                }
            }
            if letters > 0 {
                let subject = Subject { kind: "bambino", id: Some(enrolled.id.0), name: &enrolled.name };
                let after = Some(json!({ "lettere": letters }));
                trail::record(self.tx().await?, at, clerk, "ha spedito lettere con i codici", subject, None, after).await?;
            }
        }
        Ok(())
    }

    /// The clerk begins her day.
    pub(super) async fn arrive(&mut self, at: DateTime<Utc>) -> Result<(), PastError> {
        let clerk = self.clerk;
        let subject = Subject { kind: "persona", id: clerk.person, name: &clerk.name };
        if let Some(person) = clerk.person {
            self.tx().await?.put_last_login(person, at).await?;
        }
        Ok(trail::record(self.tx().await?, at, clerk, "è entrato", subject, None, None).await?)
    }
}

impl From<StoreError> for PastError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}
