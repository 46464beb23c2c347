//! A thousand telephones guess codes at the same moment (S4), on both databases, through the line's own plan.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::{path::Path, sync::Arc};

use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use support::{MONDAY_EVENING, School, day, each_database};
use tokio::{sync::Semaphore, task::JoinSet};
use voceguida::{
    canteen::{DayState, code::ChildCode},
    desk::{Desk, line::Caller},
    voice::{
        plan::Plan,
        simulate::{self, Line},
    },
};

/// Telephones, each with its own number.
const SOURCES: usize = 1_000;
/// Children, whose codes half of the guessers happen to type: far more than chance would give them.
const CHILDREN: usize = 400;
/// What is borne of all callers together in an hour.
const LIMIT: usize = 30;
/// Calls at once.
const AT_ONCE: usize = 200;

/// Cancels the next meal of the code's child, if the line lets it.
async fn cancel(desk: &Desk, school: &School, plan: &Arc<Plan>, number: &str, code: &ChildCode) -> bool {
    let caller = Caller { call_id: uuid::Uuid::new_v4().to_string(), ente: school.ente, number: Some(number.to_owned()) };
    let heard = simulate::call(Arc::clone(plan), desk, &caller, &format!("{}113", code.as_str())).await;
    heard.iter().any(|line| matches!(line, Line::Heard(prompts) if prompts.iter().any(|p| p.starts_with("registrata_"))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_guesses_at_once_are_as_good_as_a_thousand_in_a_row() {
    let plan = Arc::new(Plan::load(Path::new("dialplans/mensa.toml")).unwrap());
    each_database(async |school| {
        let mut rng = StdRng::seed_from_u64(4);
        let mut codes: Vec<_> = (0..CHILDREN).map(|_| ChildCode::random(&mut rng)).collect();
        codes.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        codes.dedup();
        // The two children that are there already keep their codes.
        let everyone: Vec<_> = school.codes.iter().chain(&codes).cloned().collect();
        let desk = school.desk_at(MONDAY_EVENING);
        desk.import(school.ente, &support::roster(&everyone)).await.unwrap();
        // A family that has called before.
        assert!(cancel(&desk, &school, &plan, "0101234567", &school.codes[0]).await);

        let mut guesses: Vec<ChildCode> = (0..SOURCES - codes.len()).map(|_| ChildCode::random(&mut rng)).collect();
        guesses.extend(codes.iter().cloned());
        guesses.shuffle(&mut rng);
        let (places, mut calls) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for (n, code) in guesses.into_iter().enumerate() {
            let (desk, school, plan, places) = (desk.clone(), school.clone(), Arc::clone(&plan), Arc::clone(&places));
            calls.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                cancel(&desk, &school, &plan, &format!("02{n:07}"), &code).await
            });
        }
        let cancelled = calls.join_all().await.into_iter().filter(|done| *done).count();

        let callers = desk.wrong_callers(school.ente, chrono::TimeDelta::hours(1)).await.unwrap();
        let wrong: i64 = callers.iter().map(|(caller, _)| caller.guesses).sum();
        assert_eq!(wrong, LIMIT as i64, "no more is looked at");
        // Two of five guessers hit: by the thirtieth miss there are some twenty hits, and none after it.
        assert!(cancelled <= 60, "{cancelled} meals cancelled");
        // Whoever has not called before is not heard now, not even with a right code; the family is.
        assert!(!cancel(&desk, &school, &plan, "029999999", &school.codes[1]).await);
        assert!(cancel(&desk, &school, &plan, "0101234567", &school.codes[1]).await);
        let view = desk.view_child(school.children[1], day("2026-10-15"), day("2026-10-15")).await.unwrap();
        assert_eq!(view.days[0].state, DayState::Cancelled);
        assert_eq!(desk.audit(|_, _| {}).await.unwrap().1, vec![]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_familys_own_number_in_a_hundred_calls_at_once_guesses_no_more_than_in_one() {
    let plan = Arc::new(Plan::load(Path::new("dialplans/mensa.toml")).unwrap());
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let family = "0101234567";
        assert!(cancel(&desk, &school, &plan, family, &school.codes[0]).await);
        let mut rng = StdRng::seed_from_u64(5);
        let mut calls = JoinSet::new();
        // Calling numbers can be forged.
        for _ in 0..100 {
            let (desk, school, plan, code) = (desk.clone(), school.clone(), Arc::clone(&plan), ChildCode::random(&mut rng));
            calls.spawn(async move { cancel(&desk, &school, &plan, family, &code).await });
        }
        assert!(calls.join_all().await.into_iter().all(|done| !done));
        let callers = desk.wrong_callers(school.ente, chrono::TimeDelta::hours(1)).await.unwrap();
        let counted: Vec<_> = callers.iter().map(|(caller, out)| (caller.caller.as_str(), caller.guesses, *out)).collect();
        assert_eq!(counted, [(family, 5, true)], "five codes were looked at, then none");
    })
    .await;
}
