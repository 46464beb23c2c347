//! One's own account: password, second factor, sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::{Answer, Area, Form, Office, Page};
use crate::desk::people::{
    PeopleError, Permission,
    password::{LONGEST, PasswordError, SHORTEST},
};

pub(super) fn area() -> Area {
    Area::new()
        .get("/ufficio/profilo", Permission::OwnAccount, show)
        .get("/ufficio/profilo/password", Permission::OwnAccount, new_password)
        .post("/ufficio/profilo/password", Permission::OwnAccount, change_password)
}

#[derive(Template)]
#[template(path = "office/profile.html")]
struct Profile<'a> {
    page: &'a Page,
}

async fn show(page: Page) -> Answer {
    let page = page.titled("Il Suo profilo");
    page.show(&Profile { page: &page })
}

#[derive(Template)]
#[template(path = "office/password.html")]
struct NewPassword<'a> {
    page: &'a Page,
    form: &'a Form,
}

fn password_page(page: Page) -> Page {
    page.under("Il Suo profilo", "/ufficio/profilo").titled("Password")
}

async fn new_password(page: Page) -> Answer {
    let page = password_page(page);
    page.show(&NewPassword { page: &page, form: &Form::empty() })
}

/// What is wrong with a password, for people.
pub(super) fn in_words(error: PasswordError) -> String {
    match error {
        PasswordError::TooShort => format!("È troppo corta: almeno {SHORTEST} caratteri. Tre o quattro parole a caso vanno bene."),
        PasswordError::TooLong => format!("È troppo lunga: al massimo {LONGEST} caratteri."),
        PasswordError::TooEasy | PasswordError::Hash => {
            "È troppo facile da indovinare: ne scelga un'altra, per esempio tre o quattro parole a caso.".to_owned()
        }
    }
}

async fn change_password(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let present = form.value("attuale").to_owned();
    let new = form.take_secret("nuova", "Nuova password", LONGEST);
    if form.value("ripetuta") != new {
        form.wrong("ripetuta", "Ripeta la nuova password", "Non è uguale alla nuova password.");
    }
    if !form.is_bad() {
        match office.desk.change_own_password(&page.actor(), page.session, &present, &new).await {
            Ok(()) => return page.done("/ufficio/profilo", "La password è cambiata. Gli altri dispositivi sono usciti."),
            Err(PeopleError::WrongPassword) => form.wrong("attuale", "Password attuale", "Non è la password attuale."),
            Err(PeopleError::Password(error)) => form.wrong("nuova", "Nuova password", in_words(error)),
            Err(error) => return Err(error.into()),
        }
    }
    let page = password_page(page);
    page.show_again(&NewPassword { page: &page, form: &form })
}
