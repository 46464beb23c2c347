//! The ente's settings. Every change is shown with its effect before it is saved: a form sent once shows what will happen, sent again with `conferma` it is done.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::{Answer, Area, FlashKind, Form, Office, Oops, Page, files::LARGEST_UPLOAD};
use crate::{
    canteen::{
        Choice,
        offer::Offered,
        words::{day_in_words, time_in_words},
    },
    desk::{
        hours::WindowError,
        mail::MailError,
        people::Permission,
        settings::{KEPT_DAYS, LONGEST_LINE, MOST_LINES, MOST_NUMBERS, Settings, SettingsError, SettingsView, Wrong},
    },
    papers::{
        Logo,
        logo::{LONGEST_SIDE, LogoError, MOST_OCTETS},
    },
};

const HERE: &str = "/ufficio/impostazioni";

pub(super) fn area() -> Area {
    Area::new()
        .menu("Impostazioni", HERE, Permission::SeeSettings)
        .get(HERE, Permission::SeeSettings, overview)
        .get("/ufficio/impostazioni/logo/immagine", Permission::SeeSettings, picture)
        .get("/ufficio/impostazioni/parte/{part}", Permission::ChangeSettings, edit)
        .post("/ufficio/impostazioni/parte/{part}", Permission::ChangeSettings, save)
        .get("/ufficio/impostazioni/orari", Permission::ChangeSettings, edit_hours)
        .post("/ufficio/impostazioni/orari", Permission::ChangeSettings, save_hours)
        .post("/ufficio/impostazioni/orari/ritira", Permission::ChangeSettings, withdraw_hours)
        .files("/ufficio/impostazioni/logo", Permission::ChangeSettings, save_logo)
        .post("/ufficio/impostazioni/logo/togli", Permission::ChangeSettings, remove_logo)
        .post("/ufficio/impostazioni/prova", Permission::ChangeSettings, trial)
}

/// The parts that are edited each on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Ente,
    Telephone,
    Retention,
}

impl Part {
    fn named(word: &str) -> Result<Self, Oops> {
        match word {
            "ente" => Ok(Self::Ente),
            "telefono" => Ok(Self::Telephone),
            "conservazione" => Ok(Self::Retention),
            _ => Err(Oops::NotFound),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ente => "ente",
            Self::Telephone => "telefono",
            Self::Retention => "conservazione",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ente => "Dati dell'ente e lettere",
            Self::Telephone => "Opzioni al telefono",
            Self::Retention => "Conservazione dei dati",
        }
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Ente => &["name", "office", "heading", "place", "office_phone", "email", "portal", "signature", "numbers"],
            Self::Telephone => &["cancel", "white", "suspend", "resume", "undo"],
            Self::Retention => &["keep_calls_days", "keep_audit_days", "keep_left_days", "keep_tickets_days"],
        }
    }
}

/// Options of the telephone: field, option, label.
const OPTIONS: [(&str, Choice, &str); 5] = [
    ("cancel", Choice::Cancel, "Disdire il pasto"),
    ("white", Choice::White, "Chiedere il pasto in bianco"),
    ("suspend", Choice::Suspend, "Sospendere il servizio"),
    ("resume", Choice::Resume, "Riprendere il servizio"),
    ("undo", Choice::Undo, "Annullare una disdetta"),
];

/// What a field is called.
fn label(field: &str) -> &'static str {
    match field {
        "name" => "Nome dell'ente",
        "office" => "Ufficio",
        "heading" => "Righe sotto il nome",
        "place" => "Luogo delle lettere",
        "office_phone" => "Telefono dell'ufficio",
        "email" => "Posta elettronica dell'ufficio",
        "portal" => "Indirizzo del portale dei genitori",
        "signature" => "Firma delle lettere",
        "numbers" => "Numeri da chiamare per disdire",
        "keep_calls_days" => "Chiamate, giorni",
        "keep_audit_days" => "Registro delle attività e posta, giorni",
        "keep_left_days" => "Nomi dei bambini usciti, giorni",
        "keep_tickets_days" => "Segnalazioni chiuse, giorni",
        "opens" => "La linea apre la sera prima alle",
        "cutoff" => "Termine per le disdette",
        "first_day" => "Dal giorno",
        _ => "Opzioni",
    }
}

#[derive(Template)]
#[template(path = "office/settings.html")]
struct Overview<'a> {
    page: &'a Page,
    view: &'a SettingsView,
    offered: Vec<(&'static str, bool)>,
    change: Option<String>,
    has_mail: bool,
    form: &'a Form,
    may_change: bool,
}

