//! Imports: files looked at, what they would change, done, undone.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::{Answer, Area, FlashKind, Form, Office, Oops, Page};
use crate::{
    canteen::{code::ChildCode, roster::Roster},
    desk::{
        import::{Change, ImportError, ImportOptions, Kind, Plan, PlannedRow},
        people::Permission,
        roster_file::{self, Known, Problem, SourceFile},
        undo::UndoError,
    },
    store::BatchRow,
};

pub(super) fn routes(area: Area) -> Area {
    area.get("/ufficio/bambini/importazioni", Permission::ChangeFamilies, show)
        .files("/ufficio/bambini/importazioni", Permission::ChangeFamilies, look)
        .post("/ufficio/bambini/importazioni/esegui", Permission::ChangeFamilies, apply)
        .post("/ufficio/bambini/importazioni/{id}/annulla", Permission::ChangeFamilies, undo)
        .get("/ufficio/bambini/importazioni/{id}/annulla", Permission::ChangeFamilies, ask_undo)
}

/// Imports listed.
const LISTED: i64 = 50;
/// Rows shown of a preview, and of what is wrong.
const SHOWN: usize = 500;

/// An import or a roll-over as the list shows it.
struct Past {
    id: i64,
    at: String,
    title: String,
    actor: String,
    what: String,
    undone: Option<String>,
}

#[derive(Template)]
#[template(path = "office/imports.html")]
struct ImportsPage<'a> {
    page: &'a Page,
    form: &'a Form,
    past: &'a [Past],
    problems: &'a [String],
    more_problems: usize,
}

fn counts_in_words(batch: &BatchRow) -> String {
    let Ok(counts) = serde_json::from_str::<serde_json::Value>(&batch.summary) else { return String::new() };
    let count = |name: &str| counts.get(name).and_then(serde_json::Value::as_i64).unwrap_or_default();
    if batch.kind == "rollover" {
        format!("{} bambini passati, {} usciti", count("going_on"), count("leaving"))
    } else {
        let parts = [
            (count("new_children"), "bambini nuovi"),
            (count("changed_children"), "cambiati"),
            (count("left_children"), "usciti"),
            (count("new_closures"), "chiusure nuove"),
        ];
        let told: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if told.is_empty() { "scuole, classi o calendario".to_owned() } else { told.join(", ") }
    }
}

async fn past(office: &Office, page: &Page) -> Result<Vec<Past>, Oops> {
    let (window, _) = office.desk.window(page.ente.id).await?;
    let local = |at| window.local(at).format("%d/%m/%Y, %-H:%M").to_string();
    let row = |batch: BatchRow| Past {
        id: batch.id,
        at: local(batch.at),
        what: counts_in_words(&batch),
        undone: batch.undone_at.map(|at| format!("annullata il {} da {}", local(at), batch.undone_by.as_deref().unwrap_or_default())),
        title: batch.title,
        actor: batch.actor,
    };
    Ok(office.desk.batches(page.ente.id, LISTED).await?.into_iter().map(row).collect())
}

fn on_page(page: Page, label: &str) -> Page {
    page.under("Bambini", "/ufficio/bambini").under("Importazioni", "/ufficio/bambini/importazioni").titled(label)
}

async fn show(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let past = past(&office, &page).await?;
    let page = page.under("Bambini", "/ufficio/bambini").titled("Importazioni");
    page.show(&ImportsPage { page: &page, form: &Form::empty(), past: &past, problems: &[], more_problems: 0 })
}

/// Reads the files, away from the threads that serve everybody.
async fn read(office: &Office, page: &Page, files: Vec<(String, Vec<u8>)>) -> Result<Result<(Roster, Vec<Problem>), Vec<String>>, Oops> {
    let (schools, classes) = office.desk.known_places(page.ente.id).await?;
    let read = tokio::task::spawn_blocking(move || {
        let known = Known { schools: &schools, classes: &classes, code_is_valid: &|code| ChildCode::parse(code).is_ok() };
        let sources: Vec<_> = files.iter().map(|(name, bytes)| SourceFile { name, bytes }).collect();
        match roster_file::read(&sources, &known) {
            Ok(read) => Ok((read.roster, read.notices)),
            Err(rejected) => Err(rejected.problems.iter().map(ToString::to_string).collect()),
        }
    });
    Ok(read.await.map_err(anyhow::Error::from)?)
}

struct Group {
    title: &'static str,
    rows: Vec<PlannedRow>,
    more: usize,
}

#[derive(Template)]
#[template(path = "office/import_preview.html")]
struct PreviewPage<'a> {
    page: &'a Page,
    form: &'a Form,
    plan: &'a Plan,
    groups: &'a [Group],
    notices: &'a [String],
}

fn groups(plan: &Plan) -> Vec<Group> {
    let of = |title, wanted: &dyn Fn(&PlannedRow) -> bool| {
        let all: Vec<_> = plan.rows.iter().filter(|row| wanted(row)).collect();
        let rows: Vec<PlannedRow> = all.iter().take(SHOWN).map(|row| (*row).clone()).collect();
        Group { title, more: all.len() - rows.len(), rows }
    };
    let groups = [
        of("Bambini nuovi", &|r| r.kind == Kind::Child && r.change == Change::New),
        of("Bambini che cambiano", &|r| r.kind == Kind::Child && r.change == Change::Changed),
        of("Bambini che escono", &|r| r.kind == Kind::Child && r.change == Change::Left),
        of("Adulti nuovi", &|r| r.kind == Kind::Adult && r.change == Change::New),
        of("Adulti che cambiano", &|r| r.kind == Kind::Adult && r.change != Change::New),
        of("Scuole, classi e calendario", &|r| !matches!(r.kind, Kind::Child | Kind::Adult)),
    ];
    groups.into_iter().filter(|group| !group.rows.is_empty()).collect()
}

