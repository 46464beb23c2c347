//! Letters and mail where there is nothing yet, and a change of hours, in a real browser. Every page as it stands: office_browser_pages.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;

use browser::{Chromium, Size};
use office_support::World;

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_and_a_change_of_hours_are_accessible_and_fit_a_phone() {
    let world = World::new().await;
    let browser = Chromium::start(&world).await;
    browser.log_in("admin").await;
    browser.until_it_says("Esci").await;
    for (name, path) in
        [("lettere-vuote", "/ufficio/lettere"), ("lettere-fatte-vuote", "/ufficio/lettere/registro"), ("posta-vuota", "/ufficio/posta")]
    {
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
