//! Answers that are often given, with places for names and days.

use serde::{Deserialize, Serialize};

use super::{LONGEST_TEXT, LONGEST_TITLE};
pub use crate::store::CannedRow;
use crate::{
    canteen::EnteId,
    desk::{
        Desk, DeskError,
        family::{Edited, merge},
        import::{FieldChange, field},
        trail::{self, Actor, Subject},
    },
    store::StoreError,
};

/// The most canned answers of an ente.
pub const MOST_CANNED: usize = 200;
/// Places in a canned answer, and what stands there.
pub const PLACES: [(&str, &str); 3] =
    [("nome", "il nome di chi riceve la risposta"), ("bambino", "il nome del bambino"), ("giorno", "il giorno di oggi, per esteso")];

/// What is put into the places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Values {
    /// Who is answered.
    pub name: String,
    /// The child.
    pub child: String,
    /// Today, in words.
    pub day: String,
}

/// The text cut at its places: what stands before each, and the place's word; at the end the rest with none.
fn parts(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let mut from = 0;
        while let Some(open) = all.get(from..).and_then(|part| part.find('{')).map(|at| from + at) {
            let inside = all.get(open + 1..).unwrap_or_default();
            let word = inside.split_once('}').map(|(word, _)| word);
            if let Some(word) = word.filter(|word| !word.is_empty() && word.chars().all(char::is_alphabetic)) {
                rest = inside.get(word.len() + 1..);
                return Some((all.get(..open).unwrap_or_default(), Some(word)));
            }
            from = open + 1;
        }
        rest = None;
        Some((all, None))
    })
}

/// The answer with its places filled. What is put in is not looked through again; unknown places stay as they are.
pub fn fill(text: &str, values: &Values) -> String {
    let mut out = String::with_capacity(text.len() + 100);
    for (before, place) in parts(text) {
        out.push_str(before);
        match place {
            Some("nome") => out.push_str(&values.name),
            Some("bambino") => out.push_str(&values.child),
            Some("giorno") => out.push_str(&values.day),
            Some(other) => {
                out.push('{');
                out.push_str(other);
                out.push('}');
            }
            None => {}
        }
    }
    out
}

/// The places that nobody knows how to fill.
pub fn unknown(text: &str) -> Vec<&str> {
    parts(text).filter_map(|(_, place)| place).filter(|place| !PLACES.iter().any(|(known, _)| known == place)).collect()
}

/// What of a canned answer is edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CannedEdit {
    /// What the office calls it.
    pub title: String,
    /// The text.
    pub body: String,
}

/// Why a canned answer was not written; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum CannedError {
    /// There is one of this title.
    #[error("there is one of this title")]
    Taken,
    /// There are enough.
    #[error("there are {MOST_CANNED} already")]
    TooMany,
    /// Title or text is too long, or has a place that is not known.
    #[error("it does not fit")]
    Unfit,
    /// It has changed since it was shown.
    #[error("somebody else was quicker")]
    Stale,
    /// No such row of this ente.
    #[error("there is no such answer")]
    Gone,
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<StoreError> for CannedError {
    fn from(error: StoreError) -> Self {
        if error.is_duplicate() { Self::Taken } else { Self::Desk(error.into()) }
    }
}

fn check(edit: &CannedEdit) -> Result<(), CannedError> {
    let fits = edit.title.chars().count() <= LONGEST_TITLE && edit.body.chars().count() <= LONGEST_TEXT && unknown(&edit.body).is_empty();
    if fits { Ok(()) } else { Err(CannedError::Unfit) }
}

fn subject(id: i64, title: &str) -> Subject<'_> {
    Subject { kind: "risposta pronta", id: Some(id), name: title }
}

fn changes(before: &CannedEdit, after: &CannedEdit) -> Vec<FieldChange> {
    let mut changes =
        vec![field("titolo", before.title.clone(), after.title.clone()), field("testo", before.body.clone(), after.body.clone())];
    changes.retain(|change| change.before != change.after);
    changes
}

