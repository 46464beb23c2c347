//! What a handler answers when it cannot do what was asked: a page in Italian, without details; those are in the log.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use tracing::error;

use crate::{
    desk::{DeskError, people::PeopleError},
    store::StoreError,
};

/// Why a request is answered with an error page. Most errors become [`Oops::Broken`] with `?`.
#[derive(Debug, thiserror::Error)]
pub enum Oops {
    /// 400: not what our pages send.
    #[error("bad request: {0}")]
    Bad(&'static str),
    /// 403: the role may not do it.
    #[error("forbidden")]
    Forbidden,
    /// 403: the form is not one of ours, or too old.
    #[error("forged form")]
    Forged,
    /// 404: there is no such page or row, or it is another office's.
    #[error("not found")]
    NotFound,
    /// 405.
    #[error("method not allowed")]
    Method,
    /// 409: somebody else was quicker; the text says what to do. Forms show the difference instead (see `mod.rs`).
    #[error("conflict")]
    Conflict(String),
    /// 413: larger than we take; the text says how large it may be.
    #[error("too large")]
    TooLarge(String),
    /// 503: too much at once.
    #[error("busy")]
    Busy,
    /// 500, or 503 where the database does not answer.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

impl From<DeskError> for Oops {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::NoChild | DeskError::NoEnte => Self::NotFound,
            DeskError::Store(error) => error.into(),
        }
    }
}

impl From<PeopleError> for Oops {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::NoPerson => Self::NotFound,
            PeopleError::Desk(error) => error.into(),
            other => Self::Broken(other.into()),
        }
    }
}

impl From<StoreError> for Oops {
    fn from(error: StoreError) -> Self {
        Self::Broken(error.into())
    }
}

impl From<askama::Error> for Oops {
    fn from(error: askama::Error) -> Self {
        Self::Broken(error.into())
    }
}

#[derive(Template)]
#[template(path = "office/error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    text: &'a str,
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        let (status, title, text) = match &self {
            Self::Bad(_) => (
                StatusCode::BAD_REQUEST,
                "Richiesta non valida",
                "La richiesta non è come la mandano le nostre pagine. Torni indietro e riprovi.",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "Non è tra i Suoi compiti",
                "Il Suo ruolo non permette questa pagina. Se Le serve, la chieda a chi amministra il sistema.",
            ),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "Il modulo non è più valido",
                "Per sicurezza non è stato salvato nulla. Torni indietro, ricarichi la pagina e riprovi.",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Pagina non trovata",
                "Qui non c'è nulla: forse l'indirizzo è sbagliato, o ciò che cerca è stato tolto.",
            ),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "Richiesta non valida", "Questa pagina non si può usare così. Torni indietro e riprovi.")
            }
            Self::Conflict(text) => (StatusCode::CONFLICT, "Nel frattempo è cambiato", text.as_str()),
            Self::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, "Troppo grande", text.as_str()),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Un momento",
                "In questo momento il sistema è molto occupato. Riprovi tra qualche secondo.",
            ),
            Self::Broken(cause) => {
                error!("office: {cause:#}");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Qualcosa non ha funzionato",
                    "Non è colpa Sua. Non è stato salvato nulla di incompleto: riprovi tra poco, e se succede ancora avvisi l'assistenza.",
                )
            }
        };
        match (ErrorPage { title, text }).render() {
            Ok(page) => (status, Html(page)).into_response(),
            Err(_) => (status, title.to_owned()).into_response(),
        }
    }
}

/// What a handler gives back.
pub type Answer = Result<Response, Oops>;
