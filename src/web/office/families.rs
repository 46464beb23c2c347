//! Families, by their adults: a list, and a page for each.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};

use super::{
    Answer, Area, Form, Office, Oops, Page,
    child_edit::{Meanwhile, take_adult},
    list::{Column, List, ListSpec},
    tickets::TicketsOf,
};
use crate::{
    desk::{
        family::{EditError, Edited},
        people::Permission,
        trail::Subject,
    },
    store::{AdultState, ChildRow, ListedAdult, Page as Part},
};

/// Rows of a search.
const FOUND: i64 = 50;

pub(super) fn area() -> Area {
    Area::new()
        .menu("Famiglie", "/ufficio/famiglie", Permission::SeeFamilies)
        .get("/ufficio/famiglie", Permission::SeeFamilies, list)
        .post("/ufficio/famiglie/cerca", Permission::SeeFamilies, search)
        .get("/ufficio/famiglie/{id}", Permission::SeeFamilies, show)
        .post("/ufficio/famiglie/{id}", Permission::ChangeFamilies, save)
}

#[derive(Clone, Copy, PartialEq)]
enum ByName {
    Name,
}

static SPEC: ListSpec<ByName> = ListSpec {
    path: "/ufficio/famiglie",
    columns: &[
        Column { label: "Cognome e nome", sort: Some(("nome", ByName::Name)), number: false },
        Column { label: "E-mail", sort: None, number: false },
        Column { label: "Telefono", sort: None, number: false },
        Column { label: "Bambini", sort: None, number: true },
    ],
    usual: (ByName::Name, false),
    filters: &[],
};

#[derive(Template)]
#[template(path = "office/families.html")]
struct ListPage<'a> {
    page: &'a Page,
    form: &'a Form,
    list: &'a List<ByName>,
    rows: &'a [ListedAdult],
    total: i64,
    searched: bool,
}

async fn list(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let list = List::of(&SPEC, query.as_deref());
    let part = Part { offset: list.offset(), limit: list.limit(), descending: list.descending };
    let (rows, total) = office.desk.list_adults(page.ente.id, "", part).await?;
    let page = page.titled("Famiglie");
    page.show(&ListPage { page: &page, form: &Form::empty(), list: &list, rows: &rows, total, searched: false })
}

async fn search(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let text = form.take_optional_text("testo", "Che cosa cerca", 100).unwrap_or_default();
    let (rows, total) = office.desk.list_adults(page.ente.id, &text, Part { offset: 0, limit: FOUND, descending: false }).await?;
    let page = page.under("Famiglie", "/ufficio/famiglie").titled("Ricerca");
    page.show(&ListPage { page: &page, form: &form, list: &List::of(&SPEC, None), rows: &rows, total, searched: true })
}

#[derive(Template)]
#[template(path = "office/family.html")]
struct AdultPage<'a> {
    page: &'a Page,
    form: &'a Form,
    name: &'a str,
    children: &'a [ChildRow],
    meanwhile: Option<&'a Meanwhile>,
    tickets: Option<TicketsOf>,
}

impl AdultPage<'_> {
    fn may_change(&self) -> bool {
        self.page.may(Permission::ChangeFamilies)
    }
}

fn shown(adult: &AdultState, version: i64) -> Form {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Form::showing([
        ("cognome", adult.last_name.clone()),
        ("nome", adult.first_name.clone()),
        ("codice_fiscale", text(&adult.fiscal_code)),
        ("email", text(&adult.email)),
        ("telefono", text(&adult.phone)),
        ("indirizzo", text(&adult.address)),
        ("_version", version.to_string()),
        ("_prima", serde_json::to_string(adult).unwrap_or_default()),
    ])
}

async fn show(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let (found, children) = office.desk.adult_file(page.ente.id, id).await?.ok_or(Oops::NotFound)?;
    let name = format!("{} {}", found.state.last_name, found.state.first_name);
    let subject = Subject { kind: "adulto", id: Some(id), name: &name };
    office.desk.note_seen(&page.actor(), "ha guardato la pagina di un adulto", subject).await?;
    let form = shown(&found.state, found.version);
    let tickets = tickets_of(&office, &page, id).await?;
    let page = page.under("Famiglie", "/ufficio/famiglie").titled(&name);
    page.show(&AdultPage { page: &page, form: &form, name: &name, children: &children, meanwhile: None, tickets })
}

async fn tickets_of(office: &Office, page: &Page, adult: i64) -> Result<Option<TicketsOf>, Oops> {
    let rows = office.desk.tickets_of_adult(page.ente.id, adult).await?;
    Ok(TicketsOf::new(page, rows, &format!("adulto={adult}")))
}

async fn save(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let mine = take_adult(&mut form);
    let version = form.take_version();
    let base: AdultState = serde_json::from_str(form.value("_prima")).map_err(|_| Oops::Bad("no base"))?;
    let mut told = None;
    if !form.is_bad() {
        match office.desk.edit_adult(&page.actor(), id, version, &base, &mine).await {
            Ok(Edited::Saved) => return page.done(&format!("/ufficio/famiglie/{id}"), "I dati sono salvati."),
            Ok(Edited::Meanwhile { merged, version, theirs, both }) => {
                let (standing, _) = office.desk.adult_file(page.ente.id, id).await?.ok_or(Oops::NotFound)?;
                form = shown(&merged, version);
                form.set("_prima", serde_json::to_string(&standing.state).unwrap_or_default());
                told = Some(Meanwhile { theirs, both });
            }
            Err(EditError::FiscalCodeTaken) => {
                form.wrong("codice_fiscale", "Codice fiscale", "Un'altra persona ha già questo codice fiscale.");
            }
            Err(EditError::Gone) => return Err(Oops::NotFound),
            Err(EditError::Desk(error)) => return Err(error.into()),
            Err(error) => return Err(Oops::Broken(error.into())),
        }
    }
    let (_, children) = office.desk.adult_file(page.ente.id, id).await?.ok_or(Oops::NotFound)?;
    let name = format!("{} {}", base.last_name, base.first_name);
    let tickets = tickets_of(&office, &page, id).await?;
    let page = page.under("Famiglie", "/ufficio/famiglie").titled(&name);
    page.show_again(&AdultPage { page: &page, form: &form, name: &name, children: &children, meanwhile: told.as_ref(), tickets })
}
