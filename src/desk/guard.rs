//! Nobody cancels another family's meal by guessing (S4).
//!
//! The check digit tells slips from guesses: a single wrong digit or a swap never fits it, so a wrong
//! code whose check digit fits was hardly typed by a parent. Slips cost a caller little; guesses are
//! counted per caller and over all callers, slowed, and shut out until the hour has gone by. Numbers
//! from which a right code was typed before are not shut out by what strangers do.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Desk, DeskError};
use crate::{
    canteen::{ChildId, EnteId, code::ChildCode},
    store::{GuessCounts, WrongCaller},
};

/// How many wrong codes are borne in [`Limits::span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wrong codes of one caller, slips included.
    pub caller_wrong: i64,
    /// Guesses of one caller. All withheld numbers together are one caller.
    pub caller_guesses: i64,
    /// Guesses of all callers; then only known callers are heard.
    pub all_guesses: i64,
    /// The time that counts.
    pub span: TimeDelta,
}

impl Default for Limits {
    /// With 900,000 codes and 250 children a guess hits once in 3,600; 30 an hour, in an attack that
    /// the office sees from its first minute on, need five days for one child.
    fn default() -> Self {
        Self { caller_wrong: 12, caller_guesses: 5, all_guesses: 30, span: TimeDelta::hours(1) }
    }
}

/// A right code heals: for how long a caller counts as known.
pub(super) const KNOWN_FOR: TimeDelta = TimeDelta::days(400);
/// For how long wrong codes are kept for the office to see.
const KEPT_FOR: TimeDelta = TimeDelta::days(30);
/// The longest that an answer is held back, in ms.
const SLOWEST_MS: u32 = 4_000;

impl Limits {
    /// Is this caller shut out?
    pub fn shuts_out(&self, counts: &GuessCounts, known: bool) -> bool {
        counts.caller_wrong >= self.caller_wrong
            || counts.caller_guesses >= self.caller_guesses
            || (counts.all_guesses >= self.all_guesses && !known)
    }

    /// How long the answer to one more wrong code is held back (ms): not at all for the first slip,
    /// twice as long for each further one, and for everybody while many guess.
    pub fn delay_ms(&self, counts: &GuessCounts) -> u32 {
        let own = match counts.caller_wrong + counts.caller_guesses {
            ..=1 => 0,
            n => 250u32.saturating_mul(1 << n.min(8)),
        };
        let many = if counts.all_guesses * 2 >= self.all_guesses { SLOWEST_MS / 2 } else { 0 };
        own.max(many).min(SLOWEST_MS)
    }
}

/// The answer to a typed code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// A child's.
    Child(ChildId),
    /// Nobody's: answer after so many ms.
    Wrong {
        /// How long to hold the answer back.
        delay_ms: u32,
    },
    /// Not looked at.
    ShutOut,
}

impl Desk {
    /// Looks a typed code up. `caller` is the calling number, empty when withheld.
    pub async fn type_code(&self, ente: EnteId, caller: &str, call_id: &str, code: &str) -> Result<Typed, DeskError> {
        let limits = Limits::default();
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let counts = tx.guess_counts(ente, caller, now - limits.span).await?;
        let known = !caller.is_empty() && tx.is_known_caller(ente, caller, now - KNOWN_FOR).await?;
        drop(tx);
        if limits.shuts_out(&counts, known) {
            return Ok(Typed::ShutOut);
        }
        self.judge_code(ente, caller, call_id, ChildCode::parse(code).ok().as_ref(), known).await
    }

    /// Codes are looked at one after the other: of a thousand that come at once, from a thousand numbers, as many as of a thousand
    /// in a row. Known callers are only limited by what they type themselves, and do not wait for others. `code` is `None`
    /// where what was typed is none.
    async fn judge_code(
        &self,
        ente: EnteId,
        caller: &str,
        call_id: &str,
        code: Option<&ChildCode>,
        known: bool,
    ) -> Result<Typed, DeskError> {
        let limits = Limits::default();
        let mut tx = self.db.write().await?;
        if known {
            tx.caller_alone(ente.0, caller).await?;
        } else {
            tx.count_alone(ente.0).await?;
        }
        let now = tx.instant(&self.clock).await?;
        let before = tx.guess_counts(ente, caller, now - limits.span).await?;
        if limits.shuts_out(&before, known) {
            // Others got here first: what was typed is not even answered as wrong.
            return Ok(Typed::ShutOut);
        }
        let child = match code {
            Some(code) => tx.child_by_code(ente, code).await?,
            None => None,
        };
        if let Some(child) = child {
            if !caller.is_empty() && !known {
                tx.put_known_caller(ente, caller, now).await?;
                tx.commit().await?;
            }
            return Ok(Typed::Child(child));
        }
        tx.add_wrong_code(ente, caller, call_id, now, code.is_some()).await?;
        let counts = tx.guess_counts(ente, caller, now - limits.span).await?;
        tx.commit().await?;
        Ok(Typed::Wrong { delay_ms: limits.delay_ms(&counts) })
    }

    /// Who typed wrong codes in the last `span`, most guesses first; at most 100 callers.
    pub async fn wrong_callers(&self, ente: EnteId, span: TimeDelta) -> Result<Vec<(WrongCaller, bool)>, DeskError> {
        let limits = Limits::default();
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let callers = tx.wrong_callers(ente, now - span, 100).await?;
        let mut list = Vec::with_capacity(callers.len());
        for caller in callers {
            let counts = tx.guess_counts(ente, &caller.caller, now - limits.span).await?;
            let out = limits.shuts_out(&counts, caller.known);
            list.push((caller, out));
        }
        Ok(list)
    }

    /// Forgets wrong codes that nobody needs any more.
    pub async fn forget_wrong_codes(&self, now: DateTime<Utc>) -> Result<u64, DeskError> {
        let mut tx = self.db.write().await?;
        let gone = tx.forget_wrong_codes(now - KEPT_FOR).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(caller_wrong: i64, caller_guesses: i64, all_guesses: i64) -> GuessCounts {
        GuessCounts { caller_wrong, caller_guesses, all_guesses }
    }

    #[test]
    fn a_parent_who_slips_is_neither_slowed_at_once_nor_shut_out() {
        let limits = Limits::default();
        assert_eq!(limits.delay_ms(&counts(1, 0, 0)), 0);
        assert!(!limits.shuts_out(&counts(6, 0, 0), false));
    }

    #[test]
    fn a_guesser_is_slowed_and_then_shut_out() {
        let limits = Limits::default();
        let delays: Vec<_> = (1..=5).map(|n| limits.delay_ms(&counts(n, n, n))).collect();
        assert_eq!(delays, [1_000, 4_000, 4_000, 4_000, 4_000]);
        assert!(!limits.shuts_out(&counts(4, 4, 4), false) && limits.shuts_out(&counts(5, 5, 5), true));
    }

    #[test]
    fn when_strangers_guess_families_get_through() {
        let limits = Limits::default();
        assert!(limits.shuts_out(&counts(0, 0, 30), false));
        assert!(!limits.shuts_out(&counts(0, 0, 30), true));
    }
}
