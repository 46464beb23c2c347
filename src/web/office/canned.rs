//! Canned answers: a list, and a form for each.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::{Answer, Area, FlashKind, Form, Office, Oops, Page, child_edit::Meanwhile, tickets::HERE as TICKETS};
use crate::desk::{
    family::Edited,
    people::Permission,
    tickets::{
        LONGEST_TEXT, LONGEST_TITLE,
        canned::{CannedEdit, CannedError, CannedRow, MOST_CANNED, PLACES, unknown},
    },
};

const HERE: &str = "/ufficio/segnalazioni/risposte";

pub(super) fn routes(area: Area) -> Area {
    area.get(HERE, Permission::SeeTickets, list)
        .get("/ufficio/segnalazioni/risposte/nuova", Permission::AnswerTickets, new)
        .post("/ufficio/segnalazioni/risposte/nuova", Permission::AnswerTickets, add)
        .get("/ufficio/segnalazioni/risposte/{id}", Permission::AnswerTickets, edit)
        .post("/ufficio/segnalazioni/risposte/{id}", Permission::AnswerTickets, save)
        .post("/ufficio/segnalazioni/risposte/{id}/elimina", Permission::AnswerTickets, delete)
}

#[derive(Template)]
#[template(path = "office/canned.html")]
struct ListPage<'a> {
    page: &'a Page,
    rows: Vec<CannedRow>,
    may_answer: bool,
}

async fn list(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let rows = office.desk.canned_answers(page.ente.id).await?;
    let page = page.under("Segnalazioni", TICKETS).titled("Risposte pronte");
    page.show(&ListPage { page: &page, rows, may_answer: page.may(Permission::AnswerTickets) })
}

#[derive(Template)]
#[template(path = "office/canned_edit.html")]
struct EditPage<'a> {
    page: &'a Page,
    form: &'a Form,
    title: &'a str,
    id: Option<i64>,
    places: String,
    meanwhile: Option<&'a Meanwhile>,
}

fn show_form(page: Page, form: &Form, id: Option<i64>, meanwhile: Option<&Meanwhile>) -> Answer {
    let title = if id.is_some() { "Modifica la risposta pronta" } else { "Nuova risposta pronta" };
    let page = page.under("Segnalazioni", TICKETS).under("Risposte pronte", HERE).titled(title);
    let places = PLACES.map(|(word, means)| format!("{{{word}}}: {means}")).join("; ");
    let places = format!("Segnaposto: {places}.");
    let shown = EditPage { page: &page, form, title, id, places, meanwhile };
    if form.is_bad() || meanwhile.is_some() { page.show_again(&shown) } else { page.show(&shown) }
}

fn shown(edit: &CannedEdit, base: &CannedEdit, version: i64) -> Form {
    Form::showing([
        ("titolo", edit.title.clone()),
        ("testo", edit.body.clone()),
        ("_version", version.to_string()),
        ("_prima", serde_json::to_string(base).unwrap_or_default()),
    ])
}

fn typed(form: &mut Form) -> CannedEdit {
    let title = form.take_text("titolo", "Titolo", LONGEST_TITLE);
    let body = form.take_text("testo", "Testo", LONGEST_TEXT);
    if let Some(place) = unknown(&body).first() {
        form.wrong("testo", "Testo", format!("Il segnaposto {{{place}}} non esiste."));
    }
    CannedEdit { title, body }
}

fn explain(form: &mut Form, error: CannedError) -> Result<(), Oops> {
    match error {
        CannedError::Taken => form.wrong("titolo", "Titolo", "C'è già una risposta pronta con questo titolo."),
        CannedError::TooMany => form.wrong_whole(format!("Le risposte pronte sono già {MOST_CANNED}: ne elimini una.")),
        CannedError::Unfit => form.wrong("testo", "Testo", "È troppo lungo, o ha un segnaposto che non esiste."),
        CannedError::Stale => form.wrong_whole("Nel frattempo qualcun altro l'ha cambiata: riprovi."),
        CannedError::Gone => return Err(Oops::NotFound),
        CannedError::Desk(error) => return Err(error.into()),
    }
    Ok(())
}

async fn new(page: Page) -> Answer {
    show_form(page, &Form::empty(), None, None)
}

async fn add(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let edit = typed(&mut form);
    if !form.is_bad() {
        match office.desk.add_canned_answer(&page.actor(), &edit).await {
            Ok(_) => return page.done(HERE, "La risposta pronta è aggiunta."),
            Err(error) => explain(&mut form, error)?,
        }
    }
    show_form(page, &form, None, None)
}

async fn find(office: &Office, page: &Page, id: i64) -> Result<(CannedEdit, i64), Oops> {
    let row = office.desk.canned_answer(page.ente.id, id).await?.ok_or(Oops::NotFound)?;
    Ok((CannedEdit { title: row.title, body: row.body }, row.version))
}

async fn edit(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let (edit, version) = find(&office, &page, id).await?;
    show_form(page, &shown(&edit, &edit, version), Some(id), None)
}

async fn save(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    find(&office, &page, id).await?;
    let base: CannedEdit = serde_json::from_str(form.value("_prima")).map_err(|_| Oops::Bad("no base"))?;
    let mine = typed(&mut form);
    let version = form.take_version();
    let mut told = None;
    if !form.is_bad() {
        match office.desk.edit_canned_answer(&page.actor(), id, version, &base, &mine).await {
            Ok(Edited::Saved) => return page.done(HERE, "La risposta pronta è salvata."),
            Ok(Edited::Meanwhile { merged, version, theirs, both }) => {
                let (standing, _) = find(&office, &page, id).await?;
                form = shown(&merged, &standing, version);
                told = Some(Meanwhile { theirs, both });
            }
            Err(error) => explain(&mut form, error)?,
        }
    }
    show_form(page, &form, Some(id), told.as_ref())
}

async fn delete(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    match office.desk.delete_canned_answer(&page.actor(), id, form.take_version()).await {
        Ok(()) => page.done(HERE, "La risposta pronta è eliminata; le risposte già date restano."),
        Err(CannedError::Stale) => {
            page.on_with(&format!("{HERE}/{id}"), FlashKind::Failed, "Non è stata eliminata: nel frattempo è cambiata. La guardi di nuovo.")
        }
        Err(CannedError::Gone) => Err(Oops::NotFound),
        Err(CannedError::Desk(error)) => Err(error.into()),
        Err(other) => Err(Oops::Broken(other.into())),
    }
}
