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
        let mut tx = self.db.write().await?;
        tx.lock_child(child).await?;
        let row = tx.child(child).await?.filter(|row| row.ente_id == actor.ente.0).ok_or(DeskError::NoChild)?;
        let at = tx.instant(&self.clock).await?;
        let code = free_code(&mut tx, actor.ente).await?;
        tx.replace_code(actor.ente, child, &code).await?;
        let name = format!("{} {}", row.last_name, row.first_name);
        let subject = Subject { kind: "bambino", id: Some(child.0), name: &name };
        record(&mut tx, at, actor, "ha sostituito il codice disdetta", subject, None, None).await?;
        tx.commit().await?;
        Ok(())
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
