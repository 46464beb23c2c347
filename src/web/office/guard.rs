//! What stands before every page: headers, where a request comes from, who it is, whether they may, and whether a form is ours.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ipnet::IpNet;

use super::{
    Form, Office, OfficeSettings, Oops,
    area::{RouteRule, Takes},
    files, form, login,
    page::{Page, redirect},
};
use crate::desk::people::Secret;

/// The content policy (brief and strict): everything comes from us, nothing inline, nobody frames us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// How long the body of a form may take to arrive.
const FORM_PATIENCE: Duration = Duration::from_secs(30);
/// The same with files.
const FILES_PATIENCE: Duration = Duration::from_mins(3);

/// Where a request comes from, and the cookies it brings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// The client's address; behind a proxy of ours, the one that it tells.
    pub address: String,
    /// What the browser says of itself.
    pub agent: String,
    host: String,
    secure: bool,
    cookies: Vec<(String, String)>,
}

impl Client {
    /// Where this browser finds us: as configured, or else as it says. Without a path.
    pub fn site(&self, settings: &OfficeSettings) -> String {
        settings.url.as_deref().map_or_else(|| format!("http://{}", self.host), |url| url.trim_end_matches('/').to_owned())
    }

    /// Who sends this request, by `settings`.
    pub fn of(settings: &OfficeSettings, request: &Request) -> Self {
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let trusted = |ip: &std::net::IpAddr| settings.proxies.iter().any(|net: &IpNet| net.contains(ip));
        let mut address = peer;
        // The last hop that is not a proxy of ours; what a client writes in front of it is not believed.
        if peer.is_some_and(|p| trusted(&p)) {
            let hops = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
            let hops: Vec<_> = hops.map_while(|hop| hop.trim().parse::<std::net::IpAddr>().ok()).collect();
            address = hops.into_iter().rev().find(|hop| !trusted(hop)).or(address);
        }
        let secure = settings.url.as_deref().is_some_and(|url| url.starts_with("https:"));
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
        let cookies = cookies.filter_map(|pair| pair.trim().split_once('=')).take(50).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        Self {
            address: address.map(|a| a.to_string()).unwrap_or_default(),
            agent: text(header::USER_AGENT).to_owned(),
            host: text(header::HOST).to_owned(),
            secure,
            cookies,
        }
    }

    /// With https, browsers themselves keep `__Host-` cookies to this host, to https and to the whole of it.
    fn full_name(&self, name: &str) -> String {
        if self.secure { format!("__Host-ufficio-{name}") } else { format!("ufficio-{name}") }
    }

    /// The value of one of our cookies.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let name = self.full_name(name);
        self.cookies.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// Sets one of our cookies, for `seconds` or as long as the browser runs; 0 takes it away.
    pub fn set_cookie(&self, response: &mut Response, name: &str, value: &str, seconds: Option<u32>) {
        let age = seconds.map(|s| format!("; Max-Age={s}")).unwrap_or_default();
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}", self.full_name(name));
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }

    pub(super) fn token(&self) -> Option<Secret> {
        self.cookie(login::SESSION).and_then(Secret::parse)
    }
}

/// Around everything under `/ufficio`: notes the client, refuses what another site sends, sets the headers.
pub(super) async fn around(State(office): State<Arc<Office>>, mut request: Request, next: Next) -> Response {
    let client = Client::of(&office.settings, &request);
    let secure = client.secure;
    request.extensions_mut().insert(client);
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response =
        if safe || is_same_site(&office, request.headers()) { next.run(request).await } else { Oops::Forged.into_response() };
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(self), payment=(), usb=()"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    // Pages hold children's data: nothing of them stays in a cache on the way or on the disk.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Does a request that changes something come from our own pages? Browsers say so, and pages cannot make them lie.
pub(super) fn is_same_site(office: &Office, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = text("origin") else {
        // Browsers always send one of the two with a POST; what sends neither is none.
        return text("sec-fetch-site").is_some();
    };
    let ours = office.settings.url.as_deref().map(|url| url.trim_end_matches('/'));
    let host = text("host").unwrap_or_default();
    ours == Some(origin) || origin.split_once("://").is_some_and(|(_, authority)| !host.is_empty() && authority == host)
}

/// Before each route of an area: who is it, may they, is the form ours? Then the page and the form are there for the handler.
pub(super) async fn guard(State((office, rule)): State<(Arc<Office>, RouteRule)>, mut request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>().cloned().unwrap_or_default();
    let token = client.token();
    // A live part that asks by itself does not keep a session alive.
    let live = request.headers().get(header::ACCEPT).is_some_and(|v| v == "text/event-stream");
    let who = match &token {
        Some(token) => office.desk.signed_in(&office.settings.limits, token, !live).await,
        None => Ok(None),
    };
    let who = match who {
        Ok(who) => who.filter(|who| !who.session.pending),
        Err(error) => return Oops::from(error).into_response(),
    };
    let (Some(who), Some(token)) = (who, token) else {
        return login::instead(&office, &client, rule.takes, request).await;
    };
    if !who.person.may(rule.may) {
        return Oops::Forbidden.into_response();
    }
    let ente = match office.desk.office_of(who.person.ente).await {
        Ok(ente) => ente,
        Err(error) => return Oops::from(error).into_response(),
    };
    let path = request.uri().path().to_owned();
    let own = path.starts_with("/ufficio/profilo") || path == "/ufficio/uscita";
    if who.person.row.must_change && !own {
        return redirect("/ufficio/profilo/password").into_response();
    }
    if who.person.must_set_up() && !own {
        return redirect("/ufficio/profilo").into_response();
    }
    let page = Page::new(&office, who, ente, token, client, &path);
    if rule.takes != Takes::Nothing {
        let csrf = page.csrf.clone();
        match read_form(&office, rule.takes, request)
            .await
            .and_then(|(form, rest)| if form.is_ours(&csrf) { Ok((form, rest)) } else { Err(Oops::Forged) })
        {
            Ok((form, rest)) => {
                request = rest;
                request.extensions_mut().insert(form);
            }
            Err(oops) => return oops.into_response(),
        }
    }
    request.extensions_mut().insert(page);
    next.run(request).await
}

/// Reads the form within bounds, and gives the request without it.
pub(super) async fn read_form(office: &Office, takes: Takes, request: Request) -> Result<(Form, Request), Oops> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (parts, body) = request.into_parts();
    let form = if kind.starts_with("multipart/form-data") {
        if takes != Takes::Files {
            return Err(Oops::Bad("a form with files where none is taken"));
        }
        let _place = office.uploads.try_acquire().map_err(|_| Oops::Busy)?;
        tokio::time::timeout(FILES_PATIENCE, files::read(&kind, body)).await.map_err(|_| Oops::Bad("too slow"))??
    } else {
        let bytes = tokio::time::timeout(FORM_PATIENCE, files::bounded(body, form::LARGEST)).await.map_err(|_| Oops::Bad("too slow"))??;
        if !kind.is_empty() && !kind.starts_with("application/x-www-form-urlencoded") && !bytes.is_empty() {
            return Err(Oops::Bad("no form"));
        }
        Form::parse(&bytes)?
    };
    Ok((form, Request::from_parts(parts, Body::empty())))
}

/// For requests that htmx makes: the whole page goes there instead of a part of it.
pub(super) fn go_whole(path: &str) -> Response {
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert("hx-redirect", value);
    }
    response
}
