//! The rule as a conversation of JSON lines, for providers and auditors (design §3).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc, WeekdaySet};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, value::RawValue};

use super::{
    Channel, Choice, Reason,
    calendar::ServiceCalendar,
    marks::{Marks, Suspension, Suspensions},
    rule::{Decision, Request, decide},
    window::Window,
};

/// One case, as read. Fields that the rule does not know are ignored.
#[derive(Deserialize)]
struct Case {
    #[serde(deserialize_with = "instant")]
    at: DateTime<Utc>,
    channel: Channel,
    option: Choice,
    day: Option<NaiveDate>,
    until: Option<NaiveDate>,
    /// The office has a written reason to do it after the cut-off.
    #[serde(default)]
    late: bool,
    calendar: CaseCalendar,
    child: CaseChild,
    #[serde(default)]
    window: CaseWindow,
}

#[derive(Deserialize)]
struct CaseCalendar {
    term: (NaiveDate, NaiveDate),
    weekdays: Vec<CaseWeekday>,
    #[serde(default)]
    closed: BTreeSet<NaiveDate>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum CaseWeekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<CaseWeekday> for chrono::Weekday {
    fn from(day: CaseWeekday) -> Self {
        match day {
            CaseWeekday::Mon => Self::Mon,
            CaseWeekday::Tue => Self::Tue,
            CaseWeekday::Wed => Self::Wed,
            CaseWeekday::Thu => Self::Thu,
            CaseWeekday::Fri => Self::Fri,
            CaseWeekday::Sat => Self::Sat,
            CaseWeekday::Sun => Self::Sun,
        }
    }
}

/// The child before (read) and after (written) the operation.
#[derive(Deserialize, Serialize, Default)]
struct CaseChild {
    #[serde(default)]
    cancelled: BTreeSet<NaiveDate>,
    #[serde(default)]
    white: BTreeSet<NaiveDate>,
    #[serde(default)]
    suspended: Vec<(NaiveDate, Option<NaiveDate>)>,
}

/// The ente's settings where they are not the usual ones: `"window":{"opens":"18:00","cutoff":"09:00","zone":"Europe/Rome"}`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct CaseWindow {
    #[serde(default, deserialize_with = "hour_and_minute")]
    opens: Option<NaiveTime>,
    #[serde(default, deserialize_with = "hour_and_minute")]
    cutoff: Option<NaiveTime>,
    zone: Option<chrono_tz::Tz>,
}

fn instant<'de, D: Deserializer<'de>>(input: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(input)?;
    let at = DateTime::parse_from_rfc3339(&text).map_err(|e| de::Error::custom(format!("\"at\" is no RFC 3339 instant: {e}")))?;
    Ok(at.with_timezone(&Utc))
}

fn hour_and_minute<'de, D: Deserializer<'de>>(input: D) -> Result<Option<NaiveTime>, D::Error> {
    let text = String::deserialize(input)?;
    NaiveTime::parse_from_str(&text, "%H:%M").map(Some).map_err(|e| de::Error::custom(format!("\"{text}\" is no HH:MM time: {e}")))
}

/// One answer, as written; the order of the fields is the documented one.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Accepted { id: &'a RawValue, decision: &'static str, day: NaiveDate, child: CaseChild },
    Refused { id: &'a RawValue, decision: &'static str, reason: Reason },
    Error { id: &'a RawValue, error: String },
}

#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// Answers one line; never fails: a malformed line is answered with its error. The `id` comes back
/// as it was written, `null` where there is none to be read.
pub fn answer(line: &str) -> String {
    let id = serde_json::from_str::<Id>(line).ok().and_then(|i| i.id).unwrap_or(RawValue::NULL);
    let answer = match decide_line(line) {
        Ok(Decision::Accepted { day, marks }) => Answer::Accepted { id, decision: "accepted", day, child: marks.into() },
        Ok(Decision::Refused { reason, .. }) => Answer::Refused { id, decision: "refused", reason },
        Err(error) => Answer::Error { id, error },
    };
    serde_json::to_string(&answer).unwrap_or_else(|e| Value::from(e.to_string()).to_string())
}

