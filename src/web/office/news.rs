//! News to families: written, looked at, made public, taken back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use chrono::{DateTime, NaiveTime, Utc};

use super::{
    Answer, Area, Form, Html, Office, Oops, Page,
    child_edit::Meanwhile,
    list::{Column, List, ListSpec, thousands},
    mail::moment,
    news_decide,
};
use crate::{
    canteen::window::Window,
    desk::{
        family::Edited,
        news::{LONGEST_TEXT, LONGEST_TITLE, NewsEdit, NewsError, NewsFile, NewsFilter, NewsOrder, NewsRow, NewsState, NewsTarget, text},
        people::Permission,
    },
};

pub(super) const HERE: &str = "/ufficio/avvisi";

pub(super) fn area() -> Area {
    let area = Area::new()
        .menu("Avvisi", HERE, Permission::SeeNews)
        .get(HERE, Permission::SeeNews, list)
        .get("/ufficio/avvisi/nuovo", Permission::WriteNews, new)
        .post("/ufficio/avvisi/nuovo", Permission::WriteNews, add)
        .post("/ufficio/avvisi/chiusura/{id}", Permission::WriteNews, of_closure)
        .get("/ufficio/avvisi/{id}", Permission::SeeNews, show)
        .get("/ufficio/avvisi/{id}/modifica", Permission::WriteNews, edit)
        .post("/ufficio/avvisi/{id}/modifica", Permission::WriteNews, save);
    news_decide::routes(area)
}

pub(super) fn at(id: i64) -> String {
    format!("{HERE}/{id}")
}

static LIST: ListSpec<NewsOrder> = ListSpec {
    path: HERE,
    columns: &[
        Column { label: "Titolo", sort: Some(("titolo", NewsOrder::Title)), number: false },
        Column { label: "Stato", sort: None, number: false },
        Column { label: "Per chi", sort: None, number: false },
        Column { label: "Pubblico da", sort: Some(("da", NewsOrder::Start)), number: false },
        Column { label: "Ultima modifica", sort: Some(("modifica", NewsOrder::Changed)), number: false },
    ],
    usual: (NewsOrder::Changed, true),
    filters: &["stato"],
};

/// A news item as it is listed.
struct Line {
    id: i64,
    title: String,
    pinned: bool,
    state: &'static str,
    whom: String,
    from: String,
    until: String,
    changed: String,
    changed_by: String,
}

fn line(page: &Page, (row, state, whom): (NewsRow, NewsState, String)) -> Line {
    let when = |at: Option<DateTime<Utc>>| at.map(|at| moment(page, at)).unwrap_or_default();
    Line {
        id: row.id,
        title: row.title,
        pinned: row.pinned,
        state: state.word(),
        whom,
        from: when(row.from_at),
        until: when(row.until_at),
        changed: moment(page, row.changed_at),
        changed_by: row.changed_by,
    }
}

#[derive(Template)]
#[template(path = "office/news.html")]
struct NewsPage<'a> {
    page: &'a Page,
    list: List<NewsOrder>,
    rows: Vec<Line>,
    total: i64,
    states: Vec<&'static str>,
    state: &'static str,
    may_write: bool,
}

async fn list(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let page = page.titled("Avvisi");
    let list = List::of(&LIST, query.as_deref());
    let state: Option<NewsState> = list.filter("stato").parse().ok();
    let filter = NewsFilter { kind: state.map(NewsState::kind).unwrap_or_default(), order: list.sort, descending: list.descending };
    let (rows, total) = office.desk.list_news(page.ente.id, filter, list.offset(), list.limit()).await?;
    page.show(&NewsPage {
        page: &page,
        rows: rows.into_iter().map(|row| line(&page, row)).collect(),
        list,
        total,
        states: NewsState::ALL.map(NewsState::word).to_vec(),
        state: state.map(NewsState::word).unwrap_or_default(),
        may_write: page.may(Permission::WriteNews),
    })
}

#[derive(Template)]
#[template(path = "office/news_show.html")]
struct ShowPage<'a> {
    page: &'a Page,
    file: &'a NewsFile,
    text: Html,
    facts: Vec<(&'static str, String)>,
    may_write: bool,
}

pub(super) async fn find(office: &Office, page: &Page, id: i64) -> Result<NewsFile, Oops> {
    office.desk.news_file(page.ente.id, id).await?.ok_or(Oops::NotFound)
}

