//! One's own account: password, second factor, sessions.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::IntoResponse,
};

use super::{Answer, Area, Field, Form, Html, Office, Page, when};
use crate::desk::people::{
    PeopleError, Permission, fresh_totp_secret,
    passkey::{Made, PasskeyError, Site},
    password::{LONGEST, PasswordError, SHORTEST},
    totp_url,
};

pub(super) fn area() -> Area {
    use Permission::OwnAccount;
    Area::new()
        .get("/ufficio/profilo", OwnAccount, show)
        .get("/ufficio/profilo/password", OwnAccount, new_password)
        .post("/ufficio/profilo/password", OwnAccount, change_password)
        .get("/ufficio/profilo/app", OwnAccount, new_totp)
        .post("/ufficio/profilo/app", OwnAccount, begin_totp)
        .get("/ufficio/profilo/app/togli", OwnAccount, ask_end_totp)
        .post("/ufficio/profilo/app/togli", OwnAccount, end_totp)
        .get("/ufficio/profilo/recupero", OwnAccount, ask_recovery)
        .post("/ufficio/profilo/recupero", OwnAccount, renew_recovery)
        .get("/ufficio/profilo/passkey", OwnAccount, new_passkey)
        .post("/ufficio/profilo/passkey", OwnAccount, add_passkey)
        .get("/ufficio/profilo/passkey/{id}/togli", OwnAccount, ask_drop_passkey)
        .post("/ufficio/profilo/passkey/{id}/togli", OwnAccount, drop_passkey)
        .post("/ufficio/profilo/sessioni", OwnAccount, end_sessions)
}

struct SessionLine {
    agent: String,
    address: String,
    began: String,
    seen: String,
    this: bool,
}

struct KeyLine {
    id: i64,
    name: String,
    made: String,
    used: String,
}

#[derive(Template)]
#[template(path = "office/profile.html")]
struct Profile<'a> {
    page: &'a Page,
    sessions: Vec<SessionLine>,
    passkeys: Vec<KeyLine>,
    recovery: i64,
    can_passkey: bool,
}

/// What a browser calls itself, in two words.
fn browser(agent: &str) -> String {
    let known = |list: &[(&str, &'static str)]| list.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name);
    let program = known(&[("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")]);
    let system = known(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "Mac"),
        ("Linux", "Linux"),
    ]);
    format!("{} su {}", program.unwrap_or("Browser"), system.unwrap_or("un dispositivo"))
}

async fn show(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let sessions = office.desk.sessions_of(&office.settings.limits, page.person.id).await?;
    let sessions = sessions.into_iter().map(|s| SessionLine {
        agent: browser(&s.agent),
        began: when(&page.ente, s.created_at),
        seen: when(&page.ente, s.seen_at),
        this: s.id == page.session,
        address: s.address,
    });
    let sessions = sessions.collect();
    let passkeys = office.desk.passkeys(page.person.id).await?.into_iter().map(|k| KeyLine {
        id: k.id,
        name: k.name,
        made: when(&page.ente, k.created_at),
        used: k.used_at.map_or_else(|| "mai".to_owned(), |at| when(&page.ente, at)),
    });
    let passkeys = passkeys.collect();
    let recovery = office.desk.recovery_codes_left(page.person.id).await?;
    let can_passkey = site(&office, &page).is_some();
    let page = page.titled("Il Suo profilo");
    page.show(&Profile { page: &page, sessions, passkeys, recovery, can_passkey })
}

async fn end_sessions(State(office): State<Arc<Office>>, page: Page, _form: Form) -> Answer {
    office.desk.end_other_sessions(&page.actor(), page.session).await?;
    page.done("/ufficio/profilo", "Gli altri dispositivi sono usciti.")
}

#[derive(Template)]
#[template(path = "office/password.html")]
struct NewPassword<'a> {
    page: &'a Page,
    form: &'a Form,
}

fn under_profile(page: Page, title: &str) -> Page {
    page.under("Il Suo profilo", "/ufficio/profilo").titled(title)
}

async fn new_password(page: Page) -> Answer {
    let page = under_profile(page, "Password");
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
    let page = under_profile(page, "Password");
    page.show_again(&NewPassword { page: &page, form: &form })
}

#[derive(Template)]
#[template(path = "office/totp.html")]
struct NewTotp<'a> {
    page: &'a Page,
    form: &'a Form,
    picture: Html,
    secret: String,
    sealed: String,
}

