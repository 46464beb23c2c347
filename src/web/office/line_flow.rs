//! The dialplan as a picture with the calls that went through it: where do people give up?

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use chrono::NaiveDate;

use super::{
    Answer, Area, Form, Office, Page,
    html::Html,
    line::{self, HERE},
    list::thousands,
};
use crate::{
    desk::{calendar::words::span_in_words, people::Permission},
    voice::{
        flow::{FlowMap, WayCount},
        plan::Plan,
    },
};

const PATH: &str = "/ufficio/linea/flusso";

pub(super) fn routes(area: Area) -> Area {
    area.get(PATH, Permission::SeeLine, show)
}

struct StepLine {
    title: String,
    reached: String,
    hung_up: String,
    share: i64,
    served: String,
    failed: String,
}

struct WayLine {
    from: String,
    way: String,
    to: String,
    calls: String,
    passes: String,
    /// Of the calls that came to `to` at all, how many of a hundred hung up there.
    share: i64,
    stays: bool,
}

#[derive(Template)]
#[template(path = "office/line_flow.html")]
struct FlowPage<'a> {
    page: &'a Page,
    tabs: Html,
    form: Form,
    span: String,
    plans: Vec<(String, String)>,
    numbers: String,
    drawn: Option<Drawn>,
}

/// A plan and its numbers, ready to be shown.
struct Drawn {
    calls: i64,
    svg: Html,
    worst: Vec<StepLine>,
    steps: Vec<StepLine>,
    ways: Vec<WayLine>,
}

fn drawn(plan: &Plan, map: &FlowMap<'_>) -> Drawn {
    let title = |n: usize| plan.states.get(n).map_or_else(String::new, |s| s.title.clone());
    let line = |n: usize, s: &crate::voice::flow::StepCount| StepLine {
        title: title(n),
        reached: thousands(s.reached),
        hung_up: thousands(s.hung_up),
        share: s.share(),
        served: thousands(s.registered),
        failed: thousands(s.failed),
    };
    let way = |w: &WayCount| WayLine {
        from: title(w.from),
        way: map.in_words(w),
        to: title(w.to),
        calls: thousands(w.calls),
        passes: thousands(w.passes),
        share: map.steps.get(w.to).map_or(0, crate::voice::flow::StepCount::share),
        stays: w.from == w.to,
    };
    Drawn {
        calls: map.calls(),
        svg: Html(map.svg()),
        worst: map.given_up().iter().take(3).map(|(n, s)| line(*n, s)).collect(),
        steps: map.steps.iter().enumerate().filter(|(_, s)| s.reached > 0).map(|(n, s)| line(n, s)).collect(),
        ways: map.ways.iter().filter(|w| w.calls > 0).map(way).collect(),
    }
}

async fn show(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let (window, now) = office.desk.window(page.ente.id).await?;
    let today = window.local(now).date();
    let asked = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
        pairs.find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    };
    let day = |name: &str| asked(name).and_then(|text| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok());
    let last = day("al").or_else(|| day("dal")).unwrap_or(today);
    let first = day("dal").unwrap_or(last);
    let mut form = Form::showing([("dal", first.to_string()), ("al", last.to_string())]);
    if first > last {
        form.wrong("al", "Al giorno", "È prima del giorno iniziale.");
    }
    let counted = office.desk.counted_plans(page.ente.id, first, last).await?;
    let in_use = office.calls.plans_in_use(page.ente.id);
    // The plan that is asked for, else the one that was used last, else the one in use.
    let wanted = asked("piano").and_then(|id| id.parse::<i64>().ok()).filter(|id| counted.iter().any(|plan| plan.id == *id));
    let shown = wanted.or_else(|| counted.first().map(|plan| plan.id));
    form.set("piano", shown.map(|id| id.to_string()).unwrap_or_default());
    let (plan, traffic) = match shown {
        Some(id) => (line::plan(&office, id).await?, office.desk.traffic(page.ente.id, id, first, last).await?),
        None => (in_use.first().map(|(plan, _)| Arc::clone(plan)), vec![]),
    };
    let numbers = plan.as_ref().and_then(|plan| in_use.iter().find(|(p, _)| p.source.fingerprint == plan.source.fingerprint));
    let numbers = numbers.map(|(_, numbers)| numbers.join(", ")).unwrap_or_default();
    let plans = counted.iter().map(|plan| {
        let since = window.local(plan.first_used_at).format("%d/%m/%Y");
        let used = in_use.iter().any(|(p, _)| p.source.fingerprint == plan.fingerprint);
        (plan.id.to_string(), format!("{}, dal {since}{}", plan.title, if used { " (in uso)" } else { "" }))
    });
    let plans = plans.collect();
    let drawn = plan.map(|plan| drawn(&plan, &FlowMap::new(&plan, &traffic)));
    let page = page.under("Linea", HERE).titled("Percorso");
    page.show(&FlowPage {
        tabs: line::tabs(&page, PATH),
        form,
        span: if first == today && last == today { "oggi".to_owned() } else { span_in_words(first, last) },
        plans,
        numbers,
        drawn,
        page: &page,
    })
}
