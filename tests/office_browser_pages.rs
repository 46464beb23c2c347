//! Every page of the office in a real browser, on the demo's school with its past: accessible, no wider than a telephone, silent in the console, each role with its own menu,
//! and the main jobs by keyboard alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, header},
};
use browser::Chromium;
use office_support::{PASSWORD, World};
use tower::ServiceExt;
use voceguida::{
    canteen::{ChildId, demo::past::CLERK},
    cli::demo::school,
    desk::{people::Role, recordings::NewDraft, trail::Actor},
    store::{NewsFilter, TicketFilter, Verdict},
    web::office,
};

/// What a GET of the office gives.
enum Gives {
    /// A page: the name of its pictures, and a path that fits the route.
    Page(&'static str, String),
    /// A stream of events that keeps a part of a page live.
    Live,
    /// A WebSocket: whoever does not ask for one is refused.
    Wire,
    /// A file to take away: a path that fits, or `None` where there may be none.
    File(Option<String>),
}

/// What the pages' paths need.
struct Sample {
    /// A child of whom there is much to tell.
    child: i64,
    /// An operation on it that was refused.
    refused: i64,
    adult: i64,
    class: i64,
    closure: i64,
    /// A call in which something was registered.
    call: String,
    /// News that families see, and a draft.
    public: i64,
    draft: i64,
    /// A question that was answered.
    ticket: i64,
    canned: i64,
    key: i64,
    /// A recording of the prompt `menu` that waits to be taken.
    recording: i64,
}

async fn sample(world: &World) -> Sample {
    let mut tx = world.desk.db().read().await.unwrap();
    let mut best: Option<(usize, ChildId, i64)> = None;
    for child in tx.child_ids().await.unwrap() {
        let operations = tx.operations_of(child).await.unwrap();
        // Of this school year: the steps of an older one cannot be told any more.
        let term = "2026-09-14T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let last =
            operations.iter().rev().find(|o| matches!(o.verdict, Verdict::Refused(_, Some(_))) && o.channel == "phone" && o.at > term);
        let Some(refused) = last else { continue };
        if best.is_none_or(|(most, ..)| operations.len() > most) {
            best = Some((operations.len(), child, refused.id));
        }
    }
    let (_, child, refused) = best.expect("a child with a refused operation");
    let adult = tx.letter_guardians(&[child.0]).await.unwrap()[0].id;
    drop(tx);
    let class = world
        .desk
        .letter_classes(world.ente)
        .await
        .unwrap()
        .iter()
        .find(|class| class.name == "3A" && class.school.contains("primaria"))
        .unwrap()
        .id;
    let (first, last) = ("2026-11-26".parse().unwrap(), "2027-06-30".parse().unwrap());
    let closures = world.desk.closures_between(world.ente, first, last).await.unwrap();
    let closure = closures.iter().find(|closure| closure.school_id.is_none()).unwrap().id;
    let mut tx = world.desk.db().read().await.unwrap();
    let call = tx.operations_of(child).await.unwrap().into_iter().rev().find_map(|o| o.call_id).expect("a call");
    drop(tx);
    let news = world.desk.list_news(world.ente, NewsFilter::default(), 0, 10).await.unwrap().0;
    let public = news.iter().find(|(row, ..)| row.state == "public").unwrap().0.id;
    let draft = news.iter().find(|(row, ..)| row.state == "draft").unwrap().0.id;
    let tickets = world.desk.list_tickets(world.ente, &TicketFilter::default(), 0, 10).await.unwrap().0;
    let ticket = tickets.iter().find(|row| row.state == "waiting").unwrap().id;
    let canned = world.desk.canned_answers(world.ente).await.unwrap()[0].id;
    let key = world.desk.tokens(world.ente).await.unwrap().0[0].row.id;
    let samples = (0..48_000u32).map(|n| (f64::from(n) * 0.17).sin() * 9_000.0).map(|s| s as i16).collect();
    let recorded = NewDraft { prompt: "menu".into(), file_name: "menu-nuovo.wav".into(), samples, findings: String::new() };
    let recording = world.desk.keep_draft(&Actor::system(world.ente), &recorded).await.unwrap();
    Sample { child: child.0, refused, adult, class, closure, call, public, draft, ticket, canned, key, recording }
}

/// Each GET of the table of routes. A new page without a line here fails the test.
fn lines(s: &Sample) -> Vec<(&'static str, Gives)> {
    use Gives::{File, Live, Page, Wire};
    let child = |rest: &str| format!("/ufficio/bambini/{}{rest}", s.child);
    vec![
        ("/ufficio/", Page("oggi", "/ufficio/".into())),
        ("/ufficio/oggi/vivo", Live),
        ("/ufficio/cucina", Page("cucina", "/ufficio/cucina".into())),
        ("/ufficio/cucina/vivo", Live),
        ("/ufficio/cucina/giorno/{day}", Page("cucina-giorno", "/ufficio/cucina/giorno/2026-11-24".into())),
        ("/ufficio/cucina/giorno/{day}/{kind}", File(Some("/ufficio/cucina/giorno/2026-11-24/csv".into()))),
        ("/ufficio/cucina/indirizzi", Page("cucina-indirizzi", "/ufficio/cucina/indirizzi".into())),
        ("/ufficio/calendario", Page("calendario", "/ufficio/calendario".into())),
        ("/ufficio/calendario/giorno/{day}", Page("calendario-giorno", "/ufficio/calendario/giorno/2026-11-13".into())),
        ("/ufficio/calendario/chiusura", Page("calendario-chiusura", "/ufficio/calendario/chiusura".into())),
        ("/ufficio/calendario/chiusure/{id}", Page("calendario-riapertura", format!("/ufficio/calendario/chiusure/{}", s.closure))),
        (
            "/ufficio/calendario/chiusure/{id}/avviso",
            Page("calendario-avviso", format!("/ufficio/calendario/chiusure/{}/avviso", s.closure)),
        ),
        ("/ufficio/calendario/periodi", Page("calendario-periodi", "/ufficio/calendario/periodi".into())),
        ("/ufficio/calendario/rientri", Page("calendario-rientri", "/ufficio/calendario/rientri".into())),
        ("/ufficio/calendario/festivita", Page("calendario-festivita", "/ufficio/calendario/festivita".into())),
        ("/ufficio/bambini", Page("bambini", "/ufficio/bambini".into())),
        ("/ufficio/bambini/archivio", File(Some("/ufficio/bambini/archivio".into()))),
        ("/ufficio/bambini/nuovo", Page("bambino-nuovo", "/ufficio/bambini/nuovo".into())),
        ("/ufficio/bambini/importazioni", Page("importazioni", "/ufficio/bambini/importazioni".into())),
        ("/ufficio/bambini/importazioni/{id}/annulla", Page("importazione-annulla", "/ufficio/bambini/importazioni/2/annulla".into())),
        ("/ufficio/bambini/anno", Page("anno-nuovo", "/ufficio/bambini/anno".into())),
        ("/ufficio/bambini/{id}", Page("bambino", child(""))),
        ("/ufficio/bambini/{id}/archivio", File(Some(child("/archivio")))),
        ("/ufficio/bambini/{id}/perche/{operazione}", Page("bambino-perche", child(&format!("/perche/{}", s.refused)))),
        ("/ufficio/bambini/{id}/operazione", Page("bambino-operazione", child("/operazione?giorno=2026-11-26"))),
        ("/ufficio/bambini/{id}/dati", Page("bambino-dati", child("/dati"))),
        ("/ufficio/bambini/{id}/adulti", Page("bambino-adulti", child("/adulti"))),
        ("/ufficio/famiglie", Page("famiglie", "/ufficio/famiglie".into())),
        ("/ufficio/famiglie/{id}", Page("famiglia", format!("/ufficio/famiglie/{}", s.adult))),
        ("/ufficio/lettere", Page("lettere", "/ufficio/lettere".into())),
        ("/ufficio/lettere/registro", Page("lettere-fatte", "/ufficio/lettere/registro".into())),
        ("/ufficio/lettere/{whose}/{id}", Page("lettere-classe", format!("/ufficio/lettere/classe/{}", s.class))),
        ("/ufficio/lettere/{whose}/{id}/esempio", File(Some(format!("/ufficio/lettere/classe/{}/esempio", s.class)))),
        ("/ufficio/codici/{id}/sostituisci", Page("codice-sostituire", format!("/ufficio/codici/{}/sostituisci", s.child))),
        ("/ufficio/posta", Page("posta", "/ufficio/posta".into())),
        ("/ufficio/linea", Page("linea-ferma", "/ufficio/linea".into())),
        ("/ufficio/linea/vivo", Live),
        ("/ufficio/linea/chiamate", Page("telefonate", "/ufficio/linea/chiamate".into())),
        ("/ufficio/linea/chiamate/{id}", Page("telefonata", format!("/ufficio/linea/chiamate/{}", s.call))),
        ("/ufficio/linea/esporta", File(Some("/ufficio/linea/esporta?dal=2026-11-23&al=2026-11-24".into()))),
        ("/ufficio/linea/flusso", Page("percorso", "/ufficio/linea/flusso".into())),
        ("/ufficio/linea/prova", Page("prova-linea", "/ufficio/linea/prova".into())),
        ("/ufficio/linea/prova/filo", Wire),
        ("/ufficio/linea/prova/voce.wav", File(None)),
        ("/ufficio/linea/messaggi", Page("messaggi", "/ufficio/linea/messaggi".into())),
        ("/ufficio/linea/messaggi/{name}", Page("messaggio", "/ufficio/linea/messaggi/menu".into())),
        ("/ufficio/linea/messaggi/{name}/suono/{which}", File(Some("/ufficio/linea/messaggi/menu/suono/uso".into()))),
        (
            "/ufficio/linea/messaggi/{name}/nuova/{id}",
            Page("messaggio-nuovo", format!("/ufficio/linea/messaggi/menu/nuova/{}", s.recording)),
        ),
        ("/ufficio/avvisi", Page("avvisi", "/ufficio/avvisi".into())),
        ("/ufficio/avvisi/nuovo", Page("avviso-nuovo", "/ufficio/avvisi/nuovo".into())),
        ("/ufficio/avvisi/{id}", Page("avviso", format!("/ufficio/avvisi/{}", s.public))),
        ("/ufficio/avvisi/{id}/modifica", Page("avviso-modifica", format!("/ufficio/avvisi/{}/modifica", s.draft))),
        ("/ufficio/avvisi/{id}/pubblica", Page("avviso-pubblica", format!("/ufficio/avvisi/{}/pubblica", s.draft))),
        ("/ufficio/avvisi/{id}/ritira", Page("avviso-ritira", format!("/ufficio/avvisi/{}/ritira", s.public))),
        ("/ufficio/avvisi/{id}/elimina", Page("avviso-elimina", format!("/ufficio/avvisi/{}/elimina", s.draft))),
        ("/ufficio/segnalazioni", Page("segnalazioni", "/ufficio/segnalazioni".into())),
        ("/ufficio/segnalazioni/nuova", Page("segnalazione-nuova", "/ufficio/segnalazioni/nuova".into())),
        ("/ufficio/segnalazioni/{id}", Page("segnalazione", format!("/ufficio/segnalazioni/{}", s.ticket))),
        ("/ufficio/segnalazioni/risposte", Page("risposte", "/ufficio/segnalazioni/risposte".into())),
        ("/ufficio/segnalazioni/risposte/nuova", Page("risposta-nuova", "/ufficio/segnalazioni/risposte/nuova".into())),
        ("/ufficio/segnalazioni/risposte/{id}", Page("risposta", format!("/ufficio/segnalazioni/risposte/{}", s.canned))),
        ("/ufficio/chiavi", Page("chiavi", "/ufficio/chiavi".into())),
        ("/ufficio/chiavi/nuova", Page("chiave-nuova", "/ufficio/chiavi/nuova".into())),
        ("/ufficio/chiavi/{id}/revoca", Page("chiave-revoca", format!("/ufficio/chiavi/{}/revoca", s.key))),
        ("/ufficio/persone", Page("persone", "/ufficio/persone".into())),
        ("/ufficio/persone/nuova", Page("persona-nuova", "/ufficio/persone/nuova".into())),
        ("/ufficio/persone/{id}", Page("persona", "/ufficio/persone/2".into())),
        ("/ufficio/registro", Page("registro", "/ufficio/registro".into())),
        ("/ufficio/registro/{id}", Page("registro-voce", "/ufficio/registro/6".into())),
        ("/ufficio/impostazioni", Page("impostazioni", "/ufficio/impostazioni".into())),
        ("/ufficio/impostazioni/parte/{part}", Page("impostazioni-ente", "/ufficio/impostazioni/parte/ente".into())),
        ("/ufficio/impostazioni/orari", Page("impostazioni-orari", "/ufficio/impostazioni/orari".into())),
        ("/ufficio/impostazioni/logo/immagine", File(None)),
        ("/ufficio/profilo", Page("profilo", "/ufficio/profilo".into())),
        ("/ufficio/profilo/password", Page("profilo-password", "/ufficio/profilo/password".into())),
        ("/ufficio/profilo/app", Page("profilo-app", "/ufficio/profilo/app".into())),
        ("/ufficio/profilo/app/togli", Page("profilo-app-togliere", "/ufficio/profilo/app/togli".into())),
        ("/ufficio/profilo/recupero", Page("profilo-recupero", "/ufficio/profilo/recupero".into())),
        ("/ufficio/profilo/passkey", Page("profilo-passkey", "/ufficio/profilo/passkey".into())),
        ("/ufficio/profilo/passkey/{id}/togli", Page("profilo-passkey-togliere", "/ufficio/profilo/passkey/1/togli".into())),
    ]
}

/// The same page in another state, or another of its kind.
fn more(s: &Sample) -> Vec<(&'static str, String)> {
    vec![
        ("lettere-bambino", format!("/ufficio/lettere/bambino/{}", s.child)),
        ("impostazioni-telefono", "/ufficio/impostazioni/parte/telefono".into()),
        ("impostazioni-conservazione", "/ufficio/impostazioni/parte/conservazione".into()),
        ("calendario-classe", format!("/ufficio/calendario?classe={}", s.class)),
    ]
}

/// Status and type of what a path gives to somebody who is logged in; its body is not waited for.
async fn head(world: &World, browser: &office_support::Browser, path: &str) -> (u16, String) {
    let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut request =
        Request::get(path).header(header::HOST, "ufficio.example").header(header::COOKIE, cookies.join("; ")).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(browser.address));
    let response = world.router.clone().oneshot(request).await.unwrap();
    let kind = response.headers().get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
    (response.status().as_u16(), kind.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_is_accessible_fits_a_phone_and_is_silent() {
    let world = World::lifelike().await;
    let sample = sample(&world).await;
    let lines = lines(&sample);
    let rules: Vec<_> = office::rules().into_iter().filter(|rule| rule.method == Method::GET).collect();
    for rule in &rules {
        assert!(lines.iter().any(|(route, _)| *route == rule.path), "{} is a page without a browser test: give it a line", rule.path);
    }
    for (route, _) in &lines {
        assert!(rules.iter().any(|rule| rule.path == *route), "there is no {route} any more");
    }

    let mut plain = world.browser();
    plain.log_in("anna", PASSWORD).await;
    for (route, gives) in &lines {
        match gives {
            Gives::Live => {
                let (status, kind) = head(&world, &plain, route).await;
                assert!(status == 200 && kind.starts_with("text/event-stream"), "{route}: {status} {kind}");
            }
            Gives::File(Some(path)) => {
                let (status, kind) = head(&world, &plain, path).await;
                assert!(status == 200 && !kind.is_empty() && !kind.starts_with("text/html"), "{path}: {status} {kind}");
            }
            Gives::Wire => {
                let (status, kind) = head(&world, &plain, route).await;
                assert!((400..500).contains(&status), "{route}: {status} {kind}");
            }
            Gives::File(None) | Gives::Page(..) => {}
        }
    }

    let browser = Chromium::start(&world).await;
    browser.plug_authenticator_in().await;
    browser.log_in("anna").await;
    browser.until_it_says("Pasti per scuola").await;
    browser.open("/ufficio/profilo/passkey").await;
    browser.press("Aggiungi").await;
    browser.until_it_says("La passkey è aggiunta").await;
    let mut wrong = Vec::new();
    for (_, gives) in &lines {
        if let Gives::Page(name, path) = gives {
            wrong.extend(browser.look_for_faults(name, path).await);
        }
    }
    for (name, path) in more(&sample) {
        wrong.extend(browser.look_for_faults(name, &path).await);
    }
    browser.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_its_menu_and_may_open_what_is_in_it() {
    let world = World::lifelike().await;
    let browser = Chromium::start(&world).await;
    let mut whole: Vec<(String, String)> = Vec::new();
    let rules = office::rules();
    for (login, _, role) in school::PEOPLE {
        browser.client.delete_all_cookies().await.unwrap();
        browser.log_in(login).await;
        browser.until_it_says("Esci").await;
        let menu = browser.menu().await;
        if role == Role::Admin {
            whole.clone_from(&menu);
            assert!(menu.len() > 8, "{menu:?}");
        }
        let may =
            |path: &str| rules.iter().find(|rule| rule.method == Method::GET && rule.path == path).is_some_and(|rule| role.may(rule.may));
        let expected: Vec<_> = whole.iter().filter(|(_, path)| may(path)).cloned().collect();
        assert_eq!(menu, expected, "{}", role.word());
        for (label, path) in menu {
            browser.open("/ufficio/profilo").await;
            browser.press_in_menu(&label).await;
            browser.client.wait().for_element(fantoccini::Locator::Css("main h1")).await.unwrap();
            browser.settled().await;
            assert_eq!(browser.path().await, path, "{}: {label}", role.word());
            assert!(!browser.text().await.contains("non permette"), "{}: {label}", role.word());
            let errors = browser.console_errors().await;
            assert!(errors.is_empty(), "{}: {label}: {errors:#?}", role.word());
        }
    }
    browser.close().await;
}

/// Enter, and space.
const ENTER: &str = "\u{E007}";
const SPACE: &str = " ";

#[tokio::test(flavor = "multi_thread")]
async fn the_main_jobs_go_by_keyboard_alone() {
    let world = World::lifelike().await;
    let browser = Chromium::start(&world).await;
    browser.open("/ufficio/accesso").await;
    browser.tab_to("utente").await;
    browser.type_here(CLERK).await;
    browser.tab_to("password").await;
    browser.type_here(PASSWORD).await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Pasti per scuola").await;
    // The first stop of every page leads past the menu.
    browser.tab_to("Vai al contenuto").await;
    browser.type_here(ENTER).await;
    let focus = browser.client.execute("return document.activeElement.id", Vec::new()).await.unwrap();
    assert_eq!(focus, "contenuto");

    // A child is looked for, its meal cancelled.
    browser.open("/ufficio/").await;
    browser.tab_to("Bambini").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Elenco dei bambini").await;
    browser.tab_to("testo").await;
    browser.type_here("rossi giulia").await;
    browser.until_it_says("Un bambino trovato").await;
    browser.tab_to("Rossi Giulia").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Codice disdetta").await;
    browser.tab_to("giovedì 26 novembre").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Che cosa").await;
    browser.tab_to("operazione").await;
    browser.type_here(SPACE).await;
    browser.tab_to("Avanti").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Conferma").await;
    browser.tab_to("Esegui").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Ricevuta").await;

    // A closure, up to its preview.
    browser.tab_to("Calendario").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Chiusure da oggi in poi").await;
    browser.tab_to("Inserisci una chiusura").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Lo leggono le famiglie").await;
    browser.tab_to("motivo").await;
    browser.type_here("Prova").await;
    browser.set("dal", "2026-12-03").await;
    browser.tab_to("Vedi che cosa succede").await;
    browser.type_here(ENTER).await;
    browser.until_it_says("Che cosa succede").await;
    browser.tab_to("Annulla").await;
    browser.close().await;
}
