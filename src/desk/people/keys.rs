//! Passkeys: made, shown at a login, taken away. The checks are in [`super::passkey`].

use chrono::TimeDelta;

use super::{
    Limits, LoginOutcome, PeopleError, Secret,
    login::cut,
    passkey::{self, Made, PasskeyError, Shown, Site, StoredKey},
    person_in,
};
use crate::{
    desk::{
        Desk, DeskError,
        trail::{self, Actor},
    },
    store::PasskeyRow,
};

/// For how long a question to an authenticator may be answered.
const PATIENCE: TimeDelta = TimeDelta::minutes(5);
/// The most passkeys of one person.
const MOST: usize = 10;

impl Desk {
    /// Somebody's passkeys.
    pub async fn passkeys(&self, person: i64) -> Result<Vec<PasskeyRow>, DeskError> {
        Ok(self.db.read().await?.passkeys_of(person).await?)
    }

    /// A question for an authenticator, tied to the session that asks (its token).
    pub async fn passkey_challenge(&self, token: &Secret, person: i64) -> Result<String, DeskError> {
        let challenge = Secret::fresh().derived("passkey");
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.put_ceremony(&token.hash(), person, &challenge, at + PATIENCE).await?;
        tx.commit().await?;
        Ok(challenge)
    }

    /// Keeps a key that was made.
    pub async fn add_passkey(&self, actor: &Actor, token: &Secret, site: &Site, name: &str, answer: &Made) -> Result<(), PeopleError> {
        let id = actor.person.ok_or(PeopleError::NoPerson)?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let person = person_in(&mut tx, actor.ente, id).await?;
        let challenge = tx.use_ceremony(&token.hash(), id, at).await?.ok_or(PasskeyError::OtherQuestion)?;
        let (credential, key) = passkey::made(site, &challenge, answer)?;
        if tx.passkeys_of(id).await?.len() >= MOST {
            return Err(PasskeyError::Algorithm.into());
        }
        let data = serde_json::to_string(&key).map_err(|_| PasskeyError::Malformed)?;
        match tx.add_passkey(id, &credential, name, &data, at).await {
            Err(error) if error.is_duplicate() => return Err(PasskeyError::OtherQuestion.into()),
            other => other?,
        }
        trail::record(&mut tx, at, actor, "ha aggiunto una passkey", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a passkey away; needs the password. Not the last second factor of somebody who must have one.
    pub async fn drop_passkey(&self, actor: &Actor, passkey: i64, present: &str) -> Result<(), PeopleError> {
        let person = self.own(actor, present).await?;
        if person.row.second_factor_required && !person.row.has_totp && person.row.passkeys <= 1 {
            return Err(PeopleError::SecondFactorRequired);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.delete_passkey(person.id, passkey).await?;
        trail::record(&mut tx, at, actor, "ha tolto una passkey", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The second step of a login with a passkey. `token` is of the session that waits for it.
    pub async fn second_step_by_passkey(
        &self,
        limits: &Limits,
        token: &Secret,
        site: &Site,
        answer: &Shown,
        address: &str,
        agent: &str,
    ) -> Result<LoginOutcome, DeskError> {
        let Some(who) = self.signed_in(limits, token, false).await?.filter(|who| who.session.pending) else {
            return Ok(LoginOutcome::Wrong);
        };
        let person = who.person;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let challenge = tx.use_ceremony(&token.hash(), person.id, at).await?;
        let known = tx.passkeys_of(person.id).await?.into_iter().find(|k| k.credential == answer.id.trim_end_matches('='));
        let key = known.as_ref().and_then(|k| serde_json::from_str::<StoredKey>(&k.data).ok());
        let (Some(challenge), Some(known), Some(mut key)) = (challenge, known, key) else {
            tx.commit().await?;
            return Ok(LoginOutcome::Wrong);
        };
        let Ok(counter) = passkey::shown(site, &challenge, &key, answer) else {
            // The question is used up all the same.
            tx.commit().await?;
            return Ok(LoginOutcome::Wrong);
        };
        key.counter = counter;
        if let Ok(data) = serde_json::to_string(&key) {
            tx.use_passkey(known.id, &data, at).await?;
        }
        tx.end_session(who.session.id).await?;
        tx.commit().await?;
        Ok(LoginOutcome::In(self.begin_session(limits, &person, false, address, &cut(agent)).await?))
    }
}
