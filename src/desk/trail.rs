//! The audit trail: a line of who saw or changed what, written in the transaction that does it.
//!
//! A use case that changes something takes an [`Actor`] and, before its commit, calls [`record`]. A page that shows a child's
//! data calls [`Desk::note_seen`]. Codes, passwords and other secrets never go into a line.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Desk, DeskError};
use crate::{
    canteen::EnteId,
    store::{NewTrailLine, TrailAsked, TrailRow, Tx},
};

/// Who does something, for the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Whose office.
    pub ente: EnteId,
    /// The person's row; `None` for the system and the command line.
    pub person: Option<i64>,
    /// Login name, or what else it was: "sistema", "riga di comando".
    pub name: String,
    /// The address they came from; empty where there is none.
    pub address: String,
}

impl Actor {
    /// The program itself.
    pub fn system(ente: EnteId) -> Self {
        Self { ente, person: None, name: "sistema".to_owned(), address: String::new() }
    }

    /// Whoever sits at the server's command line.
    pub fn command_line(ente: EnteId) -> Self {
        Self { ente, person: None, name: "riga di comando".to_owned(), address: String::new() }
    }
}

/// What something was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The kind of row, one Italian word: `persona`, `bambino`, `chiusura`.
    pub kind: &'static str,
    /// Which row.
    pub id: Option<i64>,
    /// What it is called, for people; never a code.
    pub name: &'a str,
}

/// What was done, beginning with a verb: "ha aggiunto una persona", at most 60 characters. The trail's page offers all that occur as a filter,
/// so nothing in it varies.
pub type Action = &'static str;

/// Writes a line of the trail within `tx`. `before` and `after` hold only what differs: [`difference`] makes them.
pub async fn record(
    tx: &mut Tx,
    at: DateTime<Utc>,
    actor: &Actor,
    action: Action,
    subject: Subject<'_>,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<(), DeskError> {
    let line = NewTrailLine {
        ente: actor.ente,
        at,
        person: actor.person,
        actor: &actor.name,
        address: &actor.address,
        action,
        subject_kind: subject.kind,
        subject_id: subject.id,
        subject: subject.name,
        before: before.map(|v| v.to_string()),
        after: after.map(|v| v.to_string()),
    };
    Ok(tx.add_trail_line(&line).await?)
}

/// Of two JSON objects, what is not the same in both.
pub fn difference(before: &Value, after: &Value) -> (Option<Value>, Option<Value>) {
    let only = |of: &Value, other: &Value| match (of, other) {
        (Value::Object(of), Value::Object(other)) => {
            Value::Object(of.iter().filter(|(key, value)| other.get(*key) != Some(value)).map(|(k, v)| (k.clone(), v.clone())).collect())
        }
        (of, _) => of.clone(),
    };
    (Some(only(before, after)), Some(only(after, before)))
}

impl Desk {
    /// Notes that somebody has looked at something of which it must be known who did: a child's page, an export.
    pub async fn note_seen(&self, actor: &Actor, action: Action, subject: Subject<'_>) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        record(&mut tx, at, actor, action, subject, None, None).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The most lines that are counted for a pager.
pub const MOST_COUNTED: i64 = 10_000;

impl Desk {
    /// Lines of the trail, and how many there are (up to [`MOST_COUNTED`]).
    pub async fn trail(&self, ente: EnteId, asked: &TrailAsked<'_>) -> Result<(Vec<TrailRow>, i64), DeskError> {
        Ok(self.db.read().await?.trail(ente, asked, MOST_COUNTED).await?)
    }

    /// One line of it.
    pub async fn trail_line(&self, ente: EnteId, id: i64) -> Result<Option<TrailRow>, DeskError> {
        Ok(self.db.read().await?.trail_line(ente, id).await?)
    }

    /// All actions and actors in it.
    pub async fn trail_words(&self, ente: EnteId) -> Result<(Vec<String>, Vec<String>), DeskError> {
        Ok(self.db.read().await?.trail_words(ente).await?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_kept() {
        let (before, after) = difference(&json!({"role": "ufficio", "name": "Anna"}), &json!({"role": "admin", "name": "Anna"}));
        assert_eq!((before, after), (Some(json!({"role": "ufficio"})), Some(json!({"role": "admin"}))));
    }
}
