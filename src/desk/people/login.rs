//! Logging in and out: sessions, lock-out, links.
//!
//! A session is a random token of 256 bits in a cookie; the database knows only its SHA-256. Failed tries are counted by person and by
//! address. A person's count shuts out strangers' addresses only: from an address from which somebody has logged in before, what
//! others do elsewhere does not count, so nobody can be kept out of their own desk.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng;
use sha2::{Digest, Sha256};

use super::{Person, login_name, password};
use crate::{
    canteen::EnteId,
    desk::{
        Desk, DeskError,
        trail::{self, Actor},
    },
    ops::chance,
    store::{NewSession, SessionRow, Tx},
};

/// How many failed logins are borne, and how long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failed tries as one person, from unknown addresses.
    pub login: i64,
    /// Failed tries as one person from one address that they know.
    pub login_here: i64,
    /// Failed tries from one address, as anybody.
    pub address: i64,
    /// The time that counts.
    pub span: TimeDelta,
    /// A session ends when it is not used for so long.
    pub idle: TimeDelta,
    /// A session ends after so long in any case.
    pub absolute: TimeDelta,
}

impl Default for Limits {
    /// Eight tries a quarter of an hour against passwords of twelve characters; an office behind one address has more people.
    fn default() -> Self {
        Self {
            login: 8,
            login_here: 8,
            address: 40,
            span: TimeDelta::minutes(15),
            idle: TimeDelta::hours(1),
            absolute: TimeDelta::hours(12),
        }
    }
}

/// Sessions of one person at once; the oldest end.
const MOST_SESSIONS: i64 = 20;
/// For how long tries are kept, and an address counts as known.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How often the use of a session is written down.
const TOUCH: TimeDelta = TimeDelta::minutes(1);
/// How much is kept of what a browser says of itself, and of a login name that is none.
const KEPT_TEXT: usize = 120;

/// A random token of 256 bits; shown to its owner only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A fresh one.
    pub fn fresh() -> Self {
        let mut bytes = [0; 32];
        chance::fresh().fill_bytes(&mut bytes);
        Self(hex(&bytes))
    }

    /// One that came back; `None` where it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Self(text.to_owned()))
    }

    /// What goes into the cookie or link.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// A token that only whoever holds this one can make, for one purpose (forms).
    pub fn derived(&self, purpose: &str) -> String {
        hex(&Sha256::new().chain_update(purpose).chain_update(b"\0").chain_update(self.0.as_bytes()).finalize())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(KEPT_TEXT).collect()
}

/// Have there been too many failed tries as this person, or from this address?
pub(super) async fn too_many(tx: &mut Tx, limits: &Limits, login: &str, address: &str, now: DateTime<Utc>) -> Result<bool, DeskError> {
    let counts = tx.login_failures(login, address, now - limits.span).await?;
    let known = tx.has_logged_in_from(login, address, now - KEPT).await?;
    let person_out = if known { counts.login_here >= limits.login_here } else { counts.login >= limits.login };
    Ok(person_out || counts.address >= limits.address)
}

/// The answer to a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginOutcome {
    /// Logged in: the session's token.
    In(Secret),
    /// The password is right; the session waits for the second factor.
    SecondFactor(Secret),
    /// Name or password is wrong, or the person is not let in.
    Wrong,
    /// Too many tries: nothing was looked at.
    ShutOut,
}

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub person: Person,
    /// The session.
    pub session: SessionRow,
}

impl SignedIn {
    /// For the trail; `address` is where the request came from.
    pub fn actor(&self, address: &str) -> Actor {
        Actor { ente: self.person.ente, person: Some(self.person.id), name: self.person.row.login.clone(), address: address.to_owned() }
    }
}

impl Desk {
    /// Logs in with a password. `address` is the client's, `agent` what its browser says of itself.
    pub async fn log_in(
        &self,
        limits: &Limits,
        typed: &str,
        password: &str,
        address: &str,
        agent: &str,
    ) -> Result<LoginOutcome, DeskError> {
        let login = login_name(typed).unwrap_or_else(|| cut(&typed.to_lowercase()));
        let (person, hash) = {
            let mut tx = self.db.read().await?;
            let now = tx.instant(&self.clock).await?;
            if too_many(&mut tx, limits, &login, address, now).await? {
                return Ok(LoginOutcome::ShutOut);
            }
            let person = tx.person_by_login(&login).await?.map(Person::try_from).transpose()?;
            let hash = match &person {
                Some(person) => tx.person_secrets(person.id).await?.and_then(|s| s.password_hash),
                None => None,
            };
            (person, hash)
        };
        let right = password::verify(password, hash).await;
        let person = person.filter(|p| right && p.row.disabled_at.is_none());
        let mut tx = self.db.write().await?;
        let now = tx.instant(&self.clock).await?;
        // Of many tries at once, each was let through above: here they are counted one after the other.
        tx.caller_alone(0, &login).await?;
        if too_many(&mut tx, limits, &login, address, now).await? {
            return Ok(LoginOutcome::ShutOut);
        }
        let Some(person) = person else {
            tx.add_login_attempt(&login, address, now, false).await?;
            tx.commit().await?;
            return Ok(LoginOutcome::Wrong);
        };
        drop(tx);
        let pending = person.has_second_factor();
        let token = self.begin_session(limits, &person, pending, address, agent).await?;
        Ok(if pending { LoginOutcome::SecondFactor(token) } else { LoginOutcome::In(token) })
    }

