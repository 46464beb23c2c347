//! A child's data and adults changed; a child entered.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::{Answer, Area, Form, Office, Oops, Page};
use crate::{
    canteen::{
        ChildId,
        fiscal_code::FiscalCode,
        roster::{KNOWN_DIETS, NORMAL_DIET},
    },
    desk::{
        family::{ChildEdit, EditError, Edited},
        import::FieldChange,
        people::Permission,
    },
    store::AdultState,
};

pub(super) fn routes(area: Area) -> Area {
    area.get("/ufficio/bambini/nuovo", Permission::ChangeFamilies, new)
        .post("/ufficio/bambini/nuovo", Permission::ChangeFamilies, enter)
        .get("/ufficio/bambini/{id}/dati", Permission::ChangeFamilies, edit)
        .post("/ufficio/bambini/{id}/dati", Permission::ChangeFamilies, save)
        .get("/ufficio/bambini/{id}/adulti", Permission::ChangeFamilies, new_adult)
        .post("/ufficio/bambini/{id}/adulti", Permission::ChangeFamilies, add_adult)
        .post("/ufficio/bambini/{id}/togli", Permission::ChangeFamilies, remove_adult)
        .post("/ufficio/bambini/{id}/paga", Permission::ChangeFamilies, set_payer)
}

/// The longest name.
const NAME: usize = 100;

/// What the second of two clerks is told.
pub(super) struct Meanwhile {
    pub(super) theirs: Vec<FieldChange>,
    pub(super) both: Vec<&'static str>,
}

impl Meanwhile {
    pub(super) fn is_mine(&self, name: &str) -> bool {
        self.both.contains(&name)
    }
}

#[derive(Template)]
#[template(path = "office/child_edit.html")]
struct EditPage<'a> {
    page: &'a Page,
    form: &'a Form,
    title: &'a str,
    classes: &'a [(String, String)],
    back: &'a str,
    meanwhile: Option<&'a Meanwhile>,
}

impl EditPage<'_> {
    fn diets() -> String {
        KNOWN_DIETS.join(", ")
    }
}

/// A fiscal code that may be missing.
pub(super) fn take_fiscal_code(form: &mut Form, name: &str) -> Option<String> {
    const LABEL: &str = "Codice fiscale";
    let typed = form.take_optional_text(name, LABEL, 20)?;
    let clean: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    match clean.to_uppercase().parse::<FiscalCode>() {
        Ok(code) => Some(code.as_str().to_owned()),
        Err(error) => {
            form.wrong(name, LABEL, format!("{}.", super::children::capitalised(&error.to_string())));
            None
        }
    }
}

fn shown(edit: &ChildEdit, version: i64) -> Form {
    let day = |day: Option<chrono::NaiveDate>| day.map(|d| d.to_string()).unwrap_or_default();
    Form::showing([
        ("cognome", edit.last_name.clone()),
        ("nome", edit.first_name.clone()),
        ("matricola", edit.external_ref.clone().unwrap_or_default()),
        ("codice_fiscale", edit.fiscal_code.clone().unwrap_or_default()),
        ("classe", edit.class.to_string()),
        ("dieta", edit.diet.clone()),
        ("dal", day(edit.enrolled_first)),
        ("al", day(edit.enrolled_last)),
        ("_version", version.to_string()),
        ("_prima", serde_json::to_string(edit).unwrap_or_default()),
    ])
}

fn take(form: &mut Form) -> ChildEdit {
    let edit = ChildEdit {
        last_name: form.take_text("cognome", "Cognome", NAME),
        first_name: form.take_text("nome", "Nome", NAME),
        external_ref: form.take_optional_text("matricola", "Matricola", NAME),
        fiscal_code: take_fiscal_code(form, "codice_fiscale"),
        class: form.take_choice("classe", "Classe").unwrap_or_default(),
        diet: crate::canteen::roster::diet(&form.take_optional_text("dieta", "Dieta", NAME).unwrap_or_default()).0,
        enrolled_first: form.take_optional_day("dal", "Iscritto dal"),
        enrolled_last: form.take_optional_day("al", "Iscritto fino al"),
    };
    if let (Some(first), Some(last)) = (edit.enrolled_first, edit.enrolled_last)
        && last < first
    {
        form.wrong("al", "Iscritto fino al", "L'iscrizione finirebbe prima di cominciare.");
    }
    edit
}

