//! Keys for other systems: what each may read and do over the JSON API, until when, and when it was last used.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use chrono::TimeDelta;

use super::{Answer, Area, FlashKind, Form, Office, Oops, Page, when};
use crate::desk::{
    access::{self, AccessError, Scope, Token, TokenData},
    people::Permission,
};

const HERE: &str = "/ufficio/chiavi";

pub(super) fn area() -> Area {
    Area::new()
        .menu("Chiavi", HERE, Permission::SeePeople)
        .get(HERE, Permission::SeePeople, list)
        .get("/ufficio/chiavi/nuova", Permission::ChangePeople, new)
        .post("/ufficio/chiavi/nuova", Permission::ChangePeople, make)
        .get("/ufficio/chiavi/{id}/revoca", Permission::ChangePeople, ask)
        .post("/ufficio/chiavi/{id}/revoca", Permission::ChangePeople, revoke)
}

impl From<AccessError> for Oops {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Gone => Self::NotFound,
            AccessError::Desk(error) => error.into(),
            other @ AccessError::TooMany => Self::Broken(other.into()),
        }
    }
}

/// A key, as it is listed.
struct Line {
    id: i64,
    name: String,
    scopes: Vec<&'static str>,
    made: String,
    ends: String,
    used: String,
    holds: bool,
    state: String,
}

impl Line {
    fn of(token: &Token, page: &Page, now: chrono::DateTime<chrono::Utc>) -> Self {
        let row = &token.row;
        let holds = token.holds(now);
        let state = match (&row.revoked_at, holds) {
            (Some(at), _) => format!("revocata da {} ({})", row.revoked_by.as_deref().unwrap_or_default(), when(&page.ente, *at)),
            (None, true) => "attiva".to_owned(),
            (None, false) => "scaduta".to_owned(),
        };
        let used = match (&row.used_at, &row.used_from) {
            (Some(at), Some(from)) if !from.is_empty() => format!("{}, da {from}", when(&page.ente, *at)),
            (Some(at), _) => when(&page.ente, *at),
            (None, _) => "mai".to_owned(),
        };
        Self {
            id: row.id,
            name: row.name.clone(),
            scopes: token.scopes.iter().map(|scope| scope.label()).collect(),
            made: format!("{}, da {}", when(&page.ente, row.created_at), row.created_by),
            ends: when(&page.ente, row.expires_at),
            used,
            holds,
            state,
        }
    }
}

#[derive(Template)]
#[template(path = "office/keys.html")]
struct Keys<'a> {
    page: &'a Page,
    lines: Vec<Line>,
    change: bool,
}

async fn list(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let (tokens, now) = office.desk.tokens(page.ente.id).await?;
    let lines = tokens.iter().map(|token| Line::of(token, &page, now)).collect();
    let page = page.titled("Chiavi");
    page.show(&Keys { page: &page, lines, change: page.may(Permission::ChangePeople) })
}

/// How long a key may last: days, and what people read.
const LASTS: [(i64, &str); 4] = [(30, "30 giorni"), (90, "90 giorni"), (365, "un anno"), (730, "due anni")];

#[derive(Template)]
#[template(path = "office/key_new.html")]
struct NewKey<'a> {
    page: &'a Page,
    form: &'a Form,
    lasts: Vec<(String, String)>,
}

impl<'a> NewKey<'a> {
    fn of(page: &'a Page, form: &'a Form) -> Self {
        Self { page, form, lasts: LASTS.map(|(days, label)| (days.to_string(), label.to_owned())).to_vec() }
    }

    fn scopes() -> [Scope; 9] {
        Scope::ALL
    }
}

fn under(page: Page, title: &str) -> Page {
    page.under("Chiavi", HERE).titled(title)
}

async fn new(page: Page) -> Answer {
    let page = under(page, "Nuova chiave");
    let form = Form::showing([("durata", "365".to_owned())]);
    page.show(&NewKey::of(&page, &form))
}

#[derive(Template)]
#[template(path = "office/key_made.html")]
struct MadeKey<'a> {
    page: &'a Page,
    name: &'a str,
    key: String,
    ends: String,
    scopes: &'a [Scope],
}

async fn make(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let name = form.take_text("nome", "Nome del sistema", 80);
    let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| form.has("permessi", scope.word())).collect();
    if scopes.is_empty() {
        form.wrong("permessi", "Che cosa può fare", "Scelga almeno una voce.");
    } else if !scopes.contains(&Scope::Children) && scopes.iter().any(|s| matches!(s, Scope::Names | Scope::Diets)) {
        form.wrong("permessi", "Che cosa può fare", "Nomi e diete servono solo insieme ai bambini: scelga anche quella voce.");
    }
    let days: i64 = form.take_choice("durata", "Durata").unwrap_or_default();
    if !LASTS.iter().any(|(known, _)| *known == days) {
        form.wrong("durata", "Durata", "Scelga una voce dell'elenco.");
    }
    if !form.is_bad() {
        let data = TokenData { name, scopes, lasts: TimeDelta::days(days) };
        match office.desk.make_token(&page.actor(), &data).await {
            Ok((token, secret)) => {
                let page = under(page, "La nuova chiave");
                let ends = when(&page.ente, token.row.expires_at);
                let key = access::shown(&secret);
                return page.show(&MadeKey { page: &page, name: &token.row.name, key, ends, scopes: &token.scopes });
            }
            Err(AccessError::TooMany) => {
                form.wrong_whole("Ci sono già troppe chiavi attive: ne revochi una che non serve più.");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let page = under(page, "Nuova chiave");
    page.show_again(&NewKey::of(&page, &form))
}

#[derive(Template)]
#[template(path = "office/key_revoke.html")]
struct RevokeKey<'a> {
    page: &'a Page,
    line: Line,
}

async fn ask(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let token = office.desk.token_in_force(page.ente.id, id).await?;
    let line = Line::of(&token, &page, token.row.created_at);
    let page = under(page, "Revocare una chiave");
    page.show(&RevokeKey { page: &page, line })
}

async fn revoke(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, form: Form) -> Answer {
    if form.is_bad() {
        return page.on_with(HERE, FlashKind::Warning, "La sessione era finita: la chiave vale ancora.");
    }
    match office.desk.revoke_token(&page.actor(), id).await {
        Ok(()) => page.done(HERE, "La chiave è revocata: da questo momento non apre più nulla."),
        Err(AccessError::Gone) => page.on_with(HERE, FlashKind::Warning, "Questa chiave non c'è, o era già revocata."),
        Err(error) => Err(error.into()),
    }
}
