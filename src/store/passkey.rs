//! Passkeys, and the questions to authenticators that wait for an answer.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, on, run};

/// A passkey, as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PasskeyRow {
    /// Row.
    pub id: i64,
    /// The authenticator's id for it, base64url.
    pub credential: String,
    /// What its owner calls it.
    pub name: String,
    /// The public key and its counter, JSON.
    pub data: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last used.
    pub used_at: Option<DateTime<Utc>>,
}

impl Tx {
    /// A person's passkeys, the oldest first.
    pub async fn passkeys_of(&mut self, person: i64) -> Result<Vec<PasskeyRow>, StoreError> {
        const SQL: &str = "SELECT id, credential, name, data, created_at, used_at FROM passkey WHERE person_id = $1 ORDER BY id LIMIT 50";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(person).fetch_all(c))?)
    }

    /// Keeps a passkey.
    pub async fn add_passkey(
        &mut self,
        person: i64,
        credential: &str,
        name: &str,
        data: &str,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO passkey (person_id, credential, name, data, created_at) VALUES ($1, $2, $3, $4, $5)";
        run!(self, sqlx::query(SQL).bind(person).bind(credential).bind(name).bind(data).bind(at));
        Ok(())
    }

    /// Notes the use of a passkey.
    pub async fn use_passkey(&mut self, id: i64, data: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        run!(self, sqlx::query("UPDATE passkey SET data = $2, used_at = $3 WHERE id = $1").bind(id).bind(data).bind(at));
        Ok(())
    }

    /// Forgets one of a person's passkeys.
    pub async fn delete_passkey(&mut self, person: i64, id: i64) -> Result<bool, StoreError> {
        Ok(run!(self, sqlx::query("DELETE FROM passkey WHERE person_id = $1 AND id = $2").bind(person).bind(id)) == 1)
    }

    /// Forgets all of them.
    pub async fn delete_passkeys_of(&mut self, person: i64) -> Result<u64, StoreError> {
        Ok(run!(self, sqlx::query("DELETE FROM passkey WHERE person_id = $1").bind(person)))
    }

    /// Keeps the one question that a session has asked an authenticator.
    pub async fn put_ceremony(&mut self, token_hash: &str, person: i64, data: &str, expires: DateTime<Utc>) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO ceremony (token_hash, person_id, data, expires_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (token_hash) DO UPDATE SET person_id = excluded.person_id, data = excluded.data, expires_at = excluded.expires_at";
        run!(self, sqlx::query(SQL).bind(token_hash).bind(person).bind(data).bind(expires));
        Ok(())
    }

    /// Uses that question up, if it still holds at `at`.
    pub async fn use_ceremony(&mut self, token_hash: &str, person: i64, at: DateTime<Utc>) -> Result<Option<String>, StoreError> {
        const SQL: &str = "DELETE FROM ceremony WHERE token_hash = $1 AND person_id = $2 AND expires_at > $3 RETURNING data";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(token_hash).bind(person).bind(at).fetch_optional(c))?)
    }
}
