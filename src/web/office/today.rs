//! Today: the first page, and the kitchen's view. Live without reload; everything is in the page from the beginning.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use askama::Template;
use axum::extract::{Path, State};
use chrono::{NaiveDate, TimeDelta};
use tokio::{sync::Mutex, time::Instant};

use super::{
    Answer, Area, Form, Office, Oops, Page, chart,
    files::{FileKind, download, shown},
    html::Html,
    live,
};
use crate::{
    canteen::{EnteId, words::day_in_words},
    desk::{
        calendar::words::thousands,
        kitchen::{self, DayCount, KitchenRecipient, SchoolCount},
        people::Permission,
        today::Today,
    },
    papers,
};

const KITCHEN: &str = "/ufficio/cucina";
const RECIPIENTS: &str = "/ufficio/cucina/indirizzi";
/// How often a live part is made anew.
const EVERY: Duration = Duration::from_secs(5);
/// A picture this old is taken for all that look at the same time.
const FRESH: Duration = Duration::from_secs(4);
/// Pictures kept: of so many offices.
const MOST_KEPT: usize = 256;

pub(super) fn area() -> Area {
    Area::new()
        .menu("Oggi", "/ufficio/", Permission::SeeToday)
        .menu("Cucina", KITCHEN, Permission::SeeToday)
        .get("/ufficio/", Permission::OwnAccount, show)
        .get("/ufficio/oggi/vivo", Permission::SeeToday, follow)
        .get(KITCHEN, Permission::SeeToday, kitchen)
        .get("/ufficio/cucina/vivo", Permission::SeeToday, follow_kitchen)
        .get("/ufficio/cucina/giorno/{day}", Permission::SeeToday, sheet)
        .get("/ufficio/cucina/giorno/{day}/{kind}", Permission::SeeToday, file)
        .get(RECIPIENTS, Permission::SeeCalendar, recipients)
        .post(RECIPIENTS, Permission::ChangeCalendar, add_recipient)
        .post("/ufficio/cucina/indirizzi/{id}/togli", Permission::ChangeCalendar, drop_recipient)
}

#[derive(Template)]
#[template(path = "office/today.html")]
struct TodayPage<'a> {
    page: &'a Page,
    part: Html,
    /// Tickets that wait for the office, and those of them for this person or for nobody; for whoever may see them.
    tickets: Option<(i64, i64)>,
}

#[derive(Template)]
#[template(path = "office/today_part.html")]
struct Part<'a> {
    today: &'a Today,
    count: &'a DayCount,
    calls_now: Option<u64>,
    chart: Html,
}

#[derive(Template)]
#[template(path = "office/kitchen.html")]
struct KitchenPage<'a> {
    page: &'a Page,
    part: Html,
}

#[derive(Template)]
#[template(path = "office/kitchen_part.html")]
struct KitchenPart<'a> {
    today: &'a Today,
}

#[derive(Template)]
#[template(path = "office/kitchen_day.html")]
struct SheetPage<'a> {
    page: &'a Page,
    count: &'a DayCount,
    before: String,
    after: String,
}

#[derive(Template)]
#[template(path = "office/kitchen_recipients.html")]
struct RecipientsPage<'a> {
    page: &'a Page,
    form: &'a Form,
    schools: Vec<(String, String)>,
    rows: Vec<KitchenRecipient>,
    has_mail: bool,
}

/// What templates call.
impl Part<'_> {
    /// Cancellations on every channel so far, and on a usual day where there is one to compare with.
    fn cancelled(&self) -> (i64, Option<i64>) {
        let channels = &self.today.channels;
        let usual = channels.iter().filter_map(|channel| channel.usual).sum();
        (channels.iter().map(|channel| channel.count).sum(), (self.today.usual_days > 0).then_some(usual))
    }

    fn day(&self) -> String {
        day_in_words(self.today.day)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as templates call it")]
fn day_of(day: &NaiveDate) -> String {
    day_in_words(*day)
}

fn meals_in_words(count: &DayCount) -> String {
    thousands(count.meals() as usize)
}

/// "Telefono", "Portale", "Ufficio".
pub(super) fn channel_in_words(word: &str) -> &'static str {
    match word {
        "phone" => "Telefono",
        "web" => "Portale",
        "office" => "Ufficio",
        "ring" => "Squillo",
        _ => "Altro",
    }
}

/// "2 ore e 5 minuti", "un minuto".
fn left_in_words(left: &TimeDelta) -> String {
    let minutes = left.num_minutes();
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let h = match hours {
        0 => None,
        1 => Some("un'ora".to_owned()),
        n => Some(format!("{n} ore")),
    };
    let m = match minutes {
        0 => None,
        1 => Some("un minuto".to_owned()),
        n => Some(format!("{n} minuti")),
    };
    match (h, m) {
        (Some(h), Some(m)) => format!("{h} e {m}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "meno di un minuto".to_owned(),
    }
}

/// How a school's day stands, in words.
fn school_in_words(school: &SchoolCount) -> &'static str {
    match (school.is_final, school.classes.is_empty()) {
        (_, true) => "nessuna classe ha la mensa",
        (true, false) => "conteggio definitivo",
        (false, false) => "può ancora cambiare",
    }
}

/// By office (its place in memory) and ente.
type Key = (usize, EnteId);
type Kept = HashMap<Key, (Instant, Arc<Today>)>;
static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// One picture for all who look at the same time: a hundred open pages ask the database as often as one.
async fn picture(office: &Arc<Office>, ente: EnteId) -> Result<Arc<Today>, Oops> {
    let key = (Arc::as_ptr(office) as usize, ente);
    // Held while it is made: whoever comes meanwhile waits for this one.
    let mut kept = KEPT.lock().await;
    if let Some((made, today)) = kept.get(&key)
        && made.elapsed() < FRESH
    {
        return Ok(Arc::clone(today));
    }
    let today = Arc::new(office.desk.today(ente).await?);
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert(key, (Instant::now(), Arc::clone(&today)));
    Ok(today)
}