async fn show(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let file = find(&office, &page, id).await?;
    let row = &file.row;
    let mut facts = vec![("Stato", file.state.word().to_owned()), ("Per chi", file.whom.clone())];
    if let Some(from) = row.from_at {
        facts.push(("Da", moment(&page, from)));
    }
    facts.push(("Fino a", row.until_at.map_or_else(|| "senza termine".to_owned(), |until| moment(&page, until))));
    facts.push(("In evidenza", if row.pinned { "sì" } else { "no" }.to_owned()));
    facts.push(("Per posta", mail_in_words(&page, row)));
    facts.push(("Scritto da", format!("{}, {}", row.created_by, moment(&page, row.created_at))));
    facts.push(("Ultima modifica", format!("{}, {}", row.changed_by, moment(&page, row.changed_at))));
    let page = page.under("Avvisi", HERE).titled(&file.row.title);
    let may_write = page.may(Permission::WriteNews);
    page.show(&ShowPage { page: &page, text: Html(text::html(&row.body)), file: &file, facts, may_write })
}

pub(super) fn addresses_in_words(n: i64) -> String {
    match n {
        0 => "nessun indirizzo".to_owned(),
        1 => "un indirizzo".to_owned(),
        n => format!("{} indirizzi", thousands(n)),
    }
}

fn mail_in_words(page: &Page, row: &NewsRow) -> String {
    match (row.by_mail, row.mailed_at) {
        (_, Some(at)) => format!("sì, messo in spedizione {}: {}", moment(page, at), addresses_in_words(row.mailed)),
        (true, None) if row.mailed > 0 => format!("in corso: finora {}", addresses_in_words(row.mailed)),
        (true, None) => "sì, quando diventa pubblico".to_owned(),
        (false, None) => "no".to_owned(),
    }
}

/// A school that can be chosen, and its classes: value and name.
struct SchoolChoice {
    value: String,
    name: String,
    classes: Vec<(String, String)>,
}

impl SchoolChoice {
    fn has(&self, value: &str) -> bool {
        self.value == value || self.classes.iter().any(|(class, _)| class == value)
    }
}

#[derive(Template)]
#[template(path = "office/news_edit.html")]
struct EditPage<'a> {
    page: &'a Page,
    form: &'a Form,
    title: &'a str,
    back: &'a str,
    schools: Vec<SchoolChoice>,
    /// Classes of earlier years that it is for.
    earlier: Vec<(String, String)>,
    has_mail: bool,
    mailed: bool,
    preview: Option<(String, Html)>,
    meanwhile: Option<&'a Meanwhile>,
}

impl EditPage<'_> {
    /// Is one of these classes chosen, so that they are to be seen?
    fn is_open(&self, classes: &[(String, String)]) -> bool {
        classes.iter().any(|(value, _)| self.form.has("per", value))
    }
}

fn target_value(target: &NewsTarget) -> String {
    target.class.map_or_else(|| format!("s{}", target.school), |class| format!("c{}.{class}", target.school))
}

fn target_of(value: &str) -> Option<NewsTarget> {
    match value.split_at_checked(1)? {
        ("s", school) => Some(NewsTarget { school: school.parse().ok()?, class: None }),
        ("c", both) => {
            let (school, class) = both.split_once('.')?;
            Some(NewsTarget { school: school.parse().ok()?, class: Some(class.parse().ok()?) })
        }
        _ => None,
    }
}

/// The day and the time of day that a form shows for the instant from which on something holds.
fn from_shown(window: &Window, at: Option<DateTime<Utc>>) -> (String, String) {
    let local = at.map(|at| window.local(at));
    local.map(|l| (l.date().to_string(), l.format("%H:%M").to_string())).unwrap_or_default()
}

/// The same for the instant at which it ends: midnight is the end of the day before.
fn until_shown(window: &Window, at: Option<DateTime<Utc>>) -> (String, String) {
    match at.map(|at| window.local(at)) {
        Some(local) if local.time() == NaiveTime::MIN => (local.date().pred_opt().unwrap_or_default().to_string(), String::new()),
        Some(local) => (local.date().to_string(), local.format("%H:%M").to_string()),
        None => Default::default(),
    }
}

