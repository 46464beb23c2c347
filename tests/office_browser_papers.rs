//! Letters, mail and settings in a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;
mod support;

use browser::{Chromium, Size};
use office_support::World;
use rand::SeedableRng;
use voceguida::{
    canteen::code::ChildCode,
    desk::{letters::Addressees, trail::Actor},
};

#[tokio::test(flavor = "multi_thread")]
async fn letters_mail_and_settings_are_accessible_and_fit_a_phone() {
    let world = World::new().await;
    let mut rng = rand::rngs::StdRng::seed_from_u64(5);
    let codes: Vec<_> = (0..2).map(|_| ChildCode::random(&mut rng)).collect();
    let browser = Chromium::start(&world).await;
    browser.log_in("admin").await;
    browser.until_it_says("Esci").await;
    for (name, path) in
        [("lettere-vuote", "/ufficio/lettere"), ("lettere-fatte-vuote", "/ufficio/lettere/registro"), ("posta-vuota", "/ufficio/posta")]
    {
        browser.look_at(name, path).await;
    }
    world.desk.import(world.ente, &support::roster(&codes)).await.unwrap();
    let actor = Actor::system(world.ente);
    let class = world.desk.letter_classes(world.ente).await.unwrap()[0].id;
    let child = world.desk.child_by_code(world.ente, &codes[0]).await.unwrap();
    world.desk.print_letters(&actor, Addressees::Class(class), &[]).await.unwrap();
    world.desk.send_trial(&actor, "prova@borgo.example").await.unwrap();
    for (name, path) in [
        ("lettere", "/ufficio/lettere"),
        ("lettere-classe", &format!("/ufficio/lettere/classe/{class}")),
        ("lettere-bambino", &format!("/ufficio/lettere/bambino/{}", child.0)),
        ("codice-sostituire", &format!("/ufficio/codici/{}/sostituisci", child.0)),
        ("lettere-fatte", "/ufficio/lettere/registro"),
        ("posta", "/ufficio/posta"),
        ("impostazioni", "/ufficio/impostazioni"),
        ("impostazioni-ente", "/ufficio/impostazioni/parte/ente"),
        ("impostazioni-telefono", "/ufficio/impostazioni/parte/telefono"),
        ("impostazioni-conservazione", "/ufficio/impostazioni/parte/conservazione"),
        ("impostazioni-orari", "/ufficio/impostazioni/orari"),
    ] {
        browser.look_at(name, path).await;
    }
    // From the form to what it will do, and done.
    browser.open("/ufficio/impostazioni/orari").await;
    browser.client.execute("document.querySelector('[name=cutoff]').value = '08:30'", Vec::new()).await.unwrap();
    browser.press("Continua").await;
    browser.until_it_says("le disdette saranno accettate fino alle 8:30").await;
    browser.look_here("impostazioni-conferma", Size::Desktop).await;
    browser.press("Conferma").await;
    browser.until_it_says("Cambio previsto").await;
    browser.look_here("impostazioni-cambio-previsto", Size::Phone).await;
    browser.close().await;
}
