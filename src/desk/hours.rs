//! Changing window and cut-off (R2) while the line runs.
//!
//! Each day has one cut-off: it must not move while families act on it, nor after the kitchen has counted. So a change is entered for
//! a day to come whose window has not opened yet, and takes hold between the closing of the day before and the evening on which the line
//! opens for it: when no day is being decided. Whatever asks for the ente's window, then or later, gets the right one; no node keeps it.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Desk, DeskError, ente_of,
    settings::{Wrong, subject},
    trail::{Actor, record},
};
use crate::{
    canteen::{
        EnteId,
        window::Window,
        words::{day_in_words, time_in_words},
    },
    store::{PutWindowChange, SchoolToClose, Tx},
};

/// The line must be shut at least so long between a cut-off and the evening: the day is closed then.
const SHORTEST_PAUSE: TimeDelta = TimeDelta::minutes(30);
/// The furthest day that a change can be entered for.
const FURTHEST: Days = Days::new(366);

/// A change, looked at beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPlan {
    /// The first day that it would hold for.
    pub first_day: NaiveDate,
    /// The earliest that there can be.
    pub earliest: NaiveDate,
    /// What it will do, a sentence each.
    pub effects: Vec<String>,
}

/// Why window and cut-off were not changed.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// Something is wrong with them.
    #[error("window and cut-off are wrong")]
    Wrong(Vec<Wrong>),
    /// They are what holds already.
    #[error("nothing would change")]
    Same,
    /// The first day that was confirmed is too early by now.
    #[error("the first day has come meanwhile")]
    TooEarly,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<crate::store::StoreError> for WindowError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// The first day whose window has opened neither by the old nor by the new times.
pub fn earliest_change(old: &Window, opens: NaiveTime, now: DateTime<Utc>) -> NaiveDate {
    let local = old.local(now);
    let opened = local.time() >= old.opens.min(opens);
    local.date().checked_add_days(Days::new(if opened { 2 } else { 1 })).unwrap_or(NaiveDate::MAX)
}

fn wrong(old: &Window, opens: NaiveTime, cutoff: NaiveTime) -> Vec<Wrong> {
    let mut list = Vec::new();
    let mut wrong = |field, what: &str| list.push(Wrong { field, what: what.to_owned() });
    if (old.opens > old.cutoff) != (opens > cutoff) {
        wrong("opens", "La linea deve aprire la sera prima e chiudere il mattino: l'apertura va dopo il termine per le disdette.");
    } else if opens > cutoff && opens - cutoff < SHORTEST_PAUSE {
        wrong("opens", "Fra il termine per le disdette e la riapertura della linea servono almeno 30 minuti.");
    } else if opens == cutoff {
        wrong("opens", "La linea non può aprire e chiudere alla stessa ora.");
    }
    list
}

/// What changing the window to these times from `first_day` on will do.
fn effects(old: &Window, opens: NaiveTime, cutoff: NaiveTime, first_day: NaiveDate) -> Vec<String> {
    let mut list = Vec::new();
    let day = day_in_words(first_day);
    if cutoff != old.cutoff {
        list.push(format!(
            "Da {day} le disdette saranno accettate fino alle {} (finora fino alle {}), per telefono e per ogni altra via.",
            time_in_words(cutoff),
            time_in_words(old.cutoff)
        ));
        list.push(format!("Da {day} la cucina avrà il conteggio definitivo alle {}.", time_in_words(cutoff)));
    }
    if opens != old.opens {
        let evening = if opens > cutoff { first_day.pred_opt().unwrap_or(first_day) } else { first_day };
        list.push(format!(
            "Da {} la linea telefonica aprirà alle {} (finora alle {}).",
            day_in_words(evening),
            time_in_words(opens),
            time_in_words(old.opens)
        ));
    }
    if let Some(last) = first_day.pred_opt() {
        list.push(format!("Fino a {} compreso resta tutto com'è.", day_in_words(last)));
    }
    list.push("Le lettere stampate da ora in poi indicheranno i nuovi orari.".to_owned());
    list
}

