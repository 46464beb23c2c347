//! The line's messages recorded anew: on both databases, and heard on a real call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use office_support::{Browser, Seen, World};
use support::{School, each_database};
use voceguida::{
    canteen::window::Window,
    desk::{
        Desk,
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

fn clerk(school: &School) -> Actor {
    Actor { ente: school.ente, person: None, name: "anna".into(), address: "127.0.0.1".into() }
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
            let other = desk.put_ente("altro", "Comune di Altro", None, &Window::default()).await.unwrap();
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