fn overview_page(page: &Page, office: &Office, view: &SettingsView, form: &Form) -> Answer {
    let told = |change: &crate::desk::settings::WindowChangeRow| {
        format!(
            "Da {}: la linea apre alle {} e le disdette si accettano fino alle {}.",
            day_in_words(change.first_day),
            time_in_words(change.opens),
            time_in_words(change.cutoff)
        )
    };
    let overview = Overview {
        page,
        view,
        offered: OPTIONS.iter().map(|(_, option, label)| (*label, view.settings.offered.contains(*option))).collect(),
        change: view.change.as_ref().map(told),
        has_mail: office.desk.has_mail(),
        form,
        may_change: page.may(Permission::ChangeSettings),
    };
    if form.errors().is_empty() { page.show(&overview) } else { page.show_again(&overview) }
}

async fn overview(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let view = office.desk.settings(page.ente.id).await?;
    let page = page.titled("Impostazioni");
    overview_page(&page, &office, &view, &Form::empty())
}

#[derive(Template)]
#[template(path = "office/settings_edit.html")]
struct Edit<'a> {
    page: &'a Page,
    part: &'static str,
    title: &'static str,
    form: &'a Form,
    version: i64,
    /// What somebody else has made of it meanwhile, and what saving would do to that.
    conflict: Vec<String>,
    is_conflict: bool,
}

#[derive(Template)]
#[template(path = "office/settings_confirm.html")]
struct Confirm<'a> {
    page: &'a Page,
    action: String,
    title: &'a str,
    effects: &'a [String],
    fields: &'a [&'static str],
    form: &'a Form,
    version: i64,
}

fn shown_in(settings: &Settings) -> Form {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let numbers = settings.numbers.iter().map(|(number, note)| match note {
        Some(note) => format!("{number}; {note}"),
        None => number.clone(),
    });
    let mut values = vec![
        ("name", settings.name.clone()),
        ("office", text(&settings.office)),
        ("heading", settings.heading.join("\n")),
        ("place", text(&settings.place)),
        ("office_phone", text(&settings.office_phone)),
        ("email", text(&settings.email)),
        ("portal", text(&settings.portal)),
        ("signature", settings.signature.join("\n")),
        ("numbers", numbers.collect::<Vec<_>>().join("\n")),
        ("keep_calls_days", settings.keep_calls_days.to_string()),
        ("keep_audit_days", settings.keep_audit_days.to_string()),
        ("keep_left_days", settings.keep_left_days.to_string()),
        ("keep_tickets_days", settings.keep_tickets_days.to_string()),
    ];
    values.extend(OPTIONS.iter().filter(|(_, option, _)| settings.offered.contains(*option)).map(|(field, _, _)| (*field, "1".to_owned())));
    Form::showing(values)
}

