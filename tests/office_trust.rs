//! Who may do what in the office, and what a stranger's form, another role or another office can do: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;

use axum::http::{Method, StatusCode};
use office_support::{Browser, PASSWORD, World};
use voceguida::{
    canteen::window::Window,
    desk::{
        people::{Permission, PersonData, Role},
        trail::Actor,
    },
    web::office::{self, RouteRule, Takes},
};

/// A path that fits the route.
fn path_of(rule: &RouteRule) -> String {
    let parts: Vec<_> = rule.path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
    parts.join("/")
}

async fn try_route(browser: &mut Browser, rule: &RouteRule, csrf: &str) -> StatusCode {
    let path = path_of(rule);
    if rule.method == Method::GET {
        return browser.get(&path).await.status;
    }
    // With a right token but nothing else in the form: whoever may is told what is missing, nobody does anything.
    browser.post(&path, &[("_csrf", csrf)]).await.status
}

/// Routes that would end the session or change the very people of this test.
fn is_harmful(rule: &RouteRule) -> bool {
    ["/collegamento", "/accesso", "/secondo-fattore", "/sessioni"].iter().any(|end| rule.path.ends_with(end)) && rule.method == Method::POST
}

#[tokio::test]
async fn each_role_does_on_each_route_what_the_table_says() {
    let world = World::new().await;
    let rules = office::rules();
    assert!(rules.len() > 15);
    for role in Role::ALL {
        let mut browser = world.logged_in(role).await;
        let csrf = browser.get("/ufficio/profilo").await.hidden("_csrf");
        for rule in &rules {
            if role.may(rule.may) && is_harmful(rule) {
                continue;
            }
            let status = try_route(&mut browser, rule, &csrf).await;
            let what = format!("{} {} {}", role.word(), rule.method, rule.path);
            if role.may(rule.may) {
                assert!(
                    status != StatusCode::FORBIDDEN && status != StatusCode::UNAUTHORIZED && !status.is_server_error(),
                    "{what}: {status}"
                );
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_who_is_not_logged_in_gets_in_anywhere() {
    let world = World::new().await;
    let mut browser = world.browser();
    for rule in office::rules() {
        let status = try_route(&mut browser, &rule, "x").await;
        let expected = if rule.takes == Takes::Nothing { StatusCode::SEE_OTHER } else { StatusCode::UNAUTHORIZED };
        assert_eq!(status, expected, "{} {}", rule.method, rule.path);
    }
}

/// What it is, its token, its headers.
type Forgery<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

#[tokio::test]
async fn forged_forms_do_nothing() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    let csrf = browser.get("/ufficio/persone/nuova").await.hidden("_csrf");
    let stolen = world.logged_in(Role::Admin).await.get("/ufficio/persone/nuova").await.hidden("_csrf");
    let fields = |token: &str| {
        vec![
            ("_csrf".to_owned(), token.to_owned()),
            ("utente".into(), "intrusa".into()),
            ("nome".into(), "Intrusa".into()),
            ("ruolo".into(), "admin".into()),
        ]
    };
    let ours = [("origin", "http://ufficio.example"), ("sec-fetch-site", "same-origin")];
    let tries: [Forgery<'_>; 7] = [
        ("no token", "", &ours),
        ("another session's token", &stolen, &ours),
        ("from another site", &csrf, &[("origin", "http://altrove.example"), ("sec-fetch-site", "cross-site")]),
        ("from a sister site", &csrf, &[("origin", "http://altro.ufficio.example"), ("sec-fetch-site", "same-site")]),
        ("an origin that begins alike", &csrf, &[("origin", "http://ufficio.example.altrove.example")]),
        ("a sandbox", &csrf, &[("origin", "null")]),
        ("neither origin nor site", &csrf, &[]),
    ];
    for (what, token, headers) in tries {
        let fields = fields(token);
        let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let seen = browser.post_from("/ufficio/persone/nuova", &fields, headers).await;
        assert_eq!(seen.status, StatusCode::FORBIDDEN, "{what}");
        seen.says("non è stato salvato nulla");
    }
    assert!(world.desk.person_by_login("intrusa").await.unwrap().is_none());
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_a_browser_safe() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    for path in ["/ufficio/", "/ufficio/accesso", "/ufficio/persone", "/ufficio/non-c-e", "/ufficio/persone/99999"] {
        let seen = browser.get(path).await;
        let policy = seen.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(seen.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(seen.header("cache-control"), "no-store", "{path}");
        assert!(
            !seen.text.contains(" style=") && !seen.text.contains("<script>") && !seen.text.contains(" onclick="),
            "{path}: something inline"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_or_too_large_is_told_without_details() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    assert_eq!(browser.get("/ufficio/non-c-e").await.status, StatusCode::NOT_FOUND);
    browser.get("/ufficio/persone/99999").await.says("Pagina non trovata");
    let csrf = browser.get("/ufficio/persone/nuova").await.hidden("_csrf");
    let long = "x".repeat(300 * 1024);
    let seen = browser.post("/ufficio/persone/nuova", &[("_csrf", &csrf), ("nome", &long)]).await;
    assert_eq!(seen.status, StatusCode::PAYLOAD_TOO_LARGE);
    seen.says("al massimo 256 kB");
    assert_eq!(browser.post("/ufficio/persone/1/nulla", &[("_csrf", &csrf)]).await.status, StatusCode::NOT_FOUND);
    let status = browser.post("/ufficio/registro", &[("_csrf", &csrf)]).await.status;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn another_offices_people_are_not_to_be_seen() {
    let world = World::new().await;
    let other = world.desk.put_ente("altro", "Comune di Altro", None, &Window::default()).await.unwrap();
    let data =
        PersonData { login: "altra".into(), name: "Persona Altra".into(), email: None, role: Role::Admin, second_factor_required: false };
    let person = world.desk.add_person(&Actor::system(other), &data).await.unwrap();
    let mut browser = world.logged_in(Role::Admin).await;
    assert!(!browser.get("/ufficio/persone").await.text.contains("Persona Altra"));
    assert_eq!(browser.get(&format!("/ufficio/persone/{}", person.id)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn html_in_a_name_stays_text() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    let page = "/ufficio/persone/nuova";
    let name = r#"<img src=x onerror="alert(1)">"#;
    let seen = browser.fill(page, page, &[("utente", "strana"), ("nome", name), ("ruolo", "ufficio")]).await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER);
    for path in [seen.location(), "/ufficio/persone", "/ufficio/registro"] {
        let text = browser.get(path).await.text;
        assert!(!text.contains("<img"), "{path}");
    }
}

#[tokio::test]
async fn an_administrator_adds_changes_and_disables_people_and_the_trail_tells_of_it() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    let page = "/ufficio/persone/nuova";
    browser.fill(page, page, &[("utente", "Anna.Rossi"), ("nome", ""), ("ruolo", "")]).await.says("Nome e cognome: Scriva qualcosa");
    browser
        .fill(page, page, &[("utente", "ufficio"), ("nome", "Anna Rossi"), ("ruolo", "ufficio")])
        .await
        .says("C&#39;è già qualcuno con questo nome utente");
    let seen = browser.fill(page, page, &[("utente", "Anna.Rossi"), ("nome", "Anna Rossi"), ("ruolo", "ufficio")]).await;
    let path = seen.location().to_owned();
    browser.get(&path).await.says("Anna Rossi è tra le persone");
    let shown = browser.get(&path).await;
    let change = [
        ("_csrf", shown.hidden("_csrf")),
        ("_version", shown.hidden("_version")),
        ("nome", "Anna Rossi".into()),
        ("ruolo", "cucina".into()),
    ];
    let change: Vec<_> = change.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(browser.post(&path, &change).await.location(), "/ufficio/persone");
    // The same form once more is from before the change: told, with what stands now.
    let seen = browser.post(&path, &change).await;
    seen.says("Nel frattempo qualcun altro ha cambiato");
    seen.says("Ora è registrato: Anna Rossi, nessuna e-mail, Cucina.");
    let seen = browser.fill(&path, &format!("{path}/accesso"), &[("fai", "disabilita")]).await;
    assert_eq!(seen.location(), path);
    let trail = browser.get("/ufficio/registro?su=anna").await;
    trail.says("ha aggiunto una persona");
    trail.says("ha cambiato una persona");
    trail.says("ha disabilitato una persona");
    let line = trail.text.split("/ufficio/registro/").nth(2).unwrap().split('"').next().unwrap().to_owned();
    let line = browser.get(&format!("/ufficio/registro/{line}")).await;
    line.says("cucina");
}

#[tokio::test]
async fn there_is_always_an_administrator() {
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Admin).await;
    let admin = world.desk.person_by_login("admin").await.unwrap().unwrap();
    let path = format!("/ufficio/persone/{}", admin.id);
    let version = admin.row.version.to_string();
    let seen = browser.fill(&path, &path, &[("_version", &version), ("nome", "Persona"), ("ruolo", "ufficio")]).await;
    seen.says("È l&#39;unico amministratore");
    browser.fill(&path, &format!("{path}/accesso"), &[("fai", "disabilita")]).await;
    browser.get(&path).await.says("Non può disabilitare se stesso");
}

#[tokio::test]
async fn whoever_is_disabled_is_out_at_once() {
    let world = World::new().await;
    let mut clerk = world.logged_in(Role::Office).await;
    let person = world.desk.person_by_login("ufficio").await.unwrap().unwrap();
    world.desk.let_in(&Actor::system(world.ente), person.id, false).await.unwrap();
    assert_eq!(clerk.get("/ufficio/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.browser().log_in("ufficio", PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_code_from_the_app_is_asked_for_and_counts_once() {
    use totp_rs::{Builder, Secret};
    let world = World::new().await;
    let mut browser = world.logged_in(Role::Office).await;
    let shown = browser.get("/ufficio/profilo/app").await;
    let secret = shown.text.split("<code>").nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
    let totp = Builder::new().with_secret(Secret::try_from_base32(&secret).unwrap()).build().unwrap();
    let code = |steps: i64| {
        let at = world.now.timestamp() + steps * 30;
        let step = u64::try_from(at).unwrap() / 30;
        // The token's own text.
        totp_text(&totp, step * 30)
    };
    let (csrf, sealed) = (shown.hidden("_csrf"), shown.hidden("segreto"));
    let wrong = browser.post("/ufficio/profilo/app", &[("_csrf", &csrf), ("segreto", &sealed), ("codice", "000000")]).await;
    wrong.says("Non è il codice che l&#39;app mostra ora");
    let seen = browser.post("/ufficio/profilo/app", &[("_csrf", &csrf), ("segreto", &sealed), ("codice", &code(0))]).await;
    seen.says("I Suoi codici di recupero");
    let recovery = seen.text.split("<li><code>").nth(1).unwrap().split('<').next().unwrap().to_owned();

    let mut browser = world.browser();
    let asked = browser.log_in("ufficio", PASSWORD).await;
    asked.says("Ancora un passo");
    // The password alone opens nothing.
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::SEE_OTHER);
    let csrf = asked.hidden("_csrf");
    // The code that was used to begin does not count again; the next one does.
    let again = browser.post("/ufficio/accesso/codice", &[("_csrf", &csrf), ("codice", &code(0))]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    let seen = browser.post("/ufficio/accesso/codice", &[("_csrf", &csrf), ("codice", &code(1))]).await;
    assert_eq!(seen.location(), "/ufficio/");
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::OK);

    // A recovery code stands in for the telephone, once.
    for expected in [StatusCode::SEE_OTHER, StatusCode::UNPROCESSABLE_ENTITY] {
        let mut browser = world.browser();
        let csrf = browser.log_in("ufficio", PASSWORD).await.hidden("_csrf");
        assert_eq!(browser.post("/ufficio/accesso/codice", &[("_csrf", &csrf), ("codice", &recovery)]).await.status, expected);
    }
}

fn totp_text(totp: &totp_rs::Totp, at: u64) -> String {
    totp.generate(at).to_string()
}

#[tokio::test]
async fn where_a_second_factor_is_a_must_nothing_goes_before_it() {
    let world = World::new().await;
    let person = world.desk.person_by_login("ufficio").await.unwrap().unwrap();
    let data = PersonData {
        login: "ufficio".into(),
        name: "Persona Ufficio".into(),
        email: None,
        role: Role::Office,
        second_factor_required: true,
    };
    world.desk.change_person(&Actor::system(world.ente), person.id, person.row.version, &data).await.unwrap();
    let mut browser = world.logged_in(Role::Office).await;
    assert_eq!(browser.get("/ufficio/").await.location(), "/ufficio/profilo");
    browser.get("/ufficio/profilo").await.says("è obbligatorio un secondo fattore");
}

#[tokio::test]
async fn other_devices_are_left() {
    let world = World::new().await;
    let mut home = world.logged_in(Role::Office).await;
    let mut browser = world.logged_in(Role::Office).await;
    browser.get("/ufficio/profilo").await.says("Esci dagli altri dispositivi");
    browser.fill("/ufficio/profilo", "/ufficio/profilo/sessioni", &[]).await;
    assert_eq!(browser.get("/ufficio/").await.status, StatusCode::OK);
    assert_eq!(home.get("/ufficio/").await.status, StatusCode::SEE_OTHER);
}

#[test]
fn only_administrators_change_people_and_settings_and_only_auditors_see_the_trail_beside_them() {
    let may = |permission| Role::ALL.into_iter().filter(|r| r.may(permission)).map(Role::word).collect::<Vec<_>>().join(" ");
    let table: Vec<_> = Permission::ALL.into_iter().map(|p| format!("{p:?}: {}", may(p))).collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    OwnAccount: admin ufficio cucina revisore lettura
    SeeToday: admin ufficio cucina revisore lettura
    SeeCalendar: admin ufficio cucina revisore lettura
    ChangeCalendar: admin ufficio
    SeeFamilies: admin ufficio revisore lettura
    ChangeFamilies: admin ufficio
    Export: admin ufficio revisore
    SeeLetters: admin ufficio revisore
    SendLetters: admin ufficio
    SeeLine: admin ufficio revisore lettura
    ChangeLine: admin ufficio
    SeeNews: admin ufficio revisore lettura
    WriteNews: admin ufficio
    SeeTickets: admin ufficio revisore lettura
    AnswerTickets: admin ufficio
    SeePeople: admin revisore
    ChangePeople: admin
    SeeSettings: admin ufficio revisore
    ChangeSettings: admin
    SeeAudit: admin revisore
    ");
}
