//! Who works in the office: rows of `person`, and what proves who they are.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A person of the office, as stored. Secrets are in [`PersonSecrets`].
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PersonRow {
    /// Row.
    pub id: i64,
    /// Whose office.
    pub ente_id: i64,
    /// What they log in as, in small letters.
    pub login: String,
    /// First and last name.
    pub name: String,
    /// Mail address.
    pub email: Option<String>,
    /// The role's word (`desk::people::Role`).
    pub role: String,
    /// Has to choose another password at the next login.
    pub must_change: bool,
    /// Has a password.
    pub has_password: bool,
    /// Uses a code from an app beside the password.
    pub has_totp: bool,
    /// Number of passkeys.
    pub passkeys: i64,
    /// Must have a second factor.
    pub second_factor_required: bool,
    /// Since when they may not log in.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Last time they logged in.
    pub last_login_at: Option<DateTime<Utc>>,
    /// When they were added.
    pub created_at: DateTime<Utc>,
    /// Grows with each change; guards against two people changing one row.
    pub version: i64,
}

/// What proves who a person is.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PersonSecrets {
    /// Argon2id, as a PHC string.
    pub password_hash: Option<String>,
    /// Base32.
    pub totp_secret: Option<String>,
    /// The last step whose code was used.
    pub totp_step: Option<i64>,
}

impl std::fmt::Debug for PersonSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonSecrets")
    }
}

/// A person to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPerson<'a> {
    /// Whose office.
    pub ente: EnteId,
    /// Small letters, not there yet.
    pub login: &'a str,
    /// First and last name.
    pub name: &'a str,
    /// Mail address.
    pub email: Option<&'a str>,
    /// The role's word.
    pub role: &'a str,
    /// Must have a second factor.
    pub second_factor_required: bool,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.ente_id, p.login, p.name, p.email, p.role, p.must_change, p.password_hash IS NOT NULL AS has_password,
            p.totp_secret IS NOT NULL AS has_totp, (SELECT COUNT(*) FROM passkey k WHERE k.person_id = p.id) AS passkeys,
            p.second_factor_required, p.disabled_at, p.last_login_at, p.created_at, p.version FROM person p ",
            $rest
        )
    };
}

impl Tx {
    /// The person of that row.
    pub async fn person(&mut self, id: i64) -> Result<Option<PersonRow>, StoreError> {
        const SQL: &str = select!("WHERE p.id = $1");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c))?)
    }

    /// The person who logs in as `login` (small letters).
    pub async fn person_by_login(&mut self, login: &str) -> Result<Option<PersonRow>, StoreError> {
        const SQL: &str = select!("WHERE p.login = $1");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(login).fetch_optional(c))?)
    }

    /// Everybody of an office, by name. An office has tens of people, not thousands.
    pub async fn people(&mut self, ente: EnteId) -> Result<Vec<PersonRow>, StoreError> {
        const SQL: &str = select!("WHERE p.ente_id = $1 ORDER BY p.name, p.id LIMIT 1000");
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Locks the office's people until commit, so that of two who each take the last administrator's rights only one does.
    pub async fn lock_people(&mut self, ente: EnteId) -> Result<(), StoreError> {
        if let Self::Postgres(tx) = self {
            sqlx::query("SELECT id FROM person WHERE ente_id = $1 ORDER BY id FOR UPDATE").bind(ente.0).execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// Password, second factor.
    pub async fn person_secrets(&mut self, id: i64) -> Result<Option<PersonSecrets>, StoreError> {
        const SQL: &str = "SELECT password_hash, totp_secret, totp_step FROM person WHERE id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id).fetch_optional(c))?)
    }

    /// Adds a person, without a password.
    pub async fn add_person(&mut self, new: &NewPerson<'_>, at: DateTime<Utc>) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO person (ente_id, login, name, email, role, second_factor_required, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(new.ente.0)
            .bind(new.login)
            .bind(new.name)
            .bind(new.email)
            .bind(new.role)
            .bind(new.second_factor_required)
            .bind(at)
            .fetch_one(c))?)
    }

    /// Changes a person where the row still has `version`; false where somebody else was quicker.
    pub async fn change_person(&mut self, id: i64, version: i64, new: &NewPerson<'_>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE person SET name = $3, email = $4, role = $5, second_factor_required = $6, version = version + 1
            WHERE id = $1 AND version = $2";
        Ok(run!(
            self,
            sqlx::query(SQL).bind(id).bind(version).bind(new.name).bind(new.email).bind(new.role).bind(new.second_factor_required)
        ) == 1)
    }

    /// Sets a password (a PHC string).
    pub async fn put_password(&mut self, id: i64, hash: &str, must_change: bool) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE person SET password_hash = $2, must_change = $3, version = version + 1 WHERE id = $1";
        run!(self, sqlx::query(SQL).bind(id).bind(hash).bind(must_change));
        Ok(())
    }

    /// Lets a person in no more, or again (`None`).
    pub async fn put_disabled(&mut self, id: i64, at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE person SET disabled_at = $2, version = version + 1 WHERE id = $1";
        run!(self, sqlx::query(SQL).bind(id).bind(at));
        Ok(())
    }

    /// Notes a login.
    pub async fn put_last_login(&mut self, id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        run!(self, sqlx::query("UPDATE person SET last_login_at = $2 WHERE id = $1").bind(id).bind(at));
        Ok(())
    }

    /// Sets or takes away the secret of the codes from an app (base32).
    pub async fn put_totp(&mut self, id: i64, secret: Option<&str>, step: Option<i64>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE person SET totp_secret = $2, totp_step = $3, version = version + 1 WHERE id = $1";
        run!(self, sqlx::query(SQL).bind(id).bind(secret).bind(step));
        Ok(())
    }

    /// Uses the code of a step up; false where it, or a later one, was used before.
    pub async fn use_totp_step(&mut self, id: i64, step: i64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE person SET totp_step = $2 WHERE id = $1 AND (totp_step IS NULL OR totp_step < $2)";
        Ok(run!(self, sqlx::query(SQL).bind(id).bind(step)) == 1)
    }

    /// Puts these recovery codes (hashes) in the place of the old ones.
    pub async fn put_recovery_codes(&mut self, id: i64, hashes: &[String]) -> Result<(), StoreError> {
        run!(self, sqlx::query("DELETE FROM recovery_code WHERE person_id = $1").bind(id));
        for hash in hashes {
            run!(self, sqlx::query("INSERT INTO recovery_code (person_id, code_hash) VALUES ($1, $2)").bind(id).bind(hash));
        }
        Ok(())
    }

    /// Uses a recovery code up; false where there is none such.
    pub async fn use_recovery_code(&mut self, id: i64, hash: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM recovery_code WHERE person_id = $1 AND code_hash = $2";
        Ok(run!(self, sqlx::query(SQL).bind(id).bind(hash)) == 1)
    }

    /// How many recovery codes are left.
    pub async fn recovery_codes_left(&mut self, id: i64) -> Result<i64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM recovery_code WHERE person_id = $1";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(id).fetch_one(c))?)
    }
}
