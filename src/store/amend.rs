//! What changed of a closed day after its cut-off: appended, never in place of the meal's record (R8, R9).

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, meal::meal_word, on, run};
use crate::canteen::{ChildId, DayState, EnteId};

/// A correction to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewAmendment<'a> {
    /// Whose meal.
    pub child: ChildId,
    /// The day.
    pub day: NaiveDate,
    /// What stood.
    pub was: DayState,
    /// What stands now.
    pub becomes: DayState,
    /// Why, in words.
    pub reason: &'a str,
    /// Who.
    pub actor: &'a str,
    /// When.
    pub at: DateTime<Utc>,
    /// The office's operation.
    pub operation: i64,
}

/// A correction as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Amendment {
    /// The day.
    pub day: NaiveDate,
    /// What stood, in the word of the meal's record.
    pub was: String,
    /// What stands now.
    pub becomes: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When (UTC).
    pub at: DateTime<Utc>,
}

/// What a stored word means.
fn state_of(word: &str) -> Result<DayState, StoreError> {
    Ok(match word {
        "served" => DayState::Served,
        "white" => DayState::White,
        "cancelled" => DayState::Cancelled,
        "suspended" => DayState::Suspended,
        "no_service" => DayState::NoService,
        other => return Err(StoreError::Unknown { what: "meal state", value: other.to_owned() }),
    })
}

impl Amendment {
    /// What stands now.
    pub fn state(&self) -> Result<DayState, StoreError> {
        state_of(&self.becomes)
    }
}

impl Tx {
    /// Appends the correction of a meal that has a record.
    pub async fn add_amendment(&mut self, new: &NewAmendment<'_>) -> Result<(), StoreError> {
        const SQL: &str =
            "INSERT INTO meal_correction (child_id, day, school_id, class_id, diet, was, becomes, reason, actor, at, operation_id)
            SELECT child_id, day, school_id, class_id, diet, $3, $4, $5, $6, $7, $8 FROM meal WHERE child_id = $1 AND day = $2";
        let word = |state| meal_word(state).unwrap_or("no_service");
        run!(
            self,
            sqlx::query(SQL)
                .bind(new.child.0)
                .bind(new.day)
                .bind(word(new.was))
                .bind(word(new.becomes))
                .bind(new.reason)
                .bind(new.actor)
                .bind(new.at)
                .bind(new.operation)
        );
        Ok(())
    }

    /// A child's meals from `first` to `last` as they count: the last correction of each, else its record.
    pub async fn meals_between(
        &mut self,
        child: ChildId,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Vec<(NaiveDate, DayState, bool)>, StoreError> {
        const SQL: &str = "SELECT m.day, m.state, (SELECT c.becomes FROM meal_correction c WHERE c.child_id = m.child_id AND c.day = m.day
                ORDER BY c.id DESC LIMIT 1) AS becomes
            FROM meal m WHERE m.child_id = $1 AND m.day BETWEEN $2 AND $3 ORDER BY m.day";
        let rows: Vec<(NaiveDate, String, Option<String>)> =
            on!(self, |c| sqlx::query_as(SQL).bind(child.0).bind(first).bind(last).fetch_all(c))?;
        rows.into_iter()
            .map(|(day, state, becomes)| Ok((day, state_of(becomes.as_deref().unwrap_or(&state))?, becomes.is_some())))
            .collect()
    }

    /// The corrections of a child's meals, newest first.
    pub async fn amendments_of(&mut self, child: ChildId) -> Result<Vec<Amendment>, StoreError> {
        const SQL: &str = "SELECT day, was, becomes, reason, actor, at FROM meal_correction WHERE child_id = $1 ORDER BY id DESC";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(child.0).fetch_all(c))?)
    }

    /// The last day closed of the school that a child goes to.
    pub async fn closed_until(&mut self, child: ChildId) -> Result<Option<NaiveDate>, StoreError> {
        const SQL: &str = "SELECT MAX(d.day) FROM closed_day d WHERE d.school_id =
            (SELECT c.school_id FROM child k JOIN school_class c ON c.id = k.class_id WHERE k.id = $1)";
        Ok(on!(self, |c| sqlx::query_scalar(SQL).bind(child.0).fetch_one(c))?)
    }

    /// How the corrections of a day changed what the kitchen cooks, by school, class and diet: white meals apart, the difference in meals.
    pub async fn corrected_counts(&mut self, ente: EnteId, day: NaiveDate) -> Result<Vec<(String, String, String, i64)>, StoreError> {
        const SQL: &str = "SELECT s.name, c.name, m.diet,
                SUM(CASE WHEN m.becomes IN ('served', 'white') THEN 1 ELSE 0 END - CASE WHEN m.was IN ('served', 'white') THEN 1 ELSE 0 END)
            FROM meal_correction m JOIN school s ON s.id = m.school_id JOIN school_class c ON c.id = m.class_id
            WHERE s.ente_id = $1 AND m.day = $2 GROUP BY s.id, s.name, c.id, c.name, m.diet ORDER BY s.id, c.id, m.diet";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(day).fetch_all(c))?)
    }
}
