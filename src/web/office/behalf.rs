//! Operations that the office does for a family: chosen, shown with what they change, confirmed.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use chrono::NaiveDate;

use super::{
    Answer, Area, FlashKind, Form, Office, Oops, Page,
    children::{capitalised, state_in_words},
};
use crate::{
    canteen::{ChildId, Choice},
    desk::{
        behalf::{OfficeOrder, Outlook},
        explain::{choice_in_words, day_in_words, reason_in_words},
        people::Permission,
    },
    store::Verdict,
};

pub(super) fn routes(area: Area) -> Area {
    area.get("/ufficio/bambini/{id}/operazione", Permission::ChangeFamilies, ask)
        .post("/ufficio/bambini/{id}/operazione", Permission::ChangeFamilies, confirm)
        .post("/ufficio/bambini/{id}/operazione/conferma", Permission::ChangeFamilies, operate)
}

const CHOICES: [(&str, Choice); 5] = [
    ("disdetta", Choice::Cancel),
    ("bianco", Choice::White),
    ("annulla", Choice::Undo),
    ("sospendi", Choice::Suspend),
    ("riprendi", Choice::Resume),
];
/// Days named in a confirmation; of a long suspension the first ones.
const NAMED: usize = 15;

#[derive(Template)]
#[template(path = "office/behalf.html")]
struct AskPage<'a> {
    page: &'a Page,
    form: &'a Form,
    name: &'a str,
    id: i64,
    back: &'a str,
    late: bool,
}

impl AskPage<'_> {
    fn choices() -> Vec<(String, String)> {
        CHOICES.iter().map(|(word, choice)| ((*word).to_owned(), capitalised(choice_in_words(*choice)))).collect()
    }
}

struct Line {
    day: String,
    was: &'static str,
    becomes: &'static str,
    closed: bool,
}

#[derive(Template)]
#[template(path = "office/behalf_confirm.html")]
struct ConfirmPage<'a> {
    page: &'a Page,
    form: &'a Form,
    name: &'a str,
    id: i64,
    what: &'a str,
    lines: &'a [Line],
    more: usize,
    closed: bool,
    late: bool,
    open_ended: bool,
}

struct Typed {
    choice: Choice,
    day: NaiveDate,
    until: Option<NaiveDate>,
    note: Option<String>,
}

fn take(form: &mut Form) -> Typed {
    let word = form.value("operazione").to_owned();
    let choice = CHOICES.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice);
    if choice.is_none() {
        form.wrong("operazione", "Operazione", "Scelga che cosa fare.");
    }
    let choice = choice.unwrap_or(Choice::Cancel);
    let day = form.take_day("giorno", "Giorno");
    let until = form.take_optional_day("al", "Fino al").filter(|_| choice == Choice::Suspend);
    Typed { choice, day, until, note: form.take_optional_text("motivo", "Motivo", 500) }
}

impl Typed {
    fn order(&self, child: i64) -> OfficeOrder<'_> {
        OfficeOrder { child: ChildId(child), choice: self.choice, day: self.day, until: self.until, note: self.note.as_deref() }
    }

    fn what(&self) -> String {
        let what = capitalised(choice_in_words(self.choice));
        match (self.choice, self.until) {
            (Choice::Suspend, Some(until)) => format!("{what} da {} a {}", day_in_words(self.day), day_in_words(until)),
            (Choice::Suspend, None) => format!("{what} da {}, senza una fine stabilita", day_in_words(self.day)),
            (Choice::Resume, _) => format!("{what} da {}", day_in_words(self.day)),
            _ => format!("{what} per {}", day_in_words(self.day)),
        }
    }
}

async fn name_of(office: &Office, page: &Page, id: i64) -> Result<String, Oops> {
    let found = office.desk.listed_child(page.ente.id, ChildId(id)).await?.ok_or(Oops::NotFound)?;
    Ok(format!("{} {}", found.last_name, found.first_name))
}

fn on_page(page: Page, name: &str, id: i64) -> Page {
    page.under("Bambini", "/ufficio/bambini").under(name, &format!("/ufficio/bambini/{id}")).titled("Operazione")
}

