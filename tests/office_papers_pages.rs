//! The pages of letters, mail and settings, as a clerk meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use axum::http::StatusCode;
use chrono::NaiveTime;
use office_support::World;
use rand::SeedableRng;
use voceguida::{
    canteen::code::ChildCode,
    desk::{letters::Addressees, people::Role, trail::Actor},
};

/// An office with a class of two children, whose names would be markup.
async fn world() -> (World, Vec<ChildCode>) {
    let world = World::new().await;
    let mut rng = rand::rngs::StdRng::seed_from_u64(11);
    let codes: Vec<_> = (0..2).map(|_| ChildCode::random(&mut rng)).collect();
    let mut roster = support::roster(&codes);
    roster.children[0].last_name = "<b>Rossi</b>".into();
    world.desk.import(world.ente, &roster).await.unwrap();
    (world, codes)
}

#[tokio::test]
async fn letters_of_a_class_are_looked_at_and_printed() {
    let (world, codes) = world().await;
    let mut clerk = world.logged_in(Role::Office).await;
    let overview = clerk.get("/ufficio/lettere").await;
    overview.says("Nessuna lettera è stata ancora stampata o spedita.");
    let class = world.desk.letter_classes(world.ente).await.unwrap()[0].id;
    let look = clerk.get(&format!("/ufficio/lettere/classe/{class}")).await;
    look.says("Stampa 2 lettere (PDF)");
    look.says("&#60;b&#62;Rossi&#60;/b&#62; Ada");
    for code in &codes {
        assert!(!look.text.contains(code.as_str()), "codes are only in the letters");
    }
    let specimen = clerk.get(&format!("/ufficio/lettere/classe/{class}/esempio")).await;
    assert_eq!((specimen.status, specimen.header("content-type")), (StatusCode::OK, "application/pdf"));
    assert_eq!(world.desk.letters(world.ente, None, 0, 9).await.unwrap().1, 0, "looking makes none");
    let path = format!("/ufficio/lettere/classe/{class}");
    let pdf = clerk.fill(&path, &format!("{path}/stampa"), &[]).await;
    assert_eq!((pdf.status, pdf.header("content-type")), (StatusCode::OK, "application/pdf"));
    assert!(pdf.text.starts_with("%PDF"));
    clerk.get("/ufficio/lettere/registro").await.says("stampata");
    // Without a mail server nothing is queued that nobody would send.
    let sent = clerk.fill(&path, &format!("{path}/spedisci"), &[("modulo", "m1")]).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    assert_eq!(world.desk.mail_states(world.ente).await.unwrap(), []);
    // What is not there, or another office's.
    for path in ["/ufficio/lettere/classe/999", "/ufficio/lettere/bambino/999", "/ufficio/lettere/altro/1", "/ufficio/lettere/classe/x"] {
        assert!(clerk.get(path).await.status.is_client_error(), "{path}");
    }
}

