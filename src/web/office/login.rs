//! Logging in and out, and what happens to a form whose session had ended.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    response::{Html as Body, IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Form, Office, Oops,
    area::Takes,
    form,
    guard::{Client, go_whole, read_form},
    html::{Html, escaped},
    page::redirect,
    profile,
};
use crate::desk::people::{LoginOutcome, Secret};

pub(super) const SESSION: &str = "sessione";
/// Before anybody is logged in: ties the login form to the browser that it was shown to.
const BEFORE: &str = "prima";
/// The purpose of a sealed form.
const KEPT: &str = "ripresa";
/// The largest form that is kept while somebody logs in again, in bytes.
const LARGEST_KEPT: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "office/login.html")]
struct LoginPage<'a> {
    csrf: Html,
    after: &'a str,
    kept: Option<String>,
    login: &'a str,
    message: Option<&'a str>,
    expired: bool,
}

#[derive(Template)]
#[template(path = "office/resume.html")]
struct ResumePage {
    csrf: Html,
    path: String,
    fields: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "office/enter.html")]
struct EnterPage {
    csrf: Html,
    path: String,
}

/// A form that waits for its sender to log in again.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Whose session it was sent in.
    person: Option<i64>,
    /// Where to.
    path: String,
    /// What.
    fields: Vec<(String, String)>,
}

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/ufficio/accesso", get(show).post(log_in))
        .route("/ufficio/accesso/codice", get(show_second).post(second_by_code))
        .route("/ufficio/accesso/passkey", post(second_by_passkey))
        .route("/ufficio/entra/{token}", get(enter).post(enter_by_link))
        .route("/ufficio/uscita", post(log_out))
}

/// Only a path of ours; anything else is the beginning.
fn safe_path(path: &str) -> &str {
    let ours = path.starts_with("/ufficio/")
        && path.len() < 500
        && path.chars().all(|c| c.is_ascii_graphic() && c != '\\')
        && !path.contains("//");
    if ours && !path.starts_with("/ufficio/accesso") && !path.starts_with("/ufficio/entra") { path } else { "/ufficio/" }
}

/// The token before login: the browser's, or a fresh one that the answer has to set.
fn before(client: &Client) -> (Secret, bool) {
    match client.cookie(BEFORE).and_then(Secret::parse) {
        Some(token) => (token, false),
        None => (Secret::fresh(), true),
    }
}

fn csrf_of(token: &Secret) -> Html {
    Html(format!(r#"<input type="hidden" name="_csrf" value="{}">"#, escaped(&token.derived("modulo"))))
}

fn page(client: &Client, status: StatusCode, template: &impl Template, fresh: Option<&Secret>) -> Answer {
    let mut response = (status, Body(template.render()?)).into_response();
    if let Some(token) = fresh {
        client.set_cookie(&mut response, BEFORE, token.reveal(), None);
    }
    Ok(response)
}

#[derive(Debug, Default)]
struct Shown<'a> {
    after: &'a str,
    kept: Option<String>,
    login: &'a str,
    message: Option<&'a str>,
    expired: bool,
}

fn login_page(client: &Client, status: StatusCode, shown: Shown<'_>) -> Answer {
    let (token, fresh) = before(client);
    let Shown { after, kept, login, message, expired } = shown;
    let template = LoginPage { csrf: csrf_of(&token), after: safe_path(after), kept, login, message, expired };
    page(client, status, &template, fresh.then_some(&token))
}

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    dopo: String,
}

async fn show(State(office): State<Arc<Office>>, Query(after): Query<After>, request: Request) -> Answer {
    let client = client_of(&request);
    if let Some(token) = client.token()
        && office.desk.signed_in(&office.settings.limits, &token, false).await?.is_some_and(|who| !who.session.pending)
    {
        return redirect(safe_path(&after.dopo));
    }
    login_page(&client, StatusCode::OK, Shown { after: &after.dopo, ..Shown::default() })
}

