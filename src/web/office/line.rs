//! The line: calls of now, and the way to its other pages.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use askama::Template;
use axum::extract::State;
use tokio::time::Instant;

use super::{Answer, Area, Office, Oops, Page, html::Html, list::thousands, live};
use crate::{
    canteen::EnteId,
    desk::{
        call_words::sound_in_words,
        live::{LiveLine, LivePicture, MOST_SHOWN},
        people::Permission,
    },
    store::Ente,
    voice::{live::LineWatch, plan::Plan},
};

/// Where the line's pages are.
pub(super) const HERE: &str = "/ufficio/linea";
/// How often the calls of now are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// A picture this old is taken for all that look at the same time.
const FRESH: Duration = Duration::from_millis(1_500);
/// Versions of plans that are kept read.
const MOST_PLANS: usize = 32;
/// Enti whose picture is kept.
const MOST_KEPT: usize = 256;

pub(super) fn area() -> Area {
    let area = Area::new().menu("Linea", HERE, Permission::SeeLine).get(HERE, Permission::SeeLine, show).get(
        "/ufficio/linea/vivo",
        Permission::SeeLine,
        follow,
    );
    super::line_flow::routes(super::line_calls::routes(area))
}

/// What the line's pages keep between two requests.
#[derive(Debug, Default)]
pub(super) struct Room {
    watch: OnceLock<LineWatch>,
    /// Plans that were read from the database, by their row.
    plans: Mutex<HashMap<i64, Option<Arc<Plan>>>>,
    pictures: tokio::sync::Mutex<HashMap<EnteId, (Instant, Arc<Now>)>>,
}

impl Room {
    pub fn watch(&self, watch: LineWatch) {
        // Told once.
        let _ = self.watch.set(watch);
    }

    /// The plans in use for an ente, with the numbers that lead there.
    pub fn plans_in_use(&self, ente: EnteId) -> Vec<(Arc<Plan>, Vec<String>)> {
        self.watch.get().map(|watch| watch.plans_of(ente)).unwrap_or_default()
    }
}

/// A plan by its row; `None` where it cannot be read any more (a newer program wrote it).
pub(super) async fn plan(office: &Office, id: i64) -> Result<Option<Arc<Plan>>, Oops> {
    let known = office.calls.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
    if let Some(plan) = known {
        return Ok(plan);
    }
    let text = office.desk.dialplan(id).await?;
    let plan = text.and_then(|text| Plan::parse(&text.name, &text.source).ok()).map(Arc::new);
    let mut plans = office.calls.plans.lock().unwrap_or_else(PoisonError::into_inner);
    if plans.len() >= MOST_PLANS {
        plans.clear();
    }
    plans.insert(id, plan.clone());
    Ok(plan)
}

/// A state's title by its name, in the first of these plans that has it.
pub(super) fn title<'a>(plans: impl IntoIterator<Item = &'a Arc<Plan>>, name: &str) -> String {
    let found = plans.into_iter().find_map(|plan| plan.states.iter().find(|s| s.name == name).map(|s| s.title.clone()));
    found.unwrap_or_else(|| name.replace('_', " "))
}

/// A page about the line, as the links between them have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tab {
    pub label: &'static str,
    pub path: &'static str,
}

const TABS: [Tab; 5] = [
    Tab { label: "Adesso", path: HERE },
    Tab { label: "Storico", path: "/ufficio/linea/chiamate" },
    Tab { label: "Percorso", path: "/ufficio/linea/flusso" },
    Tab { label: "Prova la linea", path: "/ufficio/linea/prova" },
    Tab { label: "Messaggi", path: "/ufficio/linea/messaggi" },
];

/// The pages that there are, with what each needs.
static KNOWN: LazyLock<Vec<(Tab, Permission)>> = LazyLock::new(|| {
    let rules = super::rules();
    let may = |tab: &Tab| rules.iter().find(|rule| rule.path == tab.path && rule.method == axum::http::Method::GET).map(|rule| rule.may);
    TABS.into_iter().filter_map(|tab| Some((tab, may(&tab)?))).collect()
});