    /// Begins a session of somebody who has proved who they are.
    pub(super) async fn begin_session(
        &self,
        limits: &Limits,
        person: &Person,
        pending: bool,
        address: &str,
        agent: &str,
    ) -> Result<Secret, DeskError> {
        let token = Secret::fresh();
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let agent = cut(agent);
        let new = NewSession {
            token_hash: &token.hash(),
            person: person.id,
            pending,
            at,
            expires: at + if pending { TimeDelta::minutes(10) } else { limits.absolute },
            address,
            agent: &agent,
        };
        tx.add_session(&new).await?;
        tx.end_oldest_sessions(person.id, MOST_SESSIONS).await?;
        if !pending {
            tx.add_login_attempt(&person.row.login, address, at, true).await?;
            tx.put_last_login(person.id, at).await?;
            let actor = Actor { ente: person.ente, person: Some(person.id), name: person.row.login.clone(), address: address.to_owned() };
            trail::record(&mut tx, at, &actor, "è entrato", person.subject(), None, None).await?;
        }
        tx.commit().await?;
        Ok(token)
    }

    /// Who has this token, if the session still holds: not over, not idle for too long, the person still let in. `touch`: this is a use of it.
    pub async fn signed_in(&self, limits: &Limits, token: &Secret, touch: bool) -> Result<Option<SignedIn>, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let Some(session) = tx.session(&token.hash()).await? else { return Ok(None) };
        if now >= session.expires_at || now - session.seen_at >= limits.idle {
            return Ok(None);
        }
        let Some(person) = tx.person(session.person_id).await?.filter(|p| p.disabled_at.is_none()) else { return Ok(None) };
        drop(tx);
        if touch && now - session.seen_at >= TOUCH {
            let mut tx = self.db.write().await?;
            tx.touch_session(session.id, now).await?;
            tx.commit().await?;
        }
        Ok(Some(SignedIn { person: person.try_into()?, session }))
    }

    /// Whose session this was, over or not: who writes a form to its end after it has expired gets it back.
    pub async fn session_was_of(&self, token: &Secret) -> Result<Option<i64>, DeskError> {
        Ok(self.db.read().await?.session(&token.hash()).await?.map(|s| s.person_id))
    }

    /// Logs out.
    pub async fn log_out(&self, who: &SignedIn, address: &str) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.end_session(who.session.id).await?;
        trail::record(&mut tx, at, &who.actor(address), "è uscito", who.person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Somebody's sessions that still hold, the last used first.
    pub async fn sessions_of(&self, limits: &Limits, person: i64) -> Result<Vec<SessionRow>, DeskError> {
        let mut tx = self.db.read().await?;
        let now = tx.instant(&self.clock).await?;
        let mut sessions = tx.sessions_of(person).await?;
        sessions.retain(|s| !s.pending && now < s.expires_at && now - s.seen_at < limits.idle);
        Ok(sessions)
    }

    /// Ends all of one's sessions but this one; gives how many.
    pub async fn end_other_sessions(&self, actor: &Actor, session: i64) -> Result<u64, DeskError> {
        let Some(person) = actor.person else { return Ok(0) };
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let ended = tx.end_sessions_of(person, Some(session)).await?;
        let subject = trail::Subject { kind: "persona", id: Some(person), name: &actor.name };
        trail::record(&mut tx, at, actor, "ha chiuso le proprie altre sessioni", subject, None, None).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// A link that logs a person in once, within `lasts`: its token.
    pub async fn login_link(&self, actor: &Actor, person: &Person, lasts: TimeDelta) -> Result<Secret, DeskError> {
        let token = Secret::fresh();
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.add_login_link(&token.hash(), person.id, at + lasts).await?;
        trail::record(&mut tx, at, actor, "ha creato un collegamento d'accesso", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// Logs in with a link; `None` where it was used before, is over or none.
    pub async fn log_in_by_link(&self, limits: &Limits, link: &Secret, address: &str, agent: &str) -> Result<Option<Secret>, DeskError> {
        let mut tx = self.db.write().await?;
        let now = tx.instant(&self.clock).await?;
        let Some(person) = tx.use_login_link(&link.hash(), now).await? else { return Ok(None) };
        let person = tx.person(person).await?.filter(|p| p.disabled_at.is_none());
        tx.commit().await?;
        let Some(person) = person else { return Ok(None) };
        let person = Person::try_from(person)?;
        // A link stands for the password, not for the second factor.
        let pending = person.has_second_factor();
        Ok(Some(self.begin_session(limits, &person, pending, address, agent).await?))
    }

    /// The nodes' common key for `purpose`, 256 bits.
    pub async fn office_key(&self, purpose: &str) -> Result<[u8; 32], DeskError> {
        let mut tx = self.db.write().await?;
        let kept = tx.office_key(purpose, Secret::fresh().reveal()).await?;
        tx.commit().await?;
        Ok(Sha256::digest(kept.as_bytes()).into())
    }

    /// Forgets sessions that are over and tries to log in that are old. A session is kept a day longer, so that a form sent late is still known for whose it is.
    pub async fn forget_sessions(&self, now: DateTime<Utc>) -> Result<u64, DeskError> {
        let mut tx = self.db.write().await?;
        let gone = tx.forget_sessions(now - TimeDelta::days(1), now - KEPT).await?;
        tx.commit().await?;
        Ok(gone)
    }

    /// The ente of a person's office.
    pub async fn office_of(&self, ente: EnteId) -> Result<crate::store::Ente, DeskError> {
        let mut tx = self.db.read().await?;
        crate::desk::ente_of(&mut tx, ente).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_unlike_and_silent() {
        let (one, other) = (Secret::fresh(), Secret::fresh());
        assert_ne!(one, other);
        assert_eq!(Secret::parse(one.reveal()), Some(one.clone()));
        assert_eq!(Secret::parse("short"), None);
        assert_eq!(format!("{one:?}"), "Secret");
        assert_ne!(one.derived("modulo"), one.hash());
    }
}
