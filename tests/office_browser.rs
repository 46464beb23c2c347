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
    browser.until_it_says("Buon lavoro").await;
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
async fn a_passkey_is_made_and_then_opens_the_door() {
    let world = World::new().await;
    let browser = Chromium::start(&world).await;
    browser.plug_authenticator_in().await;
    browser.log_in("ufficio").await;
    browser.until_it_says("Buon lavoro").await;
    browser.open("/ufficio/profilo/passkey").await;
    browser.press("Aggiungi").await;
    browser.until_it_says("La passkey è aggiunta").await;
    browser.look_here("profilo-con-passkey", Size::Desktop).await;
    browser.client.delete_all_cookies().await.unwrap();
    browser.log_in("ufficio").await;
    browser.until_it_says("Ancora un passo").await;
    browser.look_here("accesso-secondo", Size::Desktop).await;
    browser.press("Entra con la passkey").await;
    browser.until_it_says("Buon lavoro").await;
    browser.close().await;
}
