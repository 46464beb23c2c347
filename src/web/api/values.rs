//! Values that several resources have in common.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{NaiveDate, WeekdaySet};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, SchemaType, Type},
    },
};

use super::Problem;

/// The largest number that every JSON reader keeps exactly.
pub const LARGEST_ID: i64 = 9_007_199_254_740_991;
/// Rows of an answer where nothing else is asked for.
pub const USUAL: u16 = 100;
/// Rows of an answer at most.
pub const MOST: u16 = 500;

/// A day, as YYYY-MM-DD and in no other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = Date, example = "2026-10-15")]
pub struct Day(pub NaiveDate);

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_day(&text).map(Self).ok_or_else(|| de::Error::custom("a day is written as YYYY-MM-DD"))
    }
}

/// `chrono` itself takes "2026-1-1" and signs.
fn parse_day(text: &str) -> Option<NaiveDate> {
    let form = text.len() == 10 && text.bytes().enumerate().all(|(n, b)| if matches!(n, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
    form.then(|| text.parse().ok()).flatten()
}

/// A row's number from the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub i64);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let id = i64::deserialize(from)?;
        if (1..=LARGEST_ID).contains(&id) { Ok(Self(id)) } else { Err(de::Error::custom("out of range")) }
    }
}

/// A child's number in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ChildPath {
    /// The child's number.
    #[param(value_type = i64, minimum = 1, maximum = 9_007_199_254_740_991i64)]
    pub child: Id,
}

/// How many rows, where nothing or too much is asked for.
pub fn limit_of(asked: Option<u16>) -> Result<i64, Problem> {
    match asked.unwrap_or(USUAL) {
        limit @ 1..=MOST => Ok(i64::from(limit)),
        _ => Err(Problem::bad("invalid_query", format!("limit: from 1 to {MOST}"))),
    }
}

/// Where to read on; 0 or nothing is the beginning.
pub fn after_of(asked: Option<i64>) -> Result<i64, Problem> {
    match asked.unwrap_or_default() {
        after @ 0..=LARGEST_ID => Ok(after),
        _ => Err(Problem::bad("invalid_query", "after: the cursor of an answer before")),
    }
}

/// A page of `rows`, which were asked for with one more than `limit`: rows, where to read on, and whether there is more.
pub fn paged<T>(mut rows: Vec<T>, limit: i64, after: i64, id: impl Fn(&T) -> i64) -> (Vec<T>, i64, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = rows.last().map_or(after, id);
    (rows, cursor, more)
}

/// Days of the week, Monday first.
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Days of return as words.
pub fn weekdays(days: WeekdaySet) -> Vec<&'static str> {
    days.iter(chrono::Weekday::Mon).filter_map(|day| WEEKDAYS.get(day.num_days_from_monday() as usize).copied()).collect()
}

/// One of these words, in the description.
fn one_of(words: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).enum_values(Some(words.iter().copied()))
}

fn one_of_or_null(words: &[&str]) -> RefOr<Schema> {
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    let words = words.iter().map(|word| serde_json::Value::from(*word)).chain([serde_json::Value::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(words)).into()
}

/// A list of days of the week.
pub fn weekdays_schema() -> RefOr<Schema> {
    utoipa::openapi::schema::ArrayBuilder::new().items(one_of(&WEEKDAYS)).into()
}

/// What can stand on a day.
pub fn state_schema() -> RefOr<Schema> {
    one_of(&["served", "cancelled", "white", "suspended", "no_service"]).into()
}

/// Why there is no service.
pub fn why_schema() -> RefOr<Schema> {
    one_of_or_null(&["outside_term", "no_return", "closed"])
}

/// What can be asked for.
pub fn choice_schema() -> RefOr<Schema> {
    one_of(&["cancel", "white", "suspend", "resume", "undo"]).into()
}

/// Why something was refused.
pub fn reason_schema() -> RefOr<Schema> {
    one_of_or_null(&[
        "outside_window",
        "no_service_day",
        "not_a_service_day",
        "too_late",
        "invalid_range",
        "suspended",
        "already_cancelled",
        "already_white",
        "already_suspended",
        "not_suspended",
        "nothing_to_undo",
        "day_changed",
    ])
}

/// Why a school is closed.
pub fn kind_schema() -> RefOr<Schema> {
    one_of(&["strike", "election", "weather", "works", "break", "holiday", "other"]).into()
}

/// The value as JSON with its mark: whoever has it already (`If-None-Match`) is told so in 304.
pub fn tagged(headers: &HeaderMap, value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|_| Problem::unreadable())?;
    let digest = Sha256::digest(&body);
    let tag = digest.iter().take(12).fold(String::from("\""), |tag, byte| format!("{tag}{byte:02x}")) + "\"";
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let is_known = known.map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*");
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_in_one_way() {
        for good in ["2026-10-15", "0001-01-01", "9999-12-31"] {
            assert!(serde_json::from_value::<Day>(good.into()).is_ok(), "{good}");
        }
        for bad in ["2026-1-1", "2026-02-30", "+026-10-15", "2026-10-15 ", "20261015", "", "2026/10/15"] {
            assert!(serde_json::from_value::<Day>(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_description_knows_every_word_that_is_answered() {
        use crate::canteen::{Choice, DayState, Reason, book::ClosureKind};
        let words = |schema: RefOr<Schema>| serde_json::to_value(schema).unwrap()["enum"].clone();
        let has = |schema: RefOr<Schema>, word: serde_json::Value| words(schema).as_array().unwrap().contains(&word);
        let all_states = [DayState::Served, DayState::Cancelled, DayState::White, DayState::Suspended, DayState::NoService];
        assert!(all_states.iter().all(|s| has(state_schema(), serde_json::to_value(s).unwrap())));
        let choices = [Choice::Cancel, Choice::White, Choice::Suspend, Choice::Resume, Choice::Undo];
        assert!(choices.iter().all(|c| has(choice_schema(), serde_json::to_value(c).unwrap())));
        let reasons = [
            Reason::OutsideWindow,
            Reason::NoServiceDay,
            Reason::NotAServiceDay,
            Reason::TooLate,
            Reason::InvalidRange,
            Reason::Suspended,
            Reason::AlreadyCancelled,
            Reason::AlreadyWhite,
            Reason::AlreadySuspended,
            Reason::NotSuspended,
            Reason::NothingToUndo,
        ];
        assert!(reasons.iter().all(|r| has(reason_schema(), serde_json::to_value(r).unwrap())));
        assert!(ClosureKind::ALL.iter().all(|k| has(kind_schema(), k.word().into())));
    }

    #[test]
    fn a_page_says_where_to_read_on() {
        assert_eq!(paged(vec![3, 5, 9], 2, 0, |id| *id), (vec![3, 5], 5, true));
        assert_eq!(paged(vec![3, 5], 2, 0, |id| *id), (vec![3, 5], 5, false));
        assert_eq!(paged(Vec::<i64>::new(), 2, 7, |id| *id), (vec![], 7, false));
    }
}
