//! The line tried without a telephone, and its messages recorded anew: on both databases, over real sockets, and heard on a real call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use chrono::{NaiveTime, TimeDelta};
use futures_util::{SinkExt as _, StreamExt as _};
use office_support::{Browser, PASSWORD, Seen, World};
use serde_json::{Value, json};
use support::{School, at, day, each_database};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest},
};
use voceguida::{
    canteen::{Choice, DayState, Reason},
    desk::{
        Desk,
        dry::NO_RECEIPT,
        line::{Caller, Identification, LineDesk, LineOutcome},
        people::Role,
        recordings::{MOST_VERSIONS, NewDraft, VoiceError},
        trail::Actor,
    },
    store::Db,
    telephony::{
        codec::Codec,
        phone::{PhoneConfig, dial},
    },
    voice::prompts::{PromptLibrary, Shelf, clip_of},
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
        assert_eq!(
            real.preview(school.ente, child, voceguida::canteen::rule::Request::Phone(Choice::Cancel)).await.unwrap(),
            voceguida::store::Verdict::Accepted(thursday)
        );
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

fn draft(prompt: &str, value: i16) -> NewDraft {
    NewDraft { prompt: prompt.into(), file_name: "voce.wav".into(), samples: vec![value; 16_000], findings: "[]".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_spoken_on_every_node_and_what_was_before_comes_back() {
    let delivered = PromptLibrary::load(Path::new("prompts/it")).unwrap();
    each_database(|school| {
        let delivered = delivered.clone();
        async move {
            let desk = school.desk_at(THURSDAY);
            let other_node = Desk::new(Db::open(&school.url).await.unwrap(), desk.clock());
            let (here, there) = (Shelf::new(delivered.clone(), false), Shelf::new(delivered, true));
            let (actor, ente) = (clerk(&school), school.ente);
            let other = desk.put_ente("altro", "Comune di Altro", None, &voceguida::canteen::window::Window::default()).await.unwrap();
            assert!(!there.refresh(&other_node).await.unwrap(), "nothing has changed yet");
            let old = there.library(ente).clip("benvenuto").unwrap();

            let first = desk.keep_draft(&actor, &draft("benvenuto", 1_000)).await.unwrap();
            assert!(!there.refresh(&other_node).await.unwrap(), "a draft is not spoken");
            desk.speak(&actor, "benvenuto", Some(first), None).await.unwrap();
            for (shelf, desk) in [(&here, &desk), (&there, &other_node)] {
                assert!(shelf.refresh(desk).await.unwrap() && !shelf.refresh(desk).await.unwrap());
                let clip = shelf.library(ente).clip("benvenuto").unwrap();
                assert_eq!((clip.duration_ms(), clip.name()), (1_000, "benvenuto"));
                assert_eq!(shelf.library(ente).text("benvenuto"), shelf.delivered().text("benvenuto"));
            }
            assert_eq!(there.library(ente).clip("benvenuto").unwrap().encoded(Codec::G722).len(), 8_000);
            // Another office's line, and what came with ours, are as they were.
            assert_eq!(
                (there.library(other).clip("benvenuto").unwrap(), there.delivered().clip("benvenuto").unwrap()),
                (old.clone(), old.clone())
            );

            // Somebody else was quicker: told, and nothing is done.
            let second = desk.keep_draft(&actor, &draft("benvenuto", 2_000)).await.unwrap();
            assert!(matches!(desk.speak(&actor, "benvenuto", Some(second), None).await, Err(VoiceError::Changed)));
            // Another prompt's recording, another office's, one that is not there.
            for (actor, prompt, id) in
                [(&actor, "codice", second), (&actor, "codice", 99_999), (&Actor::system(other), "benvenuto", second)]
            {
                assert!(matches!(desk.speak(actor, prompt, Some(id), None).await, Err(VoiceError::NoRecording)), "{prompt}");
            }
            desk.speak(&actor, "benvenuto", Some(second), Some(first)).await.unwrap();
            desk.speak(&actor, "benvenuto", Some(first), Some(second)).await.unwrap();
            assert_eq!(desk.recordings(ente, "benvenuto").await.unwrap().len(), 2);
            // Versions are bounded; the one that is spoken stays however old it is.
            for value in 0..MOST_VERSIONS as i16 + 5 {
                let id = desk.keep_draft(&actor, &draft("benvenuto", value)).await.unwrap();
                desk.speak(&actor, "benvenuto", Some(id), Some(first)).await.unwrap();
                desk.speak(&actor, "benvenuto", Some(first), Some(id)).await.unwrap();
            }
            let kept = desk.recordings(ente, "benvenuto").await.unwrap();
            assert!(kept.len() as i64 <= MOST_VERSIONS + 2 && kept.iter().any(|row| row.id == first), "{}", kept.len());
            // A reload of what came with the line leaves it; and the delivered one comes back.
            there.refresh(&other_node).await.unwrap();
            there.put_delivered(PromptLibrary::clone(&here.delivered()));
            assert_eq!(there.library(ente).clip("benvenuto").unwrap().duration_ms(), 1_000);
            desk.speak(&actor, "benvenuto", None, Some(first)).await.unwrap();
            there.refresh(&other_node).await.unwrap();
            assert_eq!(there.library(ente).clip("benvenuto").unwrap().encoded(Codec::Pcma), old.encoded(Codec::Pcma));

            let scrap = desk.keep_draft(&actor, &draft("codice", 1)).await.unwrap();
            assert!(!desk.discard_draft(&Actor::system(other), scrap).await.unwrap(), "another office's");
            assert!(desk.discard_draft(&actor, scrap).await.unwrap() && !desk.discard_draft(&actor, scrap).await.unwrap());
            assert!(!desk.discard_draft(&actor, first).await.unwrap(), "a version is no draft");
            let (actions, _) = desk.trail_words(ente).await.unwrap();
            for action in [
                "ha caricato una registrazione",
                "ha cambiato un messaggio della linea",
                "ha rimesso un messaggio di serie",
                "ha scartato una registrazione",
            ] {
                assert!(actions.iter().any(|known| known == action), "{action} is not in {actions:?}");
            }
            other_node.db().close().await;
        }
    })
    .await;
}

/// A voice that says something else: "benvenuto" backwards.
fn backwards() -> Vec<u8> {
    let mut reader = hound::WavReader::open("prompts/it/benvenuto.wav").unwrap();
    let samples: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    wav(samples.into_iter().rev())
}

/// A WAV file at 16 kHz.
fn wav(samples: impl Iterator<Item = i16>) -> Vec<u8> {
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    samples.for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

/// Sends a recording for a prompt.
async fn upload(browser: &mut Browser, prompt: &str, name: &str, content: &[u8]) -> Seen {
    let path = format!("/ufficio/linea/messaggi/{prompt}");
    let csrf = browser.get(&path).await.hidden("_csrf");
    let mut body = Vec::new();
    body.extend(format!("--confine\r\nContent-Disposition: form-data; name=\"_csrf\"\r\n\r\n{csrf}\r\n").into_bytes());
    body.extend(format!("--confine\r\nContent-Disposition: form-data; name=\"registrazione\"; filename=\"{name}\"\r\n\r\n").into_bytes());
    body.extend(content);
    body.extend(b"\r\n--confine--\r\n");
    let request = Request::post(format!("{path}/carica"))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=confine")
        .header("origin", "http://ufficio.example")
        .header("sec-fetch-site", "same-origin");
    browser.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_brought_in_the_office_is_heard_on_the_next_real_call() {
    let world = World::with_line().await;
    let shelf = Arc::clone(&world.line.as_ref().unwrap().shelf);
    let (server, uri, _) = support::serve_with(world.desk.clone(), world.ente, Arc::clone(&shelf)).await;
    let mut browser = world.logged_in(Role::Office).await;

    let seen = upload(&mut browser, "benvenuto", "C:\\voci\\mia voce.wav", &backwards()).await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER, "{}", seen.text);
    let (preview, id) = (seen.location().to_owned(), seen.location().rsplit('/').next().unwrap().parse::<i64>().unwrap());
    let shown = browser.get(&preview).await;
    shown.says("La registrazione va bene");
    shown.says("mia voce.wav");
    // The phone knows the prompts that came with the line, but for the greeting, and the recording under a name of its own.
    let samples = world.desk.recording_sound(world.ente, id).await.unwrap().unwrap();
    let mut clips: Vec<_> = shelf.delivered().clips();
    clips.push(Arc::new(clip_of("nuova", &samples, false).unwrap()));
    let names = async |first: &'static str| {
        let call = dial(&uri, PhoneConfig { clips: clips.clone(), ..PhoneConfig::default() }).await.unwrap();
        assert!(call.wait_heard(first, LONG).await, "{:?}", call.heard());
        let names: Vec<_> = call.heard().into_iter().map(|heard| heard.name).collect();
        call.hang_up().await;
        names
    };
    // The line is closed at noon; it greets all the same.
    assert_eq!(names("benvenuto").await[0], "benvenuto");
    let path = "/ufficio/linea/messaggi/benvenuto";
    let take = [("registrazione", id.to_string()), ("al_posto_di", "0".into())];
    let take: Vec<_> = take.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let seen = browser.fill(&preview, &format!("{path}/usa"), &take).await;
    assert_eq!((seen.status, seen.location()), (StatusCode::SEE_OTHER, path), "{}", seen.text);
    let heard = names("nuova").await;
    assert!(heard[0] == "nuova" && !heard.iter().any(|name| name == "benvenuto"), "{heard:?}");

    browser.get(path).await.says("dell'ufficio, da lunedì 12 ottobre 2026");
    browser.get("/ufficio/linea/messaggi").await.says("dell&#39;ufficio, da lunedì 12 ottobre 2026");
    // The same again: somebody was quicker, namely we.
    let seen = browser.fill(&preview, &format!("{path}/usa"), &take).await;
    assert_eq!(seen.location(), preview);
    browser.get(&preview).await.says("Nel frattempo qualcun altro ha cambiato");
    let back = [("registrazione", "0".to_owned()), ("al_posto_di", id.to_string())];
    let back: Vec<_> = back.iter().map(|(n, v)| (*n, v.as_str())).collect();
    browser.fill(path, &format!("{path}/usa"), &back).await;
    browser.get(path).await.says("di serie");
    assert_eq!(names("benvenuto").await[0], "benvenuto");
    server.drain(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_recording_is_refused_with_a_word_and_what_is_poor_is_told() {
    let world = World::with_line().await;
    let mut browser = world.logged_in(Role::Office).await;
    let fixture = |name: &str| std::fs::read(format!("tests/fixtures/audio/{name}")).unwrap();
    let silent = wav(std::iter::repeat_n(0, 20_000));
    let garbage: Vec<u8> = (0..50_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, content, told) in [
        ("foto.wav", garbage.clone(), "Non è una registrazione che si possa leggere"),
        ("voce.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec(), "Non è una registrazione che si possa leggere"),
        ("pagina.html", b"<script>alert(1)</script>".to_vec(), "Non è una registrazione che si possa leggere"),
        ("muta.wav", silent, "Non si sente nulla"),
        ("vuota.wav", vec![], "Scelga un file"),
    ] {
        let seen = upload(&mut browser, "menu", name, &content).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {}", seen.text);
        seen.says(told);
        assert!(!seen.text.contains("<script>alert"));
    }
    // 61 seconds, and more octets than a form may have.
    let long = wav((0..61 * 16_000).map(|n: i32| (n % 200 * 50) as i16));
    upload(&mut browser, "menu", "lunga.wav", &long).await.says("Dura troppo: al massimo 60 secondi");
    let seen = upload(&mut browser, "menu", "enorme.wav", &vec![0; 11 << 20]).await;
    assert_eq!(seen.status, StatusCode::PAYLOAD_TOO_LARGE);
    seen.says("al massimo 10 MB");
    assert!(world.desk.recordings(world.ente, "menu").await.unwrap().is_empty());

    // Half a second of a tone in place of a long sentence, in every format.
    for name in ["tone.wav", "tone.aiff", "tone.flac", "tone.ogg", "tone.mp3", "tone.m4a"] {
        let seen = upload(&mut browser, "menu", name, &fixture(name)).await;
        assert_eq!(seen.status, StatusCode::SEE_OTHER, "{name}: {}", seen.text);
        let preview = seen.location().to_owned();
        browser.get(&preview).await.says("È molto breve: dura 0,5 secondi");
        let id = preview.rsplit('/').next().unwrap().to_owned();
        let sound = browser.get(&format!("/ufficio/linea/messaggi/menu/suono/{id}")).await;
        assert_eq!((sound.header("content-type"), &sound.text[..4]), ("audio/wav", "RIFF"));
        let path = "/ufficio/linea/messaggi/menu";
        let seen = browser.fill(&preview, &format!("{path}/scarta"), &[("registrazione", &id)]).await;
        assert_eq!(seen.location(), path);
        assert_eq!(browser.get(&preview).await.status, StatusCode::NOT_FOUND);
    }
    for path in [
        "/ufficio/linea/messaggi/non_c_e",
        "/ufficio/linea/messaggi/menu/suono/999",
        "/ufficio/linea/messaggi/menu/nuova/999",
        "/ufficio/linea/prova/voce.wav?p=non_c_e",
    ] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // Whoever may only look sees no form, and cannot send one.
    let mut reader = world.logged_in(Role::ReadOnly).await;
    let page = reader.get("/ufficio/linea/messaggi/menu").await;
    assert!(page.status == StatusCode::OK && !page.text.contains("Carica e controlla"));
    reader.get("/ufficio/linea/messaggi?cerca=bianco").await.says("pasto in bianco");
    reader.get("/ufficio/linea/messaggi?cerca=%3Cb%3Exyz").await.says("Nessun messaggio contiene");
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
    let codes: Vec<_> = (0..2).map(|_| voceguida::canteen::code::ChildCode::random(&mut rng)).collect();
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
    let child = world.desk.child_by_code(world.ente, &voceguida::canteen::code::ChildCode::parse(&code).unwrap()).await.unwrap();
    let view = world.desk.view_child(child, day("2026-10-15"), day("2026-10-15")).await.unwrap();
    assert!(view.operations.is_empty());
}
