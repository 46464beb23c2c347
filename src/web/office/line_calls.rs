//! The calls that are over: found, looked at one by one, and as a file.

use std::sync::Arc;

use askama::Template;
use axum::{
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use futures_util::stream;

use super::{
    Answer, Area, Form, Office, Oops, Page,
    files::{FileKind, download},
    html::Html,
    line::{self, HERE},
    list::{Column, List, ListSpec},
    when,
};
use crate::{
    canteen::words::day_in_words,
    desk::{
        Desk,
        call_file::CallFile,
        call_words::{cause_in_words, end_in_words, length_in_words, sound_in_words, status_in_words},
        calls::{CallAsked, CallOnFile, CallOperation, CallSort, ListedCall, Outcome, PAGE, masked},
        people::Permission,
        trail::Subject,
    },
    store::Ente,
    voice::{
        path,
        plan::Plan,
        words::{StepInWords, option_of_word, steps_in_words},
    },
};

const LIST_PATH: &str = "/ufficio/linea/chiamate";
/// How many days are shown where nothing else is asked for.
const USUAL_DAYS: u64 = 30;
/// Digits of the caller's number that can be looked for: never the whole number, which would stand in the address.
const TAIL: usize = 4;

pub(super) fn routes(area: Area) -> Area {
    area.get(LIST_PATH, Permission::SeeLine, list).get("/ufficio/linea/esporta", Permission::Export, export).get(
        "/ufficio/linea/chiamate/{id}",
        Permission::SeeLine,
        one,
    )
}

static LIST: ListSpec<CallSort> = ListSpec {
    path: LIST_PATH,
    columns: &[
        Column { label: "Quando", sort: Some(("quando", CallSort::Start)), number: false },
        Column { label: "Numero", sort: None, number: false },
        Column { label: "Fascio", sort: None, number: false },
        Column { label: "Durata", sort: Some(("durata", CallSort::Length)), number: true },
        Column { label: "Esito", sort: None, number: false },
        Column { label: "Finita in", sort: None, number: false },
        Column { label: "Qualità", sort: Some(("qualita", CallSort::Quality)), number: false },
    ],
    usual: (CallSort::Start, true),
    filters: &["dal", "al", "fascio", "esito", "cifre", "passo"],
};

/// What the address asks for, and the form that shows it.
fn asked(list: &List<CallSort>, today: NaiveDate) -> (CallAsked, Form) {
    let day = |name: &str| NaiveDate::parse_from_str(list.filter(name), "%Y-%m-%d").ok();
    let last = day("al").unwrap_or(today);
    let first = day("dal").unwrap_or_else(|| last.checked_sub_days(Days::new(USUAL_DAYS)).unwrap_or(last));
    let digits = list.filter("cifre");
    let right = digits.chars().count() == TAIL && digits.chars().all(|c| c.is_ascii_digit());
    let asked = CallAsked {
        first,
        last,
        trunk: list.filter("fascio").to_owned(),
        outcome: Outcome::of_word(list.filter("esito")).map_or_else(String::new, |o| o.word().to_owned()),
        tail: if right { digits.to_owned() } else { String::new() },
        step: list.filter("passo").to_owned(),
    };
    let mut form = Form::showing(LIST.filters.iter().map(|name| (*name, list.filter(name).to_owned())));
    form.set("dal", first.to_string());
    form.set("al", last.to_string());
    if !digits.is_empty() && !right {
        form.wrong("cifre", "Ultime 4 cifre", "Scriva le ultime quattro cifre del numero.");
    }
    if first > last {
        form.wrong("al", "Al giorno", "È prima del giorno iniziale.");
    }
    (asked, form)
}

struct Line {
    id: String,
    when: String,
    caller: String,
    trunk: String,
    length: String,
    outcome: &'static str,
    step: String,
    sound: String,
}

fn caller(call: &ListedCall) -> String {
    call.row.caller.as_deref().map_or_else(|| "numero riservato".to_owned(), masked)
}

fn outcome(call: &ListedCall) -> &'static str {
    Outcome::of_word(&call.outcome).map_or("–", Outcome::label)
}

fn sound(call: &ListedCall) -> Option<String> {
    sound_in_words(call.row.loss, call.row.jitter_us, call.row.mos)
}

/// Plans by whose titles states are called: those in use, then those of these calls.
async fn plans(office: &Office, page: &Page, calls: &[ListedCall]) -> Result<Vec<Arc<Plan>>, Oops> {
    let mut plans: Vec<_> = office.calls.plans_in_use(page.ente.id).into_iter().map(|(plan, _)| plan).collect();
    let mut ids: Vec<_> = calls.iter().filter_map(|call| call.dialplan_id).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        plans.extend(line::plan(office, id).await?);
    }
    Ok(plans)
}

