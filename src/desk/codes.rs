//! Replacing a child's keypad code at once: a letter that was lost, a code that somebody else knows.

use super::{
    Desk, DeskError,
    trail::{Actor, Subject, record},
};
use crate::{
    canteen::{ChildId, EnteId, code::ChildCode},
    ops::chance,
    store::{StoreError, Tx},
};

/// More draws than a free code ever needs while at most half of the 900,000 are given out.
const DRAWS: usize = 64;

impl Desk {
    /// Gives a child of the actor's ente another code. From the commit on the old one is nobody's, and it is never given to another
    /// child. The new one is only in the letter, which can be made at once.
    pub async fn replace_code(&self, actor: &Actor, child: ChildId) -> Result<(), DeskError> {
        self.replace(actor, child, None).await.map(|_| ())
    }

    /// The same from a form that was made from the child at `version`: not done where the child was changed meanwhile, so that a form sent twice, or by
    /// two clerks, does not put an end to the code whose letter has just been printed. Says whether it was done.
    pub async fn replace_shown_code(&self, actor: &Actor, child: ChildId, version: i64) -> Result<bool, DeskError> {
        self.replace(actor, child, Some(version)).await
    }

    async fn replace(&self, actor: &Actor, child: ChildId, version: Option<i64>) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        tx.lock_child(child).await?;
        let row = tx.child_state(actor.ente, child).await?.ok_or(DeskError::NoChild)?;
        if version.is_some_and(|version| version != row.version) {
            return Ok(false);
        }
        let at = tx.instant(&self.clock).await?;
        let code = free_code(&mut tx, actor.ente).await?;
        tx.replace_code(actor.ente, child, &code).await?;
        let name = format!("{} {}", row.state.last_name, row.state.first_name);
        let subject = Subject { kind: "bambino", id: Some(child.0), name: &name };
        record(&mut tx, at, actor, "ha sostituito il codice disdetta", subject, None, None).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The name of a child of this ente and the version of its row, for a form that asks before something is done to it.
    pub async fn child_version(&self, ente: EnteId, child: ChildId) -> Result<(String, i64), DeskError> {
        let found = self.db.read().await?.child_state(ente, child).await?.ok_or(DeskError::NoChild)?;
        Ok((format!("{} {}", found.state.last_name, found.state.first_name), found.version))
    }
}

/// A code that no child of the ente has or had.
pub(super) async fn free_code(tx: &mut Tx, ente: EnteId) -> Result<ChildCode, DeskError> {
    let mut rng = chance::fresh();
    for _ in 0..DRAWS {
        let code = ChildCode::random(&mut rng);
        if !tx.is_code_taken(ente, &code).await? {
            return Ok(code);
        }
    }
    Err(StoreError::Unknown { what: "free code", value: "none was found".to_owned() }.into())
}