fn shown(window: &Window, edit: &NewsEdit, version: i64) -> Form {
    let (from, until) = (from_shown(window, edit.from), until_shown(window, edit.until));
    let mut values = vec![
        ("titolo", edit.title.clone()),
        ("testo", edit.body.clone()),
        ("dal", from.0),
        ("dalle", from.1),
        ("al", until.0),
        ("alle", until.1),
        ("_version", version.to_string()),
        ("_prima", serde_json::to_string(edit).unwrap_or_default()),
    ];
    if edit.targets.is_empty() {
        values.push(("per", "tutte".to_owned()));
    }
    values.extend(edit.targets.iter().map(|t| ("per", target_value(t))));
    values
        .extend([("evidenza", edit.pinned), ("posta", edit.by_mail)].iter().filter(|(_, on)| *on).map(|(name, _)| (*name, "1".to_owned())));
    Form::showing(values)
}

/// What was typed. What the form showed and nobody touched stays to the second, though it is shown in minutes.
fn typed(form: &mut Form, window: &Window, base: &NewsEdit) -> NewsEdit {
    let title = form.take_text("titolo", "Titolo", LONGEST_TITLE);
    if title.contains('\n') {
        form.wrong("titolo", "Titolo", "Il titolo è di una riga sola.");
    }
    let body = form.take_text("testo", "Testo", LONGEST_TEXT);
    let mut targets: Vec<NewsTarget> = form.values("per").filter_map(target_of).collect();
    let all = form.has("per", "tutte");
    if all != targets.is_empty() {
        form.wrong("per", "Per chi", if all { "Scelga tutte le famiglie, oppure alcune scuole e classi." } else { "Scelga per chi è." });
    }
    targets.sort_unstable();
    targets.dedup();
    // A school's classes are in it.
    let whole: Vec<i64> = targets.iter().filter(|t| t.class.is_none()).map(|t| t.school).collect();
    targets.retain(|t| t.class.is_none() || !whole.contains(&t.school));
    let from = if (form.value("dal"), form.value("dalle")) == pair(&from_shown(window, base.from)) {
        base.from
    } else {
        take_instant(form, window, ("dal", "Dal giorno"), ("dalle", "Dalle ore"), false)
    };
    let until = if (form.value("al"), form.value("alle")) == pair(&until_shown(window, base.until)) {
        base.until
    } else {
        take_instant(form, window, ("al", "Fino al giorno"), ("alle", "Fino alle ore"), true)
    };
    NewsEdit { title, body, targets, from, until, pinned: form.ticked("evidenza"), by_mail: form.ticked("posta") }
}

fn pair((day, time): &(String, String)) -> (&str, &str) {
    (day, time)
}

fn take_instant(form: &mut Form, window: &Window, day: (&str, &str), time: (&str, &str), to_the_end: bool) -> Option<DateTime<Utc>> {
    let has_time = !form.value(time.0).trim().is_empty();
    let Some(date) = form.take_optional_day(day.0, day.1) else {
        if has_time {
            form.wrong(day.0, day.1, "Scelga anche il giorno.");
        }
        return None;
    };
    let local = match (has_time, to_the_end) {
        (true, _) => date.and_time(form.take_time(time.0, time.1)),
        (false, false) => date.and_time(NaiveTime::MIN),
        (false, true) => date.succ_opt().unwrap_or(date).and_time(NaiveTime::MIN),
    };
    Some(window.instant(local))
}

/// What is wrong, at its field.
fn explain(form: &mut Form, error: NewsError) -> Result<(), Oops> {
    match error {
        NewsError::Backwards => form.wrong("al", "Fino al giorno", "Finisce prima di cominciare."),
        NewsError::Over => form.wrong("al", "Fino al giorno", "Questo momento è già passato."),
        NewsError::TooLong => form.wrong("testo", "Testo", "È troppo lungo."),
        NewsError::Target => form.wrong("per", "Per chi", "Una di queste scuole o classi non c'è più, o sono troppe."),
        NewsError::Stale => form.wrong_whole("Nel frattempo qualcun altro l'ha cambiato: controlli di nuovo."),
        NewsError::Gone => return Err(Oops::NotFound),
        NewsError::Desk(error) => return Err(error.into()),
    }
    Ok(())
}

/// What stands around the form.
struct Around<'a> {
    id: Option<i64>,
    mailed: bool,
    preview: bool,
    meanwhile: Option<&'a Meanwhile>,
}

