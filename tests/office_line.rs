//! The line's pages on both databases: a real call and the way it took, the history and its filters, where people give up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use chrono::TimeDelta;
use office_support::{Browser, World};
use rand::SeedableRng;
use support::{School, at, day, each_database, postgres, serve_watched};
use voceguida::{
    canteen::{EnteId, code::ChildCode, window::Window},
    desk::{
        Desk,
        calls::{CallAsked, CallRow, CallSort, NewCall, Outcome},
        live::{LiveLine, LivePicture},
        people::Role,
    },
    telephony::phone::{PhoneConfig, dial},
    voice::{
        path::{self, End, Travelled},
        plan::Plan,
        prompts::PromptLibrary,
    },
    web::office::{self, Office, OfficeSettings},
};

const PATIENCE: Duration = Duration::from_secs(40);

fn mensa() -> Arc<Plan> {
    Arc::new(Plan::load(Path::new("dialplans/mensa.toml")).unwrap())
}

fn record(ente: EnteId, id: &str, started: &str, seconds: i64) -> CallRow {
    let started = at(started);
    CallRow {
        id: id.to_owned(),
        ente_id: Some(ente.0),
        sip_call_id: format!("{id}@192.0.2.9"),
        trunk: "operatore".into(),
        caller: Some("3471234567".into()),
        called: "800123456".into(),
        diverted_from: None,
        peer: "192.0.2.9:5060".into(),
        user_agent: Some("<b>SBC</b>".into()),
        started_at: started,
        ringing_at: None,
        answered_at: Some(started),
        ended_at: started + TimeDelta::seconds(seconds),
        status: 200,
        cause: "caller_hung_up".into(),
        q850: Some(16),
        reason: Some("Q.850;cause=16".into()),
        released_by: Some("caller".into()),
        codec: Some("PCMA".into()),
        srtp: false,
        packets_sent: 1,
        packets_received: 1,
        packets_lost: Some(1),
        loss: Some(40),
        jitter_us: Some(1_900),
        mos: Some(431),
        digits: 8,
        dtmf: Some("rfc4733".into()),
    }
}

/// A call that went this way through the plan: `how>state` words.
fn went(row: CallRow, way: &str, end: End) -> NewCall {
    let plan = mensa();
    let index = |name: &str| plan.states.iter().position(|s| s.name == name).unwrap();
    let words = way.split_whitespace().enumerate().map(|(n, word)| {
        let (how, name) = word.split_once('>').unwrap();
        format!("{how}>{}@{}", index(name), n * 20)
    });
    let path = path::Path::parse(&words.collect::<Vec<_>>().join(" ")).unwrap();
    let way = Travelled { plan, path };
    NewCall { row, outcome: way.outcome(end), flow: Some(way.flow(end)) }
}

const TO_CODE: &str = "b>orario oopen>benvenuto p>codice ";
const TO_MENU: &str = "n>riconosci oknown>menu ";
const TO_RECEIPT: &str = "k1>anteprima oaccepted>conferma k1>registra oaccepted>registrata";

/// Eight calls of a morning: three gave up at the code, one at the menu, two cancelled, one was refused, one gave up before the answer.
async fn morning(desk: &Desk, ente: EnteId) {
    let hung_up = |n: i64| {
        let mut row = record(ente, &format!("code-{n}"), &format!("2026-10-12T06:0{n}:00Z"), 10 + n);
        row.caller = (n > 0).then(|| format!("018297000{n}"));
        went(row, TO_CODE, End::Caller)
    };
    let registered = |n: i64| {
        let row = CallRow { mos: Some(200 + n), trunk: "altro".into(), ..record(ente, &format!("done-{n}"), "2026-10-12T06:30:00Z", 60) };
        went(row, &format!("{TO_CODE}w>codice w>codice {TO_MENU}{TO_RECEIPT}"), End::Caller)
    };
    let menu = went(record(ente, "menu", "2026-10-11T22:30:00Z", 30), &format!("{TO_CODE}{TO_MENU}"), End::Caller);
    let refused = |id: &str, status: i64, cause: &str| {
        let row = CallRow {
            status,
            cause: cause.into(),
            answered_at: None,
            mos: None,
            q850: Some(41),
            ..record(ente, id, "2026-10-12T06:40:00Z", 0)
        };
        NewCall { outcome: Outcome::of_unanswered(&row), row, flow: None }
    };
    let calls = [
        hung_up(0),
        hung_up(1),
        hung_up(2),
        registered(0),
        registered(1),
        menu,
        refused("refused", 503, "refused: no room"),
        refused("abandoned", 487, "abandoned"),
    ];
    desk.record_calls(&calls).await.unwrap();
    // A commit whose answer was lost: the same calls once more are kept and counted once.
    desk.record_calls(&calls[2..5]).await.unwrap();
}

