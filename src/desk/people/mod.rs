//! People of the office: who may log in, as what, and how that changes (O7).

mod keys;
mod login;
pub mod passkey;
pub mod password;
mod role;
mod second;

use serde_json::{Value, json};

use self::login::hex;
pub use self::{
    login::{Limits, LoginOutcome, Secret, SignedIn},
    role::{Permission, Role},
    second::{fresh_totp_secret, totp_url},
};
use super::{
    Desk, DeskError,
    trail::{self, Actor, Subject},
};
use crate::{
    canteen::EnteId,
    store::{NewPerson, PersonRow, StoreError, Tx},
};

/// A person of the office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Row.
    pub id: i64,
    /// Whose office.
    pub ente: EnteId,
    /// Their role.
    pub role: Role,
    /// All the rest.
    pub row: PersonRow,
}

impl Person {
    /// What they are called.
    pub fn name(&self) -> &str {
        &self.row.name
    }

    /// May they do that?
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission)
    }

    /// Is a second factor asked for at login?
    pub fn has_second_factor(&self) -> bool {
        self.row.has_totp || self.row.passkeys > 0
    }

    /// Do they have to set one up before anything else?
    pub fn must_set_up(&self) -> bool {
        self.row.second_factor_required && !self.has_second_factor()
    }

    fn subject(&self) -> Subject<'_> {
        Subject { kind: "persona", id: Some(self.id), name: &self.row.login }
    }
}

impl TryFrom<PersonRow> for Person {
    type Error = StoreError;

    fn try_from(row: PersonRow) -> Result<Self, StoreError> {
        let role = row.role.parse().map_err(|()| StoreError::Unknown { what: "role", value: row.role.clone() })?;
        Ok(Self { id: row.id, ente: EnteId(row.ente_id), role, row })
    }
}

/// What is told of a person who is added or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonData {
    /// What they log in as; see [`login_name`].
    pub login: String,
    /// First and last name.
    pub name: String,
    /// Mail address.
    pub email: Option<String>,
    /// Role.
    pub role: Role,
    /// Must have a second factor.
    pub second_factor_required: bool,
}

impl PersonData {
    fn row(&self, ente: EnteId) -> NewPerson<'_> {
        NewPerson {
            ente,
            login: &self.login,
            name: &self.name,
            email: self.email.as_deref(),
            role: self.role.word(),
            second_factor_required: self.second_factor_required,
        }
    }
}