fn part(office: &Office, today: &Today) -> Result<String, Oops> {
    let calls_now = office.sip.as_ref().map(|sip| sip.stats().active);
    Ok(Part { today, count: &today.count, calls_now, chart: chart::morning(&today.bars) }.render()?)
}

async fn show(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let today = office.desk.today(page.ente.id).await?;
    let part = Html(part(&office, &today)?);
    let sees = page.may(Permission::SeeTickets);
    let tickets = if sees { Some(office.desk.open_tickets(page.ente.id, Some(page.person.id)).await?) } else { None };
    page.show(&TodayPage { page: &page, part, tickets })
}

async fn follow(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let ente = page.ente.id;
    live::follow(&page, EVERY, move || {
        let office = Arc::clone(&office);
        async move { part(&office, &*picture(&office, ente).await?) }
    })
}

async fn kitchen(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let today = office.desk.today(page.ente.id).await?;
    let part = Html(KitchenPart { today: &today }.render()?);
    let page = page.titled("Cucina");
    page.show(&KitchenPage { page: &page, part })
}

async fn follow_kitchen(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let ente = page.ente.id;
    live::follow(&page, EVERY, move || {
        let office = Arc::clone(&office);
        async move { Ok(KitchenPart { today: &*picture(&office, ente).await? }.render()?) }
    })
}

async fn sheet(State(office): State<Arc<Office>>, page: Page, Path(day): Path<String>) -> Answer {
    let day = parsed(&day)?;
    let (count, _) = office.desk.count_day(page.ente.id, day).await?;
    let page = page.under("Cucina", KITCHEN).titled(&day_in_words(day));
    let other = |day: Option<NaiveDate>| day.unwrap_or_default().to_string();
    page.show(&SheetPage { page: &page, count: &count, before: other(day.pred_opt()), after: other(day.succ_opt()) })
}

async fn file(State(office): State<Arc<Office>>, page: Page, Path((day, kind)): Path<(String, String)>) -> Answer {
    let day = parsed(&day)?;
    let (count, at) = office.desk.count_day(page.ente.id, day).await?;
    let name = format!("pasti-{day}");
    match kind.as_str() {
        "csv" => download(FileKind::Csv, &name, kitchen::csv(&count)?),
        "xlsx" => download(FileKind::Xlsx, &name, kitchen::xlsx(&count)?),
        "pdf" => {
            let (window, heading) = office.desk.sheet_frame(page.ente.id).await?;
            let sheet = kitchen::sheet(&count, heading, at, &window);
            let made = tokio::task::spawn_blocking(move || papers::kitchen::pdf(&sheet, at)).await.map_err(anyhow::Error::from)?;
            shown(FileKind::Pdf, &name, made.map_err(anyhow::Error::from)?)
        }
        _ => Err(Oops::NotFound),
    }
}

/// A day in an address.
pub(super) fn parsed(day: &str) -> Result<NaiveDate, Oops> {
    let day: NaiveDate = day.parse().map_err(|_| Oops::NotFound)?;
    if (2000..=2200).contains(&chrono::Datelike::year(&day)) { Ok(day) } else { Err(Oops::NotFound) }
}

async fn recipients(State(office): State<Arc<Office>>, page: Page) -> Answer {
    show_recipients(&office, page, &Form::empty(), false).await
}

async fn show_recipients(office: &Office, page: Page, form: &Form, again: bool) -> Answer {
    let rows = office.desk.kitchen_recipients(page.ente.id).await?;
    let schools = office.desk.schools(page.ente.id).await?.into_iter().map(|(id, name)| (id.to_string(), name)).collect();
    let page = page.under("Cucina", KITCHEN).titled("Chi riceve il conteggio");
    let shown = RecipientsPage { page: &page, form, schools, rows, has_mail: office.desk.has_mail() };
    if again { page.show_again(&shown) } else { page.show(&shown) }
}

async fn add_recipient(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let name = form.take_text("nome", "Nome", 100);
    let email = form.take_optional_email("email", "E-mail");
    if email.is_none() {
        form.wrong("email", "E-mail", "Scriva un indirizzo come nome@esempio.it.");
    }
    let school = match form.value("scuola") {
        "" => None,
        id => Some(id.parse().unwrap_or(-1)),
    };
    if !form.is_bad() {
        if office.desk.add_kitchen_recipient(&page.actor(), school, &name, &email.unwrap_or_default()).await? {
            return page.done(RECIPIENTS, "L'indirizzo è aggiunto: dal prossimo termine riceve il conteggio.");
        }
        form.wrong("email", "E-mail", "Questo indirizzo non si può aggiungere: c'è già, o sono troppi.");
    }
    show_recipients(&office, page, &form, true).await
}

async fn drop_recipient(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    if office.desk.drop_kitchen_recipient(&page.actor(), id).await? {
        page.done(RECIPIENTS, "L'indirizzo è tolto.")
    } else {
        Err(Oops::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_in_words() {
        let told = [0, 1, 23, 60, 61, 125, 900].map(|m| left_in_words(&TimeDelta::minutes(m)));
        insta::assert_snapshot!(told.join(", "), @"meno di un minuto, un minuto, 23 minuti, un'ora, un'ora e un minuto, 2 ore e 5 minuti, 15 ore");
    }
}
