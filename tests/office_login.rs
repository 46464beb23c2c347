//! Logging in and out of the office, as a browser sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;

use axum::http::StatusCode;
use chrono::TimeDelta;
use office_support::{PASSWORD, World};
use voceguida::{
    desk::{people::Role, trail::Actor},
    web::office::OfficeSettings,
};

#[tokio::test]
async fn who_has_the_password_is_in_until_they_leave() {
    let world = World::new().await;
    let mut browser = world.browser();
    assert_eq!(browser.get("/ufficio/").await.location(), "/ufficio/accesso?dopo=%2Fufficio%2F");
    assert_eq!(browser.log_in("ufficio", PASSWORD).await.location(), "/ufficio/");
    let home = browser.get("/ufficio/").await;
    home.says("<h1");
    home.says("Persona Ufficio");
    let csrf = home.hidden("_csrf");
    assert_eq!(browser.post("/ufficio/uscita", &[("_csrf", &csrf)]).await.location(), "/ufficio/accesso");
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_wrong_password_is_not_told_from_a_wrong_name() {
    let world = World::new().await;
    let mut browser = world.browser();
    for (login, password) in [("ufficio", "un'altra password"), ("nessuno", PASSWORD), ("<b>nessuno</b>", PASSWORD)] {
        let seen = browser.log_in(login, password).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
        seen.says("Nome utente o password non sono giusti.");
        assert!(!seen.text.contains("<b>"));
    }
}

#[tokio::test]
async fn guessers_are_shut_out_and_the_person_at_their_own_desk_is_not() {
    let world = World::new().await;
    world.logged_in(Role::Office).await;
    let mut stranger = world.browser();
    stranger.address = "203.0.113.9:1000".parse().unwrap();
    for _ in 0..8 {
        assert_eq!(stranger.log_in("ufficio", "tentativo sbagliato").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    // Even the right password does not help from there, nor from another address; at the known one it does.
    assert_eq!(stranger.log_in("ufficio", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    stranger.address = "203.0.113.10:1000".parse().unwrap();
    assert_eq!(stranger.log_in("ufficio", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    world.logged_in(Role::Office).await;
}

#[tokio::test]
async fn one_address_does_not_try_everybodys_name() {
    let world = World::new().await;
    let mut stranger = world.browser();
    for n in 0..40 {
        assert_eq!(stranger.log_in(&format!("persona{n}"), "tentativo").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(stranger.log_in("admin", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn lock_out_is_over_after_a_quarter_of_an_hour() {
    let mut world = World::new().await;
    let mut browser = world.browser();
    for _ in 0..8 {
        browser.log_in("ufficio", "tentativo sbagliato").await;
    }
    assert_eq!(browser.log_in("ufficio", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    world.later(TimeDelta::minutes(16)).await;
    world.logged_in(Role::Office).await;
}

#[tokio::test]
async fn a_session_ends_idle_and_in_any_case() {
    let mut world = World::new().await;
    let mut browser = world.logged_in(Role::Office).await;
    world.later(TimeDelta::minutes(59)).await;
    browser = browser.at(&world);
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::OK);
    world.later(TimeDelta::minutes(61)).await;
    browser = browser.at(&world);
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::SEE_OTHER);

    let mut browser = world.logged_in(Role::Office).await;
    for _ in 0..14 {
        world.later(TimeDelta::minutes(50)).await;
        browser = browser.at(&world);
        assert_eq!(browser.get("/ufficio/").await.status, StatusCode::OK);
    }
    world.later(TimeDelta::minutes(50)).await;
    assert_eq!(browser.at(&world).get("/ufficio/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_token_planted_before_login_is_worth_nothing_after_it() {
    let world = World::new().await;
    let planted = "a".repeat(64);
    let mut browser = world.browser();
    browser.cookies.push(("ufficio-sessione".into(), planted.clone()));
    assert_eq!(browser.log_in("ufficio", PASSWORD).await.status, StatusCode::SEE_OTHER);
    let session = browser.cookies.iter().find(|(n, _)| n == "ufficio-sessione").unwrap().1.clone();
    assert_ne!(session, planted);
    let mut thief = world.browser();
    thief.cookies.push(("ufficio-sessione".into(), planted));
    assert_eq!(thief.get("/ufficio/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn with_https_the_cookies_are_kept_to_it() {
    let settings = OfficeSettings { url: Some("https://ufficio.example".into()), ..OfficeSettings::default() };
    let world = World::with(settings).await;
    let mut browser = world.browser();
    browser.https = true;
    let seen = browser.log_in("ufficio", PASSWORD).await;
    let cookies: Vec<_> = seen.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
    let session = cookies.iter().find(|c| c.starts_with("__Host-ufficio-sessione=")).unwrap();
    assert!(
        session.contains("; Secure")
            && session.contains("; HttpOnly")
            && session.contains("; SameSite=Lax")
            && session.contains("; Path=/;")
    );
    assert_eq!(seen.header("strict-transport-security"), "max-age=31536000");
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_link_logs_in_once() {
    let world = World::new().await;
    let person = world.desk.person_by_login("ufficio").await.unwrap().unwrap();
    let link = world.desk.login_link(&Actor::system(world.ente), &person, TimeDelta::hours(1)).await.unwrap();
    let path = format!("/ufficio/entra/{}", link.reveal());
    let mut browser = world.browser();
    // Whatever only looks at the link does not use it up.
    browser.get(&path).await.says("vale una volta sola");
    assert_eq!(browser.fill(&path, &path, &[]).await.location(), "/ufficio/");
    browser.get("/ufficio/").await.says("Persona Ufficio");
    let seen = world.browser().fill(&path, &path, &[]).await;
    seen.says("non vale più");
}

#[tokio::test]
async fn what_was_typed_survives_the_end_of_the_session() {
    let mut world = World::new().await;
    let mut browser = world.logged_in(Role::Office).await;
    let csrf = browser.get("/ufficio/profilo/password").await.hidden("_csrf");
    world.later(TimeDelta::hours(2)).await;
    browser = browser.at(&world);
    let seen = browser.post("/ufficio/profilo/password", &[("_csrf", &csrf), ("nuova", "è <lunga> & strana"), ("ripetuta", "x")]).await;
    seen.says("Ciò che ha scritto non è perduto");
    let (csrf, kept) = (seen.hidden("_csrf"), seen.hidden("ripresa"));
    assert!(!kept.contains("strana"));
    let login = |login: &'static str| {
        vec![("_csrf", csrf.clone()), ("ripresa", kept.clone()), ("utente", login.to_owned()), ("password", PASSWORD.to_owned())]
    };
    // Somebody else who logs in here does not get it.
    let mut other = browser.clone();
    let fields = login("admin");
    let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(other.post("/ufficio/accesso", &fields).await.location(), "/ufficio/");
    let fields = login("ufficio");
    let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let seen = browser.post("/ufficio/accesso", &fields).await;
    seen.says("Riprenda da dove era");
    seen.says(r#"action="/ufficio/profilo/password""#);
    let csrf = seen.hidden("_csrf");
    assert_eq!(seen.hidden("nuova"), "è <lunga> & strana");
    // It comes back to its page, and is not done by itself.
    let fields = [("_csrf", csrf.as_str()), ("_ripresa", "1"), ("nuova", "è <lunga> & strana"), ("ripetuta", "x")];
    browser.post("/ufficio/profilo/password", &fields).await.says("Ecco ciò che stava scrivendo");
}

#[tokio::test]
async fn whoever_was_given_a_password_chooses_their_own_first() {
    let world = World::new().await;
    let person = world.desk.person_by_login("ufficio").await.unwrap().unwrap();
    world.desk.give_password(&Actor::system(world.ente), person.id, "provvisoria per un giorno", true).await.unwrap();
    let mut browser = world.browser();
    browser.log_in("ufficio", "provvisoria per un giorno").await;
    assert_eq!(browser.get("/ufficio/").await.location(), "/ufficio/profilo/password");
    let page = "/ufficio/profilo/password";
    let change = |present: &'static str, new: &'static str| [("attuale", present), ("nuova", new), ("ripetuta", new)];
    browser.fill(page, page, &change("sbagliata", PASSWORD)).await.says("Non è la password attuale.");
    browser.fill(page, page, &change("provvisoria per un giorno", "corta")).await.says("È troppo corta");
    assert_eq!(browser.fill(page, page, &change("provvisoria per un giorno", PASSWORD)).await.location(), "/ufficio/profilo");
    browser.get("/ufficio/profilo").await.says("La password è cambiata.");
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::OK);
}
