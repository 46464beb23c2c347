//! Server time of the office's pages over a large comune, on both databases: what a clerk waits for, but the network.
//!
//! Another page is one more line in [`pages`]. The bar is 50 ms for 95 of 100 requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench may panic")]

mod data;
#[path = "../../tests/support/postgres.rs"]
mod postgres;

use std::{net::SocketAddr, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use tower::ServiceExt as _;
use voceguida::{
    desk::{
        Desk,
        people::{PersonData, Role},
        trail::Actor,
    },
    ops::clock::Clock,
    store::Db,
    web::office::{self, Office, OfficeSettings},
};

const PASSWORD: &str = "cavallo batteria graffetta";
/// Requests of each page.
const TIMES: usize = 60;
/// Milliseconds within which 95 of 100 must be answered.
const BAR: f64 = 50.0;

/// What is asked for: a name, a path, and the text of a search where it is one. `{n}` counts up.
fn pages() -> Vec<(&'static str, &'static str, Option<&'static str>)> {
    vec![
        ("children by name", "/ufficio/bambini", None),
        ("children, last pages", "/ufficio/bambini?pagina=79{n}", None),
        ("children by class", "/ufficio/bambini?ordine=classe&pagina={n}", None),
        ("children by class, from the end", "/ufficio/bambini?ordine=-classe", None),
        ("children by diet", "/ufficio/bambini?ordine=dieta&pagina={n}", None),
        ("children of a diet", "/ufficio/bambini?dieta=vegana", None),
        ("children of a school", "/ufficio/bambini?scuola=7&righe=100", None),
        ("search: a surname's beginning", "/ufficio/bambini/cerca", Some("fer")),
        ("search: two letters", "/ufficio/bambini/cerca", Some("ma")),
        ("search: surname, name, class", "/ufficio/bambini/cerca", Some("roma giu 3a")),
        ("search: school", "/ufficio/bambini/cerca", Some("borgo russo")),
        ("a child", "/ufficio/bambini/1{n}", None),
        ("families by name", "/ufficio/famiglie?pagina={n}", None),
        ("search: family", "/ufficio/famiglie/cerca", Some("de lu ann")),
        ("a family", "/ufficio/famiglie/1{n}", None),
        ("news", "/ufficio/avvisi", None),
        ("news by title", "/ufficio/avvisi?ordine=titolo&pagina={n}", None),
        ("news that are public", "/ufficio/avvisi?stato=pubblicato&righe=100", None),
        ("a news item", "/ufficio/avvisi/1{n}", None),
        ("a form of news", "/ufficio/avvisi/1{n}/modifica", None),
        ("tickets that are not closed", "/ufficio/segnalazioni", None),
        ("all tickets, by last message", "/ufficio/segnalazioni?stato=tutte&ordine=-messaggio&pagina={n}", None),
        ("tickets of a topic", "/ufficio/segnalazioni?stato=tutte&argomento=diete&pagina=3{n}", None),
        ("search: tickets", "/ufficio/segnalazioni/cerca", Some("dieta ros")),
        ("a ticket", "/ufficio/segnalazioni/1{n}", None),
        ("imports", "/ufficio/bambini/importazioni", None),
        ("new year", "/ufficio/bambini/anno", None),
    ]
}

struct Client {
    router: Router,
    cookies: String,
    csrf: String,
}

impl Client {
    async fn send(&mut self, path: &str, form: Option<&[(&str, &str)]>) -> (StatusCode, String) {
        let request = match form {
            None => Request::get(path).body(Body::empty()).unwrap(),
            Some(fields) => {
                let body = form_urlencoded::Serializer::new(String::new()).append_pair("_csrf", &self.csrf).extend_pairs(fields).finish();
                Request::post(path)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .header("origin", "http://ufficio.example")
                    .header("sec-fetch-site", "same-origin")
                    .body(Body::from(body))
                    .unwrap()
            }
        };
        let mut request = request;
        request.headers_mut().insert(header::HOST, "ufficio.example".parse().unwrap());
        if !self.cookies.is_empty() {
            request.headers_mut().insert(header::COOKIE, self.cookies.parse().unwrap());
        }
        request.extensions_mut().insert(ConnectInfo("198.51.100.7:40000".parse::<SocketAddr>().unwrap()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let set: Vec<_> = parts.headers.get_all(header::SET_COOKIE).iter().filter_map(|c| c.to_str().ok()?.split(';').next()).collect();
        if !set.is_empty() {
            self.cookies = set.join("; ");
        }
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((_, rest)) = text.split_once(r#"name="_csrf" value=""#) {
            rest.split('"').next().unwrap_or_default().clone_into(&mut self.csrf);
        }
        (parts.status, text)
    }
}

async fn measure(url: &str) {
    let clock = Clock::starting_at("2027-02-01T08:00:00Z".parse().unwrap());
    let desk = Desk::new(Db::open(url).await.unwrap(), clock);
    let began = Instant::now();
    let ente = data::fill(&desk).await.unwrap();
    println!("{} children and two million operations in {:.0} s", data::CHILDREN, began.elapsed().as_secs_f64());
    let actor = Actor::system(ente);
    let person = PersonData { login: "anna".into(), name: "Anna".into(), email: None, role: Role::Office, second_factor_required: false };
    let id = desk.add_person(&actor, &person).await.unwrap().id;
    desk.give_password(&actor, id, PASSWORD, false).await.unwrap();
    let router = office::router(&Office::new(desk.clone(), None, OfficeSettings::default()).await.unwrap());
    let mut client = Client { router, cookies: String::new(), csrf: String::new() };
    client.send("/ufficio/accesso", None).await;
    let (status, text) = client.send("/ufficio/accesso", Some(&[("utente", "anna"), ("password", PASSWORD)])).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{text}");
    client.send("/ufficio/bambini", None).await;
    println!("{:<34} {:>9} {:>9} {:>9}", "page", "p50 ms", "p95 ms", "most ms");
    for (name, path, text) in pages() {
        let mut times = Vec::with_capacity(TIMES);
        for n in 0..TIMES {
            let path = path.replace("{n}", &(n % 10).to_string());
            let fields = text.map(|text| [("testo", text)]);
            let began = Instant::now();
            let (status, body) = client.send(&path, fields.as_ref().map(<[_; 1]>::as_slice)).await;
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((TIMES as f64 * share) as usize).min(TIMES - 1)];
        let over = if at(0.95) > BAR { "  over the bar" } else { "" };
        println!("{name:<34} {:>9.1} {:>9.1} {:>9.1}{over}", at(0.5), at(0.95), at(1.0));
    }
    desk.db().close().await;
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    println!("SQLite");
    runtime.block_on(measure(&format!("sqlite:{}", dir.path().join("office.db").display())));
    println!("\nPostgreSQL");
    runtime.block_on(measure(&postgres::fresh_database()));
}
