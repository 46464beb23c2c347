//! Letters with codes: for a family, a class or a school; looked at, printed, mailed; and what was made.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use uuid::Uuid;

use super::{
    Answer, Area, FlashKind, Form, Office, Oops, Page,
    files::{FileKind, shown},
    list::{Column, List, ListSpec},
    mail::{in_words as mail_state, moment},
};
use crate::{
    canteen::ChildId,
    desk::{
        letters::{Addressees, LetterClass, LetterError, LetterFamily, LetterRow, MOST_MAILED},
        mail::MailError,
        people::Permission,
        trail::Subject,
    },
};

const HERE: &str = "/ufficio/lettere";
/// Families of a school that are listed before it is printed or mailed.
const SHOWN: usize = 200;

pub(super) fn area() -> Area {
    let area = Area::new()
        .menu("Lettere", HERE, Permission::SeeLetters)
        .get(HERE, Permission::SeeLetters, overview)
        .get("/ufficio/lettere/registro", Permission::SeeLetters, log)
        .get("/ufficio/lettere/{whose}/{id}", Permission::SeeLetters, look)
        .get("/ufficio/lettere/{whose}/{id}/esempio", Permission::SeeLetters, specimen)
        .post("/ufficio/lettere/{whose}/{id}/stampa", Permission::SendLetters, print)
        .post("/ufficio/lettere/{whose}/{id}/spedisci", Permission::SendLetters, send)
        .get("/ufficio/codici/{id}/sostituisci", Permission::SendLetters, ask_replacing)
        .post("/ufficio/codici/{id}/sostituisci", Permission::SendLetters, replace_code);
    super::mail::routes(area)
}

/// Whose letters, as the address says it.
fn addressees(whose: &str, id: i64) -> Result<Addressees, Oops> {
    match whose {
        "scuola" => Ok(Addressees::School(id)),
        "classe" => Ok(Addressees::Class(id)),
        "bambino" => Ok(Addressees::Child(ChildId(id))),
        _ => Err(Oops::NotFound),
    }
}

impl From<LetterError> for Oops {
    fn from(error: LetterError) -> Self {
        match error {
            LetterError::Nobody => Self::NotFound,
            LetterError::TooMany(n) => Self::TooLarge(format!(
                "Sono {n} lettere: troppe in una volta. Le prepari classe per classe (per posta al massimo {MOST_MAILED} famiglie). Non è \
                 stato fatto nulla."
            )),
            LetterError::Changed => Self::Conflict(
                "Mentre le lettere venivano preparate è stato sostituito un codice. Torni indietro e riprovi: le lettere avranno il codice nuovo."
                    .to_owned(),
            ),
            LetterError::Mail(MailError::Full) => Self::Busy,
            LetterError::Desk(error) | LetterError::Mail(MailError::Desk(error)) => error.into(),
            other => Self::Broken(other.into()),
        }
    }
}

/// A school and its classes.
struct School {
    id: i64,
    name: String,
    children: i64,
    classes: Vec<LetterClass>,
}

#[derive(Template)]
#[template(path = "office/letters.html")]
struct Overview<'a> {
    page: &'a Page,
    schools: Vec<School>,
    made: Vec<Line>,
}

async fn overview(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let page = page.titled("Lettere");
    let mut schools: Vec<School> = Vec::new();
    for class in office.desk.letter_classes(page.ente.id).await? {
        if schools.last().is_none_or(|school| school.id != class.school_id) {
            schools.push(School { id: class.school_id, name: class.school.clone(), children: 0, classes: vec![] });
        }
        if let Some(school) = schools.last_mut() {
            school.children += class.children;
            school.classes.push(class);
        }
    }
    let made = office.desk.letters(page.ente.id, None, 0, 10).await?.0;
    let made = made.into_iter().map(|row| Line::of(row, &page)).collect();
    page.show(&Overview { page: &page, schools, made })
}

/// A letter that was made, as it is listed.
struct Line {
    child: i64,
    name: String,
    class: String,
    at: String,
    actor: String,
    way: String,
}

