//! Children, and what stands for them.

use chrono::NaiveDate;

use super::{StoreError, Tx, on, run};
use crate::canteen::{
    ChildId, EnteId,
    code::ChildCode,
    marks::{Marks, Suspension, Suspensions},
};

/// A child as shown to the office and by `voceguida child`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ChildRow {
    /// Row.
    pub id: i64,
    /// Ente.
    pub ente_id: i64,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// School.
    pub school: String,
    /// Class.
    pub class: String,
    /// Diet.
    pub diet: String,
}

/// A child with its code, as listed by `demo --print-codes`. No `Debug`: the code is a secret.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_debug_implementations)]
pub struct EnrolledChild {
    /// Keypad code.
    pub code: String,
    /// Family name.
    pub last_name: String,
    /// Given name.
    pub first_name: String,
    /// School.
    pub school: String,
    /// Class.
    pub class: String,
    /// Diet.
    pub diet: String,
}

#[derive(sqlx::FromRow)]
struct MarkRow {
    day: NaiveDate,
    kind: String,
}

#[derive(sqlx::FromRow)]
struct SuspensionRow {
    first_day: NaiveDate,
    last_day: Option<NaiveDate>,
}

impl Tx {
    /// The child with this code.
    pub async fn child_by_code(&mut self, ente: EnteId, code: &ChildCode) -> Result<Option<ChildId>, StoreError> {
        const SQL: &str = "SELECT id FROM child WHERE ente_id = $1 AND code = $2";
        let id: Option<i64> = on!(self, |c| sqlx::query_scalar(SQL).bind(ente.0).bind(code.as_str()).fetch_optional(c))?;
        Ok(id.map(ChildId))
    }

    /// Name, class and diet of a child.
    pub async fn child(&mut self, id: ChildId) -> Result<Option<ChildRow>, StoreError> {
        const SQL: &str = "SELECT k.id, k.ente_id, k.last_name, k.first_name, s.name AS school, c.name AS class, k.diet
            FROM child k JOIN school_class c ON c.id = k.class_id JOIN school s ON s.id = c.school_id WHERE k.id = $1";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(id.0).fetch_optional(c))?)
    }

    /// All children of an ente with their codes, in the order in which they were entered.
    pub async fn children_with_codes(&mut self, ente: EnteId) -> Result<Vec<EnrolledChild>, StoreError> {
        const SQL: &str = "SELECT k.code, k.last_name, k.first_name, s.name AS school, c.name AS class, k.diet
            FROM child k JOIN school_class c ON c.id = k.class_id JOIN school s ON s.id = c.school_id
            WHERE k.ente_id = $1 ORDER BY k.id";
        Ok(on!(self, |c| sqlx::query_as(SQL).bind(ente.0).fetch_all(c))?)
    }

    /// All children, for checks over the whole database.
    pub async fn child_ids(&mut self) -> Result<Vec<ChildId>, StoreError> {
        const SQL: &str = "SELECT id FROM child ORDER BY id";
        let ids: Vec<i64> = on!(self, |c| sqlx::query_scalar(SQL).fetch_all(c))?;
        Ok(ids.into_iter().map(ChildId).collect())
    }

    /// Keeps other operations on this child waiting until commit. SQLite's one writer does that by itself.
    pub async fn lock_child(&mut self, child: ChildId) -> Result<(), StoreError> {
        if let Self::Postgres(tx) = self {
            sqlx::query("SELECT 1 FROM child WHERE id = $1 FOR UPDATE").bind(child.0).execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// What stands for the child.
    pub async fn marks_of(&mut self, child: ChildId) -> Result<Marks, StoreError> {
        const MARKS: &str = "SELECT day, kind FROM mark WHERE child_id = $1";
        const SUSPENSIONS: &str = "SELECT first_day, last_day FROM suspension WHERE child_id = $1";
        let rows: Vec<MarkRow> = on!(self, |c| sqlx::query_as(MARKS).bind(child.0).fetch_all(c))?;
        let spans: Vec<SuspensionRow> = on!(self, |c| sqlx::query_as(SUSPENSIONS).bind(child.0).fetch_all(c))?;
        let mut marks = Marks {
            suspensions: Suspensions::new(spans.iter().map(|s| Suspension { first: s.first_day, last: s.last_day }).collect()),
            ..Marks::default()
        };
        for MarkRow { day, kind } in rows {
            match kind.as_str() {
                "cancelled" => marks.cancelled.insert(day),
                "white" => marks.white.insert(day),
                _ => return Err(StoreError::Unknown { what: "mark", value: kind }),
            };
        }
        Ok(marks)
    }

    /// Writes what changed between `before` and `after`, as done by `operation`.
    pub async fn put_marks(&mut self, child: ChildId, operation: i64, before: &Marks, after: &Marks) -> Result<(), StoreError> {
        for (kind, was, is) in [("cancelled", &before.cancelled, &after.cancelled), ("white", &before.white, &after.white)] {
            for day in was.difference(is) {
                const SQL: &str = "DELETE FROM mark WHERE child_id = $1 AND day = $2 AND kind = $3";
                run!(self, sqlx::query(SQL).bind(child.0).bind(day).bind(kind));
            }
        }
        for (kind, was, is) in [("cancelled", &before.cancelled, &after.cancelled), ("white", &before.white, &after.white)] {
            for day in is.difference(was) {
                const SQL: &str = "INSERT INTO mark (child_id, day, kind, operation_id) VALUES ($1, $2, $3, $4)";
                run!(self, sqlx::query(SQL).bind(child.0).bind(day).bind(kind).bind(operation));
            }
        }
        let (was, is) = (before.suspensions.intervals(), after.suspensions.intervals());
        for gone in was.iter().filter(|s| !is.contains(s)) {
            const SQL: &str = "DELETE FROM suspension WHERE child_id = $1 AND first_day = $2";
            run!(self, sqlx::query(SQL).bind(child.0).bind(gone.first));
        }
        for new in is.iter().filter(|s| !was.contains(s)) {
            const SQL: &str = "INSERT INTO suspension (child_id, first_day, last_day, operation_id) VALUES ($1, $2, $3, $4)";
            run!(self, sqlx::query(SQL).bind(child.0).bind(new.first).bind(new.last).bind(operation));
        }
        Ok(())
    }
}
