//! What the end-to-end tests share: databases, a small school, clocks.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "each test program uses its part, and may panic")]

use std::{collections::HashMap, future::Future, net::SocketAddr, path::Path, sync::Arc};

use arc_swap::ArcSwap;

use chrono::{DateTime, NaiveDate, Utc};
use voceguida::{
    canteen::{
        ChildId, EnteId,
        code::ChildCode,
        roster::{CalendarRows, ChildRow, ClassRow, ClosureRow, NORMAL_DIET, Roster, SchoolRow, Scope, TermRow},
        window::Window,
    },
    desk::Desk,
    ops::clock::Clock,
    store::Db,
    telephony::sip::{Server, SipConfig, Trunk},
    voice::{
        line::{Line, Route},
        live::LineWatch,
        log::DeskLog,
        plan::Plan,
        prompts::{PromptLibrary, Shelf},
    },
};

pub mod demo;
pub mod families;
pub mod mail;
pub mod postgres;
pub mod service;

/// A fresh database of each kind, and a name for messages.
pub async fn each_database<F: Future<Output = ()>>(test: impl Fn(School) -> F) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = format!("sqlite:{}", dir.path().join("test.db").display());
    for url in [file, postgres::fresh_database()] {
        let school = School::open(&url).await;
        let db = school.db.clone();
        test(school).await;
        db.close().await;
    }
}

pub fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Monday evening, inside the window.
pub const MONDAY_EVENING: &str = "2026-10-12T18:30:00+02:00";

/// A school of one class (Monday to Friday) with two children, closed on 13 and 14 October 2026.
#[derive(Clone)]
pub struct School {
    pub db: Db,
    pub url: String,
    pub ente: EnteId,
    pub children: Vec<ChildId>,
    pub codes: Vec<ChildCode>,
}

impl School {
    /// A school in this empty database.
    pub async fn open(url: &str) -> Self {
        Self::new(Db::open(url).await.expect("the database opens"), url.to_owned()).await
    }

    async fn new(db: Db, url: String) -> Self {
        let mut tx = db.write().await.expect("a transaction");
        let ente = tx.put_ente("prova", "Comune di Prova", Some("0182970000"), &Window::default()).await.expect("the ente");
        tx.commit().await.expect("commit");
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(7);
        let codes: Vec<_> = (0..2).map(|_| ChildCode::random(&mut rng)).collect();
        let desk = Desk::new(db.clone(), Clock::starting_at(at("2026-09-01T10:00:00+02:00")));
        desk.import(ente, &roster(&codes)).await.expect("the import");
        let mut children = Vec::new();
        for code in &codes {
            children.push(desk.child_by_code(ente, code).await.expect("the child"));
        }
        Self { db, url, ente, children, codes }
    }

    /// A desk whose clock shows `instant`.
    pub fn desk_at(&self, instant: &str) -> Desk {
        Desk::new(self.db.clone(), Clock::starting_at(at(instant)))
    }
}

pub fn roster(codes: &[ChildCode]) -> Roster {
    let child = |(n, code): (usize, &ChildCode)| ChildRow {
        origin: None,
        external_id: Some(format!("M{n}")),
        last_name: format!("Prova{n}"),
        first_name: "Ada".into(),
        fiscal_code: None,
        school: "PRIM".into(),
        class: "1A".into(),
        diet: NORMAL_DIET.into(),
        code: Some(code.as_str().to_owned()),
        enrolled_from: None,
        enrolled_to: None,
        guardians: vec![],
    };
    Roster {
        schools: vec![SchoolRow { code: "PRIM".into(), name: "Scuola primaria".into() }],
        classes: vec![ClassRow {
            school: "PRIM".into(),
            name: "1A".into(),
            weekdays: (0u8..5).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect(),
        }],
        guardians: vec![],
        children: codes.iter().enumerate().map(child).collect(),
        calendar: CalendarRows {
            school_year: Some("2026/2027".into()),
            terms: vec![TermRow { school: None, first: day("2026-09-14"), last: day("2027-06-08") }],
            closures: vec![ClosureRow { scope: Scope::Ente, first: day("2026-10-13"), last: day("2026-10-14"), reason: "Ponte".into() }],
        },
    }
}

/// Runs a statement past the program, as someone with the database's own tools could.
pub async fn execute(url: &str, statement: &'static str) -> Result<(), String> {
    use sqlx::Connection;
    let done = if url.starts_with("sqlite:") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.expect("connects");
        sqlx::query(statement).execute(&mut connection).await.map(|_| ())
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.expect("connects");
        sqlx::query(statement).execute(&mut connection).await.map(|_| ())
    };
    done.map_err(|e| e.to_string())
}

/// The line over this desk, in this process; returns its SIP URI.
pub async fn serve(desk: Desk, ente: EnteId) -> (Server, String) {
    let (server, uri, _) = serve_watched(desk, ente).await;
    (server, uri)
}

/// The same, with what the office sees of it.
pub async fn serve_watched(desk: Desk, ente: EnteId) -> (Server, String, LineWatch) {
    let prompts = PromptLibrary::load(Path::new("prompts/it")).expect("the prompts");
    serve_with(desk, ente, Arc::new(Shelf::new(prompts, false))).await
}

/// The same with these prompts.
pub async fn serve_with(desk: Desk, ente: EnteId, prompts: Arc<Shelf>) -> (Server, String, LineWatch) {
    let address = SocketAddr::from(([127, 0, 0, 1], demo::free_port()));
    let first = 45_000 + (std::process::id() as u16 % 50) * 100;
    let config = SipConfig {
        udp: vec![address],
        tcp: vec![],
        rtp_ports: first..=first + 98,
        max_calls: 40,
        trunks: vec![Trunk {
            name: "test".into(),
            sources: vec!["127.0.0.0/8".parse().expect("a network")],
            calls_per_second: 1_000,
            ..Trunk::default()
        }],
        ..SipConfig::default()
    };
    let plan = Plan::load(Path::new("dialplans/mensa.toml")).expect("the plan");
    let plan = Arc::new(ArcSwap::from_pointee(plan));
    let plans = vec![(ente, "800123456".to_owned(), Arc::clone(&plan))];
    let routes = HashMap::from([("800123456".to_owned(), Route { ente, plan })]);
    let line = Line::new(Arc::new(desk.clone()), DeskLog::new(desk.clone()), routes, prompts);
    let watch = LineWatch { live: line.live(), node: "this".into(), plans };
    let server = Server::start(config, desk.clock(), Arc::new(line)).await.expect("the server starts");
    (server, format!("sip:800123456@{address}"), watch)
}