impl Desk {
    /// An ente's canned answers, by title.
    pub async fn canned_answers(&self, ente: EnteId) -> Result<Vec<CannedRow>, DeskError> {
        Ok(self.db.read().await?.canned_answers(ente).await?)
    }

    /// One of them.
    pub async fn canned_answer(&self, ente: EnteId, id: i64) -> Result<Option<CannedRow>, DeskError> {
        Ok(self.db.read().await?.canned_answer(ente, id).await?)
    }

    /// Adds one.
    pub async fn add_canned_answer(&self, actor: &Actor, edit: &CannedEdit) -> Result<i64, CannedError> {
        check(edit)?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        if tx.canned_answers(actor.ente).await?.len() >= MOST_CANNED {
            return Err(CannedError::TooMany);
        }
        let id = tx.add_canned_answer(actor.ente, &edit.title, &edit.body).await?.ok_or(CannedError::Taken)?;
        trail::record(&mut tx, at, actor, "ha aggiunto una risposta pronta", subject(id, &edit.title), None, None).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Changes one. `base` is what the form showed when it was opened, at `version`.
    pub async fn edit_canned_answer(
        &self,
        actor: &Actor,
        id: i64,
        version: i64,
        base: &CannedEdit,
        mine: &CannedEdit,
    ) -> Result<Edited<CannedEdit>, CannedError> {
        check(mine)?;
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = tx.canned_answer(actor.ente, id).await?.ok_or(CannedError::Gone)?;
        let found = CannedEdit { title: row.title, body: row.body };
        if row.version != version && found != *base {
            let mut both = Vec::new();
            let merged = CannedEdit {
                title: merge("titolo", &base.title, &found.title, &mine.title, &mut both),
                body: merge("testo", &base.body, &found.body, &mine.body, &mut both),
            };
            return Ok(Edited::Meanwhile { merged, version: row.version, theirs: changes(base, &found), both });
        }
        if *mine == found {
            return Ok(Edited::Saved);
        }
        if !tx.put_canned_answer(actor.ente, id, row.version, &mine.title, &mine.body).await? {
            return Err(CannedError::Stale);
        }
        let (before, after) = super::for_trail(&changes(&found, mine));
        trail::record(&mut tx, at, actor, "ha cambiato una risposta pronta", subject(id, &mine.title), before, after).await?;
        tx.commit().await?;
        Ok(Edited::Saved)
    }

    /// Takes one away.
    pub async fn delete_canned_answer(&self, actor: &Actor, id: i64, version: i64) -> Result<(), CannedError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let row = tx.canned_answer(actor.ente, id).await?.ok_or(CannedError::Gone)?;
        if !tx.delete_canned_answer(actor.ente, id, version).await? {
            return Err(CannedError::Stale);
        }
        let before = serde_json::json!({ "testo": row.body });
        trail::record(&mut tx, at, actor, "ha eliminato una risposta pronta", subject(id, &row.title), Some(before), None).await?;
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> Values {
        Values { name: "Ada {giorno}".into(), child: "<b>Leo</b>".into(), day: "lunedì 12 ottobre 2026".into() }
    }

    #[test]
    fn places_are_filled_once() {
        let filled = fill("Gentile {nome}, per {bambino} da {giorno}: { x } {boh} {} {{nome}} {nome", &values());
        insta::assert_snapshot!(filled, @"Gentile Ada {giorno}, per <b>Leo</b> da lunedì 12 ottobre 2026: { x } {boh} {} {Ada {giorno}} {nome");
        assert_eq!(unknown("{nome} {boh} {bambino} {cognome}"), ["boh", "cognome"]);
    }

    proptest! {
        #[test]
        fn what_has_no_places_stays(text in "[a-zè{} \\n]{0,60}") {
            let nothing = Values { name: "{nome}".into(), child: "{bambino}".into(), day: "{giorno}".into() };
            prop_assert_eq!(fill(&text, &nothing), text);
        }
    }
}
