//! The JSON API under `/api/v1`, for the caterer's and the comune's systems (docs/api.md). Handlers only; rules are in `canteen`, use cases
//! in `desk`.
//!
//! [`table`] names each route with the scope that its token needs; [`auth`] asks for it before the handler runs, and the description that is
//! served at `/api/v1/openapi.json` says it too. Everything is of the token's ente: an id from the address is looked up together with it.
//! What goes wrong is told as problem+json ([`problem`]), with a machine's word that stays the same.

mod auth;
mod calendar;
mod children;
mod counts;
mod document;
mod extract;
pub mod gate;
mod operations;
mod problem;
mod receipts;
mod schools;
mod values;

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderMap, Method},
    middleware,
    routing::{any, get},
};
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt},
    routes,
};

use self::{gate::Gate, problem::Problem};
use super::office::OfficeSettings;
use crate::desk::{Desk, access::Scope};

/// The largest body, in bytes: an order has less than a hundred.
const LARGEST: usize = 16 * 1024;

/// What the handlers share: `State(api): State<Arc<Api>>`.
#[derive(Debug)]
pub struct Api {
    desk: Desk,
    settings: OfficeSettings,
    gate: Mutex<Gate>,
}

/// Each route and what its token needs.
fn table() -> Vec<(Scope, UtoipaMethodRouter<Arc<Api>>)> {
    vec![
        (Scope::Counts, routes!(counts::of_day)),
        (Scope::Calendar, routes!(calendar::calendar)),
        (Scope::Schools, routes!(schools::schools)),
        (Scope::Schools, routes!(schools::classes)),
        (Scope::Children, routes!(children::list)),
        (Scope::Children, routes!(children::one)),
        (Scope::Children, routes!(children::days)),
        (Scope::Operate, routes!(operations::operate)),
        (Scope::Operations, routes!(operations::since)),
        (Scope::Receipts, routes!(receipts::receipt)),
    ]
}

/// Every route with what it needs, for the test that tries each scope.
pub fn rules() -> Vec<(Method, String, Scope)> {
    let mut rules = Vec::new();
    for (scope, (_, paths, _)) in table() {
        for (path, item) in paths.paths {
            let methods = [(Method::GET, item.get.is_some()), (Method::POST, item.post.is_some())];
            rules.extend(methods.into_iter().filter(|(_, there)| *there).map(|(method, _)| (method, path.clone(), scope)));
        }
    }
    rules
}

/// The description of the API.
pub fn description() -> OpenApi {
    let router = OpenApiRouter::<Arc<Api>>::with_openapi(document::frame());
    table().into_iter().fold(router, |router, (scope, route)| router.routes(document::described(scope, route))).into_openapi()
}

/// The API. Serve it with `into_make_service_with_connect_info::<SocketAddr>`: unknown tokens are counted by address.
pub fn router(desk: Desk, settings: OfficeSettings) -> Router {
    let api = Arc::new(Api { desk, settings, gate: Mutex::new(Gate::default()) });
    let mut router = OpenApiRouter::<Arc<Api>>::with_openapi(document::frame());
    for (scope, route) in table() {
        let guard = middleware::from_fn_with_state((Arc::clone(&api), scope), auth::guard);
        router = router.routes(document::described(scope, route).map(|methods| methods.route_layer(guard)));
    }
    let (router, description) = router.split_for_parts();
    router
        .route("/api/v1/openapi.json", get(move |headers: HeaderMap| ready(document::serve(&description, &headers))))
        .route("/api/v1", any(|| async { Problem::not_found() }))
        .route("/api/v1/{*rest}", any(|| async { Problem::not_found() }))
        .method_not_allowed_fallback(|| async { Problem::method() })
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), auth::around))
        .with_state(api)
}
