//! Wrong codes and known callers (S4).

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// Wrong codes typed of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct GuessCounts {
    /// By this caller, slips of the finger included.
    pub caller_wrong: i64,
    /// By this caller, with a check digit that fitted.
    pub caller_guesses: i64,
    /// By all callers, with a check digit that fitted.
    pub all_guesses: i64,
}

/// One caller's wrong codes, as shown to the office.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WrongCaller {
    /// Calling number; empty when withheld.
    pub caller: String,
    /// Wrong codes, slips included.
    pub wrong: i64,
    /// With a check digit that fitted.
    pub guesses: i64,
    /// The last one (UTC).
    pub last_at: DateTime<Utc>,
    /// Has typed a right code before.
    pub known: bool,
}

impl Tx {
    /// Counts wrong codes since `since`.
    pub async fn guess_counts(&mut self, ente: EnteId, caller: &str, since: DateTime<Utc>) -> Result<GuessCounts, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FILTER (WHERE caller = $2) AS caller_wrong,
                COUNT(*) FILTER (WHERE caller = $2 AND guess) AS caller_guesses,
                COUNT(*) FILTER (WHERE guess) AS all_guesses
            FROM code_attempt WHERE ente_id = $1 AND at > $3";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(caller).bind(since).fetch_one(c))?)
    }

    /// Callers with wrong codes since `since`, most first.
    pub async fn wrong_callers(&mut self, ente: EnteId, since: DateTime<Utc>, limit: i64) -> Result<Vec<WrongCaller>, StoreError> {
        const SQL: &str = "SELECT a.caller, COUNT(*) AS wrong, COUNT(*) FILTER (WHERE a.guess) AS guesses, MAX(a.at) AS last_at,
                EXISTS (SELECT 1 FROM known_caller k WHERE k.ente_id = $1 AND k.caller = a.caller) AS known
            FROM code_attempt a WHERE a.ente_id = $1 AND a.at > $2
            GROUP BY a.caller ORDER BY 3 DESC, 2 DESC, 1 LIMIT $3";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(since).bind(limit).fetch_all(c))?)
    }

    /// Writes a wrong code down: not the code itself, which may be a slip from somebody's real one.
    pub async fn add_wrong_code(
        &mut self,
        ente: EnteId,
        caller: &str,
        call_id: &str,
        at: DateTime<Utc>,
        guess: bool,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO code_attempt (ente_id, caller, call_id, at, guess) VALUES ($1, $2, $3, $4, $5)";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(caller).bind(call_id).bind(at).bind(guess));
        Ok(())
    }

    /// Has this number typed a right code since `since`?
    pub async fn is_known_caller(&mut self, ente: EnteId, caller: &str, since: DateTime<Utc>) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM known_caller WHERE ente_id = $1 AND caller = $2 AND last_at > $3";
        let n: i64 = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(caller).bind(since).fetch_one(c))?;
        Ok(n > 0)
    }

    /// Notes that this number typed a right code.
    pub async fn put_known_caller(&mut self, ente: EnteId, caller: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO known_caller (ente_id, caller, last_at) VALUES ($1, $2, $3)
            ON CONFLICT (ente_id, caller) DO UPDATE SET last_at = excluded.last_at";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(caller).bind(at));
        Ok(())
    }

    /// Forgets wrong codes older than `before`; returns how many.
    pub async fn forget_wrong_codes(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(run!(self, sqlx::query("DELETE FROM code_attempt WHERE at < $1").bind(before)))
    }
}
