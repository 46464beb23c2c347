//! What families ask: the list, and a page for each with its answers, notes and what the family says next.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::extract::{Path, Query, RawQuery, State};

use super::{
    Answer, Area, FlashKind, Form, Office, Oops, Page, canned,
    child_edit::Meanwhile,
    list::{Column, List, ListSpec},
    mail::{in_words as mail_state, moment},
    ticket_new,
};
use crate::desk::{
    family::Edited,
    mail::MailError,
    people::{Permission, Person},
    tickets::{
        LONGEST_TEXT, LONGEST_TITLE, Origin, TicketEdit, TicketError, TicketFile, TicketFilter, TicketMessage, TicketOf, TicketOrder,
        TicketRow, TicketState, Topic, answer::Reply, canned::fill, said_by,
    },
    trail::Subject,
};

pub(super) const HERE: &str = "/ufficio/segnalazioni";
/// Rows of a search.
const FOUND: i64 = 50;

pub(super) fn area() -> Area {
    let area = Area::new()
        .menu("Segnalazioni", HERE, Permission::SeeTickets)
        .get(HERE, Permission::SeeTickets, list)
        .post("/ufficio/segnalazioni/cerca", Permission::SeeTickets, search)
        .get("/ufficio/segnalazioni/{id}", Permission::SeeTickets, show)
        .post("/ufficio/segnalazioni/{id}", Permission::AnswerTickets, change)
        .post("/ufficio/segnalazioni/{id}/rispondi", Permission::AnswerTickets, reply)
        .post("/ufficio/segnalazioni/{id}/nota", Permission::AnswerTickets, note)
        .post("/ufficio/segnalazioni/{id}/famiglia", Permission::AnswerTickets, family);
    canned::routes(ticket_new::routes(area))
}

pub(super) fn at(id: i64) -> String {
    format!("{HERE}/{id}")
}

static LIST: ListSpec<TicketOrder> = ListSpec {
    path: HERE,
    columns: &[
        Column { label: "Segnalazione", sort: None, number: false },
        Column { label: "Argomento", sort: None, number: false },
        Column { label: "Stato", sort: None, number: false },
        Column { label: "Se ne occupa", sort: None, number: false },
        Column { label: "Aperta", sort: Some(("aperta", TicketOrder::Opened)), number: false },
        Column { label: "Ultimo messaggio", sort: Some(("messaggio", TicketOrder::Touched)), number: false },
    ],
    usual: (TicketOrder::Opened, false),
    filters: &["stato", "argomento", "di"],
};

/// A ticket as it is listed.
pub(super) struct Line {
    pub(super) id: i64,
    pub(super) title: String,
    pub(super) whom: String,
    pub(super) topic: &'static str,
    pub(super) state: &'static str,
    pub(super) assigned: String,
    pub(super) opened: String,
    pub(super) touched: String,
}

pub(super) fn line(page: &Page, row: TicketRow) -> Line {
    Line {
        id: row.id,
        title: row.title,
        whom: row.child.into_iter().chain(row.guardian).collect::<Vec<_>>().join(", "),
        topic: Topic::of(&row.topic).label(),
        state: TicketState::of(&row.state).label(),
        assigned: row.assigned.unwrap_or_else(|| "nessuno".to_owned()),
        opened: moment(page, row.opened_at),
        touched: moment(page, row.touched_at),
    }
}

/// The tickets of a child or a family, on its page.
pub(super) struct TicketsOf {
    pub(super) lines: Vec<Line>,
    /// Where a new one is entered; `None` for whoever may not.
    pub(super) new: Option<String>,
}

impl TicketsOf {
    /// `query` says whom a new one is about.
    pub(super) fn new(page: &Page, rows: Vec<TicketRow>, query: &str) -> Option<Self> {
        page.may(Permission::SeeTickets).then(|| Self {
            lines: rows.into_iter().map(|row| line(page, row)).collect(),
            new: page.may(Permission::AnswerTickets).then(|| format!("{HERE}/nuova?{query}")),
        })
    }
}

#[derive(Template)]
#[template(path = "office/tickets.html")]
struct ListPage<'a> {
    page: &'a Page,
    form: &'a Form,
    list: &'a List<TicketOrder>,
    rows: Vec<Line>,
    total: i64,
    searched: bool,
    people: Vec<(String, String)>,
    topics: Vec<(String, String)>,
    may_answer: bool,
}

