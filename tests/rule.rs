//! The rule against a second, plainer implementation: sets of days instead of intervals, and
//! UTC offsets worked out from the European clock-change law instead of a time-zone database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc, Weekday};
use proptest::prelude::*;
use voceguida::canteen::{
    Choice, Reason,
    calendar::ServiceCalendar,
    marks::{Marks, Suspension, Suspensions},
    rule::{Decision, Request, decide},
    window::Window,
};

fn base() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 9, 14).unwrap()
}

fn day(n: u64) -> NaiveDate {
    base() + Days::new(n)
}

/// Days looked at; an open suspension is "until the horizon" here, beyond every term.
const HORIZON: u64 = 400;

/// Last Sunday of a month, 01:00 UTC: when the clocks change in the European Union.
fn change(year: i32, month: u32) -> DateTime<Utc> {
    let last = NaiveDate::from_ymd_opt(year, month, 31).unwrap();
    let sunday = last - Days::new(u64::from(last.weekday().num_days_from_sunday()));
    Utc.from_utc_datetime(&sunday.and_hms_opt(1, 0, 0).unwrap())
}

fn rome(at: DateTime<Utc>) -> NaiveDateTime {
    let summer = at >= change(at.year(), 3) && at < change(at.year(), 10);
    at.naive_utc() + TimeDelta::hours(if summer { 2 } else { 1 })
}

#[derive(Debug, Clone, PartialEq)]
struct Model {
    cancelled: BTreeSet<NaiveDate>,
    white: BTreeSet<NaiveDate>,
    suspended: BTreeSet<NaiveDate>,
}

fn model_of(marks: &Marks) -> Model {
    let all = (0..HORIZON).map(day).filter(|d| marks.suspensions.covering(*d).is_some()).collect();
    Model { cancelled: marks.cancelled.clone(), white: marks.white.clone(), suspended: all }
}

fn served(calendar: &ServiceCalendar, d: NaiveDate) -> bool {
    calendar.first <= d && d <= calendar.last && calendar.weekdays.contains(d.weekday()) && !calendar.closed.contains(&d)
}

/// Returns the day and the model afterwards, or the reason.
fn model_decide(at: DateTime<Utc>, request: Request, calendar: &ServiceCalendar, before: &Model) -> Result<(NaiveDate, Model), Reason> {
    let local = rome(at);
    let seconds = local.signed_duration_since(local.date().and_hms_opt(0, 0, 0).unwrap()).num_seconds();
    let (d, until) = match request {
        Request::Phone(_) => {
            let start = match seconds {
                s if s <= 9 * 3600 => local.date(),
                s if s >= 18 * 3600 => local.date() + Days::new(1),
                _ => return Err(Reason::OutsideWindow),
            };
            let found = (0..HORIZON).map(day).find(|d| *d >= start && served(calendar, *d));
            (found.ok_or(Reason::NoServiceDay)?, None)
        }
        Request::Office { .. } => unreachable!("only phone and web are asked here"),
        Request::Web { choice, day, until } => {
            if !served(calendar, day) {
                return Err(Reason::NotAServiceDay);
            }
            if local.date() > day || (local.date() == day && seconds > 9 * 3600) {
                return Err(Reason::TooLate);
            }
            if choice == Choice::Suspend && until.is_some_and(|u| u < day) {
                return Err(Reason::InvalidRange);
            }
            (day, until)
        }
    };
    let mut after = before.clone();
    let suspended = before.suspended.contains(&d);
    match request.choice() {
        Choice::Cancel | Choice::White | Choice::Undo if suspended => return Err(Reason::Suspended),
        Choice::Cancel => {
            if !after.cancelled.insert(d) {
                return Err(Reason::AlreadyCancelled);
            }
            after.white.remove(&d);
        }
        Choice::White => {
            if !after.white.insert(d) {
                return Err(Reason::AlreadyWhite);
            }
            after.cancelled.remove(&d);
        }
        Choice::Undo => {
            let had = after.cancelled.remove(&d) | after.white.remove(&d);
            if !had {
                return Err(Reason::NothingToUndo);
            }
        }
        Choice::Suspend => {
            after.suspended.extend((0..HORIZON).map(day).filter(|x| *x >= d && until.is_none_or(|u| *x <= u)));
            if after.suspended == before.suspended {
                return Err(Reason::AlreadySuspended);
            }
        }
        Choice::Resume => {
            if !suspended {
                return Err(Reason::NotSuspended);
            }
            let mut x = d;
            while after.suspended.remove(&x) {
                x = x + Days::new(1);
            }
        }
    }
    Ok((d, after))
}

fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    let anywhere = (-20i64..330, 0i64..86_400, 0u32..1000);
    let near_an_end = (-20i64..330, prop::sample::select(vec![9i64 * 3600, 18 * 3600, 0]), -3i64..=3, 0u32..1000);
    prop_oneof![
        anywhere.prop_map(|(d, s, ms)| at_local(d, s, ms)),
        near_an_end.prop_map(|(d, end, off, ms)| at_local(d, end + off, ms)),
        // Around the autumn and spring clock changes.
        (-7200i64..7200).prop_map(|s| change(2026, 10) + TimeDelta::seconds(s)),
        (-7200i64..7200).prop_map(|s| change(2027, 3) + TimeDelta::seconds(s)),
    ]
}

fn at_local(days: i64, seconds: i64, millis: u32) -> DateTime<Utc> {
    let local = base().and_hms_opt(0, 0, 0).unwrap() + TimeDelta::days(days) + TimeDelta::seconds(seconds);
    let guess = Utc.from_utc_datetime(&local);
    let offset = rome(guess - TimeDelta::hours(2)) - (guess - TimeDelta::hours(2)).naive_utc();
    guess - offset + TimeDelta::milliseconds(i64::from(millis))
}

fn days() -> impl Strategy<Value = BTreeSet<NaiveDate>> {
    prop::collection::btree_set((0u64..280).prop_map(day), 0..12)
}

prop_compose! {
    fn calendars()(first in 0u64..40, len in 0u64..270, weekdays in prop::collection::vec(0u8..7, 0..7), scattered in days(), run in (0u64..270, 0u64..20)) -> ServiceCalendar {
        let mut closed = scattered;
        closed.extend((run.0..run.0 + run.1).map(day));
        ServiceCalendar { first: day(first), last: day(first + len), weekdays: weekdays.into_iter().filter_map(|d| Weekday::try_from(d).ok()).collect(), weekdays_from: std::collections::BTreeMap::new(), closed }
    }
}

prop_compose! {
    fn all_marks()(cancelled in days(), white in days(), spans in prop::collection::vec((0u64..280, prop::option::weighted(0.8, 0u64..30)), 0..5)) -> Marks {
        let spans = spans.into_iter().map(|(a, len)| Suspension { first: day(a), last: len.map(|l| day(a + l)) }).collect();
        let white = white.difference(&cancelled).copied().collect();
        Marks { cancelled, white, suspensions: Suspensions::new(spans) }
    }
}

fn requests() -> impl Strategy<Value = Request> {
    let choice = prop::sample::select(vec![Choice::Cancel, Choice::White, Choice::Suspend, Choice::Resume, Choice::Undo]);
    (choice, any::<bool>(), 0u64..300, prop::option::of(0u64..310)).prop_map(|(choice, phone, d, until)| {
        if phone { Request::Phone(choice) } else { Request::Web { choice, day: day(d), until: until.map(day) } }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_rule_agrees_with_the_plain_model(at in instants(), request in requests(), calendar in calendars(), marks in all_marks()) {
        let expected = model_decide(at, request, &calendar, &model_of(&marks));
        match decide(at, &Window::default(), request, &calendar, &marks) {
            Decision::Accepted { day, marks: after } => {
                prop_assert_eq!(Ok((day, model_of(&after))), expected);
                // No day is ever both cancelled and white, and a phone operation never falls into the past.
                prop_assert!(after.cancelled.is_disjoint(&after.white));
                prop_assert!(rome(at).date() <= day);
            }
            Decision::Refused { reason, .. } => prop_assert_eq!(Err(reason), expected),
        }
    }

    #[test]
    fn an_undo_takes_back_what_was_done(at in instants(), calendar in calendars(), marks in all_marks(), white: bool) {
        let window = Window::default();
        let choice = if white { Choice::White } else { Choice::Cancel };
        if let Decision::Accepted { day, marks: after } = decide(at, &window, Request::Phone(choice), &calendar, &marks) {
            let Decision::Accepted { day: same, marks: undone } = decide(at, &window, Request::Phone(Choice::Undo), &calendar, &after) else {
                return Err(TestCaseError::fail("an undo right after was refused"));
            };
            prop_assert_eq!(day, same);
            prop_assert!(!undone.cancelled.contains(&day) && !undone.white.contains(&day));
        }
    }
}