fn client_of(request: &Request) -> Client {
    request.extensions().get::<Client>().cloned().unwrap_or_default()
}

/// The form of somebody who is not logged in.
async fn public_form(office: &Office, client: &Client, request: Request) -> Result<Form, Oops> {
    let (form, _) = read_form(office, Takes::Form, request).await?;
    let token = client.cookie(BEFORE).and_then(Secret::parse).ok_or(Oops::Forged)?;
    if form.is_ours(&token.derived("modulo")) { Ok(form) } else { Err(Oops::Forged) }
}

async fn log_in(State(office): State<Arc<Office>>, request: Request) -> Answer {
    let client = client_of(&request);
    let form = public_form(&office, &client, request).await?;
    let (login, after) = (form.value("utente"), form.value("dopo"));
    let kept = Some(form.value("ripresa")).filter(|k| !k.is_empty()).map(ToOwned::to_owned);
    let outcome = office.desk.log_in(&office.settings.limits, login, form.value("password"), &client.address, &client.agent).await?;
    match outcome {
        LoginOutcome::In(token) => let_in(&office, &client, &token, after, kept.as_deref()).await,
        LoginOutcome::SecondFactor(token) => ask_second(&office, &client, &token, after, kept).await,
        LoginOutcome::Wrong => {
            let message = Some("Nome utente o password non sono giusti.");
            login_page(&client, StatusCode::UNPROCESSABLE_ENTITY, Shown { after, kept, login, message, expired: false })
        }
        LoginOutcome::ShutOut => {
            let message = Some(
                "Troppi tentativi: per sicurezza l'accesso è sospeso. Riprovi tra un quarto d'ora, o chieda una nuova password a chi amministra il sistema.",
            );
            login_page(&client, StatusCode::TOO_MANY_REQUESTS, Shown { after, kept, login, message, expired: false })
        }
    }
}

#[derive(Template)]
#[template(path = "office/second.html")]
struct SecondPage<'a> {
    csrf: Html,
    after: &'a str,
    kept: Option<String>,
    message: Option<&'a str>,
    totp: bool,
    /// For the authenticator, where there are passkeys.
    options: Option<String>,
}

/// The password was right: asks for the second factor in a session that is good for nothing else.
async fn ask_second(office: &Office, client: &Client, token: &Secret, after: &str, kept: Option<String>) -> Answer {
    let mut response = second_page(office, client, token, StatusCode::OK, after, kept, None).await?;
    client.set_cookie(&mut response, BEFORE, "", Some(0));
    client.set_cookie(&mut response, SESSION, token.reveal(), None);
    Ok(response)
}

async fn second_page(
    office: &Office,
    client: &Client,
    token: &Secret,
    status: StatusCode,
    after: &str,
    kept: Option<String>,
    message: Option<&str>,
) -> Answer {
    let Some(who) = office.desk.signed_in(&office.settings.limits, token, false).await?.filter(|w| w.session.pending) else {
        return redirect("/ufficio/accesso");
    };
    let site = profile::site_of(client.site(&office.settings));
    let mut options = None;
    if let Some(site) = site.filter(|_| who.person.row.passkeys > 0) {
        let challenge = office.desk.passkey_challenge(token, who.person.id).await?;
        let known: Vec<_> = office.desk.passkeys(who.person.id).await?.into_iter().map(|k| k.credential).collect();
        options = Some(serde_json::json!({ "challenge": challenge, "site": site.name(), "known": known }).to_string());
    }
    let template = SecondPage { csrf: csrf_of(token), after: safe_path(after), kept, message, totp: who.person.row.has_totp, options };
    Ok((status, Body(template.render()?)).into_response())
}

async fn show_second(State(office): State<Arc<Office>>, request: Request) -> Answer {
    let client = client_of(&request);
    let Some(token) = client.token() else { return redirect("/ufficio/accesso") };
    second_page(&office, &client, &token, StatusCode::OK, "", None, None).await
}

