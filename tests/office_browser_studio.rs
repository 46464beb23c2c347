//! The line and its messages in a real browser: keys pressed, words read, recordings brought.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;

use std::{collections::HashSet, path::Path};

use browser::{Chromium, Size};
use fantoccini::Locator;
use office_support::World;
use rand::SeedableRng;
use voceguida::{
    canteen::{code::ChildCode, demo::demo_roster, roster::ClassRow},
    desk::Desk,
    store::Tx,
};

/// The demo's school, and the code of a child that eats on Thursdays.
async fn demo_school(world: &World) -> String {
    let mut rng = rand::rngs::StdRng::seed_from_u64(3);
    let mut drawn = HashSet::new();
    let code = |_| loop {
        let code = ChildCode::random(&mut rng);
        if drawn.insert(code.clone()) {
            break code.as_str().to_owned();
        }
    };
    let roster = demo_roster(2026, code).unwrap();
    world.desk.import(world.ente, &roster).await.unwrap();
    let thursdays = |class: &&ClassRow| class.weekdays.contains(chrono::Weekday::Thu);
    let class = roster.classes.iter().find(thursdays).unwrap();
    let child = roster.children.iter().find(|c| (&c.school, &c.class) == (&class.school, &class.name)).unwrap();
    child.code.clone().unwrap()
}

async fn count(desk: &Desk, table: &str) -> i64 {
    let Tx::Sqlite(mut tx) = desk.db().read().await.unwrap() else { panic!("a test on the embedded database") };
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
}

/// Chooses a file in a form.
async fn choose(browser: &Chromium, name: &str, file: &Path) {
    let field = browser.client.find(Locator::Css(&format!("[name={name}]"))).await.unwrap();
    field.send_keys(file.to_str().unwrap()).await.unwrap();
}

async fn set(browser: &Chromium, name: &str, value: &str) {
    let script = format!("document.querySelector('[name={name}]').value = '{value}'");
    browser.client.execute(&script, Vec::new()).await.unwrap();
}

async fn begin_call(browser: &Chromium, day: &str, hour: &str) {
    browser.open("/ufficio/linea/prova").await;
    set(browser, "giorno", day).await;
    set(browser, "ora", hour).await;
    browser.press("Chiama").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clerk_tries_the_line_in_the_browser_and_nothing_is_written() {
    let world = World::with_line().await;
    let code = demo_school(&world).await;
    let browser = Chromium::start(&world).await;
    browser.log_in("ufficio").await;
    browser.until_it_says("Esci").await;
    browser.look_at("prova-linea", "/ufficio/linea/prova").await;
    let tables = ["operation", "meal", "mark", "suspension", "code_attempt", "call"];
    let before = {
        let mut counts = Vec::new();
        for table in tables {
            counts.push(count(&world.desk, table).await);
        }
        counts
    };

    begin_call(&browser, "2026-10-15", "08:00").await;
    browser.until_it_says("giovedì 15 ottobre 2026, ore 8:00").await;
    browser.until_it_says("Benvenuti al servizio mensa scolastica.").await;
    // With the keyboard: the keypad has the focus once the call has begun.
    browser.until_it_says("Digiti il codice disdetta del bambino").await;
    browser.client.active_element().await.unwrap().send_keys(&code).await.unwrap();
    browser.until_it_says("Per disdire il pasto").await;
    // With the mouse.
    let one = || async { browser.client.find(Locator::Css("[data-key='1']")).await.unwrap().click().await.unwrap() };
    one().await;
    browser.until_it_says("confermare").await;
    one().await;
    browser.until_it_says("registrata").await;
    browser.until_it_says("giovedì quindici ottobre").await;
    browser.look_here("prova-linea-chiamata", Size::Desktop).await;
    browser.press("Riaggancia").await;
    browser.until_it_says("Ha riagganciato.").await;
    for (table, before) in tables.iter().zip(before) {
        assert_eq!(count(&world.desk, table).await, before, "{table}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clerk_brings_a_recording_listens_takes_it_and_puts_the_old_one_back() {
    let world = World::with_line().await;
    let browser = Chromium::start(&world).await;
    browser.log_in("ufficio").await;
    browser.until_it_says("Esci").await;
    browser.look_at("messaggi", "/ufficio/linea/messaggi").await;
    browser.look_at("messaggio", "/ufficio/linea/messaggi/menu").await;
    // What is no recording is told at its field.
    let folder = tempfile::tempdir().unwrap();
    let (garbage, huge) = (folder.path().join("foto.wav"), folder.path().join("enorme.wav"));
    std::fs::write(&garbage, [7; 5_000]).unwrap();
    std::fs::write(&huge, vec![0; 11 << 20]).unwrap();
    choose(&browser, "registrazione", &garbage).await;
    browser.press("Carica e controlla").await;
    browser.until_it_says("Non è una registrazione che si possa leggere").await;
    browser.assert_accessible().await;
    choose(&browser, "registrazione", &huge).await;
    browser.press("Carica e controlla").await;
    browser.until_it_says("al massimo 10 MB").await;
    // A tone in place of a sentence: it may be used, but is spoken of.
    browser.open("/ufficio/linea/messaggi/menu").await;
    let tone = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio/tone.m4a");
    choose(&browser, "registrazione", &tone).await;
    browser.press("Carica e controlla").await;
    browser.until_it_says("È molto breve").await;
    let script = "const done = arguments[0]; const voice = document.querySelector('audio'); voice.muted = true;
        voice.onended = () => done(voice.duration); voice.onerror = () => done(-1); voice.play().catch((e) => done(String(e)));";
    let length = browser.client.execute_async(script, Vec::new()).await.unwrap();
    assert!(length.as_f64().is_some_and(|s| (0.5..2.0).contains(&s)), "the recording is played to its end: {length}");
    // The refusals above are errors to the console.
    browser.console_errors().await;
    browser.look_here("messaggio-nuovo", Size::Desktop).await;
    browser.press("Usa questa registrazione").await;
    browser.until_it_says("le prossime chiamate sentiranno questa registrazione").await;
    browser.look_here("messaggio-cambiato", Size::Desktop).await;
    let shelf = &world.line.as_ref().unwrap().shelf;
    let now = || shelf.library(world.ente).clip("menu").unwrap().duration_ms();
    assert!(now() < 2_000, "{}", now());
    browser.press("Rimetti quella di serie").await;
    browser.until_it_says("di nuovo il messaggio di serie").await;
    assert!(now() > 10_000, "{}", now());
    browser.close().await;
}
