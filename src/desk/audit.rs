//! `voceguida check`: does what stands follow from what was recorded (R10, S3)?

use super::{Desk, DeskError};
use crate::{
    canteen::{ChildId, marks::Marks, rule::replay},
    store::Verdict,
};

/// A child whose marks do not follow from its operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The child.
    pub child: ChildId,
    /// What is wrong.
    pub what: String,
}

impl Desk {
    /// Replays every operation of every child and compares the outcome with the marks; returns the
    /// number of children looked at and what did not agree.
    pub async fn audit(&self, mut progress: impl FnMut(usize, usize)) -> Result<(usize, Vec<Mismatch>), DeskError> {
        let children = self.db.read().await?.child_ids().await?;
        let mut wrong = Vec::new();
        for (n, child) in children.iter().enumerate() {
            if let Some(what) = self.audit_child(*child).await? {
                wrong.push(Mismatch { child: *child, what });
            }
            progress(n + 1, children.len());
        }
        Ok((children.len(), wrong))
    }

    async fn audit_child(&self, child: ChildId) -> Result<Option<String>, DeskError> {
        // One transaction, so that no operation comes between the two readings.
        let mut tx = self.db.read().await?;
        let operations = tx.operations_of(child).await?;
        let standing = tx.marks_of(child).await?;
        let mut replayed = Marks::default();
        for operation in operations {
            let Verdict::Accepted(day) = operation.verdict else { continue };
            match replay(operation.choice, day, operation.until, &replayed) {
                Ok(after) => replayed = after,
                Err(reason) => return Ok(Some(format!("operation {} was accepted, but replayed it is {reason:?}", operation.id))),
            }
        }
        Ok((replayed != standing).then(|| "the marks differ from the replayed operations".to_owned()))
    }
}