async fn is_late(office: &Office, page: &Page, day: NaiveDate) -> Result<bool, Oops> {
    let (window, now) = office.desk.window(page.ente.id).await?;
    Ok(!window.day_is_open(day, now))
}

async fn ask(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, RawQuery(query): RawQuery) -> Answer {
    let name = name_of(&office, &page, id).await?;
    let query = query.unwrap_or_default();
    let day =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "giorno").and_then(|(_, day)| day.parse::<NaiveDate>().ok());
    let form = Form::showing([("giorno", day.map(|d| d.to_string()).unwrap_or_default())]);
    let late = match day {
        Some(day) => is_late(&office, &page, day).await?,
        None => false,
    };
    let page = on_page(page, &name, id);
    page.show(&AskPage { page: &page, form: &form, name: &name, id, back: &format!("/ufficio/bambini/{id}"), late })
}

async fn again(office: &Office, page: Page, name: &str, id: i64, form: &Form, day: NaiveDate) -> Answer {
    let late = is_late(office, &page, day).await?;
    let page = on_page(page, name, id);
    page.show_again(&AskPage { page: &page, form, name, id, back: &format!("/ufficio/bambini/{id}"), late })
}

async fn confirm(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let name = name_of(&office, &page, id).await?;
    let typed = take(&mut form);
    if form.is_bad() {
        return again(&office, page, &name, id, &form, typed.day).await;
    }
    let outlook = office.desk.preview_for(&page.actor(), &typed.order(id)).await?;
    if let Verdict::Refused(reason, day) = outlook.verdict {
        let (window, _) = office.desk.window(page.ente.id).await?;
        form.wrong("operazione", "Operazione", format!("Non si può: {}.", reason_in_words(reason, day, &window)));
    } else if outlook.late && typed.note.is_none() {
        form.wrong("motivo", "Motivo", "Il termine di questo giorno è passato: scriva perché lo si cambia.");
    }
    if form.is_bad() {
        return again(&office, page, &name, id, &form, typed.day).await;
    }
    form.set("chiave", format!("ufficio-{}", uuid::Uuid::new_v4()));
    let page = on_page(page, &name, id);
    let lines = lines(&outlook);
    page.show(&ConfirmPage {
        page: &page,
        form: &form,
        name: &name,
        id,
        what: &typed.what(),
        lines: &lines,
        more: outlook.days.len().saturating_sub(lines.len()),
        closed: outlook.days.iter().any(|day| day.closed),
        late: outlook.late,
        open_ended: outlook.open_ended,
    })
}

fn lines(outlook: &Outlook) -> Vec<Line> {
    let line = |change: &crate::desk::behalf::DayChange| Line {
        day: day_in_words(change.day),
        was: state_in_words(change.was).1,
        becomes: state_in_words(change.becomes).1,
        closed: change.closed,
    };
    outlook.days.iter().take(NAMED).map(line).collect()
}

async fn operate(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let name = name_of(&office, &page, id).await?;
    let typed = take(&mut form);
    let key = form.take_text("chiave", "Chiave", 80);
    if form.is_bad() || !key.starts_with("ufficio-") {
        return again(&office, page, &name, id, &form, typed.day).await;
    }
    let (receipt, _) = office.desk.operate_for(&page.actor(), &typed.order(id), &key).await?;
    let back = format!("/ufficio/bambini/{id}?mese={}", typed.day.format("%Y-%m"));
    let (window, _) = office.desk.window(page.ente.id).await?;
    match receipt.verdict {
        Verdict::Accepted(_) => page.done(&back, &format!("Fatto: {}. Ricevuta {}.", typed.what(), receipt.number)),
        Verdict::Refused(reason, day) => {
            let why = reason_in_words(reason, day, &window);
            page.on_with(&back, FlashKind::Failed, &format!("Non è stato fatto: {why}. Ricevuta {}.", receipt.number))
        }
        Verdict::DayChanged(day) => {
            page.on_with(&back, FlashKind::Failed, &format!("Non è stato fatto: il giorno è diventato {}.", day_in_words(day)))
        }
    }
}
