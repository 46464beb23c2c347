//! A real call cancels a real meal: the program as it is started, and a telephone that dials it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use support::{MONDAY_EVENING, demo::Demo};
use tokio::time::sleep;
use voceguida::{
    desk::Desk,
    ops::clock::Clock,
    store::Db,
    telephony::{
        clip::Clip,
        phone::{PhoneCall, PhoneConfig, PhoneError, dial},
    },
    voice::prompts::PromptLibrary,
};

const LONG: Duration = Duration::from_secs(30);

fn clips() -> Vec<Arc<Clip>> {
    PromptLibrary::load(Path::new("prompts/it")).unwrap().clips()
}

fn phone(clips: &[Arc<Clip>], n: usize) -> PhoneConfig {
    PhoneConfig { clips: clips.to_vec(), caller: format!("0182{n:06}"), ..PhoneConfig::default() }
}

fn names(call: &PhoneCall) -> Vec<String> {
    call.heard().into_iter().map(|h| h.name).collect()
}

/// Types the code and chooses over the voice, hears the day, confirms.
async fn cancel(call: &PhoneCall, code: &str) -> bool {
    call.press(&format!("{code}1")).await;
    if !call.wait_heard("anteprima_cancel", LONG).await {
        return false;
    }
    call.press("1").await;
    call.wait_heard("registrata_cancel", LONG).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_cancels_the_meal_of_the_first_useful_day() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(dir.path(), MONDAY_EVENING);
    let (clips, codes) = (clips(), Demo::codes(dir.path()));
    for (n, transport) in ["", ";transport=tcp"].into_iter().enumerate() {
        let call = dial(&format!("{}{transport}", demo.uri()), phone(&clips, n)).await.unwrap();
        assert!(call.wait_heard("codice", LONG).await, "{:?}", names(&call));
        assert!(cancel(&call, &codes[n]).await, "{:?}", names(&call));
        assert!(call.wait_heard("altro", LONG).await);
        call.press("3").await;
        assert!(call.wait_ended(LONG).await);
        let heard = names(&call);
        let at = heard.iter().position(|n| n == "registrata_cancel").unwrap();
        let receipt: String = heard[at + 5..at + 11].iter().map(|name| name.strip_prefix("cifra_").unwrap()).collect();
        let day = |name: &str| heard[at + 1..at + 4].iter().any(|h| h == name);
        // Giulia eats every day, Matteo on Tuesdays and Thursdays: Tuesday for both.
        assert!(day("settimana_2") && day("giorno_13") && day("mese_10"), "{heard:?}");
        assert_eq!(heard.last().map(String::as_str), Some("arrivederci"));

        let child = Demo::child(dir.path(), &codes[n], "2026-10-13", "2026-10-13");
        assert_eq!(child["days"][0]["state"], "cancelled");
        assert_eq!(child["operations"][0]["receipt"], receipt.as_str(), "the receipt heard is the one kept");
    }
    demo.wait_for_no_calls(LONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_the_window_the_caller_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(dir.path(), "2026-10-12T12:00:00+02:00");
    let call = dial(&demo.uri(), phone(&clips(), 1)).await.unwrap();
    assert!(call.wait_ended(LONG).await);
    assert_eq!(names(&call), ["benvenuto", "chiuso", "dalle_ore", "numero_18", "alle_ore_del_giorno_dopo", "numero_9", "chiuso_fine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_three_times_ends_the_call_and_shows_in_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(dir.path(), MONDAY_EVENING);
    let call = dial(&demo.uri(), phone(&clips(), 1)).await.unwrap();
    for code in ["1111119", "1111119", "1111119"] {
        call.press(code).await;
        call.wait_quiet(LONG).await;
    }
    assert!(call.wait_ended(LONG).await);
    assert!(names(&call).iter().any(|n| n == "troppi_errori"), "{:?}", names(&call));
    demo.wait_for_no_calls(LONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_number_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start(dir.path(), MONDAY_EVENING);
    let refused = dial(&format!("sip:999@{}", demo.sip), phone(&[], 1)).await.unwrap_err();
    assert!(matches!(&refused, PhoneError::Refused { status: 404, .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_the_running_call_finish_and_takes_no_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(dir.path(), MONDAY_EVENING);
    let (clips, codes) = (clips(), Demo::codes(dir.path()));
    let call = dial(&demo.uri(), phone(&clips, 1)).await.unwrap();
    demo.terminate();
    sleep(Duration::from_millis(300)).await;
    let refused = dial(&demo.uri(), phone(&[], 2)).await.unwrap_err();
    assert!(matches!(&refused, PhoneError::Refused { status: 503, .. }), "{refused}");
    assert!(cancel(&call, &codes[0]).await, "{:?}", names(&call));
    call.hang_up().await;
    assert_eq!(demo.wait(LONG), Some(0));
    let child = Demo::child(dir.path(), &codes[0], "2026-10-13", "2026-10-13");
    assert_eq!(child["days"][0]["state"], "cancelled");
}

/// S3: the server is killed in the middle of many calls, again and again; whatever a caller heard as
/// registered is in the database.
#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_loses_nothing_that_was_heard_as_registered() {
    const ROUNDS: usize = 4;
    const CALLS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let clips = clips();
    let (mut registered, mut unheard) = (0, 0);
    for round in 0..ROUNDS {
        let mut demo = Demo::start(dir.path(), MONDAY_EVENING);
        let codes = Demo::codes(dir.path());
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..CALLS {
            let (uri, config, code) = (demo.uri(), phone(&clips, n), codes[round * CALLS + n].clone());
            calls.spawn(async move {
                // Parents do not dial in step.
                sleep(Duration::from_millis(350 * n as u64)).await;
                let call = dial(&uri, config).await.ok()?;
                tokio::select! {
                    _ = cancel(&call, &code) => {}
                    () = sleep(Duration::from_secs(12)) => {}
                }
                // What is still under way counts too: the caller has begun to hear it.
                call.hang_up().await;
                sleep(Duration::from_millis(50)).await;
                Some((code, call.heard().iter().any(|h| h.name == "registrata_cancel")))
            });
        }
        sleep(Duration::from_millis(5_200 + 700 * round as u64)).await;
        demo.kill();
        while let Some(done) = calls.join_next().await {
            let Some((code, heard)) = done.unwrap() else { continue };
            let child = Demo::child(dir.path(), &code, "2026-10-13", "2026-10-16");
            let stands = child["days"].as_array().unwrap().iter().any(|d| d["state"] == "cancelled");
            assert!(stands || !heard, "round {round}: a caller heard \"registrata\" and nothing stands");
            registered += usize::from(heard);
            unheard += usize::from(!heard);
        }
    }
    assert!(registered >= 4 && unheard >= 4, "the kill came too late or too early to prove anything: {registered} {unheard}");
    let db = Db::open(&format!("sqlite:{}", dir.path().join("demo.db").display())).await.unwrap();
    assert_eq!(Desk::new(db, Clock::real()).audit(|_, _| {}).await.unwrap().1, vec![]);
}

/// The database goes away between hearing the day and confirming it; the caller hears that nothing was
/// recorded, and it is so. When it is back, the same call can try again.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_database_away_the_caller_hears_that_nothing_was_recorded() {
    let url = support::postgres::fresh_database();
    let name = url.split('?').next().and_then(|u| u.rsplit('/').next()).unwrap().to_owned();
    let school = support::School::open(&url).await;
    let desk = school.desk_at(MONDAY_EVENING);
    let (server, uri) = support::serve(desk.clone(), school.ente).await;
    let clips = clips();
    let call = dial(&uri, phone(&clips, 1)).await.unwrap();
    call.press(&format!("{}1", school.codes[0].as_str())).await;
    assert!(call.wait_heard("anteprima_cancel", LONG).await, "{:?}", names(&call));
    let cluster = support::postgres::cluster();
    cluster.psql(&format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS false"));
    cluster.psql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
    call.press("1").await;
    assert!(call.wait_heard("guasto_rimedio", LONG).await, "{:?}", names(&call));
    assert!(!names(&call).iter().any(|n| n.starts_with("registrata")), "{:?}", names(&call));

    cluster.psql(&format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS true"));
    let view = desk.view_child(school.children[0], support::day("2026-10-15"), support::day("2026-10-15")).await.unwrap();
    assert_eq!((view.operations.len(), view.days[0].state), (0, voceguida::canteen::DayState::Served));
    assert!(call.wait_heard("guasto_riprova", LONG).await);
    call.press("1").await;
    assert!(call.wait_quiet(LONG).await);
    call.press("1").await;
    assert!(call.wait_heard("registrata_cancel", LONG).await, "{:?}", names(&call));
    call.hang_up().await;
    server.drain(Duration::from_secs(5)).await;
    let view = desk.view_child(school.children[0], support::day("2026-10-15"), support::day("2026-10-15")).await.unwrap();
    assert_eq!((view.operations.len(), view.days[0].state), (1, voceguida::canteen::DayState::Cancelled));
    // A task of its own writes the records.
    let mut calls = desk.calls(school.ente, 10).await.unwrap();
    for _ in 0..200 {
        if !calls.is_empty() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        calls = desk.calls(school.ente, 10).await.unwrap();
    }
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].cause.as_str(), calls[0].codec.as_deref(), calls[0].status), ("caller_hung_up", Some("PCMA"), 200));
}
