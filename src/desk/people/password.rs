//! Passwords: Argon2id, and what is too weak to be one.

use std::sync::LazyLock;

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

/// Shortest password, in characters (NIST SP 800-63B: length counts, not composition).
pub const SHORTEST: usize = 12;
/// Longest password, in characters.
pub const LONGEST: usize = 200;

/// Each hash takes 19 MiB and some tens of milliseconds: not more than this many at once, so that a flood of logins fills neither memory nor cores.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// What a login as nobody is compared with, so that it takes as long as one with a wrong password.
static NOBODYS: LazyLock<Option<String>> = LazyLock::new(|| hash_now("nobody has this password").ok());

/// Why a password could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Shorter than [`SHORTEST`].
    #[error("a password has at least 12 characters")]
    TooShort,
    /// Longer than [`LONGEST`].
    #[error("a password has at most 200 characters")]
    TooLong,
    /// One that everybody tries first.
    #[error("this password is too easy to guess")]
    TooEasy,
    /// The hash could not be made.
    #[error("the password could not be hashed")]
    Hash,
}

/// Is this good enough? `about` are words that it must not consist of: the login name, the name.
pub fn check(password: &str, about: &[&str]) -> Result<(), PasswordError> {
    let length = password.chars().count();
    if length < SHORTEST {
        return Err(PasswordError::TooShort);
    }
    if length > LONGEST {
        return Err(PasswordError::TooLong);
    }
    let small = password.to_lowercase();
    let mut left = small.clone();
    for word in about.iter().flat_map(|a| a.split_whitespace()).map(str::to_lowercase).filter(|w| w.chars().count() >= 3) {
        left = left.replace(&word, "");
    }
    for word in
        ["password", "qwerty", "mensa", "refezione", "comune", "scuola", "admin", "benvenuto", "123456789", "12345678", "1234", "abcd"]
    {
        left = left.replace(word, "");
    }
    let mut distinct: Vec<char> = small.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if left.chars().filter(|c| c.is_alphanumeric()).count() < 6 || distinct.len() < 5 {
        return Err(PasswordError::TooEasy);
    }
    Ok(())
}

fn hash_now(password: &str) -> Result<String, PasswordError> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|_| PasswordError::Hash)
}

/// The password's Argon2id hash, as a PHC string.
pub async fn hash(password: &str) -> Result<String, PasswordError> {
    let _one = AT_ONCE.acquire().await.map_err(|_| PasswordError::Hash)?;
    let password = password.to_owned();
    tokio::task::spawn_blocking(move || hash_now(&password)).await.map_err(|_| PasswordError::Hash)?
}

/// Is this the password? Where there is no hash it takes as long to say no.
pub async fn verify(password: &str, hash: Option<String>) -> bool {
    let Ok(_one) = AT_ONCE.acquire().await else { return false };
    // Longer ones were never taken: no work is done for them.
    let password: String = password.chars().take(LONGEST + 1).collect();
    let outcome = tokio::task::spawn_blocking(move || {
        let somebodys = hash.is_some();
        let hash = hash.or_else(|| NOBODYS.clone()).unwrap_or_default();
        Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok() && somebodys
    });
    outcome.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_tries_first_is_no_password() {
        assert_eq!(check("corto", &[]), Err(PasswordError::TooShort));
        assert_eq!(check("password1234", &[]), Err(PasswordError::TooEasy));
        assert_eq!(check("anna.rossi12", &["anna.rossi", "Anna Rossi"]), Err(PasswordError::TooEasy));
        assert_eq!(check("aaaaaaaaaaaaaaaa", &[]), Err(PasswordError::TooEasy));
        assert_eq!(check("cavallo batteria graffetta", &["anna"]), Ok(()));
        assert_eq!(check(&"lungo è ".repeat(30), &[]), Err(PasswordError::TooLong));
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_only() {
        let made = hash("cavallo batteria graffetta").await.unwrap();
        assert!(made.starts_with("$argon2id$"));
        assert!(verify("cavallo batteria graffetta", Some(made.clone())).await);
        assert!(!verify("cavallo batteria", Some(made)).await);
        assert!(!verify("nobody has this password", None).await);
    }
}
