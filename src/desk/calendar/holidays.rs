//! Holidays that the system proposes: national ones, and the patron saint's day of the comune.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde_json::json;

use crate::{
    canteen::{
        EnteId,
        book::{Change, ClosureKind, Place},
        holidays::national_holidays_between,
    },
    desk::{
        Desk, DeskError,
        trail::{Actor, Subject, record},
    },
};

/// What has become of a proposed holiday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has said anything yet.
    Proposed,
    /// The ente is closed on that day.
    Taken,
    /// The ente serves on it all the same.
    LeftOut,
}

/// A holiday within the term that falls on a day of return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The day.
    pub day: NaiveDate,
    /// Its name.
    pub name: String,
    /// What has become of it.
    pub standing: Standing,
}

impl Proposal {
    /// The closure that it would be.
    pub fn change(&self) -> Change {
        Change::Close { place: Place::Ente, first: self.day, last: self.day, kind: ClosureKind::Holiday, reason: self.name.clone() }
    }
}

/// The patron saint's day of an ente: month, day of the month, name.
pub type Patron = (u32, u32, String);

impl Desk {
    /// The holidays of a school year on which some class would eat, and the patron saint's day.
    pub async fn proposed_holidays(&self, ente: EnteId, year: i64) -> Result<(Vec<Proposal>, Option<Patron>), DeskError> {
        let mut tx = self.db.read().await?;
        let book = tx.calendar_book(ente, None).await?;
        let left_out = tx.holidays_left_out(ente).await?;
        let patron = tx.patron(ente).await?.and_then(|(m, d, name)| Some((u32::try_from(m).ok()?, u32::try_from(d).ok()?, name)));
        drop(tx);
        let terms: Vec<_> = book.terms.iter().filter(|t| t.year == year).collect();
        let (Some(first), Some(last)) = (terms.iter().map(|t| t.first).min(), terms.iter().map(|t| t.last).max()) else {
            return Ok((Vec::new(), patron));
        };
        let mut days: Vec<(NaiveDate, String)> =
            national_holidays_between(first, last).into_iter().map(|h| (h.day, h.name.to_owned())).collect();
        if let Some((month, day, name)) = &patron {
            let on = |year| NaiveDate::from_ymd_opt(year, *month, *day);
            let within = (first.year()..=last.year()).filter_map(on).filter(|d| (first..=last).contains(d));
            days.extend(within.map(|day| (day, format!("{name} (patrono)"))));
        }
        days.sort();
        days.dedup_by_key(|(day, _)| *day);
        let eats = |day: NaiveDate| {
            let classes = book.classes.iter().filter(|c| c.year == year);
            classes
                .filter_map(|c| book.calendar_of(c))
                .any(|c| c.first <= day && day <= c.last && c.weekdays_on(day).contains(day.weekday()))
        };
        let taken = |day: NaiveDate| book.closures.iter().any(|c| c.place == Place::Ente && c.covers(day));
        let proposal = |(day, name): (NaiveDate, String)| {
            let standing = if taken(day) {
                Standing::Taken
            } else if left_out.contains(&day) {
                Standing::LeftOut
            } else {
                Standing::Proposed
            };
            Proposal { day, name, standing }
        };
        Ok((days.into_iter().filter(|(day, _)| eats(*day)).map(proposal).collect(), patron))
    }

    /// Leaves a proposed holiday out, or takes that back.
    pub async fn leave_holiday_out(&self, actor: &Actor, day: NaiveDate, out: bool) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.leave_holiday_out(actor.ente, day, out, at, &actor.name).await?;
        let action = if out { "ha tralasciato una festività" } else { "ha riproposto una festività" };
        let name = day.format("%d/%m/%Y").to_string();
        record(&mut tx, at, actor, action, Subject { kind: "calendario", id: None, name: &name }, None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sets the patron saint's day; `false` where there is no such day in any year.
    pub async fn set_patron(&self, actor: &Actor, month: u32, day: u32, name: &str) -> Result<bool, DeskError> {
        // A leap year: the 29th of February is a day, of some years.
        if NaiveDate::from_ymd_opt(2024, month, day).is_none() {
            return Ok(false);
        }
        let mut tx = self.db.write().await?;
        let at: DateTime<Utc> = tx.instant(&self.clock).await?;
        let before = tx.patron(actor.ente).await?.map(|(m, d, n)| json!({ "giorno": format!("{d}/{m}"), "nome": n }));
        tx.put_patron(actor.ente, i64::from(month), i64::from(day), name).await?;
        let after = json!({ "giorno": format!("{day}/{month}"), "nome": name });
        let subject = Subject { kind: "calendario", id: None, name };
        record(&mut tx, at, actor, "ha cambiato la festa del patrono", subject, before, Some(after)).await?;
        tx.commit().await?;
        Ok(true)
    }
}