/// The classes to choose from: this year's, and the child's own where it is of another.
async fn classes(office: &Office, page: &Page, own: Option<(i64, String)>) -> Result<Vec<(String, String)>, Oops> {
    let choices = office.desk.filters(page.ente.id).await?;
    let mut classes: Vec<_> = choices.classes.iter().map(|c| (c.id.to_string(), format!("{}, {}", c.name, c.school))).collect();
    if let Some((id, name)) = own.filter(|(id, _)| !choices.classes.iter().any(|c| c.id == *id)) {
        classes.push((id.to_string(), name));
    }
    Ok(classes)
}

async fn new(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let classes = classes(&office, &page, None).await?;
    let form = Form::showing([("dieta", NORMAL_DIET.to_owned())]);
    let page = page.under("Bambini", "/ufficio/bambini").titled("Iscrivi un bambino");
    page.show(&EditPage {
        page: &page,
        form: &form,
        title: "Iscrivi un bambino",
        classes: &classes,
        back: "/ufficio/bambini",
        meanwhile: None,
    })
}

/// Says at its field why an edit was refused.
fn tell(form: &mut Form, error: EditError) -> Result<(), Oops> {
    match error {
        EditError::RefTaken => form.wrong("matricola", "Matricola", "Un altro bambino ha già questa matricola."),
        EditError::FiscalCodeTaken => form.wrong("codice_fiscale", "Codice fiscale", "Un'altra persona ha già questo codice fiscale."),
        EditError::Gone => form.wrong("classe", "Classe", "Scelga una voce dell'elenco."),
        EditError::Stale => form.wrong_whole("Nel frattempo un'altra persona ha cambiato questa scheda: ricarichi la pagina e riprovi."),
        EditError::Unfit => form.wrong_whole("Non corrisponde più a ciò che risulta: ricarichi la pagina e riprovi."),
        EditError::Desk(error) => return Err(error.into()),
    }
    Ok(())
}

async fn enter(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let edit = take(&mut form);
    if !form.is_bad() {
        match office.desk.enter_child(&page.actor(), &edit).await {
            Ok(id) => {
                return page.done(
                    &format!("/ufficio/bambini/{}", id.0),
                    "Il bambino è iscritto e ha un nuovo codice disdetta. Ora può aggiungere i genitori.",
                );
            }
            Err(error) => tell(&mut form, error)?,
        }
    }
    let classes = classes(&office, &page, None).await?;
    let page = page.under("Bambini", "/ufficio/bambini").titled("Iscrivi un bambino");
    page.show_again(&EditPage {
        page: &page,
        form: &form,
        title: "Iscrivi un bambino",
        classes: &classes,
        back: "/ufficio/bambini",
        meanwhile: None,
    })
}

async fn own_class(office: &Office, page: &Page, id: i64) -> Result<(ChildEdit, i64, String), Oops> {
    let today = chrono::NaiveDate::default();
    let file = office.desk.child_file(page.ente.id, ChildId(id), today, today).await?;
    let name = format!("{}, {}", file.row.class, file.row.school);
    Ok((ChildEdit::of(&file.found.state), file.found.version, name))
}

async fn edit(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let (edit, version, class) = own_class(&office, &page, id).await?;
    let classes = classes(&office, &page, Some((edit.class, class))).await?;
    let back = format!("/ufficio/bambini/{id}");
    let page = page.under("Bambini", "/ufficio/bambini").under("Scheda", &back).titled("Cambia i dati");
    let form = shown(&edit, version);
    page.show(&EditPage { page: &page, form: &form, title: "Cambia i dati", classes: &classes, back: &back, meanwhile: None })
}

async fn save(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let mine = take(&mut form);
    let version = form.take_version();
    let base: ChildEdit = serde_json::from_str(form.value("_prima")).map_err(|_| Oops::Bad("no base"))?;
    let back = format!("/ufficio/bambini/{id}");
    let mut told = None;
    if !form.is_bad() {
        match office.desk.edit_child(&page.actor(), ChildId(id), version, &base, &mine).await {
            Ok(Edited::Saved) => return page.done(&back, "I dati sono salvati."),
            Ok(Edited::Meanwhile { merged, version, theirs, both }) => {
                let (standing, _, _) = own_class(&office, &page, id).await?;
                form = shown(&merged, version);
                form.set("_prima", serde_json::to_string(&standing).unwrap_or_default());
                told = Some(Meanwhile { theirs, both });
            }
            Err(EditError::Gone) if mine.class == base.class => return Err(Oops::NotFound),
            Err(error) => tell(&mut form, error)?,
        }
    }
    let (edit, _, class) = own_class(&office, &page, id).await?;
    let classes = classes(&office, &page, Some((edit.class, class))).await?;
    let page = page.under("Bambini", "/ufficio/bambini").under("Scheda", &back).titled("Cambia i dati");
    page.show_again(&EditPage {
        page: &page,
        form: &form,
        title: "Cambia i dati",
        classes: &classes,
        back: &back,
        meanwhile: told.as_ref(),
    })
}

