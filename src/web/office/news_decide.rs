//! What is decided of news, each on a page that says beforehand what will happen: made public, taken back, deleted.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::{
    Answer, Area, FlashKind, Form, Office, Oops, Page,
    list::thousands,
    mail::moment,
    news::{HERE, addresses_in_words, at, find},
};
use crate::desk::{
    news::{NewsError, NewsFile},
    people::Permission,
};

pub(super) fn routes(area: Area) -> Area {
    area.get("/ufficio/avvisi/{id}/pubblica", Permission::WriteNews, ask_publishing)
        .post("/ufficio/avvisi/{id}/pubblica", Permission::WriteNews, publish)
        .get("/ufficio/avvisi/{id}/ritira", Permission::WriteNews, ask_withdrawing)
        .post("/ufficio/avvisi/{id}/ritira", Permission::WriteNews, withdraw)
        .post("/ufficio/avvisi/{id}/bozza", Permission::WriteNews, redraft)
        .get("/ufficio/avvisi/{id}/elimina", Permission::WriteNews, ask_deleting)
        .post("/ufficio/avvisi/{id}/elimina", Permission::WriteNews, delete)
}

#[derive(Template)]
#[template(path = "office/news_confirm.html")]
struct ConfirmPage<'a> {
    page: &'a Page,
    form: &'a Form,
    title: &'a str,
    told: &'a [String],
    warnings: &'a [String],
    version: i64,
    button: &'a str,
    grave: bool,
    back: &'a str,
}

struct Question<'a> {
    title: &'a str,
    told: Vec<String>,
    warnings: Vec<String>,
    button: &'a str,
    grave: bool,
}

fn ask(page: Page, file: &NewsFile, question: &Question<'_>) -> Answer {
    let back = at(file.row.id);
    let page = page.under("Avvisi", HERE).under(&file.row.title, &back).titled(question.title);
    page.show(&ConfirmPage {
        page: &page,
        form: &Form::empty(),
        title: question.title,
        told: &question.told,
        warnings: &question.warnings,
        version: file.row.version,
        button: question.button,
        grave: question.grave,
        back: &back,
    })
}

fn children_in_words(children: i64) -> String {
    match children {
        0 => "nessun bambino".to_owned(),
        1 => "la famiglia di un bambino".to_owned(),
        n => format!("le famiglie di {} bambini", thousands(n)),
    }
}

async fn ask_publishing(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let file = find(&office, &page, id).await?;
    let row = &file.row;
    if !matches!(row.state.as_str(), "draft" | "withdrawn") {
        return page.on_with(&at(id), FlashKind::Warning, "Questo avviso è già pubblicato.");
    }
    let reach = office.desk.news_reach(page.ente.id, id).await?;
    let mut warnings = Vec::new();
    let from = row.from_at.filter(|from| *from > file.now);
    let mut told = vec![
        format!("Lo vedranno: {} ({}).", file.whom, children_in_words(reach.children)),
        from.map_or_else(|| "Diventa pubblico subito.".to_owned(), |from| format!("Diventa pubblico {}.", moment(&page, from))),
        row.until_at.map_or_else(
            || "Resta pubblico finché non lo ritira.".to_owned(),
            |until| format!("Resta pubblico fino a {}.", moment(&page, until)),
        ),
    ];
    if let Some(at) = row.mailed_at {
        told.push(format!("È già partito per posta {}: non parte di nuovo.", moment(&page, at)));
    } else if row.by_mail && office.desk.has_mail() {
        told.push(format!(
            "Parte per posta a {}, una volta sola{}.",
            addresses_in_words(reach.addresses),
            if from.is_some() { ", quando diventa pubblico" } else { "" }
        ));
        match reach.without_address {
            0 => {}
            1 => warnings.push("La famiglia di un bambino non ha un indirizzo: va avvisata in un altro modo.".to_owned()),
            n => warnings.push(format!("Le famiglie di {} bambini non hanno un indirizzo: vanno avvisate in un altro modo.", thousands(n))),
        }
    } else if row.by_mail {
        warnings.push("La posta non è configurata: l'avviso si vede, ma non parte nessun messaggio finché non lo è.".to_owned());
    } else {
        told.push("Non parte nessun messaggio per posta.".to_owned());
    }
    if row.until_at.is_some_and(|until| until <= from.unwrap_or(file.now)) {
        warnings.push("Il momento in cui finisce è già passato: lo cambi prima di pubblicare.".to_owned());
    }
    if reach.children == 0 {
        warnings.push("In queste scuole e classi non c'è nessun bambino: nessuno lo vedrà.".to_owned());
    }
    let button = if from.is_some() { "Programma" } else { "Pubblica" };
    ask(page, &file, &Question { title: "Pubblica l'avviso", told, warnings, button, grave: false })
}

async fn ask_withdrawing(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let file = find(&office, &page, id).await?;
    let mut told = vec!["Le famiglie non lo vedono più. Il testo resta qui e si può riportare in bozza.".to_owned()];
    if file.row.mailed > 0 {
        told.push(format!("I messaggi già messi in spedizione ({}) non si possono richiamare.", addresses_in_words(file.row.mailed)));
    }
    ask(page, &file, &Question { title: "Ritira l'avviso", told, warnings: vec![], button: "Ritira", grave: true })
}

async fn ask_deleting(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let file = find(&office, &page, id).await?;
    let told = vec![format!("La bozza «{}» è eliminata per sempre. Nessuna famiglia l'ha vista.", file.row.title)];
    ask(page, &file, &Question { title: "Elimina la bozza", told, warnings: vec![], button: "Elimina", grave: true })
}

/// After a decision: back to the news item, or to `to`, with what came of it.
fn decided<T>(page: &Page, id: i64, to: &str, result: Result<T, NewsError>, text: impl FnOnce(T) -> String) -> Answer {
    let failed = |text| page.on_with(&at(id), FlashKind::Failed, text);
    match result {
        Ok(done) => page.done(to, &text(done)),
        Err(NewsError::Stale) => failed("Non è stato fatto nulla: nel frattempo l'avviso è cambiato. Lo guardi di nuovo, poi decida."),
        Err(NewsError::Over) => failed("Non è stato pubblicato: il momento in cui finisce è già passato. Lo cambi, poi pubblichi."),
        Err(NewsError::Gone) => Err(Oops::NotFound),
        Err(NewsError::Desk(error)) => Err(error.into()),
        Err(other) => Err(Oops::Broken(other.into())),
    }
}

async fn publish(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let result = office.desk.publish_news(&page.actor(), id, form.take_version()).await;
    let now = office.desk.window(page.ente.id).await?.1;
    decided(&page, id, &at(id), result, |from| {
        if from > now {
            format!("L'avviso è programmato: diventa pubblico {}.", moment(&page, from))
        } else {
            "L'avviso è pubblicato.".to_owned()
        }
    })
}

async fn withdraw(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let result = office.desk.withdraw_news(&page.actor(), id, form.take_version()).await;
    decided(&page, id, &at(id), result, |()| "L'avviso è ritirato: le famiglie non lo vedono più.".to_owned())
}

async fn redraft(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let result = office.desk.redraft_news(&page.actor(), id, form.take_version()).await;
    decided(&page, id, &at(id), result, |()| "L'avviso è di nuovo una bozza.".to_owned())
}

async fn delete(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let result = office.desk.delete_news(&page.actor(), id, form.take_version()).await;
    decided(&page, id, HERE, result, |()| "La bozza è eliminata.".to_owned())
}
