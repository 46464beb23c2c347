//! The desk: use cases, one transaction each (design §2).

pub mod access;
pub mod archive;
pub mod audit;
pub mod behalf;
pub mod billing;
pub mod calendar;
pub mod call_file;
pub mod call_words;
pub mod calls;
pub mod child;
pub mod closing;
pub mod codes;
pub mod dry;
pub mod explain;
pub mod export;
pub mod family;
pub mod feed;
pub mod guard;
pub mod hours;
pub mod import;
pub mod kitchen;
pub mod letters;
pub mod line;
pub mod live;
pub mod mail;
pub mod news;
pub mod operate;
pub mod past;
pub mod people;
pub mod recordings;
pub mod retention;
pub mod rollover;
pub mod roster_file;
pub mod settings;
pub mod telephone;
pub mod tickets;
pub mod today;
pub mod traffic;
pub mod trail;
pub mod undo;

use crate::{
    canteen::{ChildId, EnteId, code::ChildCode},
    ops::clock::Clock,
    store::{Db, Ente, StoreError, Tx},
};

/// Everything that is done to the canteen is done here. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    db: Db,
    clock: Clock,
    has_mail: bool,
}

/// Why the desk could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such ente.
    #[error("there is no such ente")]
    NoEnte,
    /// No such child.
    #[error("there is no child with this code")]
    NoChild,
}

impl Desk {
    /// A desk over an open database.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock, has_mail: false }
    }

    /// The same desk, where somebody hands over what mail is queued, or not.
    #[must_use]
    pub fn with_mail(self, has_mail: bool) -> Self {
        Self { has_mail, ..self }
    }

    /// Will mail that is queued be handed over?
    pub fn has_mail(&self) -> bool {
        self.has_mail
    }

    /// The clock it judges by (on PostgreSQL: how far it is shifted from the database's).
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The database, for checks and for closing it.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The enti that are served here.
    pub async fn enti(&self) -> Result<Vec<Ente>, DeskError> {
        Ok(self.db.read().await?.enti().await?)
    }

    /// The ente of that short name; of the only one where `slug` is `None`.
    pub async fn ente(&self, slug: Option<&str>) -> Result<Ente, DeskError> {
        let mut enti = self.enti().await?;
        match slug {
            Some(slug) => enti.into_iter().find(|e| e.slug == slug).ok_or(DeskError::NoEnte),
            None if enti.len() == 1 => enti.pop().ok_or(DeskError::NoEnte),
            None => Err(DeskError::NoEnte),
        }
    }

    /// The child with this code.
    pub async fn child_by_code(&self, ente: EnteId, code: &ChildCode) -> Result<ChildId, DeskError> {
        self.db.read().await?.child_by_code(ente, code).await?.ok_or(DeskError::NoChild)
    }
}

async fn ente_of(tx: &mut Tx, id: EnteId) -> Result<Ente, DeskError> {
    tx.ente(id).await?.ok_or(DeskError::NoEnte)
}
