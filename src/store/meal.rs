//! Meals and head counts: what stood at the cut-off, and what the kitchen cooks (R9).

use chrono::{DateTime, NaiveDate, Utc};

use super::{StoreError, Tx, correction::state_from, on, run, standing};
use crate::canteen::{ChildId, DayState, EnteId};

/// A school whose day may have to be closed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SchoolToClose {
    /// School row.
    pub school_id: i64,
    /// The first day that this system counts.
    pub live_from: NaiveDate,
    /// The last day closed so far.
    pub closed_until: Option<NaiveDate>,
}

/// One child's meal record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMeal {
    /// Child.
    pub child: ChildId,
    /// Class row.
    pub class_id: i64,
    /// Diet.
    pub diet: String,
    /// What stood.
    pub state: DayState,
}

/// A line of the kitchen's head count.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct HeadCount {
    /// Day.
    pub day: NaiveDate,
    /// School.
    pub school: String,
    /// Class.
    pub class: String,
    /// Diet.
    pub diet: String,
    /// White meals?
    pub white: bool,
    /// How many.
    pub meals: i64,
}

/// Meals written by one statement.
const ROWS_AT_ONCE: usize = 100;

#[derive(sqlx::FromRow)]
struct PupilRow {
    child_id: i64,
    class_id: i64,
    diet: String,
    state: String,
}

impl Tx {
    /// The schools of an ente, with how far they are closed.
    pub async fn schools_to_close(&mut self, ente: EnteId) -> Result<Vec<SchoolToClose>, StoreError> {
        const SQL: &str = "SELECT s.id AS school_id, s.live_from, MAX(d.day) AS closed_until
            FROM school s LEFT JOIN closed_day d ON d.school_id = s.id
            WHERE s.ente_id = $1 GROUP BY s.id, s.live_from ORDER BY s.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// Is this day of this school closed?
    pub async fn is_closed(&mut self, school: i64, day: NaiveDate) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM closed_day WHERE school_id = $1 AND day = $2";
        let n: i64 = on!(self, |c| sqlx::query_scalar(SQL).bind(school).bind(day).fetch_one(c))?;
        Ok(n > 0)
    }

    /// What stands on a day for each enrolled child of a school that was entered by `entered_by`. Whether its class eats on that day is for the calendar to say.
    pub async fn expected_meals(&mut self, school: i64, day: NaiveDate, entered_by: DateTime<Utc>) -> Result<Vec<NewMeal>, StoreError> {
        const SQL: &str = concat!(
            "SELECT k.id AS child_id, k.class_id, k.diet, ",
            standing!("state"),
            " FROM child k JOIN school_class c ON c.id = k.class_id ",
            standing!("from"),
            " WHERE c.school_id = $1 AND k.created_at <= $3 AND ",
            standing!("enrolled"),
            " ORDER BY k.id"
        );
        let rows: Vec<PupilRow> = on!(self, |c| sqlx::query_as(SQL).bind(school).bind(day).bind(entered_by).fetch_all(c))?;
        let typed =
            |r: PupilRow| Ok(NewMeal { child: ChildId(r.child_id), class_id: r.class_id, diet: r.diet, state: state_from(r.state)? });
        rows.into_iter().map(typed).collect()
    }

    /// Writes the day's meal records and head count and marks it closed. The caller has made sure
    /// that it is not closed yet.
    pub async fn put_closed_day(&mut self, school: i64, day: NaiveDate, at: DateTime<Utc>, meals: &[NewMeal]) -> Result<(), StoreError> {
        const DAY: &str = "INSERT INTO closed_day (school_id, day, closed_at, meals) VALUES ($1, $2, $3, $4)";
        const MEAL: &str = "INSERT INTO meal (child_id, day, school_id, class_id, diet, state) VALUES ";
        const COUNT: &str = "INSERT INTO head_count (day, school_id, class_id, diet, white, meals)
            SELECT day, school_id, class_id, diet, state = 'white', COUNT(*) FROM meal
            WHERE school_id = $1 AND day = $2 AND state IN ('served', 'white')
            GROUP BY day, school_id, class_id, diet, state = 'white'";
        let cooked = meals.iter().filter(|m| matches!(m.state, DayState::Served | DayState::White)).count() as i64;
        run!(self, sqlx::query(DAY).bind(school).bind(day).bind(at).bind(cooked));
        let kept: Vec<_> = meals.iter().filter_map(|meal| Some((meal, meal_word(meal.state)?))).collect();
        for rows in kept.chunks(ROWS_AT_ONCE) {
            let values: Vec<String> =
                (0..rows.len()).map(|n| format!("(${}, $1, $2, ${}, ${}, ${})", 4 * n + 3, 4 * n + 4, 4 * n + 5, 4 * n + 6)).collect();
            let sql = format!("{MEAL}{}", values.join(", "));
            run!(self, {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str())).bind(day).bind(school);
                for (meal, state) in rows {
                    query = query.bind(meal.child.0).bind(meal.class_id).bind(&meal.diet).bind(*state);
                }
                query
            });
        }
        run!(self, sqlx::query(COUNT).bind(school).bind(day));
        Ok(())
    }

    /// The head counts of an ente from `first` to `last`.
    pub async fn head_counts(&mut self, ente: EnteId, first: NaiveDate, last: NaiveDate) -> Result<Vec<HeadCount>, StoreError> {
        const SQL: &str = "SELECT h.day, s.name AS school, c.name AS class, h.diet, h.white, h.meals
            FROM head_count h JOIN school s ON s.id = h.school_id JOIN school_class c ON c.id = h.class_id
            WHERE s.ente_id = $1 AND h.day BETWEEN $2 AND $3
            ORDER BY h.day, s.id, c.id, h.diet, h.white";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).bind(first).bind(last).fetch_all(c))?)
    }
}

/// How a state is kept; there is no record of a day without service.
pub(super) fn meal_word(state: DayState) -> Option<&'static str> {
    match state {
        DayState::Served => Some("served"),
        DayState::White => Some("white"),
        DayState::Cancelled => Some("cancelled"),
        DayState::Suspended => Some("suspended"),
        DayState::NoService => None,
    }
}