async fn ids(desk: &Desk, ente: EnteId, asked: &CallAsked, order: (CallSort, bool)) -> (String, i64) {
    let (calls, total) = desk.list_calls(ente, asked, order, 100, 0).await.unwrap();
    (calls.iter().map(|c| c.row.id.as_str()).collect::<Vec<_>>().join(" "), total)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_found_sorted_and_counted() {
    each_database(async |school: School| {
        let desk = school.desk_at("2026-10-12T12:00:00+02:00");
        morning(&desk, school.ente).await;
        let other = desk.put_ente("altro", "Comune di Altro", None, &Window::default()).await.unwrap();
        desk.record_calls(&[went(record(other, "theirs", "2026-10-12T06:00:00Z", 10), TO_CODE, End::Caller)]).await.unwrap();
        // The twelfth begins at midnight in Rome: 22:00 of the eleventh in UTC.
        let all = CallAsked { first: day("2026-10-12"), last: day("2026-10-12"), ..CallAsked::default() };
        let newest = (CallSort::Start, true);
        let find = async |asked: CallAsked| ids(&desk, school.ente, &asked, newest).await.0;
        assert_eq!(ids(&desk, school.ente, &all, newest).await, ("refused abandoned done-1 done-0 code-2 code-1 code-0 menu".into(), 8));
        assert_eq!(find(CallAsked { first: day("2026-10-13"), last: day("2026-10-20"), ..all.clone() }).await, "");
        assert_eq!(find(CallAsked { trunk: "altro".into(), ..all.clone() }).await, "done-1 done-0");
        assert_eq!(find(CallAsked { outcome: "hung_up".into(), ..all.clone() }).await, "code-2 code-1 code-0 menu");
        assert_eq!(find(CallAsked { outcome: "registered".into(), step: "registrata".into(), ..all.clone() }).await, "done-1 done-0");
        assert_eq!(find(CallAsked { tail: "0001".into(), ..all.clone() }).await, "code-1");
        assert_eq!(find(CallAsked { step: "codice".into(), trunk: "altro".into(), ..all.clone() }).await, "");
        let longest = ids(&desk, school.ente, &all, (CallSort::Length, true)).await.0;
        assert!(longest.starts_with("done-1 done-0 menu code-2"), "{longest}");
        let worst = ids(&desk, school.ente, &all, (CallSort::Quality, false)).await.0;
        assert!(worst.starts_with("done-0 done-1 ") && worst.ends_with("refused"), "{worst}");
        let (trunks, steps) = desk.call_words(school.ente, &all).await.unwrap();
        assert_eq!(
            (trunks, steps),
            (vec!["altro".to_owned(), "operatore".to_owned()], vec!["codice".to_owned(), "menu".to_owned(), "registrata".to_owned()])
        );

        let plans = desk.counted_plans(school.ente, day("2026-10-12"), day("2026-10-12")).await.unwrap();
        assert_eq!(plans.len(), 1);
        let counted = desk.traffic(school.ente, plans[0].id, day("2026-10-01"), day("2026-10-31")).await.unwrap();
        let lines: Vec<_> =
            counted.iter().map(|t| format!("{} -{}-> {}: {} ({})", t.from_step, t.way, t.to_step, t.calls, t.passes)).collect();
        insta::assert_snapshot!("counted", lines.join("\n"));
        assert!(desk.traffic(school.ente, plans[0].id, day("2026-10-13"), day("2026-10-31")).await.unwrap().is_empty());
        assert!(desk.call_file(other, "done-0").await.unwrap().is_none(), "another office's call");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_count_the_same_ways_at_once() {
    each_database(async |school: School| {
        let desk = school.desk_at("2026-10-12T12:00:00+02:00");
        let some = async |from: i64| {
            for n in (from..40).step_by(4) {
                let calls: Vec<_> = (0..3)
                    .map(|m| {
                        let way = if m % 2 == 0 { TO_CODE.to_owned() } else { format!("{TO_CODE}{TO_MENU}") };
                        went(record(school.ente, &format!("{n}-{m}"), "2026-10-12T06:00:00Z", 10), &way, End::Caller)
                    })
                    .collect();
                desk.record_calls(&calls).await.unwrap();
            }
        };
        tokio::join!(Box::pin(some(0)), Box::pin(some(1)), Box::pin(some(2)), Box::pin(some(3)));
        let plan = desk.counted_plans(school.ente, day("2026-10-12"), day("2026-10-12")).await.unwrap()[0].id;
        let counted = desk.traffic(school.ente, plan, day("2026-10-12"), day("2026-10-12")).await.unwrap();
        let reached = |name: &str| counted.iter().find(|t| t.from_step.is_empty() && t.to_step == name).map(|t| t.calls);
        assert_eq!((reached("orario"), reached("menu")), (Some(120), Some(40)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_a_database_see_each_others_calls() {
    each_database(async |school: School| {
        let line = |n: i64| LiveLine {
            caller: Some("0182******".into()),
            trunk: "operatore".into(),
            at: at("2026-10-12T06:00:00Z") + TimeDelta::seconds(n),
            step: "Digita il codice".into(),
            loss: None,
            jitter_us: None,
            mos: None,
        };
        let picture = LivePicture {
            calls: 300,
            lines: (0..100).map(line).collect(),
            steps: vec![("Digita il codice".into(), 300)],
            trunks: vec![("operatore".into(), 300)],
        };
        let desk = school.desk_at("2026-10-12T08:00:00+02:00");
        for node in ["a", "b"] {
            desk.leave_live_picture(node, school.ente, &picture).await.unwrap();
        }
        let (mut seen, nodes) = desk.live_pictures("a", school.ente).await.unwrap();
        assert_eq!((seen.calls, nodes), (300, 1), "one's own is not taken from there");
        seen.add(picture);
        assert_eq!((seen.calls, seen.lines.len(), seen.steps[0].1), (600, 100, 600));
        let later = school.desk_at("2026-10-12T08:00:30+02:00");
        if !desk.is_shared() {
            // On PostgreSQL the database's clock goes on by itself.
            assert_eq!(later.live_pictures("a", school.ente).await.unwrap().1, 0, "a node that is silent is gone");
        }
    })
    .await;
}

/// The office over this world, which sees this line.
async fn with_line(world: &mut World, watch: voceguida::voice::live::LineWatch) {
    let office = Office::new(world.desk.clone(), None, OfficeSettings::default()).await.unwrap();
    office.watch_line(watch);
    world.router = office::router(&office);
}

/// Looks at a page until it says that.
async fn until(browser: &mut Browser, path: &str, what: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = browser.get(path).await;
        assert_eq!(seen.status, StatusCode::OK, "{path}: {}", seen.text);
        if seen.text.contains(what) {
            return seen.text;
        }
        assert!(Instant::now() < until, "\"{what}\" is not on {path}:\n{}", seen.text);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn a_call_on(url: &str) {
    let mut world = World::on(url).await;
    let code = ChildCode::random(&mut rand::rngs::StdRng::seed_from_u64(3));
    world.desk.import(world.ente, &support::roster(std::slice::from_ref(&code))).await.unwrap();
    // Monday at half past six in the evening: the line is open.
    world.later(TimeDelta::minutes(8 * 60 + 30)).await;
    let (server, uri, watch) = serve_watched(world.desk.clone(), world.ente).await;
    with_line(&mut world, watch).await;
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get("/ufficio/linea").await.says("Nessuna telefonata in corso");
    clerk.get("/ufficio/linea/flusso").await.says("Nessuna telefonata oggi (numero 800123456)");

    let clips = PromptLibrary::load(Path::new("prompts/it")).unwrap().clips();
    let phone = PhoneConfig { clips, caller: "0182970111".into(), ..PhoneConfig::default() };
    let call = dial(&uri, phone).await.unwrap();
    let live = until(&mut clerk, "/ufficio/linea", "<td data-label=\"Passo\">Digita il codice").await;
    assert!(live.contains("0182******") && !live.contains("0182970111"), "{live}");
    until(&mut clerk, "/ufficio/linea", "MOS").await;
    call.press("12#").await;
    assert!(call.wait_heard("codice_incompleto", PATIENCE).await);
    call.press(&format!("{}1", code.as_str())).await;
    assert!(call.wait_heard("anteprima_cancel", PATIENCE).await);
    call.press("1").await;
    assert!(call.wait_heard("registrata_cancel", PATIENCE).await);
    call.hang_up().await;

    let list = until(&mut clerk, "/ufficio/linea/chiamate", "Operazione registrata</td>").await;
    assert!(list.contains("<td data-label=\"Finita in\">Ascolta la ricevuta") && !list.contains("0182970111"), "{list}");
    let id = list.split("/ufficio/linea/chiamate/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let seen = clerk.get(&format!("/ufficio/linea/chiamate/{id}")).await;
    for words in [
        "numero incompleto",
        "ha digitato •••••••",
        "tasto 1, disdetta",
        "<strong>Conferma il giorno</strong>",
        "<strong>Ascolta la ricevuta</strong>",
        "chiusura normale (Q.850: 16)",
        "Prova0",
        // The thirteenth and fourteenth are closed.
        "giovedì 15 ottobre 2026",
        "0182******",
    ] {
        seen.says(words);
    }
    assert!(!seen.text.contains(code.as_str()), "no code on the page");
    let flow = clerk.get("/ufficio/linea/flusso").await;
    for words in
        ["Una telefonata oggi", "Nessuno ha riagganciato prima", "tasto 1, disdetta", "numero incompleto", "<svg class=\"vg-flow\""]
    {
        flow.says(words);
    }
    let trail = world.logged_in(Role::Admin).await.get("/ufficio/registro").await;
    trail.says("ha guardato una telefonata");
    let kept: Vec<_> = world.desk.calls(world.ente, 10).await.unwrap();
    assert_eq!(kept.len(), 1);
    clerk.get("/ufficio/linea").await.says("Nessuna telefonata in corso");
    server.drain(Duration::from_secs(2)).await;
    world.desk.db().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_call_is_seen_while_it_lasts_and_its_way_stands_on_its_page() {
    let dir = tempfile::tempdir().unwrap();
    a_call_on(&format!("sqlite:{}", dir.path().join("line.db").display())).await;
    a_call_on(&postgres::fresh_database()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_line() {
    let world = World::new().await;
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get("/ufficio/linea").await.says("Questo server non prende telefonate");
    clerk.get("/ufficio/linea/chiamate").await.says("Nessuna telefonata corrisponde");
    clerk.get("/ufficio/linea/flusso").await.says("Nessuna telefonata in questo periodo");
    morning(&world.desk, world.ente).await;

    let list = clerk.get("/ufficio/linea/chiamate?ordine=durata&esito=hung_up&dal=2026-10-12&al=2026-10-12").await;
    list.says("1–4 di 4");
    list.says("Ha riagganciato senza operazioni</td>");
    list.says("numero riservato");
    list.says("/ufficio/linea/esporta?esito=hung_up");
    assert!(!list.text.contains("018297"), "numbers are masked");
    clerk.get("/ufficio/linea/chiamate?cifre=12").await.says("Scriva le ultime quattro cifre");
    clerk.get("/ufficio/linea/chiamate?cifre=0001").await.says("1–1 di 1");
    clerk.get("/ufficio/linea/chiamate?dal=2026-10-13&al=2026-10-12").await.says("È prima del giorno iniziale");
    clerk.get("/ufficio/linea/chiamate?fascio=%27%3B--&esito=%3Cb%3E&passo=x").await.says("Nessuna telefonata corrisponde");

    let refused = clerk.get("/ufficio/linea/chiamate/refused").await;
    refused.says("nessun posto libero (SIP 503)");
    refused.says("guasto momentaneo (Q.850: 41)");
    refused.says("La telefonata non ha avuto risposta");
    assert!(!refused.text.contains("<b>SBC"), "what a peer says stays text");
    assert_eq!(clerk.get("/ufficio/linea/chiamate/nessuna").await.status, StatusCode::NOT_FOUND);

    let flow = clerk.get("/ufficio/linea/flusso?dal=2026-10-12&al=2026-10-12").await;
    flow.says("6 telefonate oggi");
    flow.says("<strong>Digita il codice</strong>: 3 su 6 (50%)");
    flow.says("numero incompleto");
    assert!(!flow.text.contains(" style="), "nothing inline");
    clerk.get("/ufficio/linea/flusso?dal=2026-10-12&al=2026-10-12&piano=99").await.says("6 telefonate");

    let csv = clerk.get("/ufficio/linea/esporta?esito=registered&dal=2026-10-12&al=2026-10-12").await;
    assert_eq!((csv.status, csv.header("content-type")), (StatusCode::OK, "text/csv; charset=utf-8"));
    let lines: Vec<_> = csv.text.lines().collect();
    assert_eq!(lines.len(), 3, "{}", csv.text);
    assert!(lines[0].contains("Esito") && lines[1].contains("Operazione registrata") && lines[1].contains("3471******"), "{}", csv.text);
    let trail = world.logged_in(Role::Admin).await.get("/ufficio/registro").await;
    trail.says("ha scaricato l&#39;elenco delle telefonate");
    // Whoever may only read sees the line, and takes no file away.
    let mut reader = world.logged_in(Role::ReadOnly).await;
    assert!(!reader.get("/ufficio/linea/chiamate?dal=2026-10-12").await.text.contains("/ufficio/linea/esporta"));
    assert_eq!(reader.get("/ufficio/linea/esporta").await.status, StatusCode::FORBIDDEN);
    let other = world.desk.put_ente("altro", "Comune di Altro", None, &Window::default()).await.unwrap();
    let theirs = went(record(other, "theirs", "2026-10-12T06:00:00Z", 10), TO_CODE, End::Caller);
    world.desk.record_calls(&[theirs]).await.unwrap();
    assert_eq!(clerk.get("/ufficio/linea/chiamate/theirs").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_goes_out_as_a_file_piece_by_piece() {
    let world = World::new().await;
    let calls: Vec<_> = (0..4_100)
        .map(|n| {
            let row = record(world.ente, &format!("call-{n:05}"), "2026-10-12T06:00:00Z", 10);
            // Many in the same second: a page ends within it.
            CallRow { started_at: row.started_at + TimeDelta::seconds(n / 1_000), ..row }
        })
        .collect();
    let calls: Vec<_> = calls.into_iter().map(|row| NewCall { outcome: Outcome::of_unanswered(&row), row, flow: None }).collect();
    world.desk.record_calls(&calls).await.unwrap();
    let mut clerk = world.logged_in(Role::Office).await;
    let csv = clerk.get("/ufficio/linea/esporta?dal=2026-10-12&al=2026-10-12").await;
    let ids: std::collections::BTreeSet<_> = csv.text.lines().skip(1).filter_map(|l| l.rsplit(';').next()).collect();
    assert_eq!((csv.text.lines().count(), ids.len()), (4_101, 4_100));
}