async fn second_by_code(State(office): State<Arc<Office>>, request: Request) -> Answer {
    let (client, token, form) = second_form(&office, request).await?;
    let limits = &office.settings.limits;
    let outcome = office.desk.second_step(limits, &token, form.value("codice"), &client.address, &client.agent).await?;
    after_second(&office, &client, &token, &form, outcome, "Il codice non è giusto. Attenda quello nuovo e riprovi.").await
}

async fn second_by_passkey(State(office): State<Arc<Office>>, request: Request) -> Answer {
    let (client, token, form) = second_form(&office, request).await?;
    let site = profile::site_of(client.site(&office.settings)).ok_or(Oops::NotFound)?;
    let answer = serde_json::from_str(form.value("risposta")).map_err(|_| Oops::Bad("no answer of an authenticator"))?;
    let limits = &office.settings.limits;
    let outcome = office.desk.second_step_by_passkey(limits, &token, &site, &answer, &client.address, &client.agent).await?;
    after_second(&office, &client, &token, &form, outcome, "La passkey non è stata riconosciuta. Riprovi.").await
}

async fn second_form(office: &Office, request: Request) -> Result<(Client, Secret, Form), Oops> {
    let client = client_of(&request);
    let (form, _) = read_form(office, Takes::Form, request).await?;
    let token = client.token().ok_or(Oops::Forged)?;
    if form.is_ours(&token.derived("modulo")) { Ok((client, token, form)) } else { Err(Oops::Forged) }
}

async fn after_second(office: &Office, client: &Client, token: &Secret, form: &Form, outcome: LoginOutcome, wrong: &str) -> Answer {
    let kept = Some(form.value("ripresa")).filter(|k| !k.is_empty()).map(ToOwned::to_owned);
    let after = form.value("dopo");
    match outcome {
        LoginOutcome::In(token) => let_in(office, client, &token, after, kept.as_deref()).await,
        LoginOutcome::SecondFactor(_) | LoginOutcome::Wrong => {
            second_page(office, client, token, StatusCode::UNPROCESSABLE_ENTITY, after, kept, Some(wrong)).await
        }
        LoginOutcome::ShutOut => {
            let message = Some("Troppi tentativi: per sicurezza l'accesso è sospeso. Riprovi tra un quarto d'ora.");
            second_page(office, client, token, StatusCode::TOO_MANY_REQUESTS, after, kept, message).await
        }
    }
}

/// The session begins: its cookie, and on to where the person wanted to go, or back to what they had typed.
async fn let_in(office: &Office, client: &Client, token: &Secret, after: &str, kept: Option<&str>) -> Answer {
    let kept = kept.and_then(|sealed| office.sealer.open(KEPT, sealed)).and_then(|plain| serde_json::from_slice::<Kept>(&plain).ok());
    let person = office.desk.session_was_of(token).await?;
    let mut response = match kept.filter(|k| k.person.is_some() && k.person == person) {
        Some(kept) => {
            let template = ResumePage { csrf: csrf_of(token), path: kept.path, fields: kept.fields };
            Body(template.render()?).into_response()
        }
        None => redirect(safe_path(after))?,
    };
    // A token from before is worth nothing now, whoever else may know it.
    client.set_cookie(&mut response, BEFORE, "", Some(0));
    client.set_cookie(&mut response, SESSION, token.reveal(), None);
    Ok(response)
}

/// The login page in the place of what was asked; a form is kept, sealed, in the page itself.
pub(super) async fn instead(office: &Arc<Office>, client: &Client, takes: Takes, request: Request) -> Response {
    let had_session = client.token().is_some();
    let wanted = request.uri().path_and_query().map_or("/ufficio/", |p| p.as_str()).to_owned();
    let htmx = request.headers().contains_key("hx-request");
    if takes == Takes::Nothing {
        let to = format!(
            "/ufficio/accesso?{}",
            form_urlencoded::Serializer::new(String::new()).append_pair("dopo", safe_path(&wanted)).finish()
        );
        // What is no page cannot show one.
        let other = request.headers().get(header::ACCEPT).is_some_and(|v| v == "text/event-stream");
        if htmx {
            return go_whole(&to);
        }
        return if other { StatusCode::UNAUTHORIZED.into_response() } else { redirect(&to).into_response() };
    }
    let kept = keep(office, client, takes, request).await;
    if htmx {
        return go_whole("/ufficio/accesso");
    }
    let shown = Shown { kept, expired: had_session, ..Shown::default() };
    login_page(client, StatusCode::UNAUTHORIZED, shown).into_response()
}