async fn look(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let leave = form.take_optional_day("escono", "Ultimo giorno di chi non compare");
    let mut files = Vec::new();
    for field in ["file", "file2", "file3", "file4"] {
        if let Some(upload) = form.take_optional_file(field) {
            files.push((upload.name, upload.bytes.to_vec()));
        }
    }
    let mut problems = Vec::new();
    if files.is_empty() {
        form.wrong("file", "File", "Scelga almeno un file.");
    } else if !form.is_bad() {
        match read(&office, &page, files.clone()).await? {
            Ok((roster, notices)) => {
                let options = ImportOptions { absent_leave_on: leave };
                match office.desk.plan_import(page.ente.id, &roster, options).await {
                    Ok(plan) => {
                        let upload = office.desk.keep_upload(&page.actor(), &files).await?;
                        return preview(page, &form, upload, leave, &plan, &notices);
                    }
                    Err(ImportError::Rows(rows)) => problems = rows,
                    Err(error) => return Err(Oops::Broken(error.into())),
                }
            }
            Err(rows) => problems = rows,
        }
    }
    let past = past(&office, &page).await?;
    let more_problems = problems.len().saturating_sub(SHOWN);
    problems.truncate(SHOWN);
    let page = page.under("Bambini", "/ufficio/bambini").titled("Importazioni");
    page.show_again(&ImportsPage { page: &page, form: &form, past: &past, problems: &problems, more_problems })
}

fn preview(page: Page, form: &Form, upload: i64, leave: Option<chrono::NaiveDate>, plan: &Plan, notices: &[Problem]) -> Answer {
    let mut form = form.clone();
    form.set("caricamento", upload.to_string());
    form.set("impronta", plan.fingerprint());
    form.set("escono", leave.map(|day| day.to_string()).unwrap_or_default());
    let notices: Vec<_> = notices.iter().take(SHOWN).map(ToString::to_string).collect();
    let page = on_page(page, "Anteprima");
    page.show(&PreviewPage { page: &page, form: &form, plan, groups: &groups(plan), notices: &notices })
}

async fn apply(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    const BACK: &str = "/ufficio/bambini/importazioni";
    let upload = form.take_number("caricamento", "Caricamento", 1, i64::MAX);
    let leave = form.take_optional_day("escono", "Ultimo giorno di chi non compare");
    let shown = form.take_text("impronta", "Impronta", 64);
    let files = office.desk.kept_upload(&page.actor(), upload).await?;
    if form.is_bad() || files.is_empty() {
        return page.on_with(BACK, FlashKind::Failed, "L'anteprima non c'è più: carichi di nuovo i file. Non è stato importato nulla.");
    }
    let title = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let Ok((roster, notices)) = read(&office, &page, files).await? else {
        return page.on_with(BACK, FlashKind::Failed, "I file non corrispondono più a ciò che risulta: li carichi di nuovo.");
    };
    let options = ImportOptions { absent_leave_on: leave };
    match office.desk.apply_import(&page.actor(), &title, &roster, options, Some(&shown)).await {
        Ok(done) => {
            office.desk.forget_upload(&page.actor(), upload).await?;
            let c = done.counts;
            let text = format!(
                "Importazione riuscita: {} bambini nuovi, {} cambiati, {} usciti. Si può annullare da questa pagina.",
                c.new_children, c.changed_children, c.left_children
            );
            page.done(BACK, &text)
        }
        Err(ImportError::Stale) => {
            let plan = office.desk.plan_import(page.ente.id, &roster, options).await.map_err(|error| Oops::Broken(error.into()))?;
            form.wrong_whole("Nel frattempo i dati sono cambiati: ecco che cosa cambierebbe adesso. Non è stato importato nulla.");
            preview(page, &form, upload, leave, &plan, &notices)
        }
        Err(ImportError::Rows(rows)) => page.on_with(BACK, FlashKind::Failed, &format!("Non è stato importato nulla. {}", rows.join(" "))),
        Err(error @ ImportError::Desk(_)) => Err(Oops::Broken(error.into())),
    }
}

#[derive(Template)]
#[template(path = "office/import_undo.html")]
struct UndoPage<'a> {
    page: &'a Page,
    batch: &'a Past,
    touched: &'a [String],
}

async fn one(office: &Office, page: &Page, id: i64) -> Result<Past, Oops> {
    past(office, page).await?.into_iter().find(|batch| batch.id == id).ok_or(Oops::NotFound)
}

async fn ask_undo(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let batch = one(&office, &page, id).await?;
    let page = on_page(page, "Annulla");
    page.show(&UndoPage { page: &page, batch: &batch, touched: &[] })
}

async fn undo(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    const BACK: &str = "/ufficio/bambini/importazioni";
    match office.desk.undo_batch(&page.actor(), id).await {
        Ok(()) => page.done(BACK, "Annullata: tutto è come prima."),
        Err(UndoError::Undone) => page.on_with(BACK, FlashKind::Warning, "Era già stata annullata."),
        Err(UndoError::Gone) => Err(Oops::NotFound),
        Err(UndoError::Touched(touched)) => {
            let batch = one(&office, &page, id).await?;
            let page = on_page(page, "Annulla");
            page.show_again(&UndoPage { page: &page, batch: &batch, touched: &touched })
        }
        Err(UndoError::Desk(error)) => Err(error.into()),
    }
}
