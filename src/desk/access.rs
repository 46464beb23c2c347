//! Other systems' tokens: what each may read and do over the JSON API, until when, and when it was last used (O7).
//!
//! A token is 256 random bits; the database knows only its SHA-256. It is shown once, to whoever makes it.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Desk, DeskError,
    people::Secret,
    trail::{self, Actor},
};
use crate::{
    canteen::EnteId,
    store::{NewToken, StoreError, TokenRow},
};

/// Tokens of one ente that hold at once.
pub const MOST_TOKENS: i64 = 50;
/// Tokens that are listed, those that are over too.
const LISTED: i64 = 200;
/// How often the use of a token is written down.
const TOUCH: TimeDelta = TimeDelta::minutes(1);
/// What a token begins with, so that one that lies about where it should not is recognised as one.
const PREFIX: &str = "vg_";

/// What a token lets a system do. Each route of the API names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Head counts of a day.
    Counts,
    /// Terms, closures, days of return.
    Calendar,
    /// Schools and classes.
    Schools,
    /// Children as numbers: class, enrolment, what stands on their days.
    Children,
    /// With [`Scope::Children`]: their names.
    Names,
    /// With [`Scope::Children`]: their diets, which tell of health and belief.
    Diets,
    /// What was asked for and how it was answered.
    Operations,
    /// Cancel, white meal, undo.
    Operate,
    /// A receipt looked up by its number.
    Receipts,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Counts,
        Self::Calendar,
        Self::Schools,
        Self::Children,
        Self::Names,
        Self::Diets,
        Self::Operations,
        Self::Operate,
        Self::Receipts,
    ];

    /// The word in the database, in the API's description and in its errors.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counts => "counts:read",
            Self::Calendar => "calendar:read",
            Self::Schools => "schools:read",
            Self::Children => "children:read",
            Self::Names => "children:names",
            Self::Diets => "children:diets",
            Self::Operations => "operations:read",
            Self::Operate => "operations:write",
            Self::Receipts => "receipts:read",
        }
    }

    /// What people read.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counts => "Conteggi dei pasti: per giorno, scuola, classe e dieta",
            Self::Calendar => "Calendario: periodi di servizio, chiusure, giorni di rientro",
            Self::Schools => "Scuole e classi",
            Self::Children => "Bambini, solo come numeri: classe, iscrizione, che cosa risulta nei loro giorni",
            Self::Names => "Nomi e cognomi dei bambini (dati personali)",
            Self::Diets => "Dieta di ogni bambino (dato sulla salute o sulla religione)",
            Self::Operations => "Operazioni: disdette, pasti in bianco, sospensioni e il loro esito",
            Self::Operate => "Disdire, chiedere il pasto in bianco e annullare per un bambino",
            Self::Receipts => "Cercare una ricevuta dal suo numero",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|scope| scope.word() == word).ok_or(())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A token, as the office and the API know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose canteen it opens.
    pub ente: EnteId,
    /// What it may. Words that this version does not know give nothing.
    pub scopes: Vec<Scope>,
    /// All the rest.
    pub row: TokenRow,
}

impl Token {
    /// May it do that?
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Does it hold at `at`?
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.row.revoked_at.is_none() && at < self.row.expires_at
    }

    /// For the trail and for operations; `address` is where the request came from.
    pub fn actor(&self, address: &str) -> Actor {
        Actor { ente: self.ente, person: None, name: format!("chiave {}", self.row.name), address: address.to_owned() }
    }

    fn subject(&self) -> trail::Subject<'_> {
        trail::Subject { kind: "chiave", id: Some(self.row.id), name: &self.row.name }
    }
}

impl From<TokenRow> for Token {
    fn from(row: TokenRow) -> Self {
        let scopes = row.scopes.split(' ').filter_map(|word| word.parse().ok()).collect();
        Self { ente: EnteId(row.ente_id), scopes, row }
    }
}

/// What is told of a token that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenData {
    /// Whose system it is for.
    pub name: String,
    /// What it may.
    pub scopes: Vec<Scope>,
    /// For how long.
    pub lasts: TimeDelta,
}

