//! Meals as they stand after their cut-off, and what corrects them (R8, R9); children and marks of many classes at once.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, on, run, standing};
use crate::canteen::{
    ChildId, DayState, EnteId,
    marks::{Suspension, Suspensions},
};

/// A correction to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCorrection<'a> {
    /// Child.
    pub child: ChildId,
    /// Day.
    pub day: NaiveDate,
    /// School's row on that day.
    pub school: i64,
    /// Class's row on that day.
    pub class: i64,
    /// Diet on that day.
    pub diet: &'a str,
    /// What stood until now; no service where there is no meal record.
    pub was: DayState,
    /// What stands from now on; another state than `was`.
    pub becomes: DayState,
    /// Why, in words.
    pub reason: &'a str,
    /// Who.
    pub actor: &'a str,
    /// When.
    pub at: DateTime<Utc>,
    /// The closure that was entered or taken back.
    pub closure: Option<i64>,
    /// The operation by the office.
    pub operation: Option<i64>,
}

/// A correction as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Row.
    pub id: i64,
    /// Child's row.
    pub child_id: i64,
    /// Day.
    pub day: NaiveDate,
    /// Class's row on that day.
    pub class_id: i64,
    /// Diet on that day.
    pub diet: String,
    /// What stood.
    pub was: DayState,
    /// What stands since.
    pub becomes: DayState,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When.
    pub at: DateTime<Utc>,
    /// By which closure.
    pub closure_id: Option<i64>,
}

/// A meal of a closed day as it stands: the record and its last correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MealNow {
    /// Child's row.
    pub child_id: i64,
    /// Day.
    pub day: NaiveDate,
    /// School's row.
    pub school_id: i64,
    /// Class's row.
    pub class_id: i64,
    /// Diet.
    pub diet: String,
    /// What stood at the cut-off; no service where there is no record.
    pub at_cutoff: DayState,
    /// What stands: this is what is billed.
    pub state: DayState,
    /// What stood before the last correction, where that came of a closure.
    pub before_closure: Option<DayState>,
}

/// A child of a class.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Pupil {
    /// Row.
    pub id: i64,
    /// Class's row.
    pub class_id: i64,
    /// School's row.
    pub school_id: i64,
    /// Diet.
    pub diet: String,
    /// First day of enrolment.
    pub enrolled_first: Option<NaiveDate>,
    /// Last day of enrolment.
    pub enrolled_last: Option<NaiveDate>,
}

impl Pupil {
    /// Is the child enrolled on that day?
    pub fn is_enrolled(&self, day: NaiveDate) -> bool {
        self.enrolled_first.is_none_or(|first| first <= day) && self.enrolled_last.is_none_or(|last| day <= last)
    }
}

/// A cancellation or white meal that stands, with the operation that it came of.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StandingRow {
    /// Child's row.
    pub child_id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// Class's row.
    pub class_id: i64,
    /// Day.
    pub day: NaiveDate,
    /// `cancelled` or `white`.
    pub kind: String,
    /// Receipt.
    pub receipt: String,
    /// How it came in.
    pub channel: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// How many children of a class and a diet are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MealSum {
    /// Class's row.
    pub class_id: i64,
    /// Diet.
    pub diet: String,
    /// State.
    pub state: DayState,
    /// How many.
    pub children: i64,
}

#[derive(sqlx::FromRow)]
struct SumRow {
    class_id: i64,
    diet: String,
    state: String,
    children: i64,
}

#[derive(sqlx::FromRow)]
struct SuspensionRow {
    child_id: i64,
    first_day: NaiveDate,
    last_day: Option<NaiveDate>,
}

#[derive(sqlx::FromRow)]
struct MealRow {
    child_id: i64,
    day: NaiveDate,
    school_id: i64,
    class_id: i64,
    diet: String,
    state: String,
}

#[derive(sqlx::FromRow)]
struct CorrectionRow {
    id: i64,
    child_id: i64,
    day: NaiveDate,
    school_id: i64,
    class_id: i64,
    diet: String,
    was: String,
    becomes: String,
    reason: String,
    actor: String,
    at: DateTime<Utc>,
    closure_id: Option<i64>,
}

