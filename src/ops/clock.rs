//! The one clock of the process. Everything below the edge takes the time as an argument.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// Tells the time; `demo --at` runs it shifted. Cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    offset: TimeDelta,
}

impl Clock {
    /// The machine's own clock.
    pub fn real() -> Self {
        Self::default()
    }

    /// A clock that shows `instant` now and runs on from there.
    pub fn starting_at(instant: DateTime<Utc>) -> Self {
        Self { offset: instant - machine_now() }
    }

    /// The instant now (UTC), cut to microseconds so that both databases keep it exactly.
    pub fn now(&self) -> DateTime<Utc> {
        self.shift(machine_now())
    }

    /// An instant of the machine's (or the database's) clock as this clock shows it.
    pub fn shift(&self, instant: DateTime<Utc>) -> DateTime<Utc> {
        to_micros(instant + self.offset)
    }
}

/// Cuts an instant to whole microseconds (PostgreSQL's resolution, design §4).
pub fn to_micros(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(instant)
}

#[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
fn machine_now() -> DateTime<Utc> {
    Utc::now()
}