/// The settings as they would be with what was typed for this part.
fn typed(form: &mut Form, part: Part, old: &Settings) -> Settings {
    let mut new = old.clone();
    let lines = |text: Option<String>| -> Vec<String> {
        text.unwrap_or_default().lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    match part {
        Part::Ente => {
            let block = LONGEST_LINE * (MOST_LINES + 1);
            new.name = form.take_text("name", label("name"), LONGEST_LINE);
            for (field, slot) in [
                ("office", &mut new.office),
                ("place", &mut new.place),
                ("office_phone", &mut new.office_phone),
                ("portal", &mut new.portal),
            ] {
                *slot = form.take_optional_text(field, label(field), LONGEST_LINE);
            }
            new.email = form.take_optional_email("email", label("email"));
            new.heading = lines(form.take_optional_text("heading", label("heading"), block));
            new.signature = lines(form.take_optional_text("signature", label("signature"), block));
            let numbers = lines(form.take_optional_text("numbers", label("numbers"), block));
            let number = |line: String| match line.split_once(';') {
                Some((number, note)) => (number.trim().to_owned(), Some(note.trim().to_owned()).filter(|note| !note.is_empty())),
                None => (line, None),
            };
            new.numbers = numbers.into_iter().map(number).collect();
        }
        Part::Telephone => {
            new.offered = OPTIONS.iter().filter(|(field, _, _)| form.ticked(field)).map(|(_, option, _)| *option).collect::<Offered>();
        }
        Part::Retention => {
            let (least, most) = (*KEPT_DAYS.start(), *KEPT_DAYS.end());
            new.keep_calls_days = form.take_number("keep_calls_days", label("keep_calls_days"), least, most);
            new.keep_audit_days = form.take_number("keep_audit_days", label("keep_audit_days"), least, most);
            new.keep_left_days = form.take_number("keep_left_days", label("keep_left_days"), least, most);
            new.keep_tickets_days = form.take_number("keep_tickets_days", label("keep_tickets_days"), least, most);
        }
    }
    new
}

fn tell(form: &mut Form, wrong: Vec<Wrong>) {
    for Wrong { field, what } in wrong {
        let field = if field == "offered" { "resume" } else { field };
        form.wrong(field, label(field), what);
    }
}

fn edit_page(page: &Page, part: Part, form: &Form, version: i64, conflict: Option<Vec<String>>) -> Answer {
    let is_conflict = conflict.is_some();
    let conflict = conflict.unwrap_or_default();
    let edit = Edit { page, part: part.word(), title: part.title(), form, version, conflict, is_conflict };
    if is_conflict || form.is_bad() { page.show_again(&edit) } else { page.show(&edit) }
}

async fn edit(State(office): State<Arc<Office>>, page: Page, Path(part): Path<String>) -> Answer {
    let part = Part::named(&part)?;
    let settings = office.desk.settings(page.ente.id).await?.settings;
    let page = page.under("Impostazioni", HERE).titled(part.title());
    edit_page(&page, part, &shown_in(&settings), settings.version, None)
}

async fn save(State(office): State<Arc<Office>>, page: Page, Path(part): Path<String>, mut form: Form) -> Answer {
    let part = Part::named(&part)?;
    let page = page.under("Impostazioni", HERE).titled(part.title());
    let old = office.desk.settings(page.ente.id).await?.settings;
    let version = form.take_version();
    let new = Settings { version, ..typed(&mut form, part, &old) };
    tell(&mut form, new.wrong());
    if form.is_bad() {
        return edit_page(&page, part, &form, version, None);
    }
    let effects = old.effects(&new);
    if version != old.version {
        // What stands now may be somebody else's work: shown is what saving would do to it.
        return edit_page(&page, part, &form, old.version, Some(effects));
    }
    if effects.is_empty() {
        return page.on_with(HERE, FlashKind::Warning, "Non è cambiato nulla.");
    }
    if !form.ticked("conferma") {
        let action = format!("{HERE}/parte/{}", part.word());
        let confirm = Confirm { page: &page, action, title: part.title(), effects: &effects, fields: part.fields(), form: &form, version };
        return page.show(&confirm);
    }
    match office.desk.save_settings(&page.actor(), &new).await {
        Ok(()) => page.done(HERE, "Le impostazioni sono salvate."),
        Err(SettingsError::Changed(now)) => edit_page(&page, part, &form, now.version, Some(now.effects(&new))),
        Err(SettingsError::Wrong(wrong)) => {
            tell(&mut form, wrong);
            edit_page(&page, part, &form, version, None)
        }
        Err(SettingsError::Desk(error)) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "office/settings_hours.html")]
struct Hours<'a> {
    page: &'a Page,
    form: &'a Form,
    opens: String,
    cutoff: String,
}

fn hours_page(page: &Page, form: &Form, view: &SettingsView) -> Answer {
    let hours = Hours { page, form, opens: time_in_words(view.window.opens), cutoff: time_in_words(view.window.cutoff) };
    if form.is_bad() { page.show_again(&hours) } else { page.show(&hours) }
}

fn on_hours(page: Page) -> Page {
    page.under("Impostazioni", HERE).titled("Orari")
}

async fn edit_hours(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let view = office.desk.settings(page.ente.id).await?;
    let earliest = crate::desk::hours::earliest_change(&view.window, view.window.opens, view.now);
    let time = |time: chrono::NaiveTime| time.format("%H:%M").to_string();
    let form =
        Form::showing([("opens", time(view.window.opens)), ("cutoff", time(view.window.cutoff)), ("first_day", earliest.to_string())]);
    hours_page(&on_hours(page), &form, &view)
}