impl Line {
    fn of(row: LetterRow, page: &Page) -> Self {
        let way = match (&row.recipient, &row.state) {
            (Some(recipient), Some(state)) => format!("per posta a {recipient}: {}", mail_state(state)),
            _ if row.way == "mail" => "per posta".to_owned(),
            _ => "stampata".to_owned(),
        };
        Self { child: row.child_id, name: row.child, class: row.class, at: moment(page, row.at), actor: row.actor, way }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct ByTime;

static LOG: ListSpec<ByTime> = ListSpec {
    path: "/ufficio/lettere/registro",
    columns: &[
        Column { label: "Quando", sort: None, number: false },
        Column { label: "Bambino", sort: None, number: false },
        Column { label: "Classe", sort: None, number: false },
        Column { label: "Come", sort: None, number: false },
        Column { label: "Chi", sort: None, number: false },
    ],
    usual: (ByTime, true),
    filters: &[],
};

#[derive(Template)]
#[template(path = "office/letters_log.html")]
struct Log<'a> {
    page: &'a Page,
    list: List<ByTime>,
    rows: Vec<Line>,
    total: i64,
}

async fn log(State(office): State<Arc<Office>>, page: Page, RawQuery(query): RawQuery) -> Answer {
    let page = page.under("Lettere", HERE).titled("Lettere fatte");
    let list = List::of(&LOG, query.as_deref());
    let (rows, total) = office.desk.letters(page.ente.id, None, list.offset(), list.limit()).await?;
    let rows = rows.into_iter().map(|row| Line::of(row, &page)).collect();
    page.show(&Log { page: &page, list, rows, total })
}

#[derive(Template)]
#[template(path = "office/letters_look.html")]
struct Look<'a> {
    page: &'a Page,
    path: String,
    what: String,
    families: &'a [LetterFamily],
    count: usize,
    children: usize,
    mails: usize,
    without_address: usize,
    can_mail: bool,
    too_many: bool,
    form: String,
    made: Vec<Line>,
    /// The child whose code can be replaced, where it is one child's page.
    child: Option<i64>,
}

/// What the letters are called. A family's letter names all its children: those of other classes too.
fn what_of(addressees: Addressees, families: &[LetterFamily], classes: &[LetterClass]) -> String {
    let found = match addressees {
        Addressees::Child(id) => {
            let child = families.iter().flat_map(|family| &family.children).find(|(child, ..)| *child == id);
            child.map(|(_, name, _)| format!("Lettera della famiglia di {name}"))
        }
        Addressees::Class(id) => {
            let class = classes.iter().find(|class| class.id == id);
            class.map(|class| format!("Lettere della classe: {}, {}", class.school, class.name))
        }
        Addressees::School(id) => {
            let class = classes.iter().find(|class| class.school_id == id);
            class.map(|class| format!("Lettere della scuola: {}", class.school))
        }
    };
    found.unwrap_or_else(|| "Lettere".to_owned())
}

async fn look(State(office): State<Arc<Office>>, page: Page, Path((whose, id)): Path<(String, i64)>) -> Answer {
    let addressees = addressees(&whose, id)?;
    let families = office.desk.letter_families(page.ente.id, addressees).await?;
    if families.is_empty() {
        return Err(Oops::NotFound);
    }
    let what = what_of(addressees, &families, &office.desk.letter_classes(page.ente.id).await?);
    let mut made = Vec::new();
    if let Addressees::Child(child) = addressees {
        let subject = Subject { kind: "bambino", id: Some(child.0), name: &what };
        office.desk.note_seen(&page.actor(), "ha visto la lettera di una famiglia", subject).await?;
        let rows = office.desk.letters(page.ente.id, Some(child), 0, 25).await?.0;
        made = rows.into_iter().map(|row| Line::of(row, &page)).collect();
    }
    let page = page.under("Lettere", HERE).titled(&what);
    let reached = families.iter().flat_map(|f| &f.guardians).filter(|(_, _, email)| email.is_some()).count();
    let look = Look {
        page: &page,
        path: format!("{HERE}/{whose}/{id}"),
        what,
        count: families.len(),
        children: families.iter().map(|family| family.children.len()).sum(),
        mails: reached,
        without_address: families.iter().filter(|family| !family.has_address()).count(),
        can_mail: office.desk.has_mail(),
        too_many: families.len() > MOST_MAILED,
        families: families.get(..SHOWN).unwrap_or(&families),
        form: Uuid::new_v4().simple().to_string(),
        made,
        child: if let Addressees::Child(child) = addressees { Some(child.0) } else { None },
    };
    page.show(&look)
}

#[derive(Template)]
#[template(path = "office/code_replace.html")]
struct Replacing<'a> {
    page: &'a Page,
    form: &'a Form,
    id: i64,
    name: String,
    version: i64,
    /// Still enrolled: there is a letter to be made.
    letter: bool,
}