fn decide_line(line: &str) -> Result<Decision, String> {
    let case: Case = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let (first, last) = case.calendar.term;
    if last < first {
        return Err(format!("the term ends ({last}) before it begins ({first})"));
    }
    let usual = Window::default();
    let window = Window {
        opens: case.window.opens.unwrap_or(usual.opens),
        cutoff: case.window.cutoff.unwrap_or(usual.cutoff),
        zone: case.window.zone.unwrap_or(usual.zone),
    };
    let weekdays: WeekdaySet = case.calendar.weekdays.iter().map(|d| (*d).into()).collect();
    let calendar = ServiceCalendar { first, last, weekdays, weekdays_from: BTreeMap::new(), closed: case.calendar.closed };
    let marks = Marks::try_from(case.child)?;
    let request = match (case.channel, case.day) {
        (Channel::Phone, _) => Request::Phone(case.option),
        (Channel::Web, Some(day)) => Request::Web { choice: case.option, day, until: case.until },
        (Channel::Office, Some(day)) => Request::Office { choice: case.option, day, until: case.until, late: case.late },
        (channel, None) => return Err(format!("a {} operation needs a \"day\"", channel.word())),
    };
    Ok(decide(case.at, &window, request, &calendar, &marks))
}

impl TryFrom<CaseChild> for Marks {
    type Error = String;

    fn try_from(child: CaseChild) -> Result<Self, String> {
        let interval = |(first, last): (NaiveDate, Option<NaiveDate>)| match last {
            Some(last) if last < first => Err(format!("a suspension ends ({last}) before it begins ({first})")),
            _ => Ok(Suspension { first, last }),
        };
        let suspensions = child.suspended.into_iter().map(interval).collect::<Result<_, _>>()?;
        Ok(Self { cancelled: child.cancelled, white: child.white, suspensions: Suspensions::new(suspensions) })
    }
}

impl From<Marks> for CaseChild {
    fn from(marks: Marks) -> Self {
        Self {
            cancelled: marks.cancelled,
            white: marks.white,
            suspended: marks.suspensions.intervals().iter().map(|s| (s.first, s.last)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALENDAR: &str = r#""calendar":{"term":["2026-09-14","2027-06-08"],"weekdays":["mon","tue","wed","thu","fri"],"closed":["2026-10-13","2026-10-14"]}"#;

    fn case(rest: &str) -> String {
        answer(&format!("{{\"id\":1,{CALENDAR},{rest}}}"))
    }

    #[test]
    fn the_example_of_the_design() {
        let child = r#""child":{"cancelled":[],"white":[],"suspended":[["2026-11-02",null]]}"#;
        assert_eq!(
            case(&format!(r#""at":"2026-10-12T18:30:00+02:00","channel":"phone","option":"cancel",{child}"#)),
            r#"{"id":1,"decision":"accepted","day":"2026-10-15","child":{"cancelled":["2026-10-15"],"white":[],"suspended":[["2026-11-02",null]]}}"#
        );
        assert_eq!(
            case(&format!(r#""at":"2026-10-12T17:30:00+02:00","channel":"phone","option":"cancel",{child}"#)),
            r#"{"id":1,"decision":"refused","reason":"outside_window"}"#
        );
    }

    #[test]
    fn malformed_lines_are_answered_and_keep_their_id() {
        insta::assert_snapshot!(
            [
                "",
                "nonsense",
                "[1,2]",
                r#"{"id":"a7"}"#,
                r#"{"id":{"n":1},"at":"2026-10-12"}"#,
                &format!(r#"{{"id":3,{CALENDAR},"child":{{}},"at":"2026-10-12T18:30:00","channel":"phone","option":"cancel"}}"#),
                &format!(r#"{{"id":4,{CALENDAR},"child":{{}},"at":"2026-10-12T18:30:00Z","channel":"web","option":"cancel"}}"#),
                &format!(r#"{{"id":5,{CALENDAR},"child":{{}},"at":"2026-10-12T18:30:00Z","channel":"fax","option":"cancel"}}"#),
                &format!(
                    r#"{{"id":6,{CALENDAR},"child":{{"suspended":[["2026-10-02","2026-10-01"]]}},"at":"2026-10-12T18:30:00Z","channel":"phone","option":"cancel"}}"#
                ),
            ]
            .map(answer)
            .join("\n")
        );
    }
}
