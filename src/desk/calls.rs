//! Call detail records.

use super::{Desk, DeskError};
use crate::canteen::EnteId;
pub use crate::store::CallRow;

impl Desk {
    /// Writes a call detail record; the same call twice is kept once.
    pub async fn record_call(&self, call: &CallRow) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        tx.add_call(call).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The last calls of an ente, newest first.
    pub async fn calls(&self, ente: EnteId, limit: i64) -> Result<Vec<CallRow>, DeskError> {
        Ok(self.db.read().await?.calls(ente, limit).await?)
    }
}
