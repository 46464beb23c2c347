//! The second factor: codes from an app (TOTP, RFC 6238), and recovery codes for when the telephone is lost.

use chrono::{DateTime, Utc};
use rand::RngExt;
use sha2::{Digest, Sha256};
use totp_rs::{Builder, Secret as TotpSecret, Totp};

use super::{
    Limits, LoginOutcome, PeopleError, Person, Secret, hex,
    login::{cut, too_many},
    password, person_in,
};
use crate::{
    canteen::EnteId,
    desk::{
        Desk, DeskError,
        trail::{self, Actor},
    },
    ops::chance,
    store::Tx,
};

/// How many recovery codes somebody gets.
const RECOVERY_CODES: usize = 10;
/// Letters and digits that are not taken for each other.
const ALPHABET: [char; 31] = [
    'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'j', 'k', 'm', 'n', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5',
    '6', '7', '8', '9',
];

/// A fresh secret for an app, in base32.
pub fn fresh_totp_secret() -> String {
    TotpSecret::generate().to_base32()
}

fn totp(secret: &str) -> Option<Totp> {
    Builder::new().with_secret(TotpSecret::try_from_base32(secret).ok()?).build().ok()
}

/// The step whose code this is (now, the one before or the one after); `None` where it is none.
pub fn totp_step(secret: &str, code: &str, at: DateTime<Utc>) -> Option<i64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let step = totp(secret)?.check(&code, u64::try_from(at.timestamp()).ok()?)?;
    i64::try_from(step).ok()
}

/// What an app reads from the picture.
pub fn totp_url(secret: &str, ente: &str, login: &str) -> String {
    let quoted = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let issuer = quoted(&format!("Mensa {ente}"));
    format!("otpauth://totp/{issuer}:{}?secret={secret}&issuer={issuer}", quoted(login))
}

fn fresh_recovery_codes() -> Vec<String> {
    let mut rng = chance::fresh();
    let part = |rng: &mut rand::rngs::StdRng| (0..5).map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())]).collect::<String>();
    (0..RECOVERY_CODES).map(|_| format!("{}-{}", part(&mut rng), part(&mut rng))).collect()
}

/// Ten characters of 31 are 49 bits: as a hash they need no slow one.
fn recovery_hash(code: &str) -> Option<String> {
    let plain: String = code.trim().to_lowercase().chars().filter(|c| *c != '-' && !c.is_whitespace()).collect();
    (plain.len() == 10 && plain.chars().all(|c| ALPHABET.contains(&c))).then(|| hex(&Sha256::digest(plain.as_bytes())))
}

async fn give_recovery_codes(tx: &mut Tx, person: i64) -> Result<Vec<String>, PeopleError> {
    let codes = fresh_recovery_codes();
    let hashes: Vec<_> = codes.iter().filter_map(|code| recovery_hash(code)).collect();
    tx.put_recovery_codes(person, &hashes).await?;
    Ok(codes)
}

