//! A browser without a window over the office's pages: keeps cookies, follows nothing by itself, finds the form's token.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod picture;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, LazyLock},
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use tempfile::TempDir;
use tower::ServiceExt;
use voceguida::{
    canteen::{EnteId, window::Window},
    cli::demo::school,
    desk::{
        Desk,
        people::{PersonData, Role},
        trail::Actor,
    },
    ops::clock::Clock,
    store::Db,
    voice::{
        plan::Plan,
        prompts::{PromptLibrary, Shelf},
    },
    web::office::{self, LineNumber, LineRoom, Office, OfficeSettings},
};

/// Everybody's password.
pub const PASSWORD: &str = "cavallo batteria graffetta";

/// The prompts that come with the line, read once in a test program.
static DELIVERED: LazyLock<PromptLibrary> = LazyLock::new(|| PromptLibrary::load(Path::new("prompts/it")).expect("the prompts"));

/// A line of this ente's with the plan that ships, on the number 800123456.
pub fn line_of(ente: EnteId) -> LineRoom {
    let plan = Plan::load(Path::new("dialplans/mensa.toml")).expect("the plan");
    let number = LineNumber { called: "800123456".into(), trunk: None, ente, plan: Arc::new(ArcSwap::from_pointee(plan)) };
    LineRoom { shelf: Arc::new(Shelf::new(DELIVERED.clone(), false)), numbers: vec![number] }
}

