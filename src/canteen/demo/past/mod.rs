//! The demo's invented past: last school year and this one until today, as families, telephone and office would have lived them.
//!
//! Pure: a seed and a time give the same past always, and a later time only goes on where an earlier one ended. What families wish for is planned
//! first ([`wishes`]); then it is played in the order of time ([`play`]), and every answer is the rule's own.

mod play;
mod wishes;
mod year;

use chrono::{DateTime, NaiveDate, Utc};

use self::{play::Play, wishes::Wishes};
use super::{YearOutOfRange, demo_roster};
use crate::canteen::{
    Choice, DayState, Reason,
    book::ClosureKind,
    roster::{Roster, Scope},
    window::Window,
};

/// Who works in the demo's office, as the trail names them.
pub const CLERK: &str = "carla";

/// The past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// What was imported: last school year's roster, where there is one, and this one's. Children keep their codes; [`Event`]s name a child by its place
    /// in the last of these.
    pub rosters: Vec<Roster>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The office imported a roster: its place in [`Past::rosters`].
    Import(usize),
    /// Letters with the codes were printed for a class: the place of its roster, and of the class in it.
    Letters(usize, usize),
    /// The office entered a closure.
    Closure(Closure),
    /// A wrong code was typed in a call.
    WrongCode {
        /// The call.
        call: usize,
        /// Its check digit fitted.
        guess: bool,
    },
    /// An operation on the telephone.
    Order {
        /// The call.
        call: usize,
        /// The number of the operation within the call, from 1 on.
        nth: u32,
        /// For which child.
        child: usize,
        /// What was asked for.
        choice: Choice,
        /// How it was answered.
        answer: Answer,
    },
    /// A call ended.
    Call(usize),
    /// The office did something on a family's behalf.
    Deed(Deed),
    /// A day was closed at its cut-off: every child with service on it, and what stood.
    Closing {
        /// The day.
        day: NaiveDate,
        /// Child and state.
        meals: Vec<(usize, DayState)>,
    },
}

/// How an operation was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It stands for this day.
    Accepted(NaiveDate),
    /// Refused, with the day it would have fallen on.
    Refused(Reason, Option<NaiveDate>),
}

/// A closure that was not in the calendar from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// Where.
    pub scope: Scope,
    /// First day.
    pub first: NaiveDate,
    /// Last day.
    pub last: NaiveDate,
    /// Why, in one word.
    pub kind: ClosureKind,
    /// Why, as the office wrote it.
    pub reason: &'static str,
}

/// What the office did on a family's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    /// For which child.
    pub child: usize,
    /// What.
    pub choice: Choice,
    /// On which day, or from which day on.
    pub day: NaiveDate,
    /// Last day of a suspension.
    pub until: Option<NaiveDate>,
    /// Why, where the cut-off had passed.
    pub note: Option<&'static str>,
    /// How it was answered.
    pub answer: Answer,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The caller hung up.
    Caller,
    /// The line said goodbye: all done, too many wrong codes, or outside the window.
    Line,
    /// The caller hung up while it rang.
    Abandoned,
    /// The caller was not heard any more.
    DeadMedia,
}

/// A call; [`What::Order`], [`What::WrongCode`] and [`What::Call`] name it by its place in [`calls`](Told::calls).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastCall {
    /// Calling number; `None` when withheld.
    pub caller: Option<String>,
    /// When it came in (UTC).
    pub started_at: DateTime<Utc>,
    /// When it ended (UTC).
    pub ended_at: DateTime<Utc>,
    /// How.
    pub end: End,
    /// Keys pressed.
    pub keys: u32,
    /// A right code was typed.
    pub known: bool,
    /// Its way through the line's plan.
    pub way: Vec<Stop>,
}

/// A state of the line's plan that a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// How.
    pub how: How,
    /// Which, by its name in `dialplans/mensa.toml`.
    pub state: &'static str,
}

/// How a call came to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It began there.
    Begun,
    /// What was said before has been said.
    Said,
    /// By a key.
    Key(char),
    /// The number was complete.
    Number,
    /// The desk answered so.
    Answered(&'static str),
    /// The desk refused it.
    Refused(Reason),
}

/// The past, told whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Rosters and events.
    pub past: Past,
    /// Calls.
    pub calls: Vec<PastCall>,
}

/// The past of the school that `this_year` is the roster of, from the autumn before last until `until`; with `last_year` false, of this school year only.
///
/// # Errors
/// [`YearOutOfRange`] for a calendar that cannot be made.
pub fn invented_past(this_year: &Roster, until: DateTime<Utc>, window: &Window, last_year: bool) -> Result<Told, YearOutOfRange> {
    let autumn = year::autumn(this_year)?;
    let mut years = Vec::new();
    if last_year && demo_roster(autumn - 1, |_| String::new()).is_ok() {
        years.push(year::before(this_year, autumn)?);
    }
    years.push(year::Year::of(this_year.clone(), autumn));
    let mut wishes = Wishes::new(window);
    for (place, year) in years.iter().enumerate() {
        // Who opens the demo before this year's roster would have come finds it imported all the same.
        let latest = if place + 1 == years.len() { Some(until) } else { None };
        wishes.add_year(place, year, latest);
    }
    let rosters = years.iter().map(|year| year.roster.clone()).collect();
    let (events, calls) = Play::new(window, &years, until).run(wishes.finish(until));
    Ok(Told { past: Past { rosters, events }, calls })
}

#[cfg(test)]
mod tests;