/// Who can look after tickets.
pub(super) async fn people(office: &Office, page: &Page) -> Result<Vec<(String, String)>, Oops> {
    let people = office.desk.people(page.ente.id).await?;
    let may = |p: &Person| p.may(Permission::AnswerTickets) && p.row.disabled_at.is_none();
    Ok(people.into_iter().filter(may).map(|p| (p.id.to_string(), p.row.name)).collect())
}

pub(super) fn topics() -> Vec<(String, String)> {
    Topic::ALL.iter().map(|t| (t.word().to_owned(), t.label().to_owned())).collect()
}

async fn list(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let list = List::of(&LIST, query.as_deref());
    let state: Option<TicketState> = list.filter("stato").parse().ok();
    let topic: Option<Topic> = list.filter("argomento").parse().ok();
    let filter = TicketFilter {
        state: state.map(TicketState::stored),
        unclosed: list.filter("stato") != "tutte",
        topic: topic.map(Topic::stored),
        assigned: match list.filter("di") {
            "me" => Some(TicketOf::Person(page.person.id)),
            "nessuno" => Some(TicketOf::Nobody),
            id => id.parse().ok().map(TicketOf::Person),
        },
        order: list.sort,
        descending: list.descending,
        ..TicketFilter::default()
    };
    let (rows, total) = office.desk.list_tickets(page.ente.id, &filter, list.offset(), list.limit()).await?;
    let form = Form::showing(["stato", "argomento", "di"].map(|name| (name, list.filter(name).to_owned())));
    let page = page.titled("Segnalazioni");
    let rows = rows.into_iter().map(|row| line(&page, row)).collect();
    let (people, may_answer) = (people(&office, &page).await?, page.may(Permission::AnswerTickets));
    page.show(&ListPage { page: &page, form: &form, list: &list, rows, total, searched: false, people, topics: topics(), may_answer })
}

/// By words. Sent as a form: what was typed is in no address and no log.
async fn search(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let text = form.take_optional_text("testo", "Cerca", 100).unwrap_or_default();
    let page = page.under("Segnalazioni", HERE).titled("Ricerca");
    let list = List::of(&LIST, None);
    let may_answer = page.may(Permission::AnswerTickets);
    let shown = |rows, total, form| ListPage {
        page: &page,
        form,
        list: &list,
        rows,
        total,
        searched: true,
        people: vec![],
        topics: topics(),
        may_answer,
    };
    if crate::canteen::roster::fold(&text).chars().count() < 2 {
        form.wrong("testo", "Cerca", "Scriva almeno due lettere.");
        return page.show(&shown(vec![], 0, &form));
    }
    let filter = TicketFilter { text, descending: true, ..TicketFilter::default() };
    let (rows, total) = office.desk.list_tickets(page.ente.id, &filter, 0, FOUND).await?;
    let rows = rows.into_iter().map(|row| line(&page, row)).collect();
    page.show(&shown(rows, total, &form))
}

/// A message as the page shows it.
struct Said {
    kind: &'static str,
    css: &'static str,
    author: String,
    at: String,
    body: String,
    mail: Option<String>,
}

fn said(page: &Page, message: TicketMessage) -> Said {
    let css = match message.kind.as_str() {
        "family" => "family",
        "office" => "office",
        _ => "note",
    };
    let mail = message.mail_id.map(|_| match (message.recipient, message.mail_state) {
        (Some(to), Some(state)) => format!("Per posta a {to}: {}", mail_state(&state)),
        _ => "Per posta".to_owned(),
    });
    Said { kind: said_by(&message.kind), css, author: message.author, at: moment(page, message.at), body: message.body, mail }
}

#[derive(Template)]
#[template(path = "office/ticket.html")]
struct TicketPage<'a> {
    page: &'a Page,
    form: &'a Form,
    file: &'a TicketFile,
    state: &'static str,
    topic: &'static str,
    origin: &'static str,
    opened: String,
    closed: Option<String>,
    said: Vec<Said>,
    canned: Vec<(String, String)>,
    /// To whom an answer can be mailed.
    mailable: Vec<(String, String)>,
    has_mail: bool,
    states: Vec<(String, String)>,
    people: Vec<(String, String)>,
    topics: Vec<(String, String)>,
    may_answer: bool,
    meanwhile: Option<&'a Meanwhile>,
    /// Something is new in it since it was shown.
    is_stale: bool,
}

async fn find(office: &Office, page: &Page, id: i64) -> Result<TicketFile, Oops> {
    office.desk.ticket_file(page.ente.id, id).await?.ok_or(Oops::NotFound)
}

