//! News and tickets in a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;
mod support;

use browser::{Chromium, Size};
use office_support::World;
use support::families::{adult, child, roster};
use voceguida::{
    canteen::{
        book::{Change, ClosureKind, Place},
        roster::Roster,
    },
    desk::trail::Actor,
    web::office::{self, Office, OfficeSettings},
};

async fn world() -> World {
    let mut world = World::new().await;
    world.desk = world.desk.clone().with_mail(true);
    world.router = office::router(&Office::new(world.desk.clone(), None, OfficeSettings::default()).await.unwrap());
    world
}

/// The families under names that pictures in the documentation can show.
fn families() -> Roster {
    let mut roster = roster();
    for child in &mut roster.children {
        child.last_name = child.last_name.replace("<b>", "").replace("</b>", "");
    }
    for school in &mut roster.schools {
        school.name = school.name.replace('*', "");
    }
    roster
}

/// Presses the box or chooses what has this id.
async fn click(browser: &Chromium, id: &str) {
    browser.client.execute("document.getElementById(arguments[0]).click()", vec![id.into()]).await.unwrap();
}

/// Waits until something stands in the field.
async fn until_filled(browser: &Chromium, id: &str) -> String {
    for _ in 0..600 {
        let script = "const field = document.getElementById(arguments[0]); return field ? field.value : ''";
        let value = browser.client.execute(script, vec![id.into()]).await.ok().and_then(|v| v.as_str().map(ToOwned::to_owned));
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            return value;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("nothing stands in {id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn news_are_written_looked_at_and_published() {
    let world = world().await;
    let browser = Chromium::start(&world).await;
    browser.log_in("ufficio").await;
    browser.until_it_says("Esci").await;
    browser.look_at("avvisi-vuoti", "/ufficio/avvisi").await;
    world.desk.import(world.ente, &families()).await.unwrap();
    browser.look_at("avviso-nuovo", "/ufficio/avvisi/nuovo").await;
    browser.fill("titolo", "Menù di novembre").await;
    browser.fill("testo", "# Da lunedì\n\nGentili famiglie,\n\n- pasta\n- pesce\n\nVedi [il menù](https://comune.example/menu).").await;
    click(&browser, "per-tutte").await;
    click(&browser, "posta-1").await;
    browser.press("Anteprima").await;
    browser.until_it_says("Non è ancora salvato").await;
    let focus = browser.client.execute("return document.activeElement.id", Vec::new()).await.unwrap();
    assert_eq!(focus, "anteprima", "whoever asked for a preview is led to it");
    browser.look_here("avviso-anteprima", Size::Desktop).await;
    browser.resize(Size::Phone).await;
    browser.look_here("avviso-anteprima", Size::Phone).await;
    browser.resize(Size::Desktop).await;
    browser.press("Salva").await;
    browser.until_it_says("La bozza è salvata").await;
    let path = browser.path().await;
    browser.look_at("avviso-bozza", &path).await;
    browser.look_at("avviso-pubblica", &format!("{path}/pubblica")).await;
    browser.press("Pubblica").await;
    browser.until_it_says("L'avviso è pubblicato").await;
    let ada = adult(&world.desk, world.ente, "Rossi Ada").await;
    assert_eq!(world.desk.news_for_adult(world.ente, ada).await.unwrap()[0].title, "Menù di novembre");
    browser.look_at("avviso-modifica", &format!("{path}/modifica")).await;
    browser.look_at("avviso-ritira", &format!("{path}/ritira")).await;
    browser.look_at("avvisi", "/ufficio/avvisi").await;

    let day = support::day("2026-10-20");
    let change = Change::Close { place: Place::Ente, first: day, last: day, kind: ClosureKind::Strike, reason: String::new() };
    world.desk.change_calendar(&Actor::system(world.ente), &[change], None).await.unwrap();
    let closure = world.desk.calendar_book(world.ente).await.unwrap().closures[0].id;
    browser.look_at("chiusura-avviso", &format!("/ufficio/calendario/chiusure/{closure}/avviso")).await;
    browser.press("Prepara l'avviso").await;
    browser.until_it_says("Ecco l'avviso sulla chiusura").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_opened_answered_with_a_canned_answer_and_closed() {
    let world = world().await;
    let browser = Chromium::start(&world).await;
    browser.log_in("ufficio").await;
    browser.until_it_says("Esci").await;
    browser.look_at("segnalazioni-vuote", "/ufficio/segnalazioni").await;
    browser.look_at("risposte-vuote", "/ufficio/segnalazioni/risposte").await;
    browser.look_at("risposta-nuova", "/ufficio/segnalazioni/risposte/nuova").await;
    browser.fill("titolo", "Certificato medico").await;
    browser.fill("testo", "Gentile {nome},\n\nper {bambino} serve il certificato del medico.").await;
    browser.press("Salva").await;
    browser.until_it_says("La risposta pronta è aggiunta").await;
    browser.look_at("risposte", "/ufficio/segnalazioni/risposte").await;
    let canned = world.desk.canned_answers(world.ente).await.unwrap()[0].id;
    browser.look_at("risposta", &format!("/ufficio/segnalazioni/risposte/{canned}")).await;

    world.desk.import(world.ente, &families()).await.unwrap();
    browser.look_at("segnalazione-nuova", "/ufficio/segnalazioni/nuova").await;
    browser.fill("cerca", "leo").await;
    browser.press("Cerca").await;
    browser.until_it_says("Rossi Leo").await;
    browser.look_here("segnalazione-nuova-cerca", Size::Desktop).await;
    browser.press("Rossi Leo").await;
    browser.until_it_says("Chi chiama").await;
    browser.fill("titolo", "Dieta senza glutine").await;
    browser.fill("testo", "Chiede da quando vale la dieta.").await;
    browser.press("Apri la segnalazione").await;
    browser.until_it_says("è aperta").await;
    let path = browser.path().await;
    browser.look_at("segnalazione", &path).await;
    browser.press("Usa").await;
    let begun = until_filled(&browser, "testo").await;
    assert_eq!(begun, "Gentile Ada Rossi,\n\nper Leo Rossi serve il certificato del medico.");
    browser.press("Rispondi").await;
    browser.until_it_says("la segnalazione è chiusa").await;
    browser.look_at("segnalazione-chiusa", &path).await;
    browser.look_at("segnalazioni-tutte", "/ufficio/segnalazioni?stato=tutte").await;
    // As one types.
    browser.fill("testo", "glutine").await;
    browser.until_it_says("Una segnalazione trovata").await;
    let leo = child(&world.desk, world.ente, "Rossi Leo").await;
    let ada = adult(&world.desk, world.ente, "Rossi Ada").await;
    browser.look_at("bambino-segnalazioni", &format!("/ufficio/bambini/{leo}")).await;
    browser.look_at("famiglia-segnalazioni", &format!("/ufficio/famiglie/{ada}")).await;
    browser.look_at("impostazioni-sola-lettura", "/ufficio/impostazioni").await;
    browser.close().await;
}
