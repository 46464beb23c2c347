//! Taking back a whole import, or a roll-over: as long as nothing later touched what it wrote.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Desk, DeskError, trail};
use crate::{
    canteen::{ChildId, EnteId},
    store::{AdultState, BatchEntry, BatchRow, ChildState, StoreError, Tx},
};

/// Why a batch cannot be undone; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// No such batch of this ente.
    #[error("there is no such import")]
    Gone,
    /// It has been undone already.
    #[error("it has been undone already")]
    Undone,
    /// These were touched by something later, in Italian.
    #[error("{}", .0.join("\n"))]
    Touched(Vec<String>),
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for UndoError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// Keeps what a batch has written, within its transaction; gives its row.
pub(super) async fn keep_batch(
    tx: &mut Tx,
    actor: &trail::Actor,
    at: DateTime<Utc>,
    kind: &str,
    title: &str,
    summary: &Value,
    rows: &[BatchEntry],
) -> Result<i64, StoreError> {
    let batch = tx.add_batch(actor.ente, kind, title, &actor.name, at, &summary.to_string()).await?;
    for (position, row) in (0i64..).zip(rows) {
        tx.add_batch_row(batch, position, row).await?;
    }
    Ok(batch)
}

impl Desk {
    /// The last batches of an ente, newest first.
    pub async fn batches(&self, ente: EnteId, limit: i64) -> Result<Vec<BatchRow>, DeskError> {
        Ok(self.db.read().await?.batches(ente, limit).await?)
    }

    /// Undoes a batch whole: what it changed is as before, what it entered is gone.
    ///
    /// # Errors
    /// [`UndoError::Touched`], naming every row that was changed since or that something hangs on by now.
    pub async fn undo_batch(&self, actor: &trail::Actor, id: i64) -> Result<(), UndoError> {
        let mut tx = self.db.write().await?;
        tx.shut_day(actor.ente.0).await?;
        let batch = tx.batch(actor.ente, id).await?.ok_or(UndoError::Gone)?;
        if batch.undone_at.is_some() {
            return Err(UndoError::Undone);
        }
        let at = tx.instant(&self.clock).await?;
        let rows = tx.batch_rows(id).await?;
        let touched = undo(&mut tx, actor, &rows, at).await?;
        if !touched.is_empty() {
            return Err(UndoError::Touched(touched));
        }
        tx.put_batch_undone(id, &actor.name, at).await?;
        let subject = trail::Subject { kind: "importazione", id: Some(id), name: &batch.title };
        trail::record(&mut tx, at, actor, "ha annullato un'importazione", subject, None, Some(json!({ "righe": rows.len() }))).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Undoes the rows, last first, and gives what stands in the way.
async fn undo(tx: &mut Tx, actor: &trail::Actor, rows: &[BatchEntry], at: DateTime<Utc>) -> Result<Vec<String>, StoreError> {
    let ente = actor.ente;
    let mut touched = Vec::new();
    // Codes that were dealt anew may have gone round in a circle: none is free before all are set aside.
    let mut codes = Vec::new();
    for row in rows.iter().rev() {
        let stands_in_the_way = match row.kind.as_str() {
            "child" => undo_child(tx, ente, row, &mut codes).await?,
            "adult" => undo_adult(tx, ente, row).await?,
            _ => undo_place(tx, row, &actor.name, at).await?,
        };
        touched.extend(stands_in_the_way.map(|why| format!("{}: {why}.", row.title)));
    }
    if touched.is_empty() {
        for (child, code, title) in codes {
            if !tx.give_code_back(ente, child, &code).await? {
                touched.push(format!("{title}: il suo codice disdetta di prima è di un altro bambino, o lo è stato."));
            }
        }
    }
    touched.reverse();
    Ok(touched)
}

fn read<T: serde::de::DeserializeOwned>(state: &str) -> Result<T, StoreError> {
    serde_json::from_str(state).map_err(|_| StoreError::Unknown { what: "batch state", value: String::new() })
}

const CHANGED: &str = "modificato in seguito";

async fn undo_child(
    tx: &mut Tx,
    ente: EnteId,
    row: &BatchEntry,
    codes: &mut Vec<(ChildId, String, String)>,
) -> Result<Option<&'static str>, StoreError> {
    let id = ChildId(row.row_id);
    let after: ChildState = read(&row.after_state)?;
    let Some(found) = tx.child_state(ente, id).await? else { return Ok(Some("non c'è più")) };
    if found.state != after {
        return Ok(Some(CHANGED));
    }
    match &row.before_state {
        None if tx.has_history(id).await? => return Ok(Some("ha già pasti, operazioni o lettere registrati")),
        None if tx.has_tickets(id).await? => return Ok(Some("ha segnalazioni")),
        None => tx.delete_child(id).await?,
        Some(before) => {
            let mut before: ChildState = read(before)?;
            if before.code != after.code {
                codes.push((id, std::mem::replace(&mut before.code, format!("-{}", row.row_id)), row.title.clone()));
            }
            tx.put_child(ente, id, &before).await?;
        }
    }
    Ok(None)
}

async fn undo_adult(tx: &mut Tx, ente: EnteId, row: &BatchEntry) -> Result<Option<&'static str>, StoreError> {
    let after: AdultState = read(&row.after_state)?;
    let Some(found) = tx.adult_state(ente, row.row_id).await? else { return Ok(Some("non c'è più")) };
    if found.state != after {
        return Ok(Some(CHANGED));
    }
    match &row.before_state {
        None if tx.references_to("adult", row.row_id).await? > 0 => {
            return Ok(Some("è legato ad altri bambini, o gli è stata spedita una lettera"));
        }
        None => tx.delete_adult(row.row_id).await?,
        Some(before) => tx.put_adult(ente, row.row_id, &read::<AdultState>(before)?).await?,
    }
    Ok(None)
}

/// A school year, school, class, term or closure.
async fn undo_place(tx: &mut Tx, row: &BatchEntry, by: &str, at: DateTime<Utc>) -> Result<Option<&'static str>, StoreError> {
    match tx.place_state(&row.kind, row.row_id).await? {
        None => return Ok(Some("non c'è più")),
        Some(found) if found != row.after_state => return Ok(Some(CHANGED)),
        Some(_) => {}
    }
    match &row.before_state {
        None if tx.references_to(&row.kind, row.row_id).await? > 0 => return Ok(Some("è già in uso")),
        // It was known at the cut-offs since: it stays, taken back.
        None if row.kind == "closure" => tx.withdraw_closure(row.row_id, at, by).await?,
        None => tx.delete_place(&row.kind, row.row_id).await?,
        Some(before) => tx.put_place_state(&row.kind, row.row_id, before).await?,
    }
    Ok(None)
}
