//! People: who may log in, as what.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use chrono::TimeDelta;

use super::{Answer, Area, Form, Office, Oops, Page, when};
use crate::desk::people::{PeopleError, Permission, Person, PersonData, Role, login_name};

pub(super) fn area() -> Area {
    Area::new()
        .menu("Persone", "/ufficio/persone", Permission::SeePeople)
        .get("/ufficio/persone", Permission::SeePeople, list)
        .get("/ufficio/persone/nuova", Permission::ChangePeople, new)
        .post("/ufficio/persone/nuova", Permission::ChangePeople, add)
        .get("/ufficio/persone/{id}", Permission::ChangePeople, edit)
        .post("/ufficio/persone/{id}", Permission::ChangePeople, change)
        .post("/ufficio/persone/{id}/accesso", Permission::ChangePeople, let_in)
        .post("/ufficio/persone/{id}/collegamento", Permission::ChangePeople, link)
        .post("/ufficio/persone/{id}/secondo-fattore", Permission::ChangePeople, reset)
}

struct Line {
    person: Person,
    last_login: String,
    state: &'static str,
    second: &'static str,
}

#[derive(Template)]
#[template(path = "office/people.html")]
struct People<'a> {
    page: &'a Page,
    lines: Vec<Line>,
    change: bool,
}

fn second(person: &Person) -> &'static str {
    match (person.row.has_totp, person.row.passkeys > 0, person.row.second_factor_required) {
        (true, true, _) => "app e passkey",
        (true, false, _) => "app",
        (false, true, _) => "passkey",
        (false, false, true) => "obbligatorio, non ancora attivo",
        (false, false, false) => "nessuno",
    }
}

async fn list(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let people = office.desk.people(page.ente.id).await?;
    let line = |person: Person| Line {
        last_login: person.row.last_login_at.map_or_else(|| "mai".to_owned(), |at| when(&page.ente, at)),
        state: if person.row.disabled_at.is_some() { "disabilitata" } else { "attiva" },
        second: second(&person),
        person,
    };
    let lines = people.into_iter().map(line).collect();
    let page = page.clone().titled("Persone");
    page.show(&People { page: &page, lines, change: page.may(Permission::ChangePeople) })
}

#[derive(Template)]
#[template(path = "office/person.html")]
struct PersonPage<'a> {
    page: &'a Page,
    form: &'a Form,
    /// Who is changed; `None` for a new person.
    person: Option<&'a Person>,
    second: &'static str,
    version: i64,
    roles: Vec<(String, String)>,
    /// What stands now, where somebody else was quicker.
    stands: Option<String>,
    /// A link that was just made.
    link: Option<String>,
}

fn show(page: Page, form: &Form, person: Option<&Person>, version: i64, stands: Option<String>, link: Option<String>) -> Answer {
    let title = person.map_or("Nuova persona", |p| p.name()).to_owned();
    let page = page.under("Persone", "/ufficio/persone").titled(&title);
    let roles = Role::ALL.map(|r| (r.word().to_owned(), format!("{}: {}", r.label(), r.explained()))).to_vec();
    let template = PersonPage { page: &page, form, person, second: person.map_or("", second), version, roles, stands, link };
    if form.is_bad() { page.show_again(&template) } else { page.show(&template) }
}

async fn new(page: Page) -> Answer {
    let form = Form::showing([("ruolo", Role::Office.word().to_owned())]);
    show(page, &form, None, 0, None, None)
}

/// The fields that a new and a known person have in common.
fn read(form: &mut Form, login: String) -> Option<PersonData> {
    let name = form.take_text("nome", "Nome e cognome", 80);
    let email = form.take_optional_email("email", "E-mail");
    let role = form.take_choice("ruolo", "Ruolo");
    Some(PersonData { login, name, email, role: role?, second_factor_required: form.ticked("secondo") })
}

