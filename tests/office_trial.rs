//! The line tried without a telephone: as the real line answers, nothing written, over a wire that is for our own pages only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use std::{net::SocketAddr, time::Duration};

use axum::http::StatusCode;
use chrono::{NaiveTime, TimeDelta};
use futures_util::{SinkExt as _, StreamExt as _};
use office_support::{PASSWORD, World};
use serde_json::{Value, json};
use support::{School, at, day, each_database};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest},
};
use voceguida::{
    canteen::{Choice, DayState, Reason, code::ChildCode, rule::Request},
    desk::{
        dry::NO_RECEIPT,
        line::{Caller, Identification, LineDesk, LineOutcome},
        people::Role,
        trail::Actor,
    },
    store::Verdict,
};

const LONG: Duration = Duration::from_mins(1);
/// Thursday, an hour before the cut-off.
const THURSDAY: &str = "2026-10-15T08:00:00+02:00";

fn caller(school: &School) -> Caller {
    Caller { call_id: "prova".into(), ente: school.ente, number: Some("3330000000".into()) }
}

fn clerk(school: &School) -> Actor {
    Actor { ente: school.ente, person: None, name: "anna".into(), address: "127.0.0.1".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_answers_as_the_line_would_and_writes_nothing() {
    each_database(|school| async move {
        let now = school.desk_at("2026-10-12T12:00:00+02:00");
        let (child, caller) = (school.children[0], caller(&school));
        let thursday = day("2026-10-15");
        let accepted = |receipt: Option<&str>| LineOutcome::Accepted { day: thursday, receipt: receipt.map(Into::into) };
        let trial = now.dry_run(at(THURSDAY));
        assert!(trial.hours(school.ente).await.unwrap().open && !now.hours(school.ente).await.unwrap().open);
        let known = trial.identify(&caller, school.codes[0].as_str()).await.unwrap();
        assert!(matches!(known, Identification::Known(who) if who.child == child));
        assert_eq!(trial.preview(&caller, child, Choice::Cancel).await.unwrap(), accepted(None));
        // Another day was confirmed: as the real desk, it asks again.
        let moved = trial.operate(&caller, child, Choice::Cancel, Some(day("2026-10-16")), 1).await.unwrap();
        assert_eq!(moved, LineOutcome::DayChanged { day: thursday });
        assert_eq!(trial.operate(&caller, child, Choice::Cancel, Some(thursday), 2).await.unwrap(), accepted(Some(NO_RECEIPT)));
        // The same once more is done once; a second one is refused; what was done in the trial can be undone in it.
        assert_eq!(trial.operate(&caller, child, Choice::Cancel, Some(thursday), 2).await.unwrap(), accepted(Some(NO_RECEIPT)));
        let again = trial.operate(&caller, child, Choice::Cancel, Some(thursday), 3).await.unwrap();
        assert!(matches!(again, LineOutcome::Refused { reason: Reason::AlreadyCancelled, .. }), "{again:?}");
        assert_eq!(trial.outlook(&caller, child, 1).await.unwrap()[0].state, DayState::Cancelled);
        assert_eq!(trial.operate(&caller, child, Choice::Undo, Some(thursday), 4).await.unwrap(), accepted(Some(NO_RECEIPT)));
        assert_eq!(trial.outlook(&caller, child, 1).await.unwrap()[0].state, DayState::Served);
        // Another trial knows of nothing, nor does the real desk; which at that hour gives the same answer.
        let nothing = now.dry_run(at(THURSDAY)).operate(&caller, child, Choice::Undo, None, 1).await.unwrap();
        assert!(matches!(nothing, LineOutcome::Refused { reason: Reason::NothingToUndo, .. }), "{nothing:?}");
        let real = school.desk_at(THURSDAY);
        assert!(real.view_child(child, thursday, thursday).await.unwrap().operations.is_empty());
        assert_eq!(real.preview(school.ente, child, Request::Phone(Choice::Cancel)).await.unwrap(), Verdict::Accepted(thursday));
        // A change of the window that waits holds for trials of the days that it will hold for.
        now.change_window(
            &clerk(&school),
            NaiveTime::from_hms_opt(18, 0, 0).unwrap(),
            NaiveTime::from_hms_opt(8, 30, 0).unwrap(),
            thursday,
        )
        .await
        .unwrap();
        for (hour, open) in [("2026-10-14T08:45:00+02:00", true), ("2026-10-15T08:20:00+02:00", true), ("2026-10-15T08:45:00+02:00", false)]
        {
            assert_eq!(now.dry_run(at(hour)).hours(school.ente).await.unwrap().open, open, "{hour}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_of_a_trial_shut_out_nobody_but_the_trial() {
    each_database(|school| async move {
        let now = school.desk_at(THURSDAY);
        let caller = caller(&school);
        let trial = now.dry_run(at(THURSDAY));
        let mut answers = Vec::new();
        for _ in 0..15 {
            answers.push(trial.identify(&caller, "1234567").await.unwrap());
        }
        assert_eq!(answers[0], Identification::Unknown { delay_ms: 0 });
        assert!(matches!(answers[2], Identification::Unknown { delay_ms } if delay_ms > 0));
        assert_eq!(answers[14], Identification::ShutOut);
        assert!(trial.wrong_codes() >= 5);
        assert!(now.wrong_callers(school.ente, TimeDelta::hours(24)).await.unwrap().is_empty());
        let real = LineDesk::identify(&now, &caller, school.codes[0].as_str()).await.unwrap();
        assert!(matches!(real, Identification::Known(_)));
    })
    .await;
}

#[tokio::test]
async fn a_conversation_can_be_read_without_script() {
    let world = World::with_line().await;
    let code = import(&world).await;
    let mut browser = world.logged_in(Role::Auditor).await;
    let page = "/ufficio/linea/prova";
    let keys = format!("{code} 1 1 1 5 1 3");
    let fields = [("giorno", "15/10/2026"), ("ora", "8:00"), ("numero", "0"), ("chiamante", "333 000000"), ("tasti", &keys)];
    let seen = browser.fill(page, page, &fields).await;
    seen.says("Conversazione di giovedì 15 ottobre 2026, ore 8:00");
    seen.says("La disdetta è registrata per giovedì quindici ottobre");
    seen.says("L&#39;annullamento è registrato");
    let wrong = [("giorno", "15/10/2026"), ("ora", "26"), ("numero", "7"), ("chiamante", "Anna"), ("tasti", "12a")];
    let seen = browser.fill(page, page, &wrong).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    for told in
        ["Scriva l&#39;ora così", "Scelga un numero dell&#39;elenco", "Scriva solo cifre; lo lasci vuoto", "Scriva solo cifre, asterisco"]
    {
        seen.says(told);
    }
    let (actions, _) = world.desk.trail_words(world.ente).await.unwrap();
    assert!(actions.iter().any(|action| action == "ha provato la linea"));
}

async fn import(world: &World) -> String {
    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(9);
    let codes: Vec<_> = (0..2).map(|_| ChildCode::random(&mut rng)).collect();
    world.desk.import(world.ente, &support::roster(&codes)).await.unwrap();
    codes[0].as_str().to_owned()
}

/// The world on a real port: its address, and the cookies of somebody who is logged in.
async fn serve(world: &World, role: Role) -> (SocketAddr, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = world.router.clone().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, pages).await.unwrap() });
    let mut browser = world.browser();
    browser.log_in(role.word(), PASSWORD).await;
    let cookies: Vec<_> = browser.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
    (address, cookies.join("; "))
}

type Wire = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Wire, u16> {
    let mut request = format!("ws://{address}/ufficio/linea/prova/filo").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tokio::time::timeout(LONG, connect_async(request)).await.unwrap() {
        Ok((wire, _)) => Ok(wire),
        Err(WsError::Http(response)) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

async fn say(wire: &mut Wire, message: Value) {
    wire.send(Message::Text(message.to_string().into())).await.unwrap();
}

/// The next message of that type; what comes before it goes by.
async fn next(wire: &mut Wire, kind: &str) -> Value {
    loop {
        let message = tokio::time::timeout(LONG, wire.next())
            .await
            .unwrap_or_else(|_| panic!("no {kind}"))
            .unwrap_or_else(|| panic!("closed before {kind}"))
            .unwrap();
        if let Message::Text(text) = message {
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["type"] == kind {
                return value;
            }
        }
    }
}

fn start(ora: &str) -> Value {
    json!({ "type": "start", "giorno": "2026-10-15", "ora": ora, "numero": "0", "chiamante": "" })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_is_for_our_own_pages_and_bounded() {
    let world = World::with_line().await;
    let (address, cookies) = serve(&world, Role::Office).await;
    let origin = format!("http://{address}");
    let ours = [("cookie", cookies.as_str()), ("origin", origin.as_str())];
    for (what, headers, status) in [
        ("another site", vec![("cookie", cookies.as_str()), ("origin", "http://altrove.example")], 403),
        ("no origin", vec![("cookie", cookies.as_str())], 403),
        ("no origin, but a browser's word", vec![("cookie", cookies.as_str()), ("sec-fetch-site", "same-origin")], 403),
        ("a site beside us", vec![("cookie", cookies.as_str()), ("origin", origin.as_str()), ("sec-fetch-site", "same-site")], 403),
        ("nobody", vec![("origin", origin.as_str())], 303),
    ] {
        assert_eq!(connect(address, &headers).await.err(), Some(status), "{what}");
    }
    let (_, kitchen) = serve(&world, Role::Kitchen).await;
    assert_eq!(connect(address, &[("cookie", &kitchen), ("origin", &origin)]).await.err(), Some(403), "the kitchen");

    // Two at once, and a place comes back with the first that ends.
    let (mut first, mut second) = (connect(address, &ours).await.unwrap(), connect(address, &ours).await.unwrap());
    assert_eq!(connect(address, &ours).await.err(), Some(503));
    // What makes no sense is not answered; too large a message ends it.
    say(&mut second, start("08:00")).await;
    next(&mut second, "began").await;
    for nonsense in ["{", "[]", r#"{"type":"key","key":"12"}"#, r#"{"type":"start"}"#, r#"{"type":"played","id":-1}"#] {
        second.send(Message::Text(nonsense.into())).await.unwrap();
    }
    second.send(Message::Binary(vec![0; 100].into())).await.unwrap();
    say(&mut second, json!({ "type": "hang_up" })).await;
    assert_eq!(next(&mut second, "over").await["text"], "Ha riagganciato.");
    first.send(Message::Text("x".repeat(5_000).into())).await.unwrap();
    while let Ok(Some(Ok(message))) = tokio::time::timeout(LONG, first.next()).await {
        assert!(!matches!(message, Message::Text(_)), "{message}");
    }
    let mut third = None;
    for _ in 0..200 {
        third = connect(address, &ours).await.ok();
        if third.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut third = third.expect("a place that has come back");
    say(&mut third, start("25:00")).await;
    assert_eq!(next(&mut third, "wrong").await["errors"][0][0], "Ora");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_the_wire_goes_as_on_the_telephone() {
    let world = World::with_line().await;
    let code = import(&world).await;
    let (address, cookies) = serve(&world, Role::Office).await;
    let origin = format!("http://{address}");
    let mut wire = connect(address, &[("cookie", &cookies), ("origin", &origin)]).await.unwrap();
    say(&mut wire, start("08:00")).await;
    assert_eq!(next(&mut wire, "began").await["text"], "Chiamata di prova: giovedì 15 ottobre 2026, ore 8:00.");
    let welcome = next(&mut wire, "say").await;
    assert_eq!(welcome["sound"], "/ufficio/linea/prova/voce.wav?p=benvenuto");
    assert!(welcome["ms"].as_u64().unwrap() > 1_000);
    // It ends by itself; then a key cuts the greeting short.
    say(&mut wire, json!({ "type": "played", "id": welcome["id"] })).await;
    assert!(next(&mut wire, "say").await["text"].as_str().unwrap().starts_with("Digiti il codice"));
    say(&mut wire, json!({ "type": "key", "key": "9" })).await;
    next(&mut wire, "stop").await;
    // The patience between two digits runs out at once when it is skipped; for the rest it would take five seconds.
    assert!(next(&mut wire, "step").await["wait_ms"].as_u64().is_some());
    say(&mut wire, json!({ "type": "skip" })).await;
    assert_eq!(next(&mut wire, "note").await["text"], "Nessun tasto.");
    assert!(next(&mut wire, "say").await["text"].as_str().unwrap().starts_with("Il codice deve avere sette cifre."));
    for key in code.chars() {
        say(&mut wire, json!({ "type": "key", "key": key })).await;
    }
    assert!(next(&mut wire, "say").await["text"].as_str().unwrap().starts_with("Per disdire il pasto"));
    say(&mut wire, json!({ "type": "key", "key": "1" })).await;
    assert!(next(&mut wire, "say").await["text"].as_str().unwrap().contains("giovedì quindici ottobre"));
    say(&mut wire, json!({ "type": "key", "key": "1" })).await;
    let done = next(&mut wire, "say").await["text"].as_str().unwrap().to_owned();
    assert!(done.starts_with("La disdetta è registrata per giovedì quindici ottobre"), "{done}");
    // Undone in the same call: what was done in it stands in it. Keys typed ahead as on the telephone.
    say(&mut wire, json!({ "type": "skip" })).await;
    assert!(next(&mut wire, "say").await["text"].as_str().unwrap().starts_with("Per un'altra operazione"));
    for key in ["1", "5"] {
        say(&mut wire, json!({ "type": "key", "key": key })).await;
        next(&mut wire, "say").await;
    }
    say(&mut wire, json!({ "type": "key", "key": "1" })).await;
    let undone = next(&mut wire, "say").await["text"].as_str().unwrap().to_owned();
    assert!(undone.starts_with("L'annullamento è registrato"), "{undone}");
    let child = world.desk.child_by_code(world.ente, &ChildCode::parse(&code).unwrap()).await.unwrap();
    let view = world.desk.view_child(child, day("2026-10-15"), day("2026-10-15")).await.unwrap();
    assert!(view.operations.is_empty());
}
