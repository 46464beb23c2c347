//! When meals are served: terms and closures.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, Problem,
    auth::Caller,
    extract::InQuery,
    values::{Day, kind_schema, tagged, weekdays, weekdays_schema},
};
use crate::{
    canteen::book::{BookClass, BookClosure, BookTerm},
    desk::feed::last_of,
};

/// Days of a calendar at most.
pub(super) const MOST_DAYS: u32 = 400;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarQuery {
    /// The first day of the closures that are wanted. Without it: all.
    #[param(nullable = false)]
    from: Option<Day>,
    /// How many days from `from` on.
    #[param(nullable = false, minimum = 1, maximum = 400)]
    days: Option<u32>,
}

/// When meals are served.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Calendar {
    terms: Vec<Term>,
    closures: Vec<Closure>,
    /// Days of return of each class.
    returns: Vec<Returns>,
}

/// From when to when a school serves.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Term {
    /// The school year's number.
    school_year: i64,
    /// The school's number; null for every school that has no term of its own in that year.
    #[schema(required)]
    school: Option<i64>,
    first_day: Day,
    last_day: Day,
}

/// Days without service.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Closure {
    id: i64,
    /// The school's number; null for all.
    #[schema(required)]
    school: Option<i64>,
    /// The class's number; null for the whole school.
    #[schema(required)]
    class: Option<i64>,
    first_day: Day,
    last_day: Day,
    #[schema(schema_with = kind_schema)]
    kind: &'static str,
    /// In the office's words.
    reason: String,
}

/// Days of the week on which a class eats.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Returns {
    /// The class's number.
    class: i64,
    /// From the beginning of the term.
    #[schema(schema_with = weekdays_schema)]
    weekdays: Vec<&'static str>,
    /// What holds from a later day on instead.
    changes: Vec<ReturnsChange>,
}

/// Other days of return from a day on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReturnsChange {
    first_day: Day,
    #[schema(schema_with = weekdays_schema)]
    weekdays: Vec<&'static str>,
}

impl From<BookTerm> for Term {
    fn from(term: BookTerm) -> Self {
        Self { school_year: term.year, school: term.school, first_day: Day(term.first), last_day: Day(term.last) }
    }
}

impl From<BookClosure> for Closure {
    fn from(closure: BookClosure) -> Self {
        Self {
            id: closure.id,
            school: closure.place.school(),
            class: closure.place.class(),
            first_day: Day(closure.first),
            last_day: Day(closure.last),
            kind: closure.kind.word(),
            reason: closure.reason,
        }
    }
}

impl From<&BookClass> for Returns {
    fn from(class: &BookClass) -> Self {
        let change = |(day, (_, days)): (&chrono::NaiveDate, &(i64, chrono::WeekdaySet))| ReturnsChange {
            first_day: Day(*day),
            weekdays: weekdays(*days),
        };
        Self { class: class.id, weekdays: weekdays(class.weekdays), changes: class.returns.iter().map(change).collect() }
    }
}

/// Terms, closures and days of return
#[utoipa::path(
    get,
    path = "/api/v1/calendar",
    operation_id = "calendar",
    tag = "calendar",
    params(CalendarQuery),
    responses((status = 200, description = "The calendar.", body = Calendar, headers(("ETag" = String))))
)]
pub(super) async fn calendar(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InQuery(query): InQuery<CalendarQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut book = api.desk.calendar_book(caller.ente()).await?;
    let days = days_of(query.days)?;
    if let Some(Day(first)) = query.from {
        let last = last_of(first, days);
        book.closures.retain(|c| c.first <= last && first <= c.last);
    }
    let calendar = Calendar {
        returns: book.classes.iter().map(Returns::from).collect(),
        terms: book.terms.into_iter().map(Term::from).collect(),
        closures: book.closures.into_iter().map(Closure::from).collect(),
    };
    tagged(&headers, &calendar)
}

/// How many days; a month and a bit where nothing is asked for.
pub(super) fn days_of(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(31) {
        days @ 1..=MOST_DAYS => Ok(days),
        _ => Err(Problem::bad("invalid_query", format!("days: from 1 to {MOST_DAYS}"))),
    }
}
