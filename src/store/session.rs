//! Sessions of the office, tries to log in, links that log in, and the nodes' common keys.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, on, run};

/// A session, as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SessionRow {
    /// Row.
    pub id: i64,
    /// Whose.
    pub person_id: i64,
    /// The second factor is still asked for.
    pub pending: bool,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to about a minute.
    pub seen_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
    /// From where.
    pub address: String,
    /// The browser's name for itself, cut off.
    pub agent: String,
}

/// A session to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession<'a> {
    /// SHA-256 of the token, hex.
    pub token_hash: &'a str,
    /// Whose.
    pub person: i64,
    /// The second factor is still asked for.
    pub pending: bool,
    /// When it begins.
    pub at: DateTime<Utc>,
    /// When it ends at the latest.
    pub expires: DateTime<Utc>,
    /// From where.
    pub address: &'a str,
    /// The browser's name for itself.
    pub agent: &'a str,
}

/// Failed tries to log in of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct FailureCounts {
    /// As this person, from anywhere.
    pub login: i64,
    /// As this person, from this address.
    pub login_here: i64,
    /// From this address, as anybody.
    pub address: i64,
}

impl Tx {
    /// Begins a session.
    pub async fn add_session(&mut self, new: &NewSession<'_>) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO session (token_hash, person_id, pending, created_at, seen_at, expires_at, address, agent)
            VALUES ($1, $2, $3, $4, $4, $5, $6, $7) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(new.token_hash)
            .bind(new.person)
            .bind(new.pending)
            .bind(new.at)
            .bind(new.expires)
            .bind(new.address)
            .bind(new.agent)
            .fetch_one(c))?)
    }

    /// The session with that token's hash, over or not.
    pub async fn session(&mut self, token_hash: &str) -> Result<Option<SessionRow>, StoreError> {
        const SQL: &str =
            "SELECT id, person_id, pending, created_at, seen_at, expires_at, address, agent FROM session WHERE token_hash = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(token_hash).fetch_optional(c))?)
    }

    /// A person's sessions, the last used first.
    pub async fn sessions_of(&mut self, person: i64) -> Result<Vec<SessionRow>, StoreError> {
        const SQL: &str = "SELECT id, person_id, pending, created_at, seen_at, expires_at, address, agent FROM session
            WHERE person_id = $1 ORDER BY seen_at DESC, id DESC LIMIT 100";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(person).fetch_all(c))?)
    }

    /// Notes that a session is in use.
    pub async fn touch_session(&mut self, id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        run!(self, sqlx::query("UPDATE session SET seen_at = $2 WHERE id = $1").bind(id).bind(at));
        Ok(())
    }

    /// Ends one session.
    pub async fn end_session(&mut self, id: i64) -> Result<bool, StoreError> {
        Ok(run!(self, sqlx::query("DELETE FROM session WHERE id = $1").bind(id)) == 1)
    }

    /// Ends a person's sessions, but for `keep`; gives how many.
    pub async fn end_sessions_of(&mut self, person: i64, keep: Option<i64>) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM session WHERE person_id = $1 AND id <> $2";
        Ok(run!(self, sqlx::query(SQL).bind(person).bind(keep.unwrap_or(-1))))
    }

    /// Ends a person's oldest sessions beyond `most`.
    pub async fn end_oldest_sessions(&mut self, person: i64, most: i64) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM session WHERE person_id = $1
            AND id NOT IN (SELECT id FROM session WHERE person_id = $1 ORDER BY seen_at DESC, id DESC LIMIT $2)";
        Ok(run!(self, sqlx::query(SQL).bind(person).bind(most)))
    }

    /// Forgets sessions, links and ceremonies that were over before `before`, and tries to log in from before `tries_before`.
    pub async fn forget_sessions(&mut self, before: DateTime<Utc>, tries_before: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut gone = run!(self, sqlx::query("DELETE FROM session WHERE expires_at < $1").bind(before));
        gone += run!(self, sqlx::query("DELETE FROM login_link WHERE expires_at < $1").bind(before));
        gone += run!(self, sqlx::query("DELETE FROM ceremony WHERE expires_at < $1").bind(before));
        gone += run!(self, sqlx::query("DELETE FROM login_attempt WHERE at < $1").bind(tries_before));
        Ok(gone)
    }

    /// Counts failed tries since `since`. What failed before this person's last right login from this address no longer counts here.
    pub async fn login_failures(&mut self, login: &str, address: &str, since: DateTime<Utc>) -> Result<FailureCounts, StoreError> {
        const SQL: &str = "SELECT
                (SELECT COUNT(*) FROM login_attempt WHERE login = $1 AND at > $3 AND NOT ok) AS login,
                (SELECT COUNT(*) FROM login_attempt f WHERE f.login = $1 AND f.address = $2 AND f.at > $3 AND NOT f.ok
                    AND NOT EXISTS (SELECT 1 FROM login_attempt s WHERE s.login = $1 AND s.address = $2 AND s.ok AND s.at > f.at)) AS login_here,
                (SELECT COUNT(*) FROM login_attempt WHERE address = $2 AND at > $3 AND NOT ok) AS address";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(login).bind(address).bind(since).fetch_one(c))?)
    }

    /// Has this person logged in from this address since `since`?
    pub async fn has_logged_in_from(&mut self, login: &str, address: &str, since: DateTime<Utc>) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM login_attempt WHERE login = $1 AND address = $2 AND at > $3 AND ok";
        let n: i64 = on!(self, |c| sqlx::query_scalar(SQL).bind(login).bind(address).bind(since).fetch_one(c))?;
        Ok(n > 0)
    }

    /// Writes a try to log in down.
    pub async fn add_login_attempt(&mut self, login: &str, address: &str, at: DateTime<Utc>, ok: bool) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO login_attempt (login, address, at, ok) VALUES ($1, $2, $3, $4)";
        run!(self, sqlx::query(SQL).bind(login).bind(address).bind(at).bind(ok));
        Ok(())
    }

    /// Forgets a person's failed tries: an administrator lets them in again.
    pub async fn forget_login_failures(&mut self, login: &str) -> Result<(), StoreError> {
        run!(self, sqlx::query("DELETE FROM login_attempt WHERE login = $1 AND NOT ok").bind(login));
        Ok(())
    }

    /// Keeps a link that logs a person in once.
    pub async fn add_login_link(&mut self, token_hash: &str, person: i64, expires: DateTime<Utc>) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO login_link (token_hash, person_id, expires_at) VALUES ($1, $2, $3)";
        run!(self, sqlx::query(SQL).bind(token_hash).bind(person).bind(expires));
        Ok(())
    }

    /// Uses a link up: whose it was, if it still held at `at`.
    pub async fn use_login_link(&mut self, token_hash: &str, at: DateTime<Utc>) -> Result<Option<i64>, StoreError> {
        const SQL: &str = "DELETE FROM login_link WHERE token_hash = $1 AND expires_at > $2 RETURNING person_id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(token_hash).bind(at).fetch_optional(c))?)
    }

    /// The nodes' common key of that name; `fresh` (hex) becomes it where there is none yet.
    pub async fn office_key(&mut self, name: &str, fresh: &str) -> Result<String, StoreError> {
        run!(
            self,
            sqlx::query("INSERT INTO office_key (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING").bind(name).bind(fresh)
        );
        Ok(on!(self, |c| sqlx::query_scalar("SELECT value FROM office_key WHERE name = $1").bind(name).fetch_one(c))?)
    }
}
