//! A ticket entered after a call: of a child, of an adult, or of nobody in particular.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::extract::{Query, State};

use super::{
    Answer, Area, Form, Office, Oops, Page,
    tickets::{HERE, at, people, topics},
};
use crate::{
    canteen::ChildId,
    desk::{
        people::Permission,
        tickets::{LONGEST_TEXT, LONGEST_TITLE, NewTicket, Origin, TicketError, Topic},
    },
    store::{ChildFilter, ListedChild, Order, Page as Part},
};

/// Children that a search shows.
const FOUND: i64 = 20;

pub(super) fn routes(area: Area) -> Area {
    area.get("/ufficio/segnalazioni/nuova", Permission::AnswerTickets, new)
        .post("/ufficio/segnalazioni/nuova", Permission::AnswerTickets, add)
        .post("/ufficio/segnalazioni/nuova/bambino", Permission::AnswerTickets, search)
}

#[derive(Template)]
#[template(path = "office/ticket_new.html")]
struct NewPage<'a> {
    page: &'a Page,
    form: &'a Form,
    /// Whom it is about, in words.
    whom: Option<String>,
    /// Adults beside the child.
    adults: Vec<(String, String)>,
    people: Vec<(String, String)>,
    topics: Vec<(String, String)>,
    /// Children that were searched for.
    found: Option<Vec<ListedChild>>,
}

async fn show_form(office: &Office, page: Page, form: &Form, found: Option<Vec<ListedChild>>) -> Answer {
    let ente = page.ente.id;
    let (mut whom, mut adults) = (None, Vec::new());
    if let Ok(child) = form.value("bambino").parse() {
        let listed = office.desk.listed_child(ente, ChildId(child)).await?.ok_or(Oops::NotFound)?;
        whom = Some(format!("{} {}, {}, {}", listed.last_name, listed.first_name, listed.class, listed.school));
        let beside = office.desk.adults_beside(ente, ChildId(child)).await?;
        adults = beside.into_iter().map(|(id, name)| (id.to_string(), name)).collect();
    } else if let Ok(adult) = form.value("adulto").parse() {
        let (found, _) = office.desk.adult_file(ente, adult).await?.ok_or(Oops::NotFound)?;
        whom = Some(format!("{} {}", found.state.last_name, found.state.first_name));
    }
    let people = people(office, &page).await?;
    let page = page.under("Segnalazioni", HERE).titled("Nuova segnalazione");
    let shown = NewPage { page: &page, form, whom, adults, people, topics: topics(), found };
    if form.is_bad() { page.show_again(&shown) } else { page.show(&shown) }
}

async fn new(State(office): State<Arc<Office>>, page: Page, Query(query): Query<HashMap<String, String>>) -> Answer {
    let number = |name: &str| query.get(name).and_then(|id| id.parse::<i64>().ok());
    let (child, mut adult) = (number("bambino"), number("adulto"));
    if let (Some(child), None) = (child, adult) {
        // Mostly it is the first guardian who calls.
        adult = office.desk.adults_beside(page.ente.id, ChildId(child)).await?.first().map(|(id, _)| *id);
    }
    let text = |id: Option<i64>| id.map(|id| id.to_string()).unwrap_or_default();
    let form = Form::showing([("bambino", text(child)), ("adulto", text(adult)), ("di", page.person.id.to_string())]);
    show_form(&office, page, &form, None).await
}

/// The child whom it is about, by name. Sent as a form: what was typed is in no address and no log.
async fn search(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let text = form.take_text("cerca", "Bambino", 100);
    let mut found = vec![];
    if !form.is_bad() && crate::canteen::roster::fold(&text).chars().count() >= 2 {
        let filter = ChildFilter { text, ..ChildFilter::default() };
        let part = Part { offset: 0, limit: FOUND, descending: false };
        found = office.desk.list_children(page.ente.id, &filter, Order::Name, part).await?.0;
    }
    show_form(&office, page, &form, Some(found)).await
}

async fn add(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let title = form.take_text("titolo", "Titolo", LONGEST_TITLE);
    let topic: Option<Topic> = form.take_choice("argomento", "Argomento");
    let body = form.take_text("testo", "Che cosa dice la famiglia", LONGEST_TEXT);
    let author = form.take_optional_text("chi", "Chi chiama", LONGEST_TITLE).unwrap_or_default();
    if let (false, Some(topic)) = (form.is_bad(), topic) {
        let number = |name: &str| form.value(name).parse::<i64>().ok();
        let ticket = NewTicket {
            origin: Origin::Office,
            topic,
            title,
            body,
            author,
            child: number("bambino").map(ChildId),
            adult: number("adulto"),
            assigned: number("di"),
        };
        match office.desk.open_ticket(&page.actor(), &ticket).await {
            Ok(id) => return page.done(&at(id), &format!("La segnalazione n. {id} è aperta.")),
            Err(TicketError::Desk(error)) => return Err(error.into()),
            Err(_) => form.wrong_whole("Questa persona o questo bambino non c'è più, o non stanno insieme: controlli e riprovi."),
        }
    }
    show_form(&office, page, &form, None).await
}
