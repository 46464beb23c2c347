//! What every page of somebody who is logged in has: who they are, the menu, the way here, the message of what was just done.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{Html as Body, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    Office, Oops,
    area::MenuItem,
    errors::Answer,
    guard::Client,
    html::{Html, escaped},
};
use crate::{
    desk::{
        people::{Permission, Person, Secret, SignedIn},
        trail::Actor,
    },
    store::Ente,
};

/// The page under way; each handler takes one. The guard has made sure that the person may be here.
#[derive(Debug, Clone)]
pub struct Page {
    /// Who is logged in.
    pub person: Person,
    /// Whose office it is: everything read or written is this ente's.
    pub ente: Ente,
    /// The message of what was just done.
    pub flash: Option<Flash>,
    /// The way here, the page itself last.
    pub crumbs: Vec<Crumb>,
    /// Where the request came from.
    pub client: Client,
    /// The session's row.
    pub session: i64,
    pub(super) path: String,
    pub(super) csrf: String,
    pub(super) token: Secret,
    pub(super) office: Arc<Office>,
}

/// A step of the way here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crumb {
    /// What it says.
    pub label: String,
    /// Where it leads; `None` for the page itself.
    pub path: Option<String>,
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlashKind {
    /// It is done.
    Done,
    /// It is done, but look at this.
    Warning,
    /// It is not done.
    Failed,
}

impl FlashKind {
    /// Bootstrap's word for it.
    pub fn css(self) -> &'static str {
        match self {
            Self::Done => "success",
            Self::Warning => "warning",
            Self::Failed => "danger",
        }
    }

    /// How loudly a screen reader says it.
    pub fn role(self) -> &'static str {
        match self {
            Self::Done => "status",
            Self::Warning | Self::Failed => "alert",
        }
    }
}

/// A message shown once, on the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// Its kind.
    pub kind: FlashKind,
    /// What it says; plain text.
    pub text: String,
}

/// The longest message, in characters: it travels in a cookie.
const FLASH_LENGTH: usize = 600;
pub(super) const FLASH: &str = "avviso";

impl Page {
    pub(super) fn new(office: &Arc<Office>, who: SignedIn, ente: Ente, token: Secret, client: Client, path: &str) -> Self {
        let flash = client.cookie(FLASH).and_then(|sealed| office.sealer.open(FLASH, sealed));
        Self {
            flash: flash.and_then(|plain| serde_json::from_slice(&plain).ok()),
            session: who.session.id,
            person: who.person,
            ente,
            crumbs: Vec::new(),
            client,
            path: path.to_owned(),
            csrf: token.derived("modulo"),
            token,
            office: Arc::clone(office),
        }
    }

    /// For the trail and for use cases that write to it.
    pub fn actor(&self) -> Actor {
        Actor {
            ente: self.ente.id,
            person: Some(self.person.id),
            name: self.person.row.login.clone(),
            address: self.client.address.clone(),
        }
    }

    /// May this person do that? For buttons; routes are guarded by themselves.
    pub fn may(&self, permission: Permission) -> bool {
        self.person.may(permission)
    }

    /// Goes into every form: `{{ page.csrf() }}`.
    pub fn csrf(&self) -> Html {
        Html(format!(r#"<input type="hidden" name="_csrf" value="{}">"#, escaped(&self.csrf)))
    }

    /// The menu of this person.
    pub fn menu(&self) -> Vec<MenuItem> {
        self.office.menu.iter().filter(|item| self.person.may(item.may)).copied().collect()
    }

    /// Is the page within that line of the menu?
    pub fn is_at(&self, item: &MenuItem) -> bool {
        match item.path {
            "/ufficio/" => self.path == "/ufficio/",
            path => self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// A step of the way here that leads somewhere.
    #[must_use]
    pub fn under(mut self, label: &str, path: &str) -> Self {
        self.crumbs.push(Crumb { label: label.to_owned(), path: Some(path.to_owned()) });
        self
    }

    /// The page itself, the last step of the way.
    #[must_use]
    pub fn titled(mut self, label: &str) -> Self {
        self.crumbs.push(Crumb { label: label.to_owned(), path: None });
        self
    }

    /// The page.
    pub fn show(&self, template: &impl Template) -> Answer {
        self.show_as(StatusCode::OK, template)
    }

    /// The page with what was typed and what is wrong with it: 422.
    pub fn show_again(&self, template: &impl Template) -> Answer {
        self.show_as(StatusCode::UNPROCESSABLE_ENTITY, template)
    }

    /// The page under another status.
    pub fn show_as(&self, status: StatusCode, template: &impl Template) -> Answer {
        let mut response = (status, Body(template.render()?)).into_response();
        if self.flash.is_some() {
            self.client.set_cookie(&mut response, FLASH, "", Some(0));
        }
        Ok(response)
    }

    /// After a POST: on to `path` (303), with a message that it is done.
    pub fn done(&self, path: &str, text: &str) -> Answer {
        self.on_with(path, FlashKind::Done, text)
    }

    /// On to `path` (303), with a message.
    pub fn on_with(&self, path: &str, kind: FlashKind, text: &str) -> Answer {
        let mut response = redirect(path)?;
        let flash = Flash { kind, text: text.chars().take(FLASH_LENGTH).collect() };
        let plain = serde_json::to_vec(&flash).map_err(anyhow::Error::from)?;
        if let Some(sealed) = self.office.sealer.seal(FLASH, &plain) {
            self.client.set_cookie(&mut response, FLASH, &sealed, Some(300));
        }
        Ok(response)
    }
}

/// 303: after a POST, go there.
pub fn redirect(path: &str) -> Answer {
    let location = HeaderValue::from_str(path).map_err(anyhow::Error::from)?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

impl<S: Sync> FromRequestParts<S> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        // Only missing where a route was made without the guard.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Oops::Forbidden.into_response())
    }
}
