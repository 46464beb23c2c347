//! The office's own recordings of prompts: brought, listened to, taken, and put back.
//!
//! A recording is a draft until somebody takes it; what was spoken before stays as a version that can come back. Each change is counted
//! (`prompt_change`), so that every node notices it by a small question.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    Desk, DeskError,
    trail::{Actor, Subject, record},
};
use crate::canteen::EnteId;
use crate::store::{NewRecording, StoreError};
pub use crate::store::{RecordingRow, VoiceRow};

/// Versions of a prompt that are kept, the newest; beside them the one that is spoken and the one that was spoken before.
pub const MOST_VERSIONS: i64 = 10;
/// Drafts of an ente.
const MOST_DRAFTS: i64 = 20;
/// For how long a draft waits to be taken.
const DRAFT_KEPT: TimeDelta = TimeDelta::days(1);

/// A recording that has been examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDraft {
    /// Of which prompt.
    pub prompt: String,
    /// The file's name.
    pub file_name: String,
    /// Samples at 16 kHz.
    pub samples: Vec<i16>,
    /// JSON of what was found.
    pub findings: String,
}

/// Why what is spoken was not changed.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// There is no such recording of this prompt.
    #[error("there is no such recording")]
    NoRecording,
    /// Somebody else has changed it meanwhile.
    #[error("the prompt has changed meanwhile")]
    Changed,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for VoiceError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

fn subject(prompt: &str) -> Subject<'_> {
    Subject { kind: "messaggio", id: None, name: prompt }
}

impl Desk {
    /// Keeps a recording until it is taken; its row.
    pub async fn keep_draft(&self, actor: &Actor, draft: &NewDraft) -> Result<i64, DeskError> {
        let sound: Vec<u8> = draft.samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let new = NewRecording {
            prompt: &draft.prompt,
            file_name: &draft.file_name,
            made_at: at,
            actor: &actor.name,
            duration_ms: draft.samples.len() as i64 / 16,
            findings: &draft.findings,
            sound: &sound,
        };
        let id = tx.add_recording(actor.ente, &new).await?;
        tx.forget_drafts(actor.ente, at - DRAFT_KEPT, MOST_DRAFTS).await?;
        record(&mut tx, at, actor, "ha caricato una registrazione", subject(&draft.prompt), None, Some(json!({ "file": draft.file_name })))
            .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// One recording, draft or version.
    pub async fn recording(&self, ente: EnteId, id: i64) -> Result<Option<RecordingRow>, DeskError> {
        Ok(self.db.read().await?.recording(ente, id).await?)
    }

    /// Its samples at 16 kHz.
    pub async fn recording_sound(&self, ente: EnteId, id: i64) -> Result<Option<Vec<i16>>, DeskError> {
        let sound = self.db.read().await?.recording_sound(ente, id).await?;
        Ok(sound.map(|bytes| bytes.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()))
    }

    /// The versions of a prompt, newest first.
    pub async fn recordings(&self, ente: EnteId, prompt: &str) -> Result<Vec<RecordingRow>, DeskError> {
        Ok(self.db.read().await?.recordings_of(ente, prompt, MOST_VERSIONS + 2).await?)
    }

    /// The prompts for which a recording of the office's is spoken.
    pub async fn voices(&self, ente: EnteId) -> Result<Vec<VoiceRow>, DeskError> {
        Ok(self.db.read().await?.voices(ente).await?)
    }

    /// How often each ente's prompts have changed: nodes ask this every few seconds.
    pub async fn prompt_changes(&self) -> Result<Vec<(EnteId, i64)>, DeskError> {
        Ok(self.db.read().await?.prompt_changes().await?)
    }

    /// From the next call on this recording is spoken (`None`: the one that came with the line), if what is spoken now is still `instead_of`.
    pub async fn speak(&self, actor: &Actor, prompt: &str, recording: Option<i64>, instead_of: Option<i64>) -> Result<(), VoiceError> {
        let mut tx = self.db.write().await?;
        // First: on PostgreSQL its row is the lock.
        tx.count_prompt_change(actor.ente).await?;
        let at = tx.instant(&self.clock).await?;
        let now = tx.voices(actor.ente).await?.into_iter().find(|voice| voice.prompt == prompt).map(|voice| voice.recording_id);
        if now != instead_of {
            return Err(VoiceError::Changed);
        }
        let before = describe(&mut tx, actor.ente, now).await?;
        if let Some(id) = recording {
            tx.recording(actor.ente, id).await?.filter(|row| row.prompt == prompt).ok_or(VoiceError::NoRecording)?;
            tx.take_recording(actor.ente, id, at).await?;
        }
        tx.put_voice(actor.ente, prompt, recording, at, &actor.name).await?;
        tx.forget_versions(actor.ente, prompt, MOST_VERSIONS, now).await?;
        let after = describe(&mut tx, actor.ente, recording).await?;
        let action = if recording.is_some() { "ha cambiato un messaggio della linea" } else { "ha rimesso un messaggio di serie" };
        record(&mut tx, at, actor, action, subject(prompt), Some(before), Some(after)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Throws a draft away.
    pub async fn discard_draft(&self, actor: &Actor, id: i64) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let Some(draft) = tx.recording(actor.ente, id).await? else { return Ok(false) };
        if !tx.remove_draft(actor.ente, id).await? {
            return Ok(false);
        }
        record(&mut tx, at, actor, "ha scartato una registrazione", subject(&draft.prompt), None, None).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// A recording as the trail has it.
async fn describe(tx: &mut crate::store::Tx, ente: EnteId, recording: Option<i64>) -> Result<serde_json::Value, StoreError> {
    let row = match recording {
        Some(id) => tx.recording(ente, id).await?,
        None => None,
    };
    Ok(row.map_or_else(|| json!({ "registrazione": "di serie" }), |row| json!({ "registrazione": row.id, "file": row.file_name })))
}
