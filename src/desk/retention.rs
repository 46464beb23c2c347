//! What is forgotten each day (GDPR, art. 5 (1) e), as the office has set it.

use chrono::{DateTime, Days, TimeDelta, Utc};
use serde_json::json;

use super::{
    Desk, DeskError,
    codes::free_code,
    ente_of,
    trail::{Actor, Subject, record},
};
use crate::canteen::EnteId;

/// Rows that one transaction takes: a caller on the line waits for it no longer than a moment.
const AT_ONCE: i64 = 500;
/// For how long what a mail said is kept that nobody took.
const UNSENT_KEPT: TimeDelta = TimeDelta::days(30);

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Call records.
    pub calls: u64,
    /// Lines of the audit trail.
    pub trail: u64,
    /// Mails.
    pub mails: u64,
    /// Callers' numbers that were known.
    pub callers: u64,
    /// Tickets that were closed.
    pub tickets: u64,
    /// Children who left.
    pub children: u64,
}

impl Desk {
    /// Forgets what has been kept long enough. Done twice, or by two nodes, it comes to the same.
    pub async fn forget_what_is_old(&self, ente: EnteId) -> Result<Forgotten, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let keep = tx.settings(ente).await?.unwrap_or_default();
        drop(tx);
        let before = |days: i64| now - TimeDelta::try_days(days).unwrap_or(TimeDelta::MAX);
        let today = window.local(now).date();
        let left_before = today.checked_sub_days(Days::new(keep.keep_left_days.unsigned_abs())).unwrap_or(today);
        let mut done = Forgotten::default();
        loop {
            let mut tx = self.db.write().await?;
            let calls = tx.forget_calls(ente, before(keep.keep_calls_days), AT_ONCE).await?;
            let trail = tx.forget_trail(ente, before(keep.keep_audit_days), AT_ONCE).await?;
            let mails = tx.forget_mail(ente, before(keep.keep_audit_days), AT_ONCE).await?;
            let tickets = tx.forget_tickets(ente, before(keep.keep_tickets_days), AT_ONCE).await?;
            tx.commit().await?;
            done.calls += calls;
            done.trail += trail;
            done.mails += mails;
            done.tickets += tickets;
            if calls.max(trail).max(mails).max(tickets) < AT_ONCE as u64 {
                break;
            }
        }
        let mut tx = self.db.write().await?;
        done.callers = tx.forget_callers(ente, before(keep.keep_calls_days)).await?;
        tx.forget_old_mail_content(ente, now - UNSENT_KEPT).await?;
        let children = tx.children_to_forget(ente, left_before, AT_ONCE).await?;
        tx.commit().await?;
        for child in children {
            self.forget_child(ente, child, now).await?;
            done.children += 1;
        }
        if done != Forgotten::default() {
            self.note_forgotten(ente, now, done).await?;
        }
        Ok(done)
    }

    async fn forget_child(&self, ente: EnteId, child: crate::canteen::ChildId, at: DateTime<Utc>) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        tx.lock_child(child).await?;
        let code = free_code(&mut tx, ente).await?;
        tx.forget_child(ente, child, &code, at).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn note_forgotten(&self, ente: EnteId, at: DateTime<Utc>, done: Forgotten) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        let counts = json!({
            "chiamate": done.calls, "righe del registro": done.trail, "messaggi": done.mails, "segnalazioni": done.tickets,
            "numeri conosciuti": done.callers, "bambini": done.children,
        });
        let subject = Subject { kind: "conservazione", id: None, name: "dati scaduti" };
        record(&mut tx, at, &Actor::system(ente), "ha cancellato dati scaduti", subject, None, Some(counts)).await?;
        tx.commit().await?;
        Ok(())
    }
}