async fn add(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let typed = form.take_text("utente", "Nome utente", 64);
    let login = login_name(&typed);
    if login.is_none() && !typed.is_empty() {
        form.wrong("utente", "Nome utente", "Usi da 3 a 64 lettere senza accento, cifre, punto, trattino o @.");
    }
    let data = read(&mut form, login.unwrap_or_default());
    if let Some(data) = data.filter(|_| !form.is_bad()) {
        match office.desk.add_person(&page.actor(), &data).await {
            Ok(person) => {
                let text = format!("{} è tra le persone. Per farla entrare le crei un collegamento d'accesso.", person.name());
                return page.done(&format!("/ufficio/persone/{}", person.id), &text);
            }
            Err(PeopleError::LoginTaken) => {
                form.wrong("utente", "Nome utente", "C'è già qualcuno con questo nome utente: ne scelga un altro.");
            }
            Err(error) => return Err(error.into()),
        }
    }
    show(page, &form, None, 0, None, None)
}

fn values(person: &Person) -> Form {
    let mut form = Form::showing([
        ("nome", person.row.name.clone()),
        ("email", person.row.email.clone().unwrap_or_default()),
        ("ruolo", person.role.word().to_owned()),
    ]);
    if person.row.second_factor_required {
        form.set("secondo", "si");
    }
    form
}

async fn find(office: &Office, page: &Page, id: i64) -> Result<Person, Oops> {
    office.desk.person(page.ente.id, id).await?.ok_or(Oops::NotFound)
}

async fn edit(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let person = find(&office, &page, id).await?;
    show(page, &values(&person), Some(&person), person.row.version, None, None)
}

async fn change(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let person = find(&office, &page, id).await?;
    let mut version = form.take_version();
    let mut stands = None;
    let data = read(&mut form, person.row.login.clone());
    if let Some(data) = data.filter(|_| !form.is_bad()) {
        match office.desk.change_person(&page.actor(), id, version, &data).await {
            Ok(person) => return page.done("/ufficio/persone", &format!("{}: salvato.", person.name())),
            Err(PeopleError::LastAdmin) => {
                form.wrong("ruolo", "Ruolo", "È l'unico amministratore: prima dia questo ruolo a un'altra persona.");
            }
            Err(PeopleError::Stale) => {
                form.wrong_whole(
                    "Nel frattempo qualcun altro ha cambiato questa persona. Confronti e salvi di nuovo: varrà ciò che vede nel modulo.",
                );
                version = person.row.version;
                let email = person.row.email.as_deref().unwrap_or("nessuna e-mail");
                stands = Some(format!("{}, {email}, {}", person.row.name, person.role.label()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    show(page, &form, Some(&person), version, stands, None)
}

async fn let_in(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, form: Form) -> Answer {
    let person = find(&office, &page, id).await?;
    let again = form.value("fai") == "riabilita";
    let back = format!("/ufficio/persone/{id}");
    if id == page.person.id && !again {
        return page.on_with(&back, super::FlashKind::Failed, "Non può disabilitare se stesso: lo chieda a un altro amministratore.");
    }
    match office.desk.let_in(&page.actor(), id, again).await {
        Ok(()) if again => page.done(&back, &format!("{} può entrare di nuovo.", person.name())),
        Ok(()) => page.done(&back, &format!("{} non può più entrare ed è uscita da ogni dispositivo.", person.name())),
        Err(PeopleError::LastAdmin) => page.on_with(&back, super::FlashKind::Failed, "È l'unico amministratore: non si può disabilitare."),
        Err(error) => Err(error.into()),
    }
}

async fn link(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, _form: Form) -> Answer {
    let person = find(&office, &page, id).await?;
    let token = office.desk.login_link(&page.actor(), &person, TimeDelta::days(3)).await?;
    let link = format!("{}/ufficio/entra/{}", page.client.site(&office.settings), token.reveal());
    show(page, &values(&person), Some(&person), person.row.version, None, Some(link))
}

async fn reset(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, _form: Form) -> Answer {
    let person = find(&office, &page, id).await?;
    office.desk.reset_second_factor(&page.actor(), id).await?;
    page.done(&format!("/ufficio/persone/{id}"), &format!("Il secondo fattore di {} è azzerato.", person.name()))
}
