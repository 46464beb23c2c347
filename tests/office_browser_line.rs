//! The line's pages in a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;
mod support;

use std::{path::Path, sync::Arc, time::Duration};

use browser::{Chromium, Size};
use chrono::TimeDelta;
use office_support::World;
use rand::SeedableRng;
use support::serve_watched;
use voceguida::{
    canteen::code::ChildCode,
    telephony::phone::{PhoneConfig, dial},
    voice::prompts::PromptLibrary,
    web::office::{self, Office, OfficeSettings},
};

const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn the_line_is_accessible_fits_a_phone_and_lives_without_reload() {
    let mut world = World::new().await;
    let mut rng = rand::rngs::StdRng::seed_from_u64(5);
    let codes: Vec<_> = (0..2).map(|_| ChildCode::random(&mut rng)).collect();
    world.desk.import(world.ente, &support::roster(&codes)).await.unwrap();
    world.later(TimeDelta::minutes(8 * 60 + 30)).await;
    let (server, uri, watch) = serve_watched(world.desk.clone(), world.ente).await;
    let office = Office::new(world.desk.clone(), None, OfficeSettings::default()).await.unwrap();
    office.watch_line(watch);
    world.router = office::router(&Arc::clone(&office));
    let browser = Chromium::start(&world).await;
    browser.log_in("ufficio").await;
    browser.until_it_says("Termine per disdire").await;
    for (name, path) in
        [("linea-vuota", "/ufficio/linea"), ("storico-vuoto", "/ufficio/linea/chiamate"), ("percorso-vuoto", "/ufficio/linea/flusso")]
    {
        browser.look_at(name, path).await;
    }
    browser.open("/ufficio/linea").await;
    browser.until_it_says("Nessuna telefonata in corso").await;
    let clips = PromptLibrary::load(Path::new("prompts/it")).unwrap().clips();
    let phone = |n: usize| PhoneConfig { clips: clips.clone(), caller: format!("018297011{n}"), ..PhoneConfig::default() };
    let calls = [dial(&uri, phone(0)).await.unwrap(), dial(&uri, phone(1)).await.unwrap()];
    // Nothing is pressed in the browser: the call comes by itself.
    browser.until_it_says("Digita il codice").await;
    browser.look_here("linea", Size::Desktop).await;
    calls[0].press(&format!("{}1", codes[0].as_str())).await;
    assert!(calls[0].wait_heard("anteprima_cancel", PATIENCE).await);
    calls[0].press("1").await;
    assert!(calls[0].wait_heard("registrata_cancel", PATIENCE).await);
    for call in calls {
        call.hang_up().await;
    }
    browser.until_it_says("Nessuna telefonata in corso").await;
    let until = std::time::Instant::now() + PATIENCE;
    while world.desk.calls(world.ente, 5).await.unwrap().len() < 2 {
        assert!(std::time::Instant::now() < until, "the calls are not recorded");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    browser.look_at("storico", "/ufficio/linea/chiamate").await;
    browser.look_at("storico-sbagliato", "/ufficio/linea/chiamate?cifre=1").await;
    browser.look_at("percorso", "/ufficio/linea/flusso").await;
    for call in world.desk.calls(world.ente, 5).await.unwrap() {
        let name = if call.caller.as_deref() == Some("0182970110") { "telefonata" } else { "telefonata-senza-operazioni" };
        browser.look_at(name, &format!("/ufficio/linea/chiamate/{}", call.id)).await;
    }
    browser.close().await;
    server.drain(Duration::from_secs(1)).await;
}