impl Desk {
    /// Begins to use codes from an app, once its first code has shown that it has the secret. All other sessions end. Gives recovery codes: they are shown
    /// now and never again.
    pub async fn begin_totp(&self, actor: &Actor, session: i64, secret: &str, code: &str) -> Result<Vec<String>, PeopleError> {
        let id = actor.person.ok_or(PeopleError::NoPerson)?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let person = person_in(&mut tx, actor.ente, id).await?;
        let step = totp_step(secret, code, at).ok_or(PeopleError::WrongCode)?;
        tx.put_totp(id, Some(secret), Some(step)).await?;
        let codes = give_recovery_codes(&mut tx, id).await?;
        tx.end_sessions_of(id, Some(session)).await?;
        trail::record(&mut tx, at, actor, "ha attivato i codici dall'app", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(codes)
    }

    /// Uses codes from an app no more; needs the password. Not where they are the only second factor and one is a must.
    pub async fn end_totp(&self, actor: &Actor, present: &str) -> Result<(), PeopleError> {
        let person = self.own(actor, present).await?;
        if person.row.second_factor_required && person.row.passkeys == 0 {
            return Err(PeopleError::SecondFactorRequired);
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        tx.put_totp(person.id, None, None).await?;
        if person.row.passkeys == 0 {
            tx.put_recovery_codes(person.id, &[]).await?;
        }
        trail::record(&mut tx, at, actor, "ha tolto i codici dall'app", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// New recovery codes in the place of the old ones; needs the password.
    pub async fn renew_recovery_codes(&self, actor: &Actor, present: &str) -> Result<Vec<String>, PeopleError> {
        let person = self.own(actor, present).await?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let codes = give_recovery_codes(&mut tx, person.id).await?;
        trail::record(&mut tx, at, actor, "ha rinnovato i codici di recupero", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(codes)
    }

    /// How many recovery codes somebody has left.
    pub async fn recovery_codes_left(&self, person: i64) -> Result<i64, DeskError> {
        Ok(self.db.read().await?.recovery_codes_left(person).await?)
    }

    /// Takes every second factor from somebody who has lost theirs; their sessions end.
    pub async fn reset_second_factor(&self, actor: &Actor, id: i64) -> Result<(), PeopleError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let person = person_in(&mut tx, actor.ente, id).await?;
        tx.put_totp(id, None, None).await?;
        tx.put_recovery_codes(id, &[]).await?;
        tx.delete_passkeys_of(id).await?;
        tx.end_sessions_of(id, None).await?;
        trail::record(&mut tx, at, actor, "ha azzerato il secondo fattore", person.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The second step of a login: a code from the app, or a recovery code. `token` is of the session that waits for it.
    pub async fn second_step(
        &self,
        limits: &Limits,
        token: &Secret,
        code: &str,
        address: &str,
        agent: &str,
    ) -> Result<LoginOutcome, DeskError> {
        let Some(who) = self.signed_in(limits, token, false).await?.filter(|who| who.session.pending) else {
            return Ok(LoginOutcome::Wrong);
        };
        let person = who.person;
        let mut tx = self.db.write().await?;
        tx.caller_alone(0, &person.row.login).await?;
        let at = tx.instant(&self.clock).await?;
        if too_many(&mut tx, limits, &person.row.login, address, at).await? {
            return Ok(LoginOutcome::ShutOut);
        }
        let secrets = tx.person_secrets(person.id).await?;
        let mut right = false;
        let mut recovery = false;
        if let Some(step) = secrets.and_then(|s| s.totp_secret).and_then(|secret| totp_step(&secret, code, at)) {
            right = tx.use_totp_step(person.id, step).await?;
        } else if let Some(hash) = recovery_hash(code) {
            recovery = tx.use_recovery_code(person.id, &hash).await?;
            right = recovery;
        }
        if !right {
            tx.add_login_attempt(&person.row.login, address, at, false).await?;
            tx.commit().await?;
            return Ok(LoginOutcome::Wrong);
        }
        if recovery {
            let actor = Actor { ente: person.ente, person: Some(person.id), name: person.row.login.clone(), address: address.to_owned() };
            trail::record(&mut tx, at, &actor, "ha usato un codice di recupero", person.subject(), None, None).await?;
        }
        tx.end_session(who.session.id).await?;
        tx.commit().await?;
        Ok(LoginOutcome::In(self.begin_session(limits, &person, false, address, &cut(agent)).await?))
    }

    /// Oneself, having shown the password again.
    pub(super) async fn own(&self, actor: &Actor, present: &str) -> Result<Person, PeopleError> {
        let id = actor.person.ok_or(PeopleError::NoPerson)?;
        let (person, secrets) = self.with_secrets(actor.ente, id).await?;
        if !password::verify(present, secrets).await {
            return Err(PeopleError::WrongPassword);
        }
        Ok(person)
    }

    async fn with_secrets(&self, ente: EnteId, id: i64) -> Result<(Person, Option<String>), PeopleError> {
        let mut tx = self.db.read().await?;
        let person = person_in(&mut tx, ente, id).await?;
        let hash = tx.person_secrets(id).await?.and_then(|s| s.password_hash);
        Ok((person, hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6238, appendix B, SHA-1, cut to six digits.
    #[test]
    fn the_codes_of_the_rfc_are_right() {
        let secret = TotpSecret::try_from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap().to_base32();
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")] {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            assert_eq!(totp_step(&secret, code, at), Some(seconds / 30));
            assert_eq!(totp_step(&secret, &format!(" {} {}", &code[..3], &code[3..]), at), Some(seconds / 30));
            assert_eq!(totp_step(&secret, code, at + chrono::TimeDelta::minutes(2)), None);
        }
        assert_eq!(totp_step(&secret, "28708", DateTime::default()), None);
        assert_eq!(totp_step("not base32!", "287082", DateTime::default()), None);
    }

    #[test]
    fn recovery_codes_may_be_typed_as_people_type() {
        let codes = fresh_recovery_codes();
        assert_eq!(codes.len(), RECOVERY_CODES);
        let code = &codes[0];
        assert_eq!(recovery_hash(code), recovery_hash(&format!(" {} ", code.to_uppercase().replace('-', " "))));
        assert_eq!(recovery_hash("123456"), None);
    }

    #[test]
    fn an_app_reads_whose_account_it_is() {
        insta::assert_snapshot!(totp_url("ABC", "Comune di Borgo", "anna"), @"otpauth://totp/Mensa%20Comune%20di%20Borgo:anna?secret=ABC&issuer=Mensa%20Comune%20di%20Borgo");
    }
}