/// The form as it is first shown: what stands, and an answer begun.
fn shown(file: &TicketFile, edit: &TicketEdit, version: i64, mailable: &[(String, String)]) -> Form {
    Form::showing([
        ("titolo", edit.title.clone()),
        ("argomento", edit.topic.word().to_owned()),
        ("stato", edit.state.word().to_owned()),
        ("di", edit.assigned.map(|id| id.to_string()).unwrap_or_default()),
        ("poi", TicketState::Closed.word().to_owned()),
        ("a", mailable.first().map(|(id, _)| id.clone()).unwrap_or_default()),
        ("_version", version.to_string()),
        ("_prima", serde_json::to_string(&file.edit).unwrap_or_default()),
    ])
}

fn mailable(office: &Office, file: &TicketFile) -> Vec<(String, String)> {
    if !office.desk.has_mail() {
        return vec![];
    }
    let with = |a: &crate::desk::tickets::Addressee| Some((a.id.to_string(), format!("{}, {}", a.name, a.email.as_ref()?)));
    file.addressees.iter().filter_map(with).collect()
}

async fn show_ticket(office: &Office, page: Page, file: &TicketFile, form: &Form, meanwhile: Option<&Meanwhile>, is_stale: bool) -> Answer {
    let row = &file.row;
    let page = page.under("Segnalazioni", HERE).titled(&format!("n. {}", row.id));
    let canned = office.desk.canned_answers(page.ente.id).await?;
    let mut people = people(office, &page).await?;
    if let (Some(id), Some(name)) = (row.assigned_id, &row.assigned)
        && !people.iter().any(|(known, _)| *known == id.to_string())
    {
        people.push((id.to_string(), name.clone()));
    }
    let shown = TicketPage {
        page: &page,
        form,
        state: file.edit.state.label(),
        topic: file.edit.topic.label(),
        origin: Origin::of(&row.origin).label(),
        opened: moment(&page, row.opened_at),
        closed: row.closed_at.map(|at| moment(&page, at)),
        said: file.messages.iter().cloned().map(|m| said(&page, m)).collect(),
        canned: canned.into_iter().map(|c| (c.id.to_string(), c.title)).collect(),
        mailable: mailable(office, file),
        has_mail: office.desk.has_mail(),
        states: TicketState::ALL.iter().map(|s| (s.word().to_owned(), s.label().to_owned())).collect(),
        people,
        topics: topics(),
        may_answer: page.may(Permission::AnswerTickets),
        meanwhile,
        is_stale,
        file,
    };
    if form.is_bad() || meanwhile.is_some() || is_stale { page.show_again(&shown) } else { page.show(&shown) }
}

/// Whoever reads a ticket reads of a child.
async fn note_seen(office: &Office, page: &Page, file: &TicketFile) -> Result<(), Oops> {
    let whom = file.row.child.clone().or_else(|| file.row.guardian.clone());
    let name = whom.map_or_else(|| format!("n. {}", file.row.id), |whom| format!("n. {}, {whom}", file.row.id));
    let subject = Subject { kind: "segnalazione", id: Some(file.row.id), name: &name };
    Ok(office.desk.note_seen(&page.actor(), "ha guardato una segnalazione", subject).await?)
}

async fn show(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let file = find(&office, &page, id).await?;
    note_seen(&office, &page, &file).await?;
    let mut form = shown(&file, &file.edit, file.row.version, &mailable(&office, &file));
    if let Some(canned) = query.get("risposta").and_then(|id| id.parse().ok())
        && let Some(canned) = office.desk.canned_answer(page.ente.id, canned).await?
    {
        form.set("testo", fill(&canned.body, &file.values));
        form.set("risposta", canned.id.to_string());
    }
    show_ticket(&office, page, &file, &form, None, false).await
}

/// What is wrong, at its field; `field` is the text's. `true` where somebody else was quicker.
fn explain(form: &mut Form, field: (&str, &str), error: TicketError) -> Result<bool, Oops> {
    match error {
        TicketError::Stale => return Ok(true),
        TicketError::Text => form.wrong(field.0, field.1, format!("Scriva qualcosa, al massimo {LONGEST_TEXT} caratteri.")),
        TicketError::Unfit => form.wrong_whole("Questa persona, questo bambino o questo indirizzo non c'è più: controlli e riprovi."),
        TicketError::Full => form.wrong_whole("Questa segnalazione ha troppi messaggi: la chiuda e ne apra una nuova."),
        TicketError::NoMail => form.wrong("a", "Anche per posta", "La posta non è configurata: scelga «Non spedire»."),
        TicketError::Mail(MailError::Full) => {
            form.wrong("a", "Anche per posta", "Troppi messaggi aspettano già: riprovi più tardi.");
        }
        TicketError::Mail(_) => form.wrong("a", "Anche per posta", "A questo indirizzo non si può spedire."),
        TicketError::Gone => return Err(Oops::NotFound),
        TicketError::Desk(error) => return Err(error.into()),
    }
    Ok(false)
}

