//! Tokens of other systems.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A token, as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TokenRow {
    /// Row.
    pub id: i64,
    /// Whose canteen it opens.
    pub ente_id: i64,
    /// Whose system it is.
    pub name: String,
    /// What it may, words with spaces between.
    pub scopes: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to about a minute.
    pub used_at: Option<DateTime<Utc>>,
    /// From where.
    pub used_from: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// By whom.
    pub revoked_by: Option<String>,
}

/// A token to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// Whose canteen it opens.
    pub ente: EnteId,
    /// Whose system it is.
    pub name: &'a str,
    /// SHA-256 of the token, hex.
    pub token_hash: &'a str,
    /// What it may, words with spaces between.
    pub scopes: &'a str,
    /// When it is made.
    pub at: DateTime<Utc>,
    /// By whom.
    pub by: &'a str,
    /// When it ends.
    pub expires: DateTime<Utc>,
}

/// The columns of a row.
macro_rules! columns {
    () => {
        "id, ente_id, name, scopes, created_at, created_by, expires_at, used_at, used_from, revoked_at, revoked_by"
    };
}

impl Tx {
    /// Keeps a token; gives its row.
    pub async fn add_token(&mut self, new: &NewToken<'_>) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO api_token (ente_id, name, token_hash, scopes, created_at, created_by, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(new.ente.0)
            .bind(new.name)
            .bind(new.token_hash)
            .bind(new.scopes)
            .bind(new.at)
            .bind(new.by)
            .bind(new.expires)
            .fetch_one(c))?)
    }

    /// The token with this hash, over or not.
    pub async fn token(&mut self, token_hash: &str) -> Result<Option<TokenRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM api_token WHERE token_hash = $1");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(token_hash).fetch_optional(c))?)
    }

    /// The token of this row and ente, over or not.
    pub async fn token_of(&mut self, ente: EnteId, id: i64) -> Result<Option<TokenRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM api_token WHERE id = $2 AND ente_id = $1");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// The newest tokens of an ente, at most `limit`.
    pub async fn tokens(&mut self, ente: EnteId, limit: i64) -> Result<Vec<TokenRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM api_token WHERE ente_id = $1 ORDER BY id DESC LIMIT $2");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(limit).fetch_all(c))?)
    }

    /// How many tokens of an ente hold at `at`.
    pub async fn tokens_in_force(&mut self, ente: EnteId, at: DateTime<Utc>) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM api_token WHERE ente_id = $1 AND revoked_at IS NULL AND expires_at > $2";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(at).fetch_one(c))?)
    }

    /// Notes that a token is in use.
    pub async fn touch_token(&mut self, id: i64, at: DateTime<Utc>, from: &str) -> Result<(), StoreError> {
        run!(self, sqlx::query("UPDATE api_token SET used_at = $2, used_from = $3 WHERE id = $1").bind(id).bind(at).bind(from));
        Ok(())
    }

    /// Revokes a token of this ente; says whether it was in force so far.
    pub async fn revoke_token(&mut self, ente: EnteId, id: i64, at: DateTime<Utc>, by: &str) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE api_token SET revoked_at = $3, revoked_by = $4 WHERE id = $2 AND ente_id = $1 AND revoked_at IS NULL";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id).bind(at).bind(by)) == 1)
    }
}
