//! The office's frame in a real browser: login, a form with mistakes, passkeys. Every page as it stands: office_browser_pages.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;

use browser::{Chromium, Size};
use office_support::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_login_and_a_form_with_mistakes_are_accessible_and_fit_a_phone() {
    let world = World::new().await;
    let browser = Chromium::start(&world).await;
    browser.look_at("accesso", "/ufficio/accesso").await;
    browser.fill("utente", "admin").await;
    browser.fill("password", "non è questa").await;
    browser.press("Entra").await;
    browser.until_it_says("Nome utente o password non sono giusti").await;
    // The answer's status is an error, which the console notes.
    browser.console_errors().await;
    browser.look_here("accesso-errato", Size::Desktop).await;
    browser.log_in("admin").await;
    browser.until_it_says("Esci").await;
    // A form with mistakes: its summary has the focus and leads to the field.
    browser.open("/ufficio/persone/nuova").await;
    browser.client.execute("document.querySelector('main form').noValidate = true", Vec::new()).await.unwrap();
    browser.press("Salva").await;
    browser.until_it_says("C'è qualcosa da correggere").await;
    browser.console_errors().await;
    browser.look_here("persona-errori", Size::Desktop).await;
    let focus = browser.client.execute("return document.activeElement.getAttribute('role')", Vec::new()).await.unwrap();
    assert_eq!(focus, "alert");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_seen_once_and_revoked() {
    let world = World::new().await;
    let browser = Chromium::start(&world).await;
    browser.log_in("admin").await;
    browser.until_it_says("Esci").await;
    browser.open("/ufficio/chiavi/nuova").await;
    browser.fill("nome", "Centro cottura").await;
    for scope in ["counts:read", "schools:read"] {
        let script = format!("document.getElementById('permessi-{scope}').click()");
        browser.client.execute(&script, Vec::new()).await.unwrap();
    }
    browser.press("Crea la chiave").await;
    browser.until_it_says("Non si può rivedere").await;
    for size in [Size::Phone, Size::Desktop] {
        browser.resize(size).await;
        browser.look_here("chiave-fatta", size).await;
    }
    browser.look_at("chiavi-attive", "/ufficio/chiavi").await;
    browser.look_at("chiave-revoca", "/ufficio/chiavi/1/revoca").await;
    browser.press("Revoca la chiave").await;
    browser.until_it_says("da questo momento non apre più nulla").await;
    assert_eq!(browser.path().await, "/ufficio/chiavi");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_made_and_then_opens_the_door() {
    let world = World::new().await;
    let browser = Chromium::start(&world).await;
    browser.plug_authenticator_in().await;
    browser.log_in("ufficio").await;
    browser.until_it_says("Esci").await;
    browser.open("/ufficio/profilo/passkey").await;
    browser.press("Aggiungi").await;
    browser.until_it_says("La passkey è aggiunta").await;
    browser.look_here("profilo-con-passkey", Size::Desktop).await;
    browser.client.delete_all_cookies().await.unwrap();
    browser.log_in("ufficio").await;
    browser.until_it_says("Ancora un passo").await;
    browser.look_here("accesso-secondo", Size::Desktop).await;
    browser.press("Entra con la passkey").await;
    browser.until_it_says("Esci").await;
    browser.close().await;
}