/// The links between the line's pages, for this person; `here` is the page that is shown.
pub(super) fn tabs(page: &Page, here: &str) -> Html {
    let items: Vec<_> = KNOWN
        .iter()
        .filter(|(_, may)| page.may(*may))
        .map(|(tab, _)| {
            let current = if tab.path == here { r#" aria-current="page""# } else { "" };
            format!(r#"<li><a href="{}"{current}>{}</a></li>"#, tab.path, tab.label)
        })
        .collect();
    Html(format!(r#"<nav class="vg-tabs" aria-label="Pagine della linea"><ul>{}</ul></nav>"#, items.concat()))
}

/// The calls of now, of all nodes.
#[derive(Debug, PartialEq, Eq)]
struct Now {
    picture: LivePicture,
    /// Other nodes that have calls.
    others: usize,
}

/// One picture for all who look at the same time.
async fn now(office: &Office, ente: EnteId) -> Result<Option<Arc<Now>>, Oops> {
    let Some(watch) = office.calls.watch.get() else { return Ok(None) };
    // Held while it is made: whoever comes meanwhile waits for this one.
    let mut kept = office.calls.pictures.lock().await;
    if let Some((made, now)) = kept.get(&ente)
        && made.elapsed() < FRESH
    {
        return Ok(Some(Arc::clone(now)));
    }
    let mut picture = watch.live.picture(ente);
    let mut others = 0;
    if office.desk.is_shared() {
        let (theirs, nodes) = office.desk.live_pictures(&watch.node, ente).await?;
        picture.add(theirs);
        others = nodes;
    }
    let now = Arc::new(Now { picture, others });
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert(ente, (Instant::now(), Arc::clone(&now)));
    Ok(Some(now))
}

struct Line {
    since: String,
    caller: String,
    trunk: String,
    step: String,
    sound: String,
}

impl Line {
    fn of(ente: &Ente, line: &LiveLine) -> Self {
        let sound = sound_in_words(line.loss.map(i64::from), line.jitter_us.map(i64::from), line.mos.map(i64::from));
        Self {
            since: ente.window.local(line.at).format("%-H:%M:%S").to_string(),
            caller: line.caller.clone().unwrap_or_else(|| "numero riservato".to_owned()),
            trunk: line.trunk.clone(),
            step: line.step.clone(),
            sound: sound.unwrap_or_else(|| "non ancora misurata".to_owned()),
        }
    }
}

#[derive(Template)]
#[template(path = "office/line_part.html")]
struct Part<'a> {
    now: Option<&'a Now>,
    calls: String,
    trunks: Vec<(String, String)>,
    steps: Vec<(String, String)>,
    lines: Vec<Line>,
    most: usize,
}

fn number(n: u64) -> String {
    thousands(i64::try_from(n).unwrap_or(i64::MAX))
}

/// Names with their numbers, ready to be shown.
fn counts(list: &[(String, u64)]) -> Vec<(String, String)> {
    list.iter().map(|(name, n)| (name.clone(), number(*n))).collect()
}

#[derive(Template)]
#[template(path = "office/line.html")]
struct LinePage<'a> {
    page: &'a Page,
    tabs: Html,
    part: Html,
}

async fn part(office: &Office, ente: &Ente) -> Result<String, Oops> {
    let now = now(office, ente.id).await?;
    let lines = now.iter().flat_map(|now| &now.picture.lines).map(|line| Line::of(ente, line)).collect();
    let empty = LivePicture::default();
    let picture = now.as_ref().map_or(&empty, |now| &now.picture);
    let (calls, trunks, steps) = (number(picture.calls), counts(&picture.trunks), counts(&picture.steps));
    Ok(Part { now: now.as_deref(), calls, trunks, steps, lines, most: MOST_SHOWN }.render()?)
}

async fn show(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let part = Html(part(&office, &page.ente).await?);
    let page = page.titled("Linea");
    page.show(&LinePage { page: &page, tabs: tabs(&page, HERE), part })
}

async fn follow(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let ente = page.ente.clone();
    live::follow(&page, EVERY, move || {
        let (office, ente) = (Arc::clone(&office), ente.clone());
        async move { part(&office, &ente).await }
    })
}
