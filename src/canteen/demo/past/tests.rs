use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{Datelike, TimeDelta, Weekday};
use proptest::prelude::*;

use super::*;
use crate::canteen::{demo::demo_roster, marks::Marks, roster::ChildRow, rule::replay};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn told(until: &str) -> Told {
    let roster = demo_roster(2026, |index| format!("{index:07}")).expect("a roster");
    invented_past(&roster, at(until), &Window::default(), true).expect("a past")
}

/// A second, plainer calendar: rows of the rosters and closures as far as they are known, looked through one by one.
#[derive(Default)]
struct Plain {
    /// Each child's year and row.
    rows: HashMap<usize, (usize, ChildRow)>,
    closures: Vec<(Scope, NaiveDate, NaiveDate)>,
}

impl Plain {
    fn import(&mut self, told: &Told, year: usize) {
        let roster = &told.past.rosters[year];
        let places: HashMap<_, _> = told.past.rosters.last().unwrap().children.iter().map(|c| c.code.clone()).zip(0..).collect();
        for child in &roster.children {
            self.rows.insert(places[&child.code], (year, child.clone()));
        }
        self.closures.extend(roster.calendar.closures.iter().map(|c| (c.scope.clone(), c.first, c.last)));
    }

    fn serves(&self, told: &Told, child: usize, day: NaiveDate) -> bool {
        let Some((year, row)) = self.rows.get(&child) else { return false };
        let roster = &told.past.rosters[*year];
        let class = roster.classes.iter().find(|c| c.school == row.school && c.name == row.class).unwrap();
        let terms = &roster.calendar.terms;
        let term = terms.iter().find(|t| t.school.as_ref() == Some(&row.school)).or(terms.iter().find(|t| t.school.is_none())).unwrap();
        let enrolled = row.enrolled_from.is_none_or(|from| from <= day) && row.enrolled_to.is_none_or(|to| day <= to);
        let closed = self.closures.iter().any(|(scope, first, last)| {
            let here = match scope {
                Scope::Ente => true,
                Scope::School { school } => *school == row.school,
                Scope::Class { school, class } => *school == row.school && *class == row.class,
            };
            here && *first <= day && day <= *last
        });
        enrolled && !closed && (term.first..=term.last).contains(&day) && class.weekdays.contains(day.weekday())
    }
}

/// Every operation, every refusal and every meal follows from the rule, said a second time and more plainly.
#[test]
fn the_past_obeys_the_rule() {
    let told = told("2026-11-25T16:40:00Z");
    let window = Window::default();
    let mut plain = Plain::default();
    let mut marks: HashMap<usize, Marks> = HashMap::new();
    let mut closed = Vec::new();
    let mut last = DateTime::<Utc>::MIN_UTC;
    for Event { at, what } in &told.past.events {
        assert!(last <= *at, "in the order of time");
        last = *at;
        let (local, mut judged) = (window.local(*at), None);
        match what {
            What::Import(year) => plain.import(&told, *year),
            What::Closure(closure) => plain.closures.push((closure.scope.clone(), closure.first, closure.last)),
            What::Order { child, choice, answer, .. } => {
                let (day, time) = (local.date(), local.time());
                let from = if time >= window.opens { day.succ_opt() } else { (time <= window.cutoff).then_some(day) };
                let useful = from.and_then(|from| from.iter_days().take(300).find(|day| plain.serves(&told, *child, *day)));
                match (answer, from, useful) {
                    (Answer::Refused(Reason::OutsideWindow, None), None, _)
                    | (Answer::Refused(Reason::NoServiceDay, None), Some(_), None) => {}
                    (Answer::Accepted(day) | Answer::Refused(_, Some(day)), _, Some(useful)) => {
                        assert_eq!(*day, useful, "{at}: the first useful day");
                        judged = Some((*child, *choice, *day, None, *answer));
                    }
                    other => panic!("{at}: {other:?}"),
                }
            }
            What::Deed(deed) => match deed.answer {
                Answer::Refused(Reason::NotAServiceDay, _) => assert!(!plain.serves(&told, deed.child, deed.day)),
                answer => {
                    assert!(plain.serves(&told, deed.child, deed.day), "{at}");
                    assert!(deed.note.is_some() || window.day_is_open(deed.day, *at), "{at}: late without a reason");
                    judged = Some((deed.child, deed.choice, deed.day, deed.until, answer));
                }
            },
            What::Closing { day, meals } => {
                closed.push(*day);
                let eating: BTreeSet<usize> = plain.rows.keys().copied().filter(|child| plain.serves(&told, *child, *day)).collect();
                assert_eq!(meals.iter().map(|(child, _)| *child).collect::<BTreeSet<_>>(), eating, "{day}");
                for (child, state) in meals {
                    let stands = marks.entry(*child).or_default();
                    let expected = if stands.suspensions.covering(*day).is_some() {
                        DayState::Suspended
                    } else if stands.cancelled.contains(day) {
                        DayState::Cancelled
                    } else if stands.white.contains(day) {
                        DayState::White
                    } else {
                        DayState::Served
                    };
                    assert_eq!(*state, expected, "{day}");
                }
            }
            What::Letters(..) | What::WrongCode { .. } | What::Call(_) => {}
        }
        if let Some((child, choice, day, until, answer)) = judged {
            let stands = marks.entry(child).or_default();
            match (replay(choice, day, until, stands), answer) {
                (Ok(after), Answer::Accepted(_)) => *stands = after,
                (Err(reason), Answer::Refused(said, _)) => assert_eq!(reason, said, "{at}"),
                other => panic!("{at}: {other:?}"),
            }
        }
    }
    for pair in closed.windows(2) {
        assert_eq!(pair[0].succ_opt().unwrap(), pair[1], "every day is closed once");
    }
    assert_eq!(closed.last(), NaiveDate::from_ymd_opt(2026, 11, 25).as_ref());
}