#[derive(Template)]
#[template(path = "office/line_calls.html")]
struct Calls<'a> {
    page: &'a Page,
    tabs: Html,
    list: List<CallSort>,
    form: Form,
    trunks: Vec<(String, String)>,
    outcomes: Vec<(String, String)>,
    steps: Vec<(String, String)>,
    lines: Vec<Line>,
    total: i64,
}

impl Calls<'_> {
    fn may_export(&self) -> bool {
        self.page.may(Permission::Export)
    }
}

async fn today(office: &Office, page: &Page) -> Result<NaiveDate, Oops> {
    let (window, now) = office.desk.window(page.ente.id).await?;
    Ok(window.local(now).date())
}

async fn list(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let list = List::of(&LIST, query.as_deref());
    let (asked, form) = asked(&list, today(&office, &page).await?);
    let order = (list.sort, list.descending);
    let (calls, total) = office.desk.list_calls(page.ente.id, &asked, order, list.limit(), list.offset()).await?;
    let (trunks, steps) = office.desk.call_words(page.ente.id, &asked).await?;
    let plans = plans(&office, &page, &calls).await?;
    let line = |call: &ListedCall| Line {
        id: call.row.id.clone(),
        when: when(&page.ente, call.row.started_at),
        caller: caller(call),
        trunk: call.row.trunk.clone(),
        length: length_in_words(call.seconds),
        outcome: outcome(call),
        step: call.last_step.as_deref().map_or_else(|| "–".to_owned(), |name| line::title(&plans, name)),
        sound: sound(call).unwrap_or_else(|| "–".to_owned()),
    };
    let lines = calls.iter().map(line).collect();
    let any = |label: &str| (String::new(), label.to_owned());
    let page = page.under("Linea", HERE).titled("Storico");
    page.show(&Calls {
        tabs: line::tabs(&page, LIST_PATH),
        lines,
        total,
        trunks: std::iter::once(any("Tutti")).chain(trunks.into_iter().map(|t| (t.clone(), t))).collect(),
        outcomes: std::iter::once(any("Tutti"))
            .chain(Outcome::ALL.into_iter().map(|o| (o.word().to_owned(), o.label().to_owned())))
            .collect(),
        steps: std::iter::once(any("Tutti"))
            .chain(steps.into_iter().map(|name| {
                let title = line::title(&plans, &name);
                (name, title)
            }))
            .collect(),
        list,
        form,
        page: &page,
    })
}

/// The calls that fit, as CSV, a page at a time: however many there are, little of it is held.
async fn export(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let list = List::of(&LIST, query.as_deref());
    let (asked, _) = asked(&list, today(&office, &page).await?);
    let name = format!("telefonate-{}-{}", asked.first, asked.last);
    let subject = Subject { kind: "telefonate", id: None, name: &format!("dal {} al {}", asked.first, asked.last) };
    office.desk.note_seen(&page.actor(), "ha scaricato l'elenco delle telefonate", subject).await?;
    let file = CallFile { window: page.ente.window, whole_numbers: false };
    let export = Export { desk: office.desk.clone(), ente: page.ente.clone(), asked, file, next: Next::Heading };
    let pieces = stream::unfold(export, |mut export| async move { export.piece().await.map(|piece| (piece, export)) });
    download(FileKind::Csv, &name, Body::from_stream(pieces))
}

/// What of a file comes next.
enum Next {
    Heading,
    After(Option<(DateTime<Utc>, String)>),
    Nothing,
}

struct Export {
    desk: Desk,
    ente: Ente,
    asked: CallAsked,
    file: CallFile,
    next: Next,
}

