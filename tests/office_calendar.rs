//! The office's calendar on both databases: what a preview says is what then happens, before and after the cut-off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use std::collections::BTreeMap;

use axum::http::StatusCode;
use chrono::{Days, NaiveDate, TimeDelta, Weekday};
use office_support::World;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{MONDAY_EVENING, School, day, each_database};
use voceguida::{
    canteen::{
        ChildId, Choice, DayState,
        book::{Change, ClosureKind, Place},
        roster::{ChildRow, ClassRow, SchoolRow},
        rule::Request,
    },
    desk::{
        Desk,
        calendar::{CalendarError, Counts, holidays::Standing, words::in_words},
        operate::Order,
        people::Role,
        trail::Actor,
    },
};

fn close(first: &str, last: &str) -> Change {
    Change::Close { place: Place::Ente, first: day(first), last: day(last), kind: ClosureKind::Weather, reason: "allerta rossa".into() }
}

async fn web(desk: &Desk, school: &School, child: ChildId, choice: Choice, on: NaiveDate, key: &str) {
    let request = Request::Web { choice, day: on, until: None };
    let order = Order { ente: school.ente, child, request, actor: "prova", call_id: None, key, expected: None };
    desk.operate(&order).await.expect("the desk answers");
}

async fn meal(school: &School, child: ChildId, on: &str) -> Option<DayState> {
    let mut tx = school.db.read().await.unwrap();
    let meals = tx.meals_now(school.ente, day(on), day(on)).await.unwrap();
    meals.into_iter().find(|m| m.child_id == child.0).map(|m| m.state)
}

