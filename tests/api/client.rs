//! A client of the API, in this process.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode, header},
};
use chrono::TimeDelta;
use serde_json::Value;
use tower::ServiceExt;
use voceguida::{
    canteen::EnteId,
    desk::{
        Desk,
        access::{self, Scope, TokenData},
        trail::Actor,
    },
    web::{api, office::OfficeSettings},
};

use crate::support::{MONDAY_EVENING, School};

pub const THURSDAY: &str = "2026-10-15";

/// A client of the API.
#[derive(Clone)]
pub struct Client {
    pub router: Router,
    pub token: Option<String>,
    pub address: SocketAddr,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Client {
    pub fn with(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    pub fn from(&self, address: &str) -> Self {
        Self { address: address.parse().unwrap(), ..self.clone() }
    }

    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        request.extensions_mut().insert(ConnectInfo(self.address));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 8 << 20).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        if parts.status.is_client_error() || parts.status.is_server_error() {
            assert_eq!(parts.headers[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(body["status"], parts.status.as_u16());
            assert_eq!(body["type"], format!("urn:voceguida:problem:{}", body["code"].as_str().unwrap()));
        }
        assert_eq!(parts.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap()).await
    }

    pub async fn order(&self, child: i64, key: &str, order: &Value) -> Answer {
        let request = Request::post(format!("/api/v1/children/{child}/operations"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(order.to_string()))
            .unwrap();
        self.send(request).await
    }
}

pub fn admin(ente: EnteId) -> Actor {
    Actor { ente, person: None, name: "anna".into(), address: "198.51.100.7".into() }
}

pub async fn token(desk: &Desk, ente: EnteId, scopes: &[Scope]) -> (i64, String) {
    let data = TokenData { name: "centro cottura".into(), scopes: scopes.to_vec(), lasts: TimeDelta::days(30) };
    let (token, secret) = desk.make_token(&admin(ente), &data).await.unwrap();
    (token.row.id, access::shown(&secret))
}

/// The API over this desk, without a token.
pub fn client(desk: &Desk) -> Client {
    let router = api::router(desk.clone(), OfficeSettings::default());
    Client { router, token: None, address: "198.51.100.7:40000".parse().unwrap() }
}

/// The API on Monday evening, with a token of everything.
pub async fn everything(school: &School) -> (Desk, Client) {
    let desk = school.desk_at(MONDAY_EVENING);
    let (_, all) = token(&desk, school.ente, &Scope::ALL).await;
    let client = client(&desk).with(Some(&all));
    (desk, client)
}