async fn show_form(office: &Office, page: Page, form: &Form, around: Around<'_>) -> Answer {
    let choices = office.desk.filters(page.ente.id).await?;
    let school = |s: &crate::store::SchoolKey| {
        let classes = choices.classes.iter().filter(|c| c.school_id == s.id);
        let classes = classes.map(|c| (format!("c{}.{}", s.id, c.id), format!("Classe {}", c.name))).collect();
        SchoolChoice { value: format!("s{}", s.id), name: s.name.clone(), classes }
    };
    let schools: Vec<_> = choices.schools.iter().map(school).collect();
    let known = |value: &str| schools.iter().any(|school| school.has(value));
    let earlier = form.values("per").filter(|value| !known(value) && target_of(value).is_some());
    let earlier = earlier.map(|value| (value.to_owned(), "Una classe di un anno precedente".to_owned())).collect();
    let title = if around.id.is_some() { "Modifica l'avviso" } else { "Nuovo avviso" };
    let back = around.id.map_or_else(|| HERE.to_owned(), at);
    let page = page.under("Avvisi", HERE).titled(title);
    let preview = around.preview.then(|| (form.value("titolo").to_owned(), Html(text::html(form.value("testo")))));
    let shown = EditPage {
        page: &page,
        form,
        title,
        back: &back,
        schools,
        earlier,
        has_mail: office.desk.has_mail(),
        mailed: around.mailed,
        preview,
        meanwhile: around.meanwhile,
    };
    if form.is_bad() || around.meanwhile.is_some() { page.show_again(&shown) } else { page.show(&shown) }
}

async fn new(State(office): State<Arc<Office>>, page: Page) -> Answer {
    show_form(&office, page, &Form::empty(), Around { id: None, mailed: false, preview: false, meanwhile: None }).await
}

async fn add(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let edit = typed(&mut form, &page.ente.window, &NewsEdit::default());
    let preview = form.value("fai") == "anteprima";
    if !form.is_bad() && !preview {
        match office.desk.draft_news(&page.actor(), &edit).await {
            Ok(id) => return page.done(&at(id), "La bozza è salvata. Le famiglie non la vedono finché non la pubblica."),
            Err(error) => explain(&mut form, error)?,
        }
    }
    show_form(&office, page, &form, Around { id: None, mailed: false, preview, meanwhile: None }).await
}

async fn of_closure(State(office): State<Arc<Office>>, page: Page, Path(closure): Path<i64>, _form: Form) -> Answer {
    let id = office.desk.news_of_closure(&page.actor(), closure).await;
    let id = id.map_err(|error| match error {
        NewsError::Desk(error) => error.into(),
        other => Oops::Broken(other.into()),
    })?;
    page.done(&at(id.ok_or(Oops::NotFound)?), "Ecco l'avviso sulla chiusura. Lo rilegga, poi lo pubblichi.")
}

async fn edit(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let file = find(&office, &page, id).await?;
    let form = shown(&page.ente.window, &file.edit, file.row.version);
    show_form(&office, page, &form, Around { id: Some(id), mailed: file.row.mailed_at.is_some(), preview: false, meanwhile: None }).await
}

async fn save(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let file = find(&office, &page, id).await?;
    let base: NewsEdit = serde_json::from_str(form.value("_prima")).map_err(|_| Oops::Bad("no base"))?;
    let window = page.ente.window;
    let mine = typed(&mut form, &window, &base);
    let version = form.take_version();
    let preview = form.value("fai") == "anteprima";
    let mut told = None;
    if !form.is_bad() && !preview {
        match office.desk.edit_news(&page.actor(), id, version, &base, &mine).await {
            Ok(Edited::Saved) => return page.done(&at(id), "L'avviso è salvato."),
            Ok(Edited::Meanwhile { merged, version, theirs, both }) => {
                let standing = find(&office, &page, id).await?;
                form = shown(&window, &merged, version);
                form.set("_prima", serde_json::to_string(&standing.edit).unwrap_or_default());
                told = Some(Meanwhile { theirs, both });
            }
            Err(error) => explain(&mut form, error)?,
        }
    }
    let mailed = file.row.mailed_at.is_some();
    show_form(&office, page, &form, Around { id: Some(id), mailed, preview, meanwhile: told.as_ref() }).await
}