impl Desk {
    /// What changing window and cut-off would do, from `first_day` on or as early as can be; writes nothing.
    pub async fn plan_window(
        &self,
        ente: EnteId,
        opens: NaiveTime,
        cutoff: NaiveTime,
        first_day: Option<NaiveDate>,
    ) -> Result<WindowPlan, WindowError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let old = ente_of(&mut tx, ente).await?.window;
        plan(&old, now, opens, cutoff, first_day)
    }

    /// Enters the change for the day that was confirmed; one that waited is withdrawn.
    pub async fn change_window(&self, actor: &Actor, opens: NaiveTime, cutoff: NaiveTime, first_day: NaiveDate) -> Result<(), WindowError> {
        let mut tx = self.db.write().await?;
        tx.shut_day(actor.ente.0).await?;
        let at = tx.instant(&self.clock).await?;
        let ente = ente_of(&mut tx, actor.ente).await?;
        let old = ente.window;
        if first_day < earliest_change(&old, opens, at) {
            return Err(WindowError::TooEarly);
        }
        plan(&old, at, opens, cutoff, Some(first_day))?;
        own_settings(&mut tx, actor.ente).await?;
        let change = PutWindowChange { first_day, opens, cutoff, old: (old.opens, old.cutoff), actor: &actor.name, at };
        tx.put_window_change(actor.ente, &change).await?;
        let told = |opens, cutoff| json!({ "apertura": time_in_words(opens), "termine": time_in_words(cutoff) });
        let mut after = told(opens, cutoff);
        after["dal"] = json!(first_day.to_string());
        record(&mut tx, at, actor, "ha cambiato gli orari", subject(&ente.name), Some(told(old.opens, old.cutoff)), Some(after)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the change back that waits for its day; `false` where there is none.
    pub async fn withdraw_window_change(&self, actor: &Actor) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        tx.shut_day(actor.ente.0).await?;
        let at = tx.instant(&self.clock).await?;
        let name = ente_of(&mut tx, actor.ente).await?.name;
        let done = tx.withdraw_window_change(actor.ente, at).await?;
        if done {
            record(&mut tx, at, actor, "ha ritirato il cambio di orari", subject(&name), None, None).await?;
            tx.commit().await?;
        }
        Ok(done)
    }

    /// Lets the waiting change take hold, if its time has come: every school's last day before it is closed. `false` where not.
    pub(super) async fn apply_window_change(&self, ente: EnteId) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        tx.shut_day(ente.0).await?;
        let Some(change) = tx.window_change(ente).await? else { return Ok(false) };
        let before = change.first_day.pred_opt().unwrap_or(change.first_day);
        if !tx.schools_to_close(ente).await?.iter().all(|school| has_closed(school, before)) {
            return Ok(false);
        }
        let at = tx.instant(&self.clock).await?;
        let row = ente_of(&mut tx, ente).await?;
        if row.window.day_is_open(before, at) {
            return Ok(false);
        }
        tx.apply_window_change(ente, &change, at).await?;
        let now = json!({ "apertura": time_in_words(change.opens), "termine": time_in_words(change.cutoff) });
        record(&mut tx, at, &Actor::system(ente), "ha applicato il cambio di orari", subject(&row.name), None, Some(now)).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn has_closed(school: &SchoolToClose, day: NaiveDate) -> bool {
    school.live_from > day || school.closed_until.is_some_and(|closed| closed >= day)
}

/// From now on the ente is the office's, not the configuration file's.
async fn own_settings(tx: &mut Tx, ente: EnteId) -> Result<(), DeskError> {
    if tx.settings(ente).await?.is_none() {
        tx.put_settings(ente, &crate::store::SettingsRow::default()).await?;
    }
    Ok(())
}

fn plan(
    old: &Window,
    now: DateTime<Utc>,
    opens: NaiveTime,
    cutoff: NaiveTime,
    first_day: Option<NaiveDate>,
) -> Result<WindowPlan, WindowError> {
    let mut wrong = wrong(old, opens, cutoff);
    let earliest = earliest_change(old, opens, now);
    let first_day = first_day.unwrap_or(earliest);
    let furthest = old.local(now).date().checked_add_days(FURTHEST).unwrap_or(NaiveDate::MAX);
    if first_day < earliest {
        wrong.push(Wrong {
            field: "first_day",
            what: format!("Il primo giorno possibile è {}: per i giorni precedenti la linea è già aperta.", day_in_words(earliest)),
        });
    } else if first_day > furthest {
        wrong.push(Wrong { field: "first_day", what: "Al massimo un anno in anticipo.".to_owned() });
    }
    if !wrong.is_empty() {
        return Err(WindowError::Wrong(wrong));
    }
    if (opens, cutoff) == (old.opens, old.cutoff) {
        return Err(WindowError::Same);
    }
    Ok(WindowPlan { first_day, earliest, effects: effects(old, opens, cutoff, first_day) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H:%M").unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_whose_window_has_opened_keeps_its_cutoff() {
        let old = Window::default();
        for (now, opens, earliest) in [
            // In the morning, before and after the cut-off: tomorrow's window opens tonight.
            ("2026-10-12T08:00:00+02:00", "18:00", "2026-10-13"),
            ("2026-10-12T12:00:00+02:00", "18:00", "2026-10-13"),
            ("2026-10-12T17:59:59+02:00", "18:00", "2026-10-13"),
            // From 18:00 on families act on tomorrow.
            ("2026-10-12T18:00:00+02:00", "18:00", "2026-10-14"),
            ("2026-10-12T23:59:59+02:00", "20:00", "2026-10-14"),
            // It would have opened already by the new times.
            ("2026-10-12T16:30:00+02:00", "16:00", "2026-10-14"),
            ("2026-10-12T15:30:00+02:00", "16:00", "2026-10-13"),
        ] {
            assert_eq!(earliest_change(&old, time(opens), at(now)), day(earliest), "{now}");
        }
    }

    #[test]
    fn what_a_change_of_hours_will_do_is_said_beforehand() {
        let (old, now) = (Window::default(), at("2026-10-12T12:00:00+02:00"));
        let told = |opens: &str, cutoff: &str, first: Option<&str>| match plan(&old, now, time(opens), time(cutoff), first.map(day)) {
            Ok(plan) => plan.effects.join("\n"),
            Err(WindowError::Wrong(wrong)) => wrong.into_iter().map(|w| format!("{}: {}", w.field, w.what)).collect::<Vec<_>>().join("\n"),
            Err(other) => other.to_string(),
        };
        insta::assert_snapshot!(
            [
                told("18:00", "08:30", None),
                told("17:00", "09:00", Some("2026-11-02")),
                told("17:00", "08:30", None),
                told("18:00", "09:00", None),
                told("08:00", "09:00", None),
                told("09:15", "09:00", None),
                told("18:00", "08:30", Some("2026-10-12")),
                told("18:00", "08:30", Some("2028-01-01")),
            ]
            .join("\n\n")
        );
    }
}