async fn keep(office: &Arc<Office>, client: &Client, takes: Takes, request: Request) -> Option<String> {
    // Only the form of a session that there was: nobody else's is worth keeping.
    let token = client.token()?;
    let person = office.desk.session_was_of(&token).await.ok()??;
    let path = request.uri().path_and_query().map(|p| p.as_str().to_owned())?;
    let (form, _) = read_form(office, takes, request).await.ok()?;
    if !form.is_ours(&token.derived("modulo")) {
        return None;
    }
    let fields: Vec<_> =
        form.into_fields().into_iter().filter(|(n, _)| n != "_csrf" && n != form::RESUMED && !n.contains("password")).collect();
    let plain = serde_json::to_vec(&Kept { person: Some(person), path, fields }).ok()?;
    (plain.len() <= LARGEST_KEPT).then(|| office.sealer.seal(KEPT, &plain))?
}

async fn enter(Path(token): Path<String>, request: Request) -> Answer {
    let client = client_of(&request);
    Secret::parse(&token).ok_or(Oops::NotFound)?;
    let (before, fresh) = before(&client);
    let template = EnterPage { csrf: csrf_of(&before), path: format!("/ufficio/entra/{token}") };
    page(&client, StatusCode::OK, &template, fresh.then_some(&before))
}

async fn enter_by_link(State(office): State<Arc<Office>>, Path(link): Path<String>, request: Request) -> Answer {
    let client = client_of(&request);
    public_form(&office, &client, request).await?;
    let link = Secret::parse(&link).ok_or(Oops::NotFound)?;
    let token = office.desk.log_in_by_link(&office.settings.limits, &link, &client.address, &client.agent).await?;
    let Some(token) = token else {
        let message = Some("Questo collegamento non vale più: è già stato usato o è scaduto.");
        return login_page(&client, StatusCode::UNPROCESSABLE_ENTITY, Shown { message, ..Shown::default() });
    };
    if office.desk.signed_in(&office.settings.limits, &token, false).await?.is_some_and(|who| who.session.pending) {
        return ask_second(&office, &client, &token, "/ufficio/", None).await;
    }
    let_in(&office, &client, &token, "/ufficio/", None).await
}

async fn log_out(State(office): State<Arc<Office>>, request: Request) -> Answer {
    let client = client_of(&request);
    let token = client.token();
    let (form, _) = read_form(&office, Takes::Form, request).await?;
    if let Some(token) = token
        && let Some(who) = office.desk.signed_in(&office.settings.limits, &token, false).await?
    {
        if !form.is_ours(&token.derived("modulo")) {
            return Err(Oops::Forged);
        }
        office.desk.log_out(&who, &client.address).await?;
    }
    let mut response = redirect("/ufficio/accesso")?;
    client.set_cookie(&mut response, SESSION, "", Some(0));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_pages_of_ours() {
        for (path, leads) in [
            ("/ufficio/bambini/7?giorno=1", "/ufficio/bambini/7?giorno=1"),
            ("https://altrove.example/", "/ufficio/"),
            ("//altrove.example", "/ufficio/"),
            ("/ufficio//altrove.example", "/ufficio/"),
            ("/ufficio/\\altrove", "/ufficio/"),
            ("/ufficio/x\r\nSet-Cookie: a", "/ufficio/"),
            ("", "/ufficio/"),
        ] {
            assert_eq!(safe_path(path), leads);
        }
    }
}