#[test]
fn calls_hold_their_operations() {
    let told = told("2026-11-25T16:40:00Z");
    let mut ended = HashSet::new();
    for Event { at, what } in &told.past.events {
        match what {
            What::Order { call, .. } | What::WrongCode { call, .. } => {
                let call = &told.calls[*call];
                assert!(call.started_at < *at && *at <= call.ended_at, "{at}: {call:?}");
                assert!(call.keys >= 7);
            }
            What::Call(call) => {
                assert!(ended.insert(*call), "a call ends once");
                assert_eq!(told.calls[*call].ended_at, *at);
            }
            _ => {}
        }
    }
    assert_eq!(ended.len(), told.calls.len());
}

/// What people will look for in it: the flu, Mondays, a strike that came late, and everything that can go wrong on the telephone.
#[test]
fn it_is_lifelike() {
    let told = told("2026-11-25T16:40:00Z");
    let window = Window::default();
    let mut table = Vec::new();
    let mut months: BTreeMap<(i32, u32), (usize, usize)> = BTreeMap::new();
    let mut mornings: BTreeMap<u8, usize> = BTreeMap::new();
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut late_closure = false;
    for Event { at, what } in &told.past.events {
        match what {
            What::Closing { day, meals } => {
                let month = months.entry((day.year(), day.month())).or_default();
                month.0 += meals.len();
                month.1 += meals.iter().filter(|(_, state)| matches!(state, DayState::Cancelled | DayState::Suspended)).count();
            }
            What::Order { choice, answer, .. } => {
                let word = match answer {
                    Answer::Accepted(_) => "accepted".to_owned(),
                    Answer::Refused(reason, _) => format!("{reason:?}"),
                };
                *answers.entry(format!("phone {choice:?} {word}")).or_default() += 1;
            }
            What::Deed(deed) => {
                let late = if deed.note.is_some() { "late " } else { "" };
                let answer = if matches!(deed.answer, Answer::Accepted(_)) { "accepted" } else { "refused" };
                *answers.entry(format!("office {:?} {late}{answer}", deed.choice)).or_default() += 1;
            }
            What::Call(call) => {
                *ends.entry(format!("{:?}", told.calls[*call].end)).or_default() += 1;
                let local = window.local(told.calls[*call].started_at);
                if local.time() < window.cutoff {
                    *mornings.entry(local.weekday().num_days_from_monday() as u8).or_default() += 1;
                }
            }
            What::Closure(closure) => late_closure |= closure.first == closure.last && *at > window.closes_after(closure.first),
            _ => {}
        }
    }
    assert!(late_closure, "a closure after the cut-off of its day");
    let monday = mornings[&0];
    assert!(mornings.iter().all(|(day, calls)| *day == 0 || *calls < monday), "Mondays are the busiest: {mornings:?}");
    for ((year, month), (booked, absent)) in &months {
        if *booked > 0 {
            table.push(format!("{year}-{month:02}  {booked:>5} meals booked, {:>4.1} % absent", 100.0 * *absent as f64 / *booked as f64));
        }
    }
    table.extend(answers.iter().chain(&ends).map(|(what, n)| format!("{what}: {n}")));
    insta::assert_snapshot!(table.join("\n"));
    let share = |year, month| {
        let (booked, absent) = months[&(year, month)];
        absent as f64 / booked as f64
    };
    assert!(share(2026, 1) > 2.0 * share(2025, 10), "the flu");
    assert!(told.calls.iter().any(|call| call.caller.is_none()));
    assert!(told.past.events.iter().any(|event| matches!(event.what, What::WrongCode { guess: true, .. })));
}