/// Why people could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The desk or the database.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The password is none.
    #[error(transparent)]
    Password(#[from] password::PasswordError),
    /// There is somebody with this login name.
    #[error("there is somebody with this login name already")]
    LoginTaken,
    /// No such person.
    #[error("there is no such person")]
    NoPerson,
    /// Somebody else changed the row meanwhile.
    #[error("somebody else has changed this person meanwhile")]
    Stale,
    /// Nobody could administer any more.
    #[error("this is the last administrator")]
    LastAdmin,
    /// The present password is another one.
    #[error("this is not the present password")]
    WrongPassword,
    /// The code of the app is none.
    #[error("this is not the app's code")]
    WrongCode,
    /// The last second factor of somebody who must have one.
    #[error("a second factor is required")]
    SecondFactorRequired,
    /// The authenticator's answer does not count.
    #[error(transparent)]
    Passkey(#[from] passkey::PasskeyError),
}

impl From<StoreError> for PeopleError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// A login name as it is kept: small letters, digits, `.`, `-`, `_`, `@`, 3 to 64 of them; `None` where it is none.
pub fn login_name(typed: &str) -> Option<String> {
    let name = typed.trim().to_lowercase();
    let fits = (3..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_@".contains(c));
    fits.then_some(name)
}

fn shown(person: &PersonRow) -> Value {
    json!({
        "nome": person.name, "e-mail": person.email, "ruolo": person.role, "secondo fattore obbligatorio": person.second_factor_required,
    })
}

impl Desk {
    /// The person of that row, of that office.
    pub async fn person(&self, ente: EnteId, id: i64) -> Result<Option<Person>, DeskError> {
        let row = self.db.read().await?.person(id).await?.filter(|p| p.ente_id == ente.0);
        Ok(row.map(Person::try_from).transpose()?)
    }

    /// The person who logs in as `login`.
    pub async fn person_by_login(&self, login: &str) -> Result<Option<Person>, DeskError> {
        let Some(login) = login_name(login) else { return Ok(None) };
        Ok(self.db.read().await?.person_by_login(&login).await?.map(Person::try_from).transpose()?)
    }

    /// Everybody of the office, by name.
    pub async fn people(&self, ente: EnteId) -> Result<Vec<Person>, DeskError> {
        let rows = self.db.read().await?.people(ente).await?;
        Ok(rows.into_iter().map(Person::try_from).collect::<Result<_, _>>()?)
    }

    /// Adds a person; they cannot log in before they have a password, a passkey or a link.
    pub async fn add_person(&self, actor: &Actor, data: &PersonData) -> Result<Person, PeopleError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let id = match tx.add_person(&data.row(actor.ente), at).await {
            Err(error) if error.is_duplicate() => return Err(PeopleError::LoginTaken),
            other => other?,
        };
        let person = person_in(&mut tx, actor.ente, id).await?;
        trail::record(&mut tx, at, actor, "ha aggiunto una persona", person.subject(), None, Some(shown(&person.row))).await?;
        tx.commit().await?;
        Ok(person)
    }

    /// Changes name, mail, role and whether a second factor is a must, where the row still has `version`.
    pub async fn change_person(&self, actor: &Actor, id: i64, version: i64, data: &PersonData) -> Result<Person, PeopleError> {
        let mut tx = self.db.write().await?;
        tx.lock_people(actor.ente).await?;
        let at = tx.instant(&self.clock).await?;
        let before = person_in(&mut tx, actor.ente, id).await?;
        if before.role == Role::Admin && data.role != Role::Admin {
            another_admin(&mut tx, &before).await?;
        }
        if !tx.change_person(id, version, &data.row(actor.ente)).await? {
            return Err(PeopleError::Stale);
        }
        let after = person_in(&mut tx, actor.ente, id).await?;
        let (was, is) = trail::difference(&shown(&before.row), &shown(&after.row));
        trail::record(&mut tx, at, actor, "ha cambiato una persona", after.subject(), was, is).await?;
        if before.role != after.role {
            // What is open in a browser must not go on under the old role's pages.
            tx.end_sessions_of(id, None).await?;
        }
        tx.commit().await?;
        Ok(after)
    }

    /// Lets a person in no more (their sessions end at once), or again.
    pub async fn let_in(&self, actor: &Actor, id: i64, again: bool) -> Result<(), PeopleError> {
        let mut tx = self.db.write().await?;
        tx.lock_people(actor.ente).await?;
        let at = tx.instant(&self.clock).await?;
        let person = person_in(&mut tx, actor.ente, id).await?;
        if again == person.row.disabled_at.is_none() {
            return Ok(());
        }
        if !again && person.role == Role::Admin {
            another_admin(&mut tx, &person).await?;
        }
        tx.put_disabled(id, (!again).then_some(at)).await?;
        if !again {
            tx.end_sessions_of(id, None).await?;
        }
        let action = if again { "ha riabilitato una persona" } else { "ha disabilitato una persona" };
        trail::record(&mut tx, at, actor, action, person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a person a password; all their sessions end. With `must_change` they choose their own at the next login.
    pub async fn give_password(&self, actor: &Actor, id: i64, new: &str, must_change: bool) -> Result<(), PeopleError> {
        let person = self.person(actor.ente, id).await?.ok_or(PeopleError::NoPerson)?;
        password::check(new, &[&person.row.login, &person.row.name])?;
        let hash = password::hash(new).await?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.put_password(id, &hash, must_change).await?;
        tx.end_sessions_of(id, None).await?;
        tx.forget_login_failures(&person.row.login).await?;
        trail::record(&mut tx, at, actor, "ha dato una nuova password", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Changes one's own password, knowing the present one; all other sessions end.
    pub async fn change_own_password(&self, actor: &Actor, session: i64, present: &str, new: &str) -> Result<(), PeopleError> {
        let id = actor.person.ok_or(PeopleError::NoPerson)?;
        let person = self.person(actor.ente, id).await?.ok_or(PeopleError::NoPerson)?;
        let secrets = self.db.read().await?.person_secrets(id).await?.ok_or(PeopleError::NoPerson)?;
        // Whoever came by a link and has none yet need not know one.
        if secrets.password_hash.is_some() && !password::verify(present, secrets.password_hash.clone()).await {
            return Err(PeopleError::WrongPassword);
        }
        password::check(new, &[&person.row.login, &person.row.name])?;
        if password::verify(new, secrets.password_hash).await {
            return Err(PeopleError::Password(password::PasswordError::TooEasy));
        }
        let hash = password::hash(new).await?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.put_password(id, &hash, false).await?;
        tx.end_sessions_of(id, Some(session)).await?;
        trail::record(&mut tx, at, actor, "ha cambiato la propria password", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn person_in(tx: &mut Tx, ente: EnteId, id: i64) -> Result<Person, PeopleError> {
    let row = tx.person(id).await?.filter(|p| p.ente_id == ente.0).ok_or(PeopleError::NoPerson)?;
    Ok(row.try_into()?)
}

/// Is there an administrator beside this one who may log in?
async fn another_admin(tx: &mut Tx, person: &Person) -> Result<(), PeopleError> {
    let people = tx.people(person.ente).await?;
    let other = people.iter().any(|p| p.id != person.id && p.role == Role::Admin.word() && p.disabled_at.is_none());
    if other { Ok(()) } else { Err(PeopleError::LastAdmin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_names_are_plain() {
        assert_eq!(login_name(" Anna.Rossi "), Some("anna.rossi".to_owned()));
        assert_eq!(login_name("a"), None);
        assert_eq!(login_name("anna rossi"), None);
        assert_eq!(login_name("<b>anna</b>"), None);
    }
}