impl Tx {
    /// Writes a correction down.
    pub async fn add_correction(&mut self, new: &NewCorrection<'_>) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO meal_correction
                (child_id, day, school_id, class_id, diet, was, becomes, reason, actor, at, closure_id, operation_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        run!(
            self,
            sqlx::query(SQL)
                .bind(new.child.0)
                .bind(new.day)
                .bind(new.school)
                .bind(new.class)
                .bind(new.diet)
                .bind(state_word(new.was))
                .bind(state_word(new.becomes))
                .bind(new.reason)
                .bind(new.actor)
                .bind(new.at)
                .bind(new.closure)
                .bind(new.operation)
        );
        Ok(())
    }

    /// The corrections of an ente's days from `first` to `last`, oldest first.
    pub async fn corrections(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<Correction>, StoreError> {
        self.correction_rows(ente, first, last).await?.into_iter().map(|(_, c)| Ok(c)).collect()
    }

    /// The same, each with the school it is of.
    pub async fn correction_rows(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<(i64, Correction)>, StoreError> {
        const SQL: &str =
            "SELECT m.id, m.child_id, m.day, m.school_id, m.class_id, m.diet, m.was, m.becomes, m.reason, m.actor, m.at, m.closure_id
            FROM meal_correction m JOIN school s ON s.id = m.school_id
            WHERE s.ente_id = $1 AND m.day BETWEEN $2 AND $3 ORDER BY m.id";
        let rows: Vec<CorrectionRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?;
        rows.into_iter().map(typed).collect()
    }

    /// Every meal of an ente's closed days from `first` to `last` as it stands: this is what is billed. By day and child.
    pub async fn meals_now(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<MealNow>, StoreError> {
        const SQL: &str =
            "SELECT m.child_id, m.day, m.school_id, m.class_id, m.diet, m.state FROM meal m JOIN school s ON s.id = m.school_id
            WHERE s.ente_id = $1 AND m.day BETWEEN $2 AND $3";
        let rows: Vec<MealRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?;
        let mut meals = BTreeMap::new();
        for m in rows {
            let state = state_from(m.state)?;
            let (child_id, day, school_id, class_id) = (m.child_id, m.day, m.school_id, m.class_id);
            let now = MealNow { child_id, day, school_id, class_id, diet: m.diet, at_cutoff: state, state, before_closure: None };
            meals.insert((day, child_id), now);
        }
        for (school_id, c) in self.correction_rows(ente, first, last).await? {
            let meal = meals.entry((c.day, c.child_id)).or_insert_with(|| MealNow {
                child_id: c.child_id,
                day: c.day,
                school_id,
                class_id: c.class_id,
                diet: c.diet.clone(),
                at_cutoff: DayState::NoService,
                state: DayState::NoService,
                before_closure: None,
            });
            meal.state = c.becomes;
            meal.before_closure = c.closure_id.map(|_| c.was);
        }
        Ok(meals.into_values().collect())
    }

    /// What stands on the closed days of a child from `first` to `last`, with the correction that made it so.
    pub async fn closed_days_of(
        &mut self,
        child: ChildId,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<BTreeMap<NaiveDate, (DayState, Option<String>)>, StoreError> {
        const MEALS: &str = "SELECT day, state, NULL AS reason FROM meal WHERE child_id = $1 AND day BETWEEN $2 AND $3";
        const CHANGES: &str = "SELECT day, becomes, reason FROM meal_correction WHERE child_id = $1 AND day BETWEEN $2 AND $3 ORDER BY id";
        let mut days = BTreeMap::new();
        for sql in [MEALS, CHANGES] {
            let rows: Vec<(NaiveDate, String, Option<String>)> =
                on!(self, |c| sqlx::query_as(sql).bind(child.0).bind(first).bind(last).fetch_all(c))?;
            for (day, state, reason) in rows {
                days.insert(day, (state_from(state)?, reason));
            }
        }
        Ok(days)
    }

    /// Of which school and class a child's meal of a closed day is, and of which diet: by its record, else by its last correction.
    pub async fn place_of_meal(&mut self, child: ChildId, day: NaiveDate) -> Result<Option<(i64, i64, String)>, StoreError> {
        const MEAL: &str = "SELECT school_id, class_id, diet FROM meal WHERE child_id = $1 AND day = $2";
        const CHANGE: &str =
            "SELECT school_id, class_id, diet FROM meal_correction WHERE child_id = $1 AND day = $2 ORDER BY id DESC LIMIT 1";
        for sql in [MEAL, CHANGE] {
            let found = on!(self, |c| sqlx::query_as(sql).bind(child.0).bind(day).fetch_optional(c))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The corrections of a child's meals, newest first.
    pub async fn corrections_of(&mut self, child: ChildId) -> Result<Vec<Correction>, StoreError> {
        const SQL: &str = "SELECT id, child_id, day, school_id, class_id, diet, was, becomes, reason, actor, at, closure_id
            FROM meal_correction WHERE child_id = $1 ORDER BY id DESC";
        let rows: Vec<CorrectionRow> = on!(self, |c| sqlx::query_as(SQL).bind(child.0).fetch_all(c))?;
        rows.into_iter().map(|row| Ok(typed(row)?.1)).collect()
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

    /// The school-days of an ente from `first` to `last` that are closed.
    pub async fn closed_days(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<BTreeSet<(i64, NaiveDate)>, StoreError> {
        const SQL: &str = "SELECT d.school_id, d.day FROM closed_day d JOIN school s ON s.id = d.school_id
            WHERE s.ente_id = $1 AND d.day BETWEEN $2 AND $3";
        let rows: Vec<(i64, NaiveDate)> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?;
        Ok(rows.into_iter().collect())
    }

    /// Every child of an ente, with class and enrolment.
    pub async fn all_pupils(&mut self, ente: EnteId) -> Result<Vec<Pupil>, StoreError> {
        const SQL: &str = "SELECT k.id, k.class_id, c.school_id, k.diet, k.enrolled_first, k.enrolled_last
            FROM child k JOIN school_class c ON c.id = k.class_id WHERE k.ente_id = $1 ORDER BY k.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Every cancellation and white meal that stands for the children of an ente on the days from `first` to `last`.
    pub async fn standing(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<StandingRow>, StoreError> {
        const SQL: &str = "SELECT m.child_id, k.last_name, k.first_name, k.class_id, m.day, m.kind, o.receipt, o.channel, o.at
            FROM mark m JOIN child k ON k.id = m.child_id JOIN operation o ON o.id = m.operation_id
            WHERE k.ente_id = $1 AND m.day BETWEEN $2 AND $3 ORDER BY m.day, k.class_id, k.last_name, k.first_name, k.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?)
    }

    /// The suspensions of an ente's children that touch the days from `first` to `last`.
    pub async fn suspensions_between(
        &mut self,
        ente: EnteId,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<BTreeMap<i64, Suspensions>, StoreError> {
        const SQL: &str = "SELECT p.child_id, p.first_day, p.last_day FROM suspension p JOIN child k ON k.id = p.child_id
            WHERE k.ente_id = $1 AND p.first_day <= $3 AND (p.last_day IS NULL OR p.last_day >= $2)";
        let rows: Vec<SuspensionRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?;
        let mut of_child: BTreeMap<i64, Vec<Suspension>> = BTreeMap::new();
        for r in rows {
            of_child.entry(r.child_id).or_default().push(Suspension { first: r.first_day, last: r.last_day });
        }
        Ok(of_child.into_iter().map(|(child, spans)| (child, Suspensions::new(spans))).collect())
    }

    /// How many children of each class and diet are in which state on a day, by enrolment and marks alone: whether the class has service is
    /// the calendar's business.
    pub async fn expected_sums(&mut self, ente: EnteId, day: NaiveDate) -> Result<Vec<MealSum>, StoreError> {
        const SQL: &str = concat!(
            "SELECT k.class_id, k.diet, ",
            standing!("state"),
            ", COUNT(*) AS children FROM child k ",
            standing!("from"),
            " WHERE k.ente_id = $1 AND ",
            standing!("enrolled"),
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        );
        let rows: Vec<SumRow> = on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(day).fetch_all(c))?;
        rows.into_iter().map(sum).collect()
    }

    /// The same for a school's closed day, from its meal records.
    pub async fn recorded_sums(&mut self, school: i64, day: NaiveDate) -> Result<Vec<MealSum>, StoreError> {
        const SQL: &str = "SELECT class_id, diet, state, COUNT(*) AS children FROM meal WHERE school_id = $1 AND day = $2
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
        let rows: Vec<SumRow> = on!(self, |c| sqlx::query_as(SQL).bind(school).bind(day).fetch_all(c))?;
        rows.into_iter().map(sum).collect()
    }
}

/// School's row and correction.
fn typed(r: CorrectionRow) -> Result<(i64, Correction), StoreError> {
    let correction = Correction {
        id: r.id,
        child_id: r.child_id,
        day: r.day,
        class_id: r.class_id,
        diet: r.diet,
        was: state_from(r.was)?,
        becomes: state_from(r.becomes)?,
        reason: r.reason,
        actor: r.actor,
        at: r.at,
        closure_id: r.closure_id,
    };
    Ok((r.school_id, correction))
}

fn sum(row: SumRow) -> Result<MealSum, StoreError> {
    Ok(MealSum { class_id: row.class_id, diet: row.diet, state: state_from(row.state)?, children: row.children })
}

/// How a state is kept.
pub(super) fn state_word(state: DayState) -> &'static str {
    match state {
        DayState::Served => "served",
        DayState::White => "white",
        DayState::Cancelled => "cancelled",
        DayState::Suspended => "suspended",
        DayState::NoService => "no_service",
    }
}

/// The state of that word.
pub(super) fn state_from(word: String) -> Result<DayState, StoreError> {
    let states = [DayState::Served, DayState::White, DayState::Cancelled, DayState::Suspended, DayState::NoService];
    states.into_iter().find(|s| state_word(*s) == word).ok_or(StoreError::Unknown { what: "state", value: word })
}
