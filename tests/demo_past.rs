//! The demo's invented past in the database: what stands follows from what was recorded, and the days are closed as the desk itself closes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::{path::Path, sync::Arc};

use chrono::NaiveDate;
use support::{at, day};
use tempfile::TempDir;
use voceguida::{
    canteen::{
        EnteId,
        demo::{
            demo_roster,
            past::{CLERK, Told, What, invented_past},
        },
        window::Window,
    },
    cli::demo::school,
    desk::{Desk, trail::Actor},
    ops::clock::Clock,
    store::{Db, HeadCount, MealNow},
    voice::plan::Plan,
};

const EVENING: &str = "2026-11-16T18:40:00+01:00";

fn told() -> Told {
    use rand::SeedableRng;
    let mut rng = rand::rngs::StdRng::seed_from_u64(11);
    let roster = demo_roster(2026, |_| voceguida::canteen::code::ChildCode::random(&mut rng).as_str().to_owned()).unwrap();
    invented_past(&roster, at(EVENING), &Window::default(), false).unwrap()
}

fn plan() -> Arc<Plan> {
    Arc::new(Plan::load(Path::new("dialplans/mensa.toml")).unwrap())
}

/// An ente that has lived through it.
async fn lived(url: &str, told: &Told) -> (Desk, EnteId) {
    let desk = Desk::new(Db::open(url).await.unwrap(), Clock::starting_at(at(EVENING)));
    let ente = desk.put_ente("demo", "Comune di Prova", None, &Window::default()).await.unwrap();
    let plan = plan();
    let clerk = Actor { name: CLERK.to_owned(), ..Actor::system(ente) };
    desk.live_through(ente, &clerk, told, &|call| school::way_of(&plan, call), |_, _| {}).await.unwrap();
    (desk, ente)
}

async fn meals(desk: &Desk, ente: EnteId) -> (Vec<MealNow>, Vec<HeadCount>) {
    let (first, last) = (day("2026-09-01"), day("2026-11-30"));
    let mut tx = desk.db().read().await.unwrap();
    (tx.meals_now(ente, first, last).await.unwrap(), tx.head_counts(ente, first, last).await.unwrap())
}

async fn assert_sound(desk: &Desk) {
    let (children, wrong) = desk.audit(|_, _| {}).await.unwrap();
    assert!(children > 200, "{children}");
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_days_are_closed_as_the_desk_closes_them() {
    let dir = TempDir::new().unwrap();
    let url = |name: &str| format!("sqlite:{}", dir.path().join(name).display());
    let told = told();
    let (invented, ente) = lived(&url("invented.db"), &told).await;
    assert_sound(&invented).await;

    // The same without the closings: the desk catches up by itself, before each late deed and closure and at the end.
    let mut open = told.clone();
    open.past.events.retain(|event| !matches!(event.what, What::Closing { .. }));
    let (real, _) = lived(&url("real.db"), &open).await;
    real.close_days(ente, None, |_, _| {}).await.unwrap();
    assert_sound(&real).await;
    let ((ours, our_counts), (theirs, their_counts)) = (meals(&invented, ente).await, meals(&real, ente).await);
    assert!(ours.len() > 5_000 && our_counts.len() > 500, "{} {}", ours.len(), our_counts.len());
    assert!(ours == theirs, "other meals than the desk's");
    assert!(our_counts == their_counts, "other head counts than the desk's");
    // Nothing is left to close, on any school.
    assert_eq!(invented.close_days(ente, None, |_, _| {}).await.unwrap().days, 0);
    // The strike that came after the cut-off: counted, and not billed.
    let strike: NaiveDate = day("2026-11-13");
    let unbilled = ours.iter().filter(|meal| meal.day == strike && meal.before_closure.is_some()).count();
    assert!(unbilled > 30, "{unbilled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_lives_through_it_too() {
    let told = told();
    let (desk, ente) = lived(&support::postgres::fresh_database(), &told).await;
    assert_sound(&desk).await;
    assert!(meals(&desk, ente).await.0.len() > 5_000);
    desk.db().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_school_is_made_once_and_then_kept() {
    let dir = TempDir::new().unwrap();
    let url = format!("sqlite:{}", dir.path().join("demo.db").display());
    let desk = Desk::new(Db::open(&url).await.unwrap(), Clock::starting_at(at("2026-11-25T08:20:00+01:00")));
    let began = std::time::Instant::now();
    let mut heard = Vec::new();
    let ente = school::prepare(&desk, Some(&plan()), |done, all| heard.push((done, all))).await.unwrap();
    eprintln!("made in {:.1} s", began.elapsed().as_secs_f64());
    assert!(heard.len() > 5 && heard.last().is_some_and(|(done, all)| done == all), "{heard:?}");
    assert_sound(&desk).await;
    let calls = desk.calls(ente.id, 10_000).await.unwrap();
    assert!(calls.len() > 1_500, "{}", calls.len());
    assert!(calls[0].started_at <= desk.clock().now() && calls[0].started_at > at("2026-11-25T06:00:00+01:00"));
    assert_eq!(desk.children_with_codes(ente.id).await.unwrap().len(), 250);
    assert_eq!(
        desk.school_years(ente.id).await.unwrap().iter().map(|year| year.name.as_str()).collect::<Vec<_>>(),
        ["2026/2027", "2025/2026"]
    );
    assert_eq!(desk.people(ente.id).await.unwrap().len(), 5);
    assert_eq!(desk.batches(ente.id, 10).await.unwrap().len(), 2);
    let (news, tickets) = (
        desk.list_news(ente.id, voceguida::store::NewsFilter::default(), 0, 10).await.unwrap().1,
        desk.open_tickets(ente.id, None).await.unwrap().0,
    );
    assert!(news >= 3 && tickets == 2, "{news} {tickets}");
    let before = desk.mails(ente.id, voceguida::store::MailFilter::default(), 0, 1).await.unwrap().1;
    assert!(before > 20, "{before} mails");
    school::prepare(&desk, Some(&plan()), |_, _| panic!("once")).await.unwrap();
    assert_eq!(desk.calls(ente.id, 10_000).await.unwrap().len(), calls.len());
    assert_eq!(desk.mails(ente.id, voceguida::store::MailFilter::default(), 0, 1).await.unwrap().1, before);
}