/// The purpose of a sealed secret: until its first code was right it is kept nowhere but in the page.
const SECRET: &str = "segreto";

fn totp_page(office: &Office, page: Page, form: &Form, secret: &str) -> Answer {
    let page = under_profile(page, "Codici dall'app");
    let url = totp_url(secret, &page.ente.name, &page.person.row.login);
    let code = qrcode::QrCode::new(url.as_bytes()).map_err(anyhow::Error::from)?;
    let picture = code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(200, 200).quiet_zone(true).build();
    // The declaration in front of it is for files, not for a part of a page.
    let picture = picture.split_once("?>").map_or(picture.as_str(), |(_, svg)| svg);
    let picture = Html(picture.replacen("<svg ", r#"<svg role="img" aria-label="Codice QR da inquadrare con l'app" class="vg-qr" "#, 1));
    let plain = format!("{}:{secret}", page.person.id);
    let sealed = office.sealer.seal(SECRET, plain.as_bytes()).unwrap_or_default();
    // In groups of four, to be typed.
    let chars: Vec<char> = secret.chars().collect();
    let secret = chars.chunks(4).map(|c| c.iter().collect::<String>()).collect::<Vec<_>>().join(" ");
    let template = NewTotp { page: &page, form, picture, secret, sealed };
    if form.is_bad() { page.show_again(&template) } else { page.show(&template) }
}

async fn new_totp(State(office): State<Arc<Office>>, page: Page) -> Answer {
    totp_page(&office, page, &Form::empty(), &fresh_totp_secret())
}

#[derive(Template)]
#[template(path = "office/recovery.html")]
struct Recovery<'a> {
    page: &'a Page,
    codes: Vec<String>,
}

async fn begin_totp(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let sealed = office.sealer.open(SECRET, form.value("segreto")).and_then(|plain| String::from_utf8(plain).ok());
    let secret = sealed.and_then(|s| s.strip_prefix(&format!("{}:", page.person.id)).map(ToOwned::to_owned));
    let Some(secret) = secret else { return Err(super::Oops::Bad("no secret of ours")) };
    let code = form.take_text("codice", "Codice dell'app", 20);
    if !form.is_bad() {
        match office.desk.begin_totp(&page.actor(), page.session, &secret, &code).await {
            Ok(codes) => return recovery_page(page, codes),
            Err(PeopleError::WrongCode) => {
                form.wrong(
                    "codice",
                    "Codice dell'app",
                    "Non è il codice che l'app mostra ora. Controlli l'ora del telefono e riprovi con il codice nuovo.",
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    form.set("codice", "");
    totp_page(&office, page, &form, &secret)
}

fn recovery_page(page: Page, codes: Vec<String>) -> Answer {
    let page = under_profile(page, "Codici di recupero");
    page.show(&Recovery { page: &page, codes })
}

#[derive(Template)]
#[template(path = "office/confirm.html")]
struct Confirm<'a> {
    page: &'a Page,
    form: &'a Form,
    title: &'static str,
    text: &'static str,
    button: &'static str,
    path: String,
}

impl Confirm<'_> {
    fn password(&self) -> Field<'_> {
        self.form.password("attuale", "La Sua password").required().attribute("autocomplete", "current-password")
    }
}

const END_TOTP: (&str, &str, &str) = (
    "Togliere i codici dall'app?",
    "Per entrare basterà la password, se non ha una passkey. I codici di recupero non varranno più.",
    "Togli i codici dall'app",
);
const RENEW: (&str, &str, &str) = ("Nuovi codici di recupero?", "I codici di recupero di prima non varranno più.", "Crea nuovi codici");
const DROP_KEY: (&str, &str, &str) = ("Togliere la passkey?", "Con questa passkey non potrà più entrare.", "Togli la passkey");

fn confirm(page: Page, form: &Form, (title, text, button): (&'static str, &'static str, &'static str)) -> Answer {
    let path = page.path.clone();
    let page = under_profile(page, title);
    let template = Confirm { page: &page, form, title, text, button, path };
    if form.is_bad() { page.show_again(&template) } else { page.show(&template) }
}

/// What was wrong, at the password's field; other errors go on.
fn refused(form: &mut Form, error: PeopleError) -> Result<(), super::Oops> {
    match error {
        PeopleError::WrongPassword => form.wrong("attuale", "La Sua password", "Non è la Sua password."),
        PeopleError::SecondFactorRequired => form.wrong_whole("Per Lei un secondo fattore è obbligatorio: prima ne attivi un altro."),
        other => return Err(other.into()),
    }
    Ok(())
}

async fn ask_end_totp(page: Page) -> Answer {
    confirm(page, &Form::empty(), END_TOTP)
}

async fn end_totp(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let present = form.take_secret("attuale", "La Sua password", LONGEST);
    if !form.is_bad() {
        match office.desk.end_totp(&page.actor(), &present).await {
            Ok(()) => return page.done("/ufficio/profilo", "I codici dall'app sono tolti."),
            Err(error) => refused(&mut form, error)?,
        }
    }
    confirm(page, &form, END_TOTP)
}

async fn ask_recovery(page: Page) -> Answer {
    confirm(page, &Form::empty(), RENEW)
}

async fn renew_recovery(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let present = form.take_secret("attuale", "La Sua password", LONGEST);
    if !form.is_bad() {
        match office.desk.renew_recovery_codes(&page.actor(), &present).await {
            Ok(codes) => return recovery_page(page, codes),
            Err(error) => refused(&mut form, error)?,
        }
    }
    confirm(page, &form, RENEW)
}

/// The site of passkeys: https, or this very computer; elsewhere browsers have none.
pub(super) fn site_of(origin: String) -> Option<Site> {
    let site = Site { origin };
    (site.origin.starts_with("https://") || site.name() == "localhost").then_some(site)
}

fn site(office: &Office, page: &Page) -> Option<Site> {
    site_of(page.client.site(&office.settings))
}

#[derive(Template)]
#[template(path = "office/passkey.html")]
struct NewPasskey<'a> {
    page: &'a Page,
    form: &'a Form,
    options: String,
}

async fn passkey_page(office: &Office, page: Page, form: &Form) -> Answer {
    let site = site(office, &page).ok_or(super::Oops::NotFound)?;
    let challenge = office.desk.passkey_challenge(&page.token, page.person.id).await?;
    let known = office.desk.passkeys(page.person.id).await?;
    let options = serde_json::json!({
        "challenge": challenge, "site": site.name(), "siteName": page.ente.name, "person": page.person.id.to_string(),
        "login": page.person.row.login, "name": page.person.name(), "known": known.iter().map(|k| k.credential.as_str()).collect::<Vec<_>>(),
    });
    let page = under_profile(page, "Nuova passkey");
    let template = NewPasskey { page: &page, form, options: options.to_string() };
    if form.is_bad() { page.show_again(&template) } else { page.show(&template) }
}

async fn new_passkey(State(office): State<Arc<Office>>, page: Page) -> Answer {
    let form = Form::showing([("nome", browser(&page.client.agent))]);
    passkey_page(&office, page, &form).await
}

async fn add_passkey(State(office): State<Arc<Office>>, page: Page, mut form: Form) -> Answer {
    let site = site(&office, &page).ok_or(super::Oops::NotFound)?;
    let name = form.take_text("nome", "Nome", 60);
    let answer = serde_json::from_str::<Made>(form.value("risposta"));
    if !form.is_bad() {
        let added = match answer {
            Ok(answer) => office.desk.add_passkey(&page.actor(), &page.token, &site, &name, &answer).await,
            Err(_) => Err(PasskeyError::Malformed.into()),
        };
        match added {
            Ok(()) => return page.done("/ufficio/profilo", "La passkey è aggiunta: dal prossimo accesso può usarla."),
            Err(PeopleError::Passkey(_)) => {
                form.wrong_whole("Il dispositivo non ha dato una passkey valida. Riprovi, o usi un altro dispositivo.");
            }
            Err(error) => return Err(error.into()),
        }
    }
    passkey_page(&office, page, &form).await
}

async fn ask_drop_passkey(page: Page, Path(_id): Path<i64>) -> Answer {
    confirm(page, &Form::empty(), DROP_KEY)
}

async fn drop_passkey(State(office): State<Arc<Office>>, page: Page, Path(id): Path<i64>, mut form: Form) -> Answer {
    let present = form.take_secret("attuale", "La Sua password", LONGEST);
    if !form.is_bad() {
        match office.desk.drop_passkey(&page.actor(), id, &present).await {
            Ok(()) => return page.done("/ufficio/profilo", "La passkey è tolta."),
            Err(error) => refused(&mut form, error)?,
        }
    }
    confirm(page, &form, DROP_KEY).map(IntoResponse::into_response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_in_two_words() {
        let agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0";
        assert_eq!(browser(agent), "Edge su Windows");
        assert_eq!(browser(""), "Browser su un dispositivo");
    }
}
