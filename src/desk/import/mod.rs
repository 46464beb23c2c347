//! Importing roster and calendar (O2): seen before it is done, all or nothing, and with a way back.
//!
//! What a file would change is planned from a picture of what stands ([`plan`]), which writes nothing. Applying plans again inside the
//! transaction that writes, and goes on only where that gives the plan which was shown ([`Plan::fingerprint`]).
//!
//! A child is recognised by the office's own number, else by fiscal code, else by names and class;
//! what is recognised is brought up to date and keeps its keypad code unless the file gives another. An empty cell takes nothing away.

mod apply;
mod known;
mod plan;

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::json;

pub use self::plan::{Change, FieldChange, Kind, Plan, PlannedRow};
use self::{apply::Apply, known::Picture};
pub(super) use self::{
    apply::{Codes, kept},
    plan::{adult_fields, child_fields, date, field, fingerprint},
};
use super::{Desk, DeskError, ente_of, trail, undo::keep_batch};
use crate::{
    canteen::{
        EnteId,
        roster::{ClassRow, Roster, SchoolRow},
        window::Window,
    },
    ops::chance,
    store::{ClassKey, EnrolledChild, StoreError},
};

/// What an import did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Imported {
    /// Schools in the file.
    pub schools: usize,
    /// Classes in the file.
    pub classes: usize,
    /// Closures that were new.
    pub new_closures: usize,
    /// Children entered.
    pub new_children: usize,
    /// Children recognised, brought up to date where the file says something else.
    pub known_children: usize,
    /// Of them, those that changed.
    pub changed_children: usize,
    /// Children that are not in the file and were taken out of the service.
    pub left_children: usize,
}

/// How an import is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// Last day of the enrolment of the children who are not in the file though their school is; `None`: they stay.
    pub absent_leave_on: Option<NaiveDate>,
}

/// An import that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its record, by which it can be undone; `None` where it changed nothing.
    pub batch: Option<i64>,
    /// What it did.
    pub counts: Imported,
}

/// Why an import was refused; nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Rows that only the database could find wrong, in Italian.
    #[error("{}", .0.join("\n"))]
    Rows(Vec<String>),
    /// The plan is not the one that was shown any more: somebody has changed something meanwhile.
    #[error("what would change is not what was shown")]
    Stale,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Desk(error.into())
    }
}

impl Desk {
    /// The schools of an ente and the classes of its latest school year, for reading files that do not repeat them.
    pub async fn known_places(&self, ente: EnteId) -> Result<(Vec<SchoolRow>, Vec<ClassRow>), DeskError> {
        let mut tx = self.db.read().await?;
        let schools = tx.schools(ente).await?.into_iter().map(|s| SchoolRow { code: s.code, name: s.name }).collect();
        let classes = match tx.latest_school_year(ente).await? {
            Some(year) => tx.classes(year.id).await?,
            None => vec![],
        };
        let class = |c: ClassKey| ClassRow { weekdays: c.weekdays(), school: c.school, name: c.name };
        Ok((schools, classes.into_iter().map(class).collect()))
    }

    /// The latest school year's name.
    pub async fn school_year(&self, ente: EnteId) -> Result<Option<String>, DeskError> {
        Ok(self.db.read().await?.latest_school_year(ente).await?.map(|year| year.name))
    }

    /// Creates an ente, or brings its name and settings up to date.
    pub async fn put_ente(&self, slug: &str, name: &str, office_phone: Option<&str>, window: &Window) -> Result<EnteId, DeskError> {
        let mut tx = self.db.write().await?;
        let id = tx.put_ente(slug, name, office_phone, window).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Every child of an ente with its code. For letters and lists; never for logs.
    pub async fn children_with_codes(&self, ente: EnteId) -> Result<Vec<EnrolledChild>, DeskError> {
        Ok(self.db.read().await?.children_with_codes(ente).await?)
    }

    /// What an import would change; writes nothing.
    ///
    /// # Errors
    /// [`ImportError::Rows`] with what only the database can find wrong.
    pub async fn plan_import(&self, ente: EnteId, roster: &Roster, options: ImportOptions) -> Result<Plan, ImportError> {
        let picture = Picture::take(&mut self.db.read().await?, ente, roster).await?;
        plan::plan(roster, &picture, options).map_err(ImportError::Rows)
    }

    /// Keeps the files of a preview until they are applied, a day at most; each person has one preview at a time.
    pub async fn keep_upload(&self, actor: &trail::Actor, files: &[(String, Vec<u8>)]) -> Result<i64, DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let id = tx.add_upload(actor.ente, &actor.name, at, at - chrono::TimeDelta::days(1), files).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The files of this person's preview; none where it is gone.
    pub async fn kept_upload(&self, actor: &trail::Actor, id: i64) -> Result<Vec<(String, Vec<u8>)>, DeskError> {
        Ok(self.db.read().await?.upload(actor.ente, &actor.name, id).await?)
    }

    /// Forgets the files of this person's preview.
    pub async fn forget_upload(&self, actor: &trail::Actor, id: i64) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        if !tx.upload(actor.ente, &actor.name, id).await?.is_empty() {
            tx.delete_upload(id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Writes an import down as the server's command line asks for it, or refuses it whole.
    pub async fn import(&self, ente: EnteId, roster: &Roster) -> Result<Imported, ImportError> {
        let actor = trail::Actor::command_line(ente);
        let done = self.apply_import(&actor, "riga di comando", roster, ImportOptions::default(), None).await?;
        Ok(done.counts)
    }

    /// Writes an import down, in one transaction, or refuses it whole. `title` is what people will know it by: the files' names.
    /// `shown` is the [`Plan::fingerprint`] of the preview that was agreed to.
    ///
    /// # Errors
    /// [`ImportError::Stale`] where it would do something else by now than what was shown.
    pub async fn apply_import(
        &self,
        actor: &trail::Actor,
        title: &str,
        roster: &Roster,
        options: ImportOptions,
        shown: Option<&str>,
    ) -> Result<Done, ImportError> {
        let ente = actor.ente;
        let mut tx = self.db.write().await?;
        tx.shut_day(ente.0).await?;
        let at = tx.instant(&self.clock).await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let picture = Picture::take(&mut tx, ente, roster).await?;
        let plan = plan::plan(roster, &picture, options).map_err(ImportError::Rows)?;
        if shown.is_some_and(|shown| shown != plan.fingerprint()) {
            return Err(ImportError::Stale);
        }
        let rows = Apply::new(&mut tx, ente, at, &window, &picture).run(&plan, &mut chance::fresh()).await?;
        let counts = plan.counts;
        if rows.is_empty() {
            return Ok(Done { batch: None, counts });
        }
        let batch = keep_batch(&mut tx, actor, at, "import", title, &json!(counts), &rows).await?;
        let subject = trail::Subject { kind: "importazione", id: Some(batch), name: title };
        trail::record(&mut tx, at, actor, "ha importato un elenco", subject, None, Some(json!(counts))).await?;
        tx.commit().await?;
        Ok(Done { batch: Some(batch), counts })
    }
}