/// What somebody holds who shows a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It holds.
    Good(Token),
    /// It is over, or was revoked.
    Over(Token),
    /// It is none of ours.
    Unknown,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// As many hold as may.
    #[error("there are {MOST_TOKENS} tokens already")]
    TooMany,
    /// No such token of this ente that holds.
    #[error("there is no such token")]
    Gone,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for AccessError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// What is given to the other system.
pub fn shown(token: &Secret) -> String {
    format!("{PREFIX}{}", token.reveal())
}

/// One that came back; `None` where it cannot be one.
pub fn parse(text: &str) -> Option<Secret> {
    text.strip_prefix(PREFIX).and_then(Secret::parse)
}

impl Desk {
    /// Makes a token. Nobody can see it again afterwards.
    pub async fn make_token(&self, actor: &Actor, data: &TokenData) -> Result<(Token, Secret), AccessError> {
        let secret = Secret::fresh();
        let mut tx = self.db.write().await?;
        tx.lock_people(actor.ente).await?;
        let at = tx.instant(&self.clock).await?;
        if tx.tokens_in_force(actor.ente, at).await? >= MOST_TOKENS {
            return Err(AccessError::TooMany);
        }
        let scopes = data.scopes.iter().map(|s| s.word()).collect::<Vec<_>>().join(" ");
        let new = NewToken {
            ente: actor.ente,
            name: &data.name,
            token_hash: &secret.hash(),
            scopes: &scopes,
            at,
            by: &actor.name,
            expires: at + data.lasts,
        };
        tx.add_token(&new).await?;
        let token: Token = tx.token(new.token_hash).await?.ok_or(AccessError::Gone)?.into();
        let after = json!({ "permessi": scopes, "scade": token.row.expires_at });
        trail::record(&mut tx, at, actor, "ha creato una chiave", token.subject(), None, Some(after)).await?;
        tx.commit().await?;
        Ok((token, secret))
    }

    /// The tokens of an ente, the newest first, and the instant at which they hold or not.
    pub async fn tokens(&self, ente: EnteId) -> Result<(Vec<Token>, DateTime<Utc>), DeskError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        Ok((tx.tokens(ente, LISTED).await?.into_iter().map(Token::from).collect(), at))
    }

    /// The token of this row and ente, where it holds.
    pub async fn token_in_force(&self, ente: EnteId, id: i64) -> Result<Token, AccessError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        let found = tx.token_of(ente, id).await?.map(Token::from);
        found.filter(|token| token.holds(at)).ok_or(AccessError::Gone)
    }

    /// Revokes a token: the next request with it is refused.
    pub async fn revoke_token(&self, actor: &Actor, id: i64) -> Result<(), AccessError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let token: Token = tx.token_of(actor.ente, id).await?.ok_or(AccessError::Gone)?.into();
        if !tx.revoke_token(actor.ente, id, at, &actor.name).await? {
            return Err(AccessError::Gone);
        }
        trail::record(&mut tx, at, actor, "ha revocato una chiave", token.subject(), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What this token is, at this instant. Its use is written down, to about a minute.
    pub async fn show_token(&self, secret: &Secret, address: &str) -> Result<Shown, DeskError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        let Some(row) = tx.token(&secret.hash()).await? else { return Ok(Shown::Unknown) };
        drop(tx);
        let token = Token::from(row);
        if !token.holds(at) {
            return Ok(Shown::Over(token));
        }
        if token.row.used_at.is_none_or(|used| at - used >= TOUCH) {
            let mut tx = self.db.write().await?;
            tx.touch_token(token.row.id, at, address).await?;
            tx.commit().await?;
        }
        Ok(Shown::Good(token))
    }

    /// Notes that a system has read something of which it must be known who did.
    pub async fn note_read(&self, token: &Token, address: &str, action: trail::Action) -> Result<(), DeskError> {
        self.note_seen(&token.actor(address), action, token.subject()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_and_nothing_else_is() {
        let secret = Secret::fresh();
        assert_eq!(parse(&shown(&secret)), Some(secret.clone()));
        for bad in ["", "vg_", secret.reveal(), &format!("vg_{}x", secret.reveal()), &format!("VG_{}", secret.reveal())] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn every_scope_is_found_by_its_word_and_no_two_share_one() {
        for scope in Scope::ALL {
            assert_eq!(scope.word().parse(), Ok(scope));
        }
        assert_eq!("children".parse::<Scope>(), Err(()));
    }
}