/// The page again, with what was typed in the field that was sent, on top of what stands now.
async fn again(office: &Office, page: Page, id: i64, mut form: Form, is_stale: bool) -> Answer {
    let file = find(office, &page, id).await?;
    if is_stale {
        form.set("_version", file.row.version.to_string());
    }
    let fresh = shown(&file, &file.edit, file.row.version, &mailable(office, &file));
    for name in ["titolo", "argomento", "stato", "di", "poi", "a", "_prima"] {
        if !form.ticked(name) {
            form.set(name, fresh.value(name));
        }
    }
    show_ticket(office, page, &file, &form, None, is_stale).await
}

async fn reply(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let text = form.take_text("testo", "Risposta", LONGEST_TEXT);
    let becomes: Option<TicketState> = form.take_choice("poi", "Poi la segnalazione è");
    let to = form.value("a").parse().ok();
    let version = form.take_version();
    let mut is_stale = false;
    if let (false, Some(becomes)) = (form.is_bad(), becomes) {
        match office.desk.answer_ticket(&page.actor(), id, version, &Reply { text, to, becomes }).await {
            Ok(email) => {
                let by_mail = email.map(|email| format!(" Il messaggio parte per {email}.")).unwrap_or_default();
                return page.done(&at(id), &format!("La risposta è registrata: la segnalazione è {}.{by_mail}", becomes.label()));
            }
            Err(error) => is_stale = explain(&mut form, ("testo", "Risposta"), error)?,
        }
    }
    again(&office, page, id, form, is_stale).await
}

async fn note(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let text = form.take_text("nota", "Nota interna", LONGEST_TEXT);
    let version = form.take_version();
    let mut is_stale = false;
    if !form.is_bad() {
        match office.desk.note_ticket(&page.actor(), id, version, &text).await {
            Ok(()) => return page.done(&at(id), "La nota è registrata: la legge solo l'ufficio."),
            Err(error) => is_stale = explain(&mut form, ("nota", "Nota interna"), error)?,
        }
    }
    again(&office, page, id, form, is_stale).await
}

async fn family(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let text = form.take_text("detto", "Che cosa dice la famiglia", LONGEST_TEXT);
    let mut is_stale = false;
    if !form.is_bad() {
        match office.desk.family_writes(&page.actor(), id, "", &text).await {
            Ok(()) => return page.done(&at(id), "È registrato: la segnalazione è aperta e aspetta una risposta."),
            Err(error) => is_stale = explain(&mut form, ("detto", "Che cosa dice la famiglia"), error)?,
        }
    }
    again(&office, page, id, form, is_stale).await
}

async fn change(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let file = find(&office, &page, id).await?;
    let base: TicketEdit = serde_json::from_str(form.value("_prima")).map_err(|_| Oops::Bad("no base"))?;
    let title = form.take_text("titolo", "Titolo", LONGEST_TITLE);
    let topic: Option<Topic> = form.take_choice("argomento", "Argomento");
    let state: Option<TicketState> = form.take_choice("stato", "Stato");
    let assigned = form.value("di").parse().ok();
    let version = form.take_version();
    let mut told = None;
    if let (false, Some(topic), Some(state)) = (form.is_bad(), topic, state) {
        let mine = TicketEdit { title, topic, state, assigned };
        match office.desk.change_ticket(&page.actor(), id, version, &base, &mine).await {
            Ok(Edited::Saved) => return page.done(&at(id), "La segnalazione è salvata."),
            Ok(Edited::Meanwhile { merged, version, theirs, both }) => {
                let standing = find(&office, &page, id).await?;
                form = shown(&standing, &merged, version, &mailable(&office, &standing));
                told = Some(Meanwhile { theirs, both });
            }
            Err(TicketError::Stale) => return page.on_with(&at(id), FlashKind::Failed, "Non è stato salvato nulla: riprovi."),
            Err(error) => {
                explain(&mut form, ("titolo", "Titolo"), error)?;
            }
        }
    }
    let file = if told.is_some() { find(&office, &page, id).await? } else { file };
    show_ticket(&office, page, &file, &form, told.as_ref(), false).await
}
