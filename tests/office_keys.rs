//! Keys for other systems, as an administrator's browser makes and revokes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use office_support::{Browser, Seen, World};
use tower::ServiceExt;
use voceguida::{
    desk::people::Role,
    web::{api, office::OfficeSettings},
};

const NEW: &str = "/ufficio/chiavi/nuova";

/// Makes a key; gives the page that shows it.
async fn make(browser: &mut Browser, scopes: &[&str]) -> Seen {
    let mut fields = vec![("nome", "Centro cottura"), ("durata", "90")];
    fields.extend(scopes.iter().map(|scope| ("permessi", *scope)));
    browser.fill(NEW, NEW, &fields).await
}

fn key_in(seen: &Seen) -> String {
    let (_, rest) = seen.text.split_once("vg_").expect("a key");
    format!("vg_{}", rest.split('<').next().unwrap())
}

async fn opens(world: &World, key: &str) -> StatusCode {
    let router = api::router(world.desk.clone(), OfficeSettings::default());
    let request = Request::get("/api/v1/schools").header(header::AUTHORIZATION, format!("Bearer {key}")).body(Body::empty()).unwrap();
    router.oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_key_is_shown_once_opens_what_it_says_and_is_revoked_at_once() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    browser.get("/ufficio/chiavi").await.says("nessun altro sistema legge questi dati");
    let made = make(&mut browser, &["schools:read", "counts:read"]).await;
    assert_eq!(made.status, StatusCode::OK);
    made.says("Non si può rivedere");
    assert_eq!(made.header("cache-control"), "no-store");
    let key = key_in(&made);
    assert_eq!(opens(&world, &key).await, StatusCode::OK);
    let list = browser.get("/ufficio/chiavi").await;
    list.says("Centro cottura");
    list.says("lunedì 12 ottobre 2026");
    assert!(!list.text.contains(&key[3..]), "the key is not to be seen again");
    let (_, rest) = list.text.split_once("/ufficio/chiavi/").map(|(_, rest)| rest.split_once("/ufficio/chiavi/").unwrap()).unwrap();
    let revoke = format!("/ufficio/chiavi/{}", rest.split('"').next().unwrap());
    browser.get(&revoke).await.says("Da quel momento il sistema non legge più nulla");
    let done = browser.fill(&revoke, &revoke, &[]).await;
    assert_eq!(done.location(), "/ufficio/chiavi");
    browser.get("/ufficio/chiavi").await.says("revocata da admin");
    assert_eq!(opens(&world, &key).await, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.get(&revoke).await.status, StatusCode::NOT_FOUND);
    let trail = browser.get("/ufficio/registro").await;
    trail.says("ha creato una chiave");
    trail.says("ha revocato una chiave");
    assert!(!trail.text.contains(&key[3..]));
}

#[tokio::test]
async fn a_key_that_makes_no_sense_is_not_made_and_what_was_typed_stays() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    let seen = make(&mut browser, &[]).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    seen.says("Scelga almeno una voce");
    seen.says(r#"value="Centro cottura""#);
    make(&mut browser, &["children:names"]).await.says("Nomi e diete servono solo insieme ai bambini");
    let fields = [("nome", "x"), ("durata", "9999"), ("permessi", "schools:read")];
    assert_eq!(browser.fill(NEW, NEW, &fields).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(world.desk.tokens(world.ente).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn an_auditor_sees_the_keys_and_makes_none() {
    let world = World::new().await;
    make(&mut world.logged_in(Role::Admin).await, &["schools:read"]).await;
    let mut auditor = world.logged_in(Role::Auditor).await;
    let list = auditor.get("/ufficio/chiavi").await;
    list.says("Centro cottura");
    assert!(!list.text.contains("Revoca") && !list.text.contains("Crea una chiave"));
    assert_eq!(auditor.get(NEW).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.logged_in(Role::Office).await.get("/ufficio/chiavi").await.status, StatusCode::FORBIDDEN);
}