/// An office with one person of each role, whose login name is the role's word.
pub struct World {
    pub desk: Desk,
    pub ente: EnteId,
    pub router: Router,
    pub now: DateTime<Utc>,
    /// The line, in a world that has one.
    pub line: Option<LineRoom>,
    url: String,
    settings: OfficeSettings,
    _dir: TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(OfficeSettings::default()).await
    }

    pub async fn with(settings: OfficeSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("office.db").display());
        Self::over(url, dir, settings).await
    }

    /// Over this empty database.
    pub async fn on(url: &str) -> Self {
        Self::over(url.to_owned(), tempfile::tempdir().unwrap(), OfficeSettings::default()).await
    }

    async fn over(url: String, dir: TempDir, settings: OfficeSettings) -> Self {
        let now = "2026-10-12T08:00:00Z".parse().unwrap();
        let desk = Desk::new(Db::open(&url).await.unwrap(), Clock::starting_at(now));
        let ente = desk.put_ente("borgo", "Comune di Borgo", None, &Window::default()).await.unwrap();
        let actor = Actor::system(ente);
        for role in Role::ALL {
            let data = PersonData {
                login: role.word().to_owned(),
                name: format!("Persona {}", role.label()),
                email: None,
                role,
                second_factor_required: false,
            };
            let person = desk.add_person(&actor, &data).await.unwrap();
            desk.give_password(&actor, person.id, PASSWORD, false).await.unwrap();
        }
        let router = office::router(&Office::new(desk.clone(), None, settings.clone()).await.unwrap());
        Self { desk, ente, router, now, line: None, url, settings, _dir: dir }
    }

    /// With a line.
    pub async fn with_line() -> Self {
        let mut world = Self::new().await;
        let line = line_of(world.ente);
        let office = Office::with_line(world.desk.clone(), None, world.settings.clone(), Some(line.clone())).await.unwrap();
        world.router = office::router(&office);
        world.line = Some(line);
        world
    }

    /// The demo's school with its past, on a Wednesday at 8:20, forty minutes before the cut-off; each of the demo's people has [`PASSWORD`]. Its mail is
    /// queued and never sent.
    pub async fn lifelike() -> Self {
        static MADE: tokio::sync::OnceCell<TempDir> = tokio::sync::OnceCell::const_new();
        let now: DateTime<Utc> = "2026-11-25T08:20:00+01:00".parse().unwrap();
        let made = MADE.get_or_init(|| async {
            let dir = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", dir.path().join("office.db").display());
            let desk = Desk::new(Db::open(&url).await.unwrap(), Clock::starting_at(now));
            let plan = Arc::new(Plan::load(Path::new("dialplans/mensa.toml")).unwrap());
            let ente = school::prepare(&desk, Some(&plan), |_, _| {}).await.unwrap();
            for (login, ..) in school::PEOPLE {
                let person = school::person(&desk, login).await.unwrap();
                desk.give_password(&Actor::system(ente.id), person.id, PASSWORD, false).await.unwrap();
            }
            desk.db().close().await;
            dir
        });
        let made = made.await;
        let dir = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(made.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        let url = format!("sqlite:{}", dir.path().join("office.db").display());
        let settings = OfficeSettings::default();
        let desk = Desk::new(Db::open(&url).await.unwrap(), Clock::starting_at(now)).with_mail(true);
        let ente = desk.ente(Some("demo")).await.unwrap().id;
        let line = line_of(ente);
        let office = Office::with_line(desk.clone(), None, settings.clone(), Some(line.clone())).await.unwrap();
        let router = office::router(&office);
        Self { desk, ente, router, now, line: Some(line), url, settings, _dir: dir }
    }

    /// So much later: the same database under a clock that is ahead.
    pub async fn later(&mut self, by: TimeDelta) {
        self.now += by;
        let mail = self.desk.has_mail();
        self.desk = Desk::new(Db::open(&self.url).await.unwrap(), Clock::starting_at(self.now)).with_mail(mail);
        self.router = office::router(&Office::new(self.desk.clone(), None, self.settings.clone()).await.unwrap());
    }

    pub fn browser(&self) -> Browser {
        Browser { router: self.router.clone(), cookies: Vec::new(), address: "198.51.100.7:40000".parse().unwrap(), https: false }
    }

    /// A browser in which somebody of this role is logged in.
    pub async fn logged_in(&self, role: Role) -> Browser {
        let mut browser = self.browser();
        let seen = browser.log_in(role.word(), PASSWORD).await;
        assert_eq!(seen.status, StatusCode::SEE_OTHER, "{}", seen.text);
        browser
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Seen {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub text: String,
}

impl Seen {
    pub fn location(&self) -> &str {
        self.header("location")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The value of a hidden field.
    pub fn hidden(&self, name: &str) -> String {
        let start = format!(r#"name="{name}" value=""#);
        let (_, rest) = self.text.split_once(&start).unwrap_or_else(|| panic!("no field {name} in\n{}", self.text));
        let mut value = rest.split('"').next().unwrap().to_owned();
        for (entity, text) in
            [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\"")]
        {
            value = value.replace(entity, text);
        }
        value.replace("&#38;", "&").replace("&amp;", "&")
    }

    #[track_caller]
    pub fn says(&self, what: &str) {
        assert!(self.text.contains(what), "\"{what}\" is not in ({})\n{}", self.status, self.text);
    }
}

/// A browser.
#[derive(Clone)]
pub struct Browser {
    router: Router,
    pub cookies: Vec<(String, String)>,
    pub address: SocketAddr,
    pub https: bool,
}

impl Browser {
    /// The same browser at another router (a later hour of the same world).
    pub fn at(mut self, world: &World) -> Self {
        self.router = world.router.clone();
        self
    }

    pub async fn send(&mut self, mut request: Request<Body>) -> Seen {
        let headers = request.headers_mut();
        headers.insert(header::HOST, "ufficio.example".parse().unwrap());
        if !self.cookies.is_empty() {
            let all: Vec<_> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            headers.insert(header::COOKIE, all.join("; ").parse().unwrap());
        }
        request.extensions_mut().insert(ConnectInfo(self.address));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(n, _)| n != name);
            if !cookie.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        // A live part never ends: its first news will do.
        let live = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let bytes =
            if live { body.into_data_stream().next().await.unwrap().unwrap() } else { axum::body::to_bytes(body, 20 << 20).await.unwrap() };
        Seen { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub async fn get(&mut self, path: &str) -> Seen {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a form as a page of ours would.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let scheme = if self.https { "https" } else { "http" };
        let origin = format!("{scheme}://ufficio.example");
        self.post_from(path, fields, &[("origin", &origin), ("sec-fetch-site", "same-origin")]).await
    }

    /// Sends a form with these headers.
    pub async fn post_from(&mut self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Seen {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Opens the page of a form, fills it in and sends it to `path`.
    pub async fn fill(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Seen {
        let shown = self.get(page).await;
        let csrf = shown.hidden("_csrf");
        let mut all = vec![("_csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        self.post(path, &all).await
    }

    pub async fn log_in(&mut self, login: &str, password: &str) -> Seen {
        self.fill("/ufficio/accesso", "/ufficio/accesso", &[("utente", login), ("password", password)]).await
    }
}

/// The world, kept alive together with what uses it.
pub type Shared = Arc<World>;