/// Does the child get letters? Not any more once it has left.
async fn gets_letters(office: &Office, page: &Page, id: i64) -> Result<bool, Oops> {
    let families = office.desk.letter_families(page.ente.id, Addressees::Child(ChildId(id))).await?;
    Ok(families.iter().flat_map(|family| &family.children).any(|(child, _, _)| child.0 == id))
}

async fn ask_replacing(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let (name, version) = office.desk.child_version(page.ente.id, ChildId(id)).await?;
    let letter = gets_letters(&office, &page, id).await?;
    let page = page.under("Bambini", "/ufficio/bambini").under("Scheda", &format!("/ufficio/bambini/{id}")).titled("Sostituire il codice");
    page.show(&Replacing { page: &page, form: &Form::empty(), id, name, version, letter })
}

async fn replace_code(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let version = form.take_version();
    if form.is_bad() {
        return page.on_with(
            &format!("/ufficio/codici/{id}/sostituisci"),
            FlashKind::Warning,
            "La sessione era finita: il codice è ancora quello di prima.",
        );
    }
    if !office.desk.replace_shown_code(&page.actor(), ChildId(id), version).await? {
        return page.on_with(
            &format!("/ufficio/codici/{id}/sostituisci"),
            FlashKind::Warning,
            "Nel frattempo la scheda è stata cambiata, forse proprio il codice: non è stato fatto nulla. Se serve ancora, confermi di nuovo.",
        );
    }
    if !gets_letters(&office, &page, id).await? {
        let text = "Il codice è sostituito: quello di prima non vale più. Il bambino non è più iscritto: non c'è una lettera da fare.";
        return page.done(&format!("/ufficio/bambini/{id}"), text);
    }
    page.done(
        &format!("{HERE}/bambino/{id}"),
        "Il codice è sostituito: quello di prima non vale più. Stampi o spedisca ora la lettera con il codice nuovo.",
    )
}

async fn specimen(State(office): State<Arc<Office>>, page: Page, Path((whose, id)): Path<(String, i64)>) -> Answer {
    let _turn = office.presses.acquire().await.map_err(|_| Oops::Busy)?;
    let pdf = office.desk.specimen_letter(page.ente.id, addressees(&whose, id)?, &[]).await?;
    shown(FileKind::Pdf, "lettera-di-esempio", pdf)
}

async fn print(State(office): State<Arc<Office>>, page: Page, Path((whose, id)): Path<(String, i64)>, form: Form) -> Answer {
    let path = format!("{HERE}/{whose}/{id}");
    if form.is_bad() {
        return page.on_with(&path, FlashKind::Warning, "La sessione era finita: non è stato stampato nulla. Prema di nuovo «Stampa».");
    }
    let _turn = office.presses.acquire().await.map_err(|_| Oops::Busy)?;
    let pdf = office.desk.print_letters(&page.actor(), addressees(&whose, id)?, &[]).await?;
    shown(FileKind::Pdf, &format!("lettere-{whose}-{id}"), pdf)
}

async fn send(State(office): State<Arc<Office>>, page: Page, Path((whose, id)): Path<(String, i64)>, mut form: Form) -> Answer {
    let path = format!("{HERE}/{whose}/{id}");
    let token = form.take_text("modulo", "Modulo", 40);
    if form.is_bad() {
        return page.on_with(&path, FlashKind::Warning, "La sessione era finita: non è stato spedito nulla. Prema di nuovo «Spedisci».");
    }
    if !office.desk.has_mail() {
        return page.on_with(&path, FlashKind::Failed, "La posta non è configurata: le lettere si possono solo stampare.");
    }
    let _turn = office.presses.acquire().await.map_err(|_| Oops::Busy)?;
    let done = office.desk.mail_letters(&page.actor(), addressees(&whose, id)?, &[], &token).await?;
    if done.mails == 0 {
        let text = if done.families == 0 && done.without_address > 0 {
            "Nessuna famiglia ha un indirizzo di posta: le lettere si possono solo stampare."
        } else {
            "Queste lettere erano già in coda: non è stato spedito nulla due volte."
        };
        return page.on_with(&path, FlashKind::Warning, text);
    }
    let text = match (done.mails, done.without_address) {
        (1, 0) => "Un messaggio è in coda e parte fra poco.".to_owned(),
        (n, 0) => format!("{n} messaggi sono in coda e partono fra poco."),
        (n, left) => {
            format!("{n} messaggi sono in coda e partono fra poco. {left} famiglie non hanno un indirizzo: stampi la loro lettera.")
        }
    };
    page.done("/ufficio/posta", &text)
}