/// An adult as a form gives them.
pub(super) fn take_adult(form: &mut Form) -> AdultState {
    let phone = form.take_optional_text("telefono", "Telefono", 30).map(|typed| {
        let number: String = typed.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '/' | '(' | ')')).collect();
        let digits = number.strip_prefix('+').unwrap_or(&number);
        if !(6..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            form.wrong("telefono", "Telefono", "Scriva un numero come 333 1234567 o +39 333 1234567.");
        }
        number
    });
    AdultState {
        last_name: form.take_text("cognome", "Cognome", NAME),
        first_name: form.take_text("nome", "Nome", NAME),
        fiscal_code: take_fiscal_code(form, "codice_fiscale"),
        email: form.take_optional_email("email", "E-mail").map(|address| address.to_lowercase()),
        phone,
        address: form.take_optional_text("indirizzo", "Indirizzo", 200),
    }
}

#[derive(Template)]
#[template(path = "office/adult_new.html")]
struct AdultPage<'a> {
    page: &'a Page,
    form: &'a Form,
    back: &'a str,
}

async fn new_adult(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>) -> Answer {
    let (_, version, _) = own_class(&office, &page, id).await?;
    let back = format!("/ufficio/bambini/{id}");
    let form = Form::showing([("ruolo", "genitore".to_owned()), ("_version", version.to_string())]);
    let page = page.under("Bambini", "/ufficio/bambini").under("Scheda", &back).titled("Aggiungi un adulto");
    page.show(&AdultPage { page: &page, form: &form, back: &back })
}

async fn add_adult(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let adult = take_adult(&mut form);
    let role: String = form.take_choice("ruolo", "Ruolo").unwrap_or_default();
    let version = form.take_version();
    let back = format!("/ufficio/bambini/{id}");
    if !form.is_bad() {
        match office.desk.add_adult_to(&page.actor(), ChildId(id), version, &adult, role == "delegato").await {
            Ok(_) => return page.done(&back, "L'adulto è aggiunto."),
            Err(EditError::Gone) => return Err(Oops::NotFound),
            Err(EditError::Unfit) => form.wrong_whole("Questa persona è già tra gli adulti del bambino."),
            Err(EditError::Stale) => {
                let (_, version, _) = own_class(&office, &page, id).await?;
                form.set("_version", version.to_string());
                form.wrong_whole("Nel frattempo un'altra persona ha cambiato questa scheda. Se va ancora bene, salvi di nuovo.");
            }
            Err(error) => tell(&mut form, error)?,
        }
    }
    let page = page.under("Bambini", "/ufficio/bambini").under("Scheda", &back).titled("Aggiungi un adulto");
    page.show_again(&AdultPage { page: &page, form: &form, back: &back })
}

async fn remove_adult(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let (adult, version) = (form.take_number("adulto", "Adulto", 1, i64::MAX), form.take_version());
    let done = office.desk.remove_adult_from(&page.actor(), ChildId(id), version, adult).await;
    on(&page, id, done, "L'adulto non è più legato a questo bambino.")
}

async fn set_payer(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let (adult, version) = (form.take_number("adulto", "Adulto", 1, i64::MAX), form.take_version());
    let done = office.desk.set_payer(&page.actor(), ChildId(id), version, adult).await;
    on(&page, id, done, "Da ora gli avvisi di pagamento vanno a questa persona.")
}

/// Back to the child's page with what became of it.
fn on(page: &Page, id: i64, done: Result<(), EditError>, text: &str) -> Answer {
    let back = format!("/ufficio/bambini/{id}");
    match done {
        Ok(()) => page.done(&back, text),
        Err(EditError::Gone) => Err(Oops::NotFound),
        Err(EditError::Desk(error)) => Err(error.into()),
        Err(_) => page.on_with(
            &back,
            super::FlashKind::Failed,
            "Nel frattempo un'altra persona ha cambiato questa scheda: ecco com'è adesso. Non è stato fatto nulla.",
        ),
    }
}