impl Export {
    /// The next piece of the file; an error breaks the download off, so that nobody takes a part for the whole.
    async fn piece(&mut self) -> Option<Result<Bytes, Oops>> {
        let after = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => return None,
            Next::Heading => {
                self.next = Next::After(None);
                return Some(Ok(CallFile::heading().into()));
            }
            Next::After(after) => after,
        };
        match self.desk.calls_page(self.ente.id, &self.asked, after.as_ref()).await {
            Ok(calls) => {
                let last = calls.last()?;
                if calls.len() as i64 >= PAGE {
                    self.next = Next::After(Some((last.row.started_at, last.row.id.clone())));
                }
                Some(Ok(self.file.lines(&calls).into()))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}

struct Step {
    at: String,
    words: StepInWords,
}

struct Done {
    at: String,
    child: i64,
    name: String,
    what: &'static str,
    day: String,
    outcome: String,
    receipt: String,
}

#[derive(Template)]
#[template(path = "office/line_call.html")]
struct CallPage<'a> {
    page: &'a Page,
    call: &'a ListedCall,
    facts: Vec<(&'static str, String)>,
    steps: Vec<Step>,
    missing: u32,
    operations: Vec<Done>,
}

impl CallPage<'_> {
    fn may_see_children(&self) -> bool {
        self.page.may(Permission::SeeFamilies)
    }
}

/// A call's record in words.
fn facts(ente: &Ente, call: &ListedCall) -> Vec<(&'static str, String)> {
    let row = &call.row;
    let clock = |at: DateTime<Utc>| ente.window.local(at).format("%-H:%M:%S").to_string();
    let mut facts = vec![
        ("Inizio", format!("{} ({})", when(ente, row.started_at), clock(row.started_at))),
        ("Risposta", row.answered_at.map_or_else(|| "mai".to_owned(), clock)),
        ("Fine", clock(row.ended_at)),
        ("Durata", length_in_words(call.seconds)),
        ("Esito", outcome(call).to_owned()),
        ("Numero", caller(call)),
        ("Chiamato", row.called.clone()),
    ];
    facts.extend(row.diverted_from.clone().map(|number| ("Deviata da", number)));
    facts.push(("Fascio", row.trunk.clone()));
    facts.extend(row.user_agent.clone().map(|agent| ("Apparato", agent)));
    facts.push(("Perché è finita", end_in_words(&row.cause).to_owned()));
    facts.extend(row.q850.map(|cause| ("Causa della rete", format!("{} (Q.850: {cause})", cause_in_words(cause)))));
    facts.push(("Come abbiamo risposto", format!("{} (SIP {})", status_in_words(row.status), row.status)));
    if row.answered_at.is_some() {
        facts.push(("Qualità della voce", sound(call).unwrap_or_else(|| "non misurata".to_owned())));
        let coded = row.codec.clone().map(|codec| format!("{codec}, {}", if row.srtp { "cifrata" } else { "non cifrata" }));
        facts.extend(coded.map(|coded| ("Trasmissione", coded)));
        facts.push(("Tasti premuti", row.digits.to_string()));
    }
    facts
}

fn done(ente: &Ente, o: CallOperation) -> Done {
    let reason = o.reason.as_deref().map(|reason| match reason {
        "day_changed" => "il giorno era cambiato",
        other => crate::voice::words::answer_in_words(other),
    });
    Done {
        at: ente.window.local(o.at).format("%-H:%M:%S").to_string(),
        child: o.child_id,
        name: format!("{} {}", o.last_name, o.first_name),
        what: option_of_word(&o.choice).unwrap_or("operazione"),
        day: o.day.map_or_else(|| "–".to_owned(), day_in_words),
        outcome: reason.map_or_else(|| "registrata".to_owned(), |reason| format!("rifiutata: {reason}")),
        receipt: o.receipt,
    }
}

async fn one(State(office): State<Arc<Office>>, page: Page, Path(id): Path<String>) -> Answer {
    let CallOnFile { call, plan, operations } = office.desk.call_file(page.ente.id, &id).await?.ok_or(Oops::NotFound)?;
    if !operations.is_empty() {
        // The page names children.
        let subject = Subject { kind: "telefonata", id: None, name: &when(&page.ente, call.row.started_at) };
        office.desk.note_seen(&page.actor(), "ha guardato una telefonata", subject).await?;
    }
    let plan = plan.and_then(|text| Plan::parse(&text.name, &text.source).ok());
    let path = call.path.as_deref().and_then(path::Path::parse);
    let (steps, missing) = match (&plan, &path) {
        (Some(plan), Some(path)) => steps_in_words(plan, path),
        _ => (vec![], 0),
    };
    let answered = call.row.answered_at.unwrap_or(call.row.started_at);
    let at = |tenths: u32| answered + chrono::TimeDelta::milliseconds(i64::from(tenths) * 100);
    let steps = steps.into_iter().map(|words| Step { at: page.ente.window.local(at(words.at)).format("%-H:%M:%S").to_string(), words });
    let steps = steps.collect();
    let operations = operations.into_iter().map(|o| done(&page.ente, o)).collect();
    let page = page.under("Linea", HERE).under("Storico", LIST_PATH).titled("Telefonata");
    page.show(&CallPage { page: &page, facts: facts(&page.ente, &call), call: &call, steps, missing, operations })
}