#[test]
fn last_year_the_same_children_were_a_class_below() {
    let told = told("2026-10-01T10:00:00Z");
    let [before, now] = &told.past.rosters[..] else { panic!("two rosters") };
    let class = |roster: &Roster, name: &str| {
        roster
            .children
            .iter()
            .find(|child| child.first_name == name && ["Rossi", "Bianchi"].contains(&child.last_name.as_str()))
            .map(|c| c.class.clone())
    };
    assert_eq!((class(before, "Giulia").as_deref(), class(now, "Giulia").as_deref()), (Some("2A"), Some("3A")));
    assert_eq!((class(before, "Matteo").as_deref(), class(now, "Matteo").as_deref()), (Some("1A"), Some("2A")));
    assert!(before.children.len() > 180, "{}", before.children.len());
    for child in &before.children {
        assert!(now.children.iter().any(|other| other.code == child.code && other.external_id == child.external_id));
        assert!(before.classes.iter().any(|class| class.school == child.school && class.name == child.class), "{child:?}");
    }
}

#[test]
fn without_last_year_it_begins_with_this_one() {
    let roster = demo_roster(2026, |index| format!("{index:07}")).unwrap();
    let told = invented_past(&roster, at("2026-10-01T10:00:00Z"), &Window::default(), false).unwrap();
    assert_eq!(told.past.rosters.len(), 1);
    assert!(told.past.events.first().unwrap().at > at("2026-08-20T00:00:00Z"));
    // On a summer's day before the roster would have come it is there all the same.
    let told = invented_past(&roster, at("2026-07-20T10:00:00Z"), &Window::default(), false).unwrap();
    assert_eq!(told.past.events.iter().map(|event| &event.what).collect::<Vec<_>>(), [&What::Import(0)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// The same time gives the same past; a later one goes on where the earlier one ended.
    #[test]
    fn a_later_past_begins_as_an_earlier_one(hours in 0i64..9_000, more in 0i64..3_000, year in 2020i32..2040) {
        let roster = demo_roster(year, |index| format!("{index:07}")).unwrap();
        let start = NaiveDate::from_ymd_opt(year, 9, 12).unwrap().and_hms_opt(5, 0, 0).unwrap().and_utc();
        let until = start + TimeDelta::hours(hours % 6_000);
        let window = Window::default();
        let earlier = invented_past(&roster, until, &window, true).unwrap();
        prop_assert_eq!(&earlier, &invented_past(&roster, until, &window, true).unwrap());
        let later = invented_past(&roster, until + TimeDelta::hours(more), &window, true).unwrap();
        // Calls that were going on then are cut off there.
        let settled = |told: &Told| -> Vec<(DateTime<Utc>, String)> {
            let told = told.past.events.iter().filter(|event| event.at < until - TimeDelta::minutes(10));
            told.map(|event| (event.at, format!("{:?}", event.what))).collect()
        };
        prop_assert_eq!(settled(&earlier), settled(&later));
        prop_assert!(earlier.past.events.iter().all(|event| event.at <= until));
    }
}

#[test]
fn weekends_are_quiet() {
    let told = told("2026-11-25T16:40:00Z");
    let window = Window::default();
    let on = |weekday| told.calls.iter().filter(|call| window.local(call.started_at).weekday() == weekday).count();
    assert!(on(Weekday::Sat) * 8 < on(Weekday::Mon));
}