async fn save_hours(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let page = on_hours(page);
    let opens = form.take_time("opens", label("opens"));
    let cutoff = form.take_time("cutoff", label("cutoff"));
    let first_day = form.take_day("first_day", label("first_day"));
    let view = office.desk.settings(page.ente.id).await?;
    if form.is_bad() {
        return hours_page(&page, &form, &view);
    }
    let confirmed = form.ticked("conferma");
    let outcome = if confirmed {
        office.desk.change_window(&page.actor(), opens, cutoff, first_day).await.map(|()| None)
    } else {
        office.desk.plan_window(page.ente.id, opens, cutoff, Some(first_day)).await.map(Some)
    };
    match outcome {
        Ok(Some(plan)) => {
            let effects = plan.effects;
            let fields = &["opens", "cutoff", "first_day"];
            let action = format!("{HERE}/orari");
            page.show(&Confirm { page: &page, action, title: "Orari", effects: &effects, fields, form: &form, version: 0 })
        }
        Ok(None) => page.done(HERE, &format!("I nuovi orari valgono da {}.", day_in_words(first_day))),
        Err(WindowError::Same) => page.on_with(HERE, FlashKind::Warning, "Gli orari sono già questi: non è cambiato nulla."),
        Err(WindowError::TooEarly) => {
            form.wrong("first_day", label("first_day"), "Nel frattempo la linea ha aperto per questo giorno: scelga un giorno successivo.");
            hours_page(&page, &form, &view)
        }
        Err(WindowError::Wrong(wrong)) => {
            tell(&mut form, wrong);
            hours_page(&page, &form, &view)
        }
        Err(WindowError::Desk(error)) => Err(error.into()),
    }
}

async fn withdraw_hours(State(office): State<Arc<Office>>, page: Page, form: Form) -> Answer {
    if form.is_bad() {
        return page.on_with(HERE, FlashKind::Warning, "La sessione era finita: prema di nuovo «Ritira».");
    }
    if office.desk.withdraw_window_change(&page.actor()).await? {
        page.done(HERE, "Il cambio di orari è ritirato: resta tutto com'è.")
    } else {
        page.on_with(HERE, FlashKind::Failed, "Il cambio di orari è già in vigore: ne inserisca uno nuovo.")
    }
}

async fn picture(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let logo = office.desk.logo(page.ente.id).await?.ok_or(Oops::NotFound)?;
    super::files::picture(logo.kind().media_type(), logo.bytes().to_vec())
}

async fn save_logo(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let page = page.titled("Impostazioni");
    let file = form.take_file("logo", "Logo");
    if let Some(file) = file.filter(|_| !form.is_bad()) {
        // Drawing it once, to see whether it can be drawn, takes a processor.
        let _turn = office.presses.acquire().await.map_err(|_| Oops::Busy)?;
        let looked = tokio::task::spawn_blocking(move || Logo::new(file.bytes.to_vec())).await.map_err(anyhow::Error::from)?;
        match looked {
            Ok(logo) => {
                office.desk.save_logo(&page.actor(), Some(&logo)).await?;
                return page.done(HERE, "Il logo è salvato: starà sulle lettere e sui fogli stampati da ora in poi.");
            }
            Err(LogoError::TooLarge) => {
                form.wrong("logo", "Logo", format!("Il file è troppo grande: al massimo {} KB.", MOST_OCTETS / 1024));
            }
            Err(LogoError::TooWide(width, height)) => {
                form.wrong("logo", "Logo", format!("L'immagine è di {width} × {height} punti: al massimo {LONGEST_SIDE} per lato."));
            }
            Err(LogoError::Unreadable) => form.wrong("logo", "Logo", "Non è un'immagine PNG, JPEG o SVG che si possa stampare."),
        }
    }
    let view = office.desk.settings(page.ente.id).await?;
    overview_page(&page, &office, &view, &form)
}

async fn remove_logo(State(office): State<Arc<Office>>, page: Page, form: Form) -> Answer {
    if form.is_bad() {
        return page.on_with(HERE, FlashKind::Warning, "La sessione era finita: il logo c'è ancora.");
    }
    office.desk.save_logo(&page.actor(), None).await?;
    page.done(HERE, "Il logo è tolto.")
}

async fn trial(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let recipient = form.take_optional_email("a", "Indirizzo");
    if recipient.is_none() {
        form.wrong("a", "Indirizzo", "Scriva l'indirizzo a cui inviare la prova.");
    }
    if let Some(recipient) = recipient.filter(|_| !form.is_bad()) {
        match office.desk.send_trial(&page.actor(), &recipient).await {
            Ok(()) => {
                return page.done(
                    "/ufficio/posta",
                    "La prova è in coda. Ricarichi questa pagina fra qualche secondo per vedere la risposta del server.",
                );
            }
            Err(MailError::Address) => form.wrong("a", "Indirizzo", "Non è un indirizzo di posta elettronica."),
            Err(MailError::Desk(error)) => return Err(error.into()),
            Err(MailError::Full | MailError::TooLong) => return Err(Oops::Busy),
        }
    }
    let view = office.desk.settings(page.ente.id).await?;
    let page = page.titled("Impostazioni");
    overview_page(&page, &office, &view, &form)
}

/// The largest logo fits into an upload.
const _: () = assert!(MOST_OCTETS < LARGEST_UPLOAD && MOST_NUMBERS > 0);
