//! Recordings of prompts, and which of them is spoken.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx, on, run};
use crate::canteen::EnteId;

/// A recording, without its sound.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RecordingRow {
    /// Row.
    pub id: i64,
    /// Of which prompt.
    pub prompt: String,
    /// The file's name, as whoever brought it called it.
    pub file_name: String,
    /// When it was brought.
    pub made_at: DateTime<Utc>,
    /// By whom.
    pub actor: String,
    /// How long it is, in ms.
    pub duration_ms: i64,
    /// JSON of what was found.
    pub findings: String,
    /// Since when it is a version of the prompt; `None` for a draft.
    pub taken_at: Option<DateTime<Utc>>,
}

/// A recording to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewRecording<'a> {
    /// Of which prompt.
    pub prompt: &'a str,
    /// The file's name.
    pub file_name: &'a str,
    /// Now.
    pub made_at: DateTime<Utc>,
    /// By whom.
    pub actor: &'a str,
    /// How long it is, in ms.
    pub duration_ms: i64,
    /// JSON of what was found.
    pub findings: &'a str,
    /// Samples at 16 kHz, 16 bits, little-endian.
    pub sound: &'a [u8],
}

/// The recording that is spoken for a prompt.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct VoiceRow {
    /// The prompt.
    pub prompt: String,
    /// The recording.
    pub recording_id: i64,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Who chose it.
    pub actor: String,
}

const COLUMNS: &str = "id, prompt, file_name, made_at, actor, duration_ms, findings, taken_at";

impl Tx {
    /// Keeps a recording as a draft; its row.
    pub async fn add_recording(&mut self, ente: EnteId, new: &NewRecording<'_>) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO recording (ente_id, prompt, file_name, made_at, actor, duration_ms, findings, sound)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";
        Ok(on!(self, |c| sqlx::query_scalar(SQL)
            .bind(ente.0)
            .bind(new.prompt)
            .bind(new.file_name)
            .bind(new.made_at)
            .bind(new.actor)
            .bind(new.duration_ms)
            .bind(new.findings)
            .bind(new.sound)
            .fetch_one(c))?)
    }

    /// One recording.
    pub async fn recording(&mut self, ente: EnteId, id: i64) -> Result<Option<RecordingRow>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM recording WHERE ente_id = $1 AND id = $2"));
        Ok(on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// What it sounds like: samples at 16 kHz, 16 bits, little-endian.
    pub async fn recording_sound(&mut self, ente: EnteId, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
        const SQL: &str = "SELECT sound FROM recording WHERE ente_id = $1 AND id = $2";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(id).fetch_optional(c))?)
    }

    /// The versions of a prompt, newest first; no drafts.
    pub async fn recordings_of(&mut self, ente: EnteId, prompt: &str, most: i64) -> Result<Vec<RecordingRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM recording WHERE ente_id = $1 AND prompt = $2 AND taken_at IS NOT NULL ORDER BY id DESC LIMIT $3"
        );
        let sql = sqlx::AssertSqlSafe(sql);
        Ok(on!(self, |c| sqlx::query_as(sql).bind(ente.0).bind(prompt).bind(most).fetch_all(c))?)
    }

    /// Makes a draft a version of its prompt.
    pub async fn take_recording(&mut self, ente: EnteId, id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE recording SET taken_at = $3 WHERE ente_id = $1 AND id = $2 AND taken_at IS NULL";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(id).bind(at));
        Ok(())
    }

    /// Forgets a draft; `false` where there is none.
    pub async fn remove_draft(&mut self, ente: EnteId, id: i64) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM recording WHERE ente_id = $1 AND id = $2 AND taken_at IS NULL";
        Ok(run!(self, sqlx::query(SQL).bind(ente.0).bind(id)) > 0)
    }

    /// Forgets drafts from before `before`, and of the others all but the newest `most`.
    pub async fn forget_drafts(&mut self, ente: EnteId, before: DateTime<Utc>, most: i64) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM recording WHERE ente_id = $1 AND taken_at IS NULL AND (made_at < $2 OR id NOT IN
            (SELECT id FROM recording WHERE ente_id = $1 AND taken_at IS NULL ORDER BY id DESC LIMIT $3))";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(before).bind(most));
        Ok(())
    }

    /// Forgets all but the newest `most` versions of a prompt, and never the one that is spoken, nor `before`, which was spoken until now.
    pub async fn forget_versions(&mut self, ente: EnteId, prompt: &str, most: i64, before: Option<i64>) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM recording WHERE ente_id = $1 AND prompt = $2 AND taken_at IS NOT NULL
            AND id <> $4 AND id NOT IN (SELECT recording_id FROM prompt_voice WHERE ente_id = $1)
            AND id NOT IN (SELECT id FROM recording WHERE ente_id = $1 AND prompt = $2 AND taken_at IS NOT NULL ORDER BY id DESC LIMIT $3)";
        run!(self, sqlx::query(SQL).bind(ente.0).bind(prompt).bind(most).bind(before.unwrap_or(0)));
        Ok(())
    }

    /// All prompts for which a recording of the office's is spoken.
    pub async fn voices(&mut self, ente: EnteId) -> Result<Vec<VoiceRow>, StoreError> {
        const SQL: &str = "SELECT prompt, recording_id, since, actor FROM prompt_voice WHERE ente_id = $1 ORDER BY prompt";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Chooses what is spoken for a prompt from now on; `None` for what came with the line.
    pub async fn put_voice(
        &mut self,
        ente: EnteId,
        prompt: &str,
        recording: Option<i64>,
        at: DateTime<Utc>,
        actor: &str,
    ) -> Result<(), StoreError> {
        const PUT: &str = "INSERT INTO prompt_voice (ente_id, prompt, recording_id, since, actor) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (ente_id, prompt) DO UPDATE SET recording_id = excluded.recording_id, since = excluded.since, actor = excluded.actor";
        const REMOVE: &str = "DELETE FROM prompt_voice WHERE ente_id = $1 AND prompt = $2";
        match recording {
            Some(id) => run!(self, sqlx::query(PUT).bind(ente.0).bind(prompt).bind(id).bind(at).bind(actor)),
            None => run!(self, sqlx::query(REMOVE).bind(ente.0).bind(prompt)),
        };
        Ok(())
    }

    /// Counts a change of an ente's prompts, and lets one at a time be made until commit; how many there have been.
    pub async fn count_prompt_change(&mut self, ente: EnteId) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO prompt_change (ente_id, version) VALUES ($1, 1)
            ON CONFLICT (ente_id) DO UPDATE SET version = prompt_change.version + 1 RETURNING version";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).fetch_one(c))?)
    }

    /// How often each ente's prompts have changed.
    pub async fn prompt_changes(&mut self) -> Result<Vec<(EnteId, i64)>, StoreError> {
        const SQL: &str = "SELECT ente_id, version FROM prompt_change";
        let rows: Vec<(i64, i64)> = on!(self, |c| sqlx::query_as(SQL).fetch_all(c))?;
        Ok(rows.into_iter().map(|(ente, version)| (EnteId(ente), version)).collect())
    }
}