#[tokio::test]
async fn a_code_is_replaced_after_a_page_that_says_what_will_happen() {
    let (world, codes) = world().await;
    let child = world.desk.child_by_code(world.ente, &codes[0]).await.unwrap();
    let mut clerk = world.logged_in(Role::Office).await;
    let page = format!("/ufficio/codici/{}/sostituisci", child.0);
    clerk.get(&format!("/ufficio/bambini/{}", child.0)).await.says(&format!(r#"href="{page}""#));
    let asked = clerk.get(&page).await;
    asked.says("Il codice di adesso smette di valere subito");
    let fields = [("_csrf", asked.hidden("_csrf")), ("_version", asked.hidden("_version"))];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let done = clerk.post(&page, &fields).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, format!("/ufficio/lettere/bambino/{}", child.0).as_str()));
    assert!(world.desk.child_by_code(world.ente, &codes[0]).await.is_err());
    clerk.get(done.location()).await.says("Il codice è sostituito");
    // The letter with the new code is right there; the same form once more does not put an end to it.
    let letter = done.location().to_owned();
    clerk.get(&letter).await.says(&format!("{letter}/stampa"));
    let new = world.desk.show_code(&Actor::system(world.ente), child).await.unwrap();
    let again = clerk.post(&page, &fields).await;
    assert_eq!(again.location(), page);
    clerk.get(&page).await.says("non è stato fatto nulla");
    assert_eq!(world.desk.show_code(&Actor::system(world.ente), child).await.unwrap(), new);
    // Without the version of what was shown nothing is done either.
    assert_eq!(clerk.fill(&page, &page, &[]).await.location(), page);
    assert_eq!(world.desk.show_code(&Actor::system(world.ente), child).await.unwrap(), new);
    assert_eq!(clerk.get("/ufficio/codici/999/sostituisci").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn another_offices_letters_are_not_there() {
    let (world, _) = world().await;
    let other = world.desk.put_ente("altro", "Altro comune", None, &voceguida::canteen::window::Window::default()).await.unwrap();
    let class = world.desk.letter_classes(world.ente).await.unwrap()[0].id;
    assert!(world.desk.letter_families(other, Addressees::Class(class)).await.unwrap().is_empty());
    let actor = Actor::system(other);
    assert!(world.desk.print_letters(&actor, Addressees::Class(class), &[]).await.is_err());
}

#[tokio::test]
async fn a_setting_is_shown_with_its_effect_before_it_is_saved() {
    let (world, _) = world().await;
    let mut clerk = world.logged_in(Role::Admin).await;
    clerk.get("/ufficio/impostazioni").await.says("Numeri da chiamare");
    let page = "/ufficio/impostazioni/parte/telefono";
    let fields = [("_version", "0"), ("cancel", "1"), ("suspend", "1"), ("resume", "1"), ("undo", "1")];
    let asked = clerk.fill(page, page, &fields).await;
    asked.says("Dalla prossima telefonata non si potrà più chiedere il pasto in bianco per telefono");
    assert_eq!(world.desk.settings(world.ente).await.unwrap().settings.version, 0, "nothing is saved yet");
    let confirmed: Vec<_> = fields.into_iter().chain([("conferma", "1")]).collect();
    assert_eq!(clerk.fill(page, page, &confirmed).await.status, StatusCode::SEE_OTHER);
    clerk.get("/ufficio/impostazioni").await.says("Le impostazioni sono salvate.");
    assert_eq!(world.desk.offered(world.ente).await.unwrap().iter().count(), 4);

    // Another clerk, whose page is older, is shown what would become of the first one's work.
    let page = "/ufficio/impostazioni/parte/conservazione";
    let fields = [
        ("_version", "0"),
        ("keep_calls_days", "365"),
        ("keep_audit_days", "730"),
        ("keep_left_days", "3650"),
        ("keep_tickets_days", "730"),
        ("conferma", "1"),
    ];
    let told = clerk.fill(page, page, &fields).await;
    assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
    told.says("un'altra persona ha cambiato le impostazioni");
    told.says("stanotte sarà cancellato per sempre ciò che ha più di 365 giorni");
    told.says(r#"value="365""#);
    assert_eq!(told.hidden("_version"), "1");
    // What cannot be is told at its field, and what was typed stays.
    let page = "/ufficio/impostazioni/parte/ente";
    let told = clerk.fill(page, page, &[("_version", "1"), ("name", "Comune"), ("portal", "http://x"), ("numbers", "uno")]).await;
    assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
    told.says("comincia con https://");
    told.says("Uno dei numeri di telefono non è valido.");
    let telephone = "/ufficio/impostazioni/parte/telefono";
    clerk.fill(telephone, telephone, &[("_version", "1"), ("suspend", "1")]).await.says("Chi sospende deve poter riprendere");
}

#[tokio::test]
async fn new_hours_are_confirmed_and_can_be_withdrawn() {
    let (world, _) = world().await;
    let mut clerk = world.logged_in(Role::Admin).await;
    let page = "/ufficio/impostazioni/orari";
    clerk.get(page).await.says(r#"value="2026-10-13""#);
    let fields = [("opens", "18:00"), ("cutoff", "8:30"), ("first_day", "2026-10-19")];
    clerk.fill(page, page, &fields).await.says("Da lunedì 19 ottobre 2026 le disdette saranno accettate fino alle 8:30");
    assert!(world.desk.settings(world.ente).await.unwrap().change.is_none());
    let confirmed: Vec<_> = fields.into_iter().chain([("conferma", "1")]).collect();
    assert_eq!(clerk.fill(page, page, &confirmed).await.status, StatusCode::SEE_OTHER);
    clerk.get("/ufficio/impostazioni").await.says("Cambio previsto. Da lunedì 19 ottobre 2026");
    assert_eq!(clerk.fill("/ufficio/impostazioni", "/ufficio/impostazioni/orari/ritira", &[]).await.status, StatusCode::SEE_OTHER);
    let view = world.desk.settings(world.ente).await.unwrap();
    assert_eq!((view.change, view.window.cutoff), (None, NaiveTime::from_hms_opt(9, 0, 0).unwrap()));
    let early = [("opens", "18:00"), ("cutoff", "8:30"), ("first_day", "2026-10-12"), ("conferma", "1")];
    clerk.fill(page, page, &early).await.says("scelga un giorno successivo");
}

#[tokio::test]
async fn the_mail_log_says_what_became_of_a_trial() {
    let (world, _) = world().await;
    world.desk.send_trial(&Actor::system(world.ente), "prova@borgo.example").await.unwrap();
    let mut clerk = world.logged_in(Role::Office).await;
    let log = clerk.get("/ufficio/posta").await;
    log.says("prova@borgo.example");
    log.says("in coda");
    log.says("Il server di posta non è configurato");
    clerk.get("/ufficio/posta?stato=sent").await.says("Nessun messaggio in questo stato.");
    assert_eq!(clerk.fill("/ufficio/posta", "/ufficio/posta/1/ritira", &[]).await.status, StatusCode::SEE_OTHER);
    clerk.get("/ufficio/posta").await.says("ritirata");
}