async fn only_closure(desk: &Desk, school: &School, on: &str) -> i64 {
    let rows = desk.closures_between(school.ente, day(on), day(on)).await.unwrap();
    let standing: Vec<_> = rows.iter().filter(|r| r.withdrawn_at.is_none()).collect();
    assert_eq!(standing.len(), 1);
    standing[0].id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_before_the_cutoff_is_told_done_and_taken_back() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = Actor::system(school.ente);
        web(&desk, &school, school.children[0], Choice::Cancel, day("2026-10-15"), "1").await;
        let changes = [close("2026-10-15", "2026-10-16")];
        let plan = desk.plan_calendar(school.ente, &changes).await.unwrap();
        insta::assert_snapshot!("closure_before", in_words(&plan).join("\n"));
        let done = desk.change_calendar(&actor, &changes, Some(&plan.fingerprint)).await.unwrap();
        assert_eq!(done.fingerprint, plan.fingerprint);
        let view = desk.view_child(school.children[0], day("2026-10-15"), day("2026-10-16")).await.unwrap();
        assert!(view.days.iter().all(|d| d.state == DayState::NoService));

        let closure = only_closure(&desk, &school, "2026-10-15").await;
        let back = [Change::Reopen { closure, first: day("2026-10-15"), last: day("2026-10-15"), book: false }];
        let plan = desk.plan_calendar(school.ente, &back).await.unwrap();
        insta::assert_snapshot!("reopened_before", in_words(&plan).join("\n"));
        desk.change_calendar(&actor, &back, Some(&plan.fingerprint)).await.unwrap();
        let view = desk.view_child(school.children[0], day("2026-10-15"), day("2026-10-16")).await.unwrap();
        assert_eq!(view.days.iter().map(|d| d.state).collect::<Vec<_>>(), [DayState::Cancelled, DayState::NoService]);
        assert_eq!(desk.audit(|_, _| {}).await.unwrap().1, vec![]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_after_the_cutoff_bills_nobody_and_taken_back_restores_what_was_counted() {
    each_database(async |school| {
        let actor = Actor::system(school.ente);
        let before = school.desk_at(MONDAY_EVENING);
        web(&before, &school, school.children[0], Choice::Cancel, day("2026-10-15"), "1").await;
        let desk = school.desk_at("2026-10-15T10:00:00+02:00");
        let changes = [close("2026-10-15", "2026-10-15")];
        let plan = desk.plan_calendar(school.ente, &changes).await.unwrap();
        insta::assert_snapshot!("closure_after", in_words(&plan).join("\n"));
        assert_eq!((plan.unbilled(), plan.corrections.len()), (1, 2));
        desk.change_calendar(&actor, &changes, Some(&plan.fingerprint)).await.unwrap();
        assert_eq!(meal(&school, school.children[1], "2026-10-15").await, Some(DayState::NoService));
        // The kitchen's count of the cut-off stays as it was (R9).
        let counts = desk.head_counts(school.ente, day("2026-10-15"), day("2026-10-15")).await.unwrap();
        assert_eq!(counts.iter().map(|c| c.meals).sum::<i64>(), 1);
        let (count, _) = desk.count_day(school.ente, day("2026-10-15")).await.unwrap();
        assert_eq!((count.meals(), count.schools[0].changed(), count.is_final()), (1, -1, true));

        let closure = only_closure(&desk, &school, "2026-10-15").await;
        let back = [Change::Reopen { closure, first: day("2026-10-15"), last: day("2026-10-15"), book: false }];
        let plan = desk.plan_calendar(school.ente, &back).await.unwrap();
        insta::assert_snapshot!("reopened_after", in_words(&plan).join("\n"));
        desk.change_calendar(&actor, &back, Some(&plan.fingerprint)).await.unwrap();
        assert_eq!(meal(&school, school.children[0], "2026-10-15").await, Some(DayState::Cancelled));
        assert_eq!(meal(&school, school.children[1], "2026-10-15").await, Some(DayState::Served));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_counted_is_booked_after_the_cutoff_only_if_the_office_says_so() {
    each_database(async |school| {
        let actor = Actor::system(school.ente);
        // Tuesday 13 October was closed from the beginning.
        let desk = school.desk_at("2026-10-13T09:30:00+02:00");
        let closure = only_closure(&desk, &school, "2026-10-13").await;
        let back = |book| [Change::Reopen { closure, first: day("2026-10-13"), last: day("2026-10-13"), book }];
        let plan = desk.plan_calendar(school.ente, &back(false)).await.unwrap();
        insta::assert_snapshot!("reopened_unknown", in_words(&plan).join("\n"));
        assert_eq!((plan.corrections.len(), plan.totals().unbooked), (0, 2));
        let plan = desk.plan_calendar(school.ente, &back(true)).await.unwrap();
        assert_eq!((plan.billed(), plan.totals().unbooked), (2, 0));
        desk.change_calendar(&actor, &back(true), Some(&plan.fingerprint)).await.unwrap();
        assert_eq!(meal(&school, school.children[0], "2026-10-13").await, Some(DayState::Served));
        // The other day of that closure is still one.
        let view = desk.view_child(school.children[0], day("2026-10-14"), day("2026-10-14")).await.unwrap();
        assert_eq!(view.days[0].state, DayState::NoService);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_it_was_shown_is_not_done() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = Actor::system(school.ente);
        let changes = [close("2026-10-15", "2026-10-15")];
        let plan = desk.plan_calendar(school.ente, &changes).await.unwrap();
        web(&desk, &school, school.children[1], Choice::White, day("2026-10-15"), "1").await;
        let refused = desk.change_calendar(&actor, &changes, Some(&plan.fingerprint)).await;
        let Err(CalendarError::Stale(now)) = refused else { panic!("{refused:?}") };
        assert_eq!(now.falling.len(), 1);
        desk.change_calendar(&actor, &changes, Some(&now.fingerprint)).await.unwrap();
        let twice = desk
            .plan_calendar(school.ente, &[Change::Reopen { closure: 0, first: day("2026-10-15"), last: day("2026-10-15"), book: false }])
            .await;
        assert!(matches!(twice, Err(CalendarError::NoClosure)));
        let backwards = desk.plan_calendar(school.ente, &[close("2026-10-16", "2026-10-15")]).await;
        assert!(matches!(backwards, Err(CalendarError::Backwards)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_return_and_terms_hold_from_a_day_that_is_not_counted_yet() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = Actor::system(school.ente);
        let class = desk.calendar_book(school.ente).await.unwrap().classes[0].id;
        let returns = |from: &str| [Change::Returns { class, from: day(from), weekdays: Some([Weekday::Tue].into_iter().collect()) }];
        let refused = desk.plan_calendar(school.ente, &returns("2026-10-05")).await;
        assert!(matches!(refused, Err(CalendarError::Counted(on)) if on == day("2026-10-05")));
        let plan = desk.plan_calendar(school.ente, &returns("2026-10-19")).await.unwrap();
        desk.change_calendar(&actor, &returns("2026-10-19"), Some(&plan.fingerprint)).await.unwrap();
        let view = desk.view_child(school.children[0], day("2026-10-16"), day("2026-10-21")).await.unwrap();
        let served: Vec<_> = view.days.iter().filter(|d| d.state == DayState::Served).map(|d| d.day.to_string()).collect();
        assert_eq!(served, ["2026-10-16", "2026-10-20"]);

        let year = desk.school_years(school.ente).await.unwrap()[0].id;
        let term = |first, last| [Change::Term { year, school: None, days: Some((day(first), day(last))) }];
        assert!(matches!(desk.plan_calendar(school.ente, &term("2026-10-12", "2027-05-31")).await, Err(CalendarError::Counted(_))));
        desk.change_calendar(&actor, &term("2026-09-14", "2027-05-31"), None).await.unwrap();
        let view = desk.view_child(school.children[0], day("2027-06-01"), day("2027-06-01")).await.unwrap();
        assert_eq!(view.days[0].state, DayState::NoService);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holidays_are_proposed_taken_or_left_out() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let actor = Actor::system(school.ente);
        let year = desk.school_years(school.ente).await.unwrap()[0].id;
        assert!(desk.set_patron(&actor, 11, 25, "Santa Caterina").await.unwrap());
        assert!(!desk.set_patron(&actor, 2, 30, "Nessuno").await.unwrap());
        let (proposed, _) = desk.proposed_holidays(school.ente, year).await.unwrap();
        let read: Vec<String> = proposed.iter().map(|p| format!("{} {}", p.day.format("%d/%m/%Y"), p.name)).collect();
        insta::assert_snapshot!("proposed_holidays", read.join("\n"));
        desk.leave_holiday_out(&actor, day("2026-12-08"), true).await.unwrap();
        let taken: Vec<Change> =
            proposed.iter().filter(|p| p.day != day("2026-12-08")).map(voceguida::desk::calendar::holidays::Proposal::change).collect();
        desk.change_calendar(&actor, &taken, None).await.unwrap();
        let (now, _) = desk.proposed_holidays(school.ente, year).await.unwrap();
        for p in now {
            assert_eq!(p.standing, if p.day == day("2026-12-08") { Standing::LeftOut } else { Standing::Taken }, "{}", p.name);
        }
    })
    .await;
}

/// A town of two schools, three classes and ten children.
async fn town(school: &School, desk: &Desk) {
    let mut roster = support::roster(&school.codes);
    roster.schools.push(SchoolRow { code: "INF".into(), name: "Infanzia".into() });
    let weekdays = roster.classes[0].weekdays;
    roster.classes.push(ClassRow { school: "PRIM".into(), name: "2A".into(), weekdays });
    roster.classes.push(ClassRow {
        school: "INF".into(),
        name: "Blu".into(),
        weekdays: [Weekday::Mon, Weekday::Wed].into_iter().collect(),
    });
    let first = roster.children[0].clone();
    for n in 0..8 {
        let (of, class) = [("PRIM", "1A"), ("PRIM", "2A"), ("INF", "Blu")][n % 3];
        roster.children.push(ChildRow {
            external_id: Some(format!("T{n}")),
            last_name: format!("Altri{n}"),
            school: of.into(),
            class: class.into(),
            code: None,
            ..first.clone()
        });
    }
    desk.import(school.ente, &roster).await.unwrap();
}

/// What stands for each child on each day: by the records where the day is closed, else by the calendar.
async fn picture(desk: &Desk, school: &School) -> BTreeMap<(i64, NaiveDate), (DayState, bool)> {
    let (first, last) = (day("2026-10-05"), day("2026-11-20"));
    let mut tx = school.db.read().await.unwrap();
    let closed = tx.closed_days(school.ente, first, last).await.unwrap();
    let pupils = tx.all_pupils(school.ente).await.unwrap();
    let meals: BTreeMap<_, _> =
        tx.meals_now(school.ente, first, last).await.unwrap().into_iter().map(|m| ((m.child_id, m.day), m.state)).collect();
    drop(tx);
    let mut all = BTreeMap::new();
    for pupil in pupils {
        for seen in desk.view_child(ChildId(pupil.id), first, last).await.unwrap().days {
            let key = (pupil.id, seen.day);
            let is_closed = closed.contains(&(pupil.school_id, seen.day));
            let state = if is_closed { meals.get(&key).copied().unwrap_or(DayState::NoService) } else { seen.state };
            all.insert(key, (state, is_closed));
        }
    }
    all
}

fn random_change(rng: &mut StdRng, book: &voceguida::canteen::book::Book) -> Change {
    let first = day("2026-10-05").checked_add_days(Days::new(rng.random_range(0..40))).unwrap();
    let last = first.checked_add_days(Days::new(rng.random_range(0..6))).unwrap();
    let class = &book.classes[rng.random_range(0..book.classes.len())];
    match rng.random_range(0..10) {
        0..=4 => {
            let place = match rng.random_range(0..3) {
                0 => Place::Ente,
                1 => Place::School(class.school),
                _ => Place::Class { school: class.school, class: class.id },
            };
            Change::Close { place, first, last, kind: ClosureKind::Strike, reason: String::new() }
        }
        5..=8 if !book.closures.is_empty() => {
            let closure = &book.closures[rng.random_range(0..book.closures.len())];
            let days = rng.random_range(0..=(closure.last - closure.first).num_days());
            Change::Reopen {
                closure: closure.id,
                first: closure.first + TimeDelta::days(days),
                last: closure.last,
                book: rng.random_bool(0.3),
            }
        }
        _ => {
            let weekdays = (0u8..5).filter(|_| rng.random_bool(0.6)).filter_map(|d| Weekday::try_from(d).ok()).collect();
            Change::Returns { class: class.id, from: first, weekdays: Some(weekdays) }
        }
    }
}

/// Whatever has happened before, a preview says exactly what then happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_exactly_what_then_happens() {
    each_database(async |school| {
        let mut rng = StdRng::seed_from_u64(2026);
        let actor = Actor::system(school.ente);
        let mut now = support::at("2026-10-05T06:10:00+02:00");
        town(&school, &school.desk_at(&now.to_rfc3339())).await;
        let children = school.db.read().await.unwrap().child_ids().await.unwrap();
        let mut done = 0;
        for round in 0..60 {
            now += TimeDelta::hours(rng.random_range(3..20));
            let desk = school.desk_at(&now.to_rfc3339());
            for n in 0..3 {
                let on = day("2026-10-05").checked_add_days(Days::new(rng.random_range(0..42))).unwrap();
                let choice = [Choice::Cancel, Choice::White, Choice::Suspend, Choice::Resume, Choice::Undo][rng.random_range(0..5)];
                web(&desk, &school, children[rng.random_range(0..children.len())], choice, on, &format!("{round}/{n}")).await;
            }
            desk.close_days(school.ente, None, |_, _| {}).await.unwrap();
            let changes = [random_change(&mut rng, &desk.calendar_book(school.ente).await.unwrap())];
            let before = picture(&desk, &school).await;
            let plan = match desk.plan_calendar(school.ente, &changes).await {
                Ok(plan) => plan,
                Err(CalendarError::Counted(_) | CalendarError::Nothing) => continue,
                Err(error) => panic!("{error}"),
            };
            assert!(picture(&desk, &school).await == before, "a preview changes nothing");
            desk.change_calendar(&actor, &changes, Some(&plan.fingerprint)).await.unwrap();
            let after = picture(&desk, &school).await;
            let mut seen: BTreeMap<NaiveDate, (Counts, Counts)> = BTreeMap::new();
            let mut corrected = 0;
            for (key, (was, closed)) in &before {
                let (is, _) = after[key];
                if *was == is {
                    continue;
                }
                corrected += usize::from(*closed);
                let counts = seen.entry(key.1).or_default();
                match (*was, is) {
                    (was, DayState::NoService) => counts.0.add(was),
                    (DayState::NoService, is) => counts.1.add(is),
                    other => panic!("{key:?} {other:?}"),
                }
            }
            let within = day("2026-10-05")..=day("2026-11-20");
            let told = plan.days.iter().map(|(d, e)| (*d, (e.lost, e.gained)));
            let told: BTreeMap<_, _> =
                told.filter(|(d, (l, g))| within.contains(d) && (*l, *g) != (Counts::default(), Counts::default())).collect();
            assert_eq!(told, seen, "{changes:?}");
            assert_eq!(plan.corrections.len(), corrected, "{changes:?}");
            done += 1;
        }
        assert!(done > 20, "only {done} changes were made");
        assert_eq!(school.desk_at(&now.to_rfc3339()).audit(|_, _| {}).await.unwrap().1, vec![]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clerk_closes_a_day_sees_what_happens_and_takes_it_back() {
    let world = World::new().await;
    let mut roster = support::roster(&[]);
    roster.children.clear();
    world.desk.import(world.ente, &roster).await.unwrap();
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get("/ufficio/calendario").await.says("ottobre 2026");
    clerk.get("/ufficio/calendario/giorno/2026-10-20").await.says("Chiudi questo giorno");
    let form = "/ufficio/calendario/chiusura?giorno=2026-10-20";
    let bad = [("cosa", "chiusura"), ("luogo", "tutte"), ("dal", "2026-10-20"), ("al", "2026-10-19"), ("tipo", "strike"), ("motivo", "")];
    let seen = clerk.fill(form, "/ufficio/calendario/anteprima", &bad).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    seen.says("prima del primo");
    let good = [("cosa", "chiusura"), ("luogo", "tutte"), ("dal", "2026-10-20"), ("al", ""), ("tipo", "strike"), ("motivo", "<b>CGIL</b>")];
    let seen = clerk.fill(form, "/ufficio/calendario/anteprima", &good).await;
    seen.says("Che cosa succede");
    assert!(!seen.text.contains("<b>CGIL"));
    let (csrf, plan) = (seen.hidden("_csrf"), seen.hidden("_piano"));
    let mut confirm = vec![("_csrf", csrf.as_str()), ("_piano", plan.as_str())];
    confirm.extend(good);
    let seen = clerk.post("/ufficio/calendario/fatto", &confirm).await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER, "{}", seen.text);
    let notice = seen.location().to_owned();
    clerk.get(&notice).await.says("Gentili famiglie");
    clerk.get("/ufficio/calendario").await.says("Sciopero");
    let closure = notice.trim_end_matches("/avviso").to_owned();
    clerk.get(&closure).await.says("Riapri dal");
    // Whoever may only look sees no way to change anything.
    let mut reader = world.logged_in(Role::ReadOnly).await;
    assert!(!reader.get("/ufficio/calendario").await.text.contains("Inserisci una chiusura"));
    assert_eq!(reader.get("/ufficio/calendario/chiusura").await.status, StatusCode::FORBIDDEN);
    for page in ["festivita", "rientri", "periodi"] {
        assert_eq!(clerk.get(&format!("/ufficio/calendario/{page}")).await.status, StatusCode::OK, "{page}");
    }
    assert_eq!(clerk.get("/ufficio/calendario/giorno/pippo").await.status, StatusCode::NOT_FOUND);
}
