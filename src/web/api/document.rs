//! The description of the API (OpenAPI 3.1): what every route has in common is put in here, so that no route can forget it.

use axum::{
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use utoipa::{
    ToSchema,
    openapi::{
        Components, Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
        header::HeaderBuilder,
        path::Operation,
        schema::{ObjectBuilder, SchemaType, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{
    problem::{self, Told},
    values::tagged,
};
use crate::desk::access::Scope;

const ABOUT: &str = "Head counts, calendar, schools, children and operations of a school canteen, for the caterer's and the comune's systems. \
Each system has a token of its own, which the office makes and revokes (page Chiavi); a token opens one ente and has scopes. What goes wrong \
is told as problem+json, whose `code` does not change. Lists are read on from where one was: send the `cursor` of an answer as `after`. \
A token may ask 20 times a second, 200 times in one go.";

/// The description without routes.
pub(super) fn frame() -> OpenApi {
    let mut components = Components::new();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The token that the office has made: `vg_…`.")).build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let mut schemas = vec![(Told::name().into_owned(), <Told as utoipa::PartialSchema>::schema())];
    Told::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let info = InfoBuilder::new().title("Voce Guida").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The route with its scope and with the problems that every route may answer.
pub(super) fn described<S>(scope: Scope, (schemas, mut paths, methods): UtoipaMethodRouter<S>) -> UtoipaMethodRouter<S> {
    for item in paths.paths.values_mut() {
        for (method, operation) in [(HttpMethod::Get, &mut item.get), (HttpMethod::Post, &mut item.post)] {
            if let Some(operation) = operation {
                describe(scope, &method, operation);
            }
        }
    }
    (schemas, paths, methods)
}

fn describe(scope: Scope, method: &HttpMethod, operation: &mut Operation) {
    operation.security = Some(vec![SecurityRequirement::new("token", [scope.word()])]);
    let text = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{text}\n\nScope: `{scope}`.").trim().to_owned());
    let in_path = operation
        .parameters
        .iter()
        .flatten()
        .any(|p| matches!(p, RefOr::T(p) if serde_json::to_value(&p.parameter_in).is_ok_and(|place| place == "path")));
    let mut problems = vec![
        ("400", "The path, the query, a header or the body is not as described.", None),
        ("401", "No token, or one that does not hold.", Some("WWW-Authenticate")),
        ("403", "The token does not have the scope.", Some("WWW-Authenticate")),
        ("429", "Too fast.", Some("Retry-After")),
        ("500", "Something is broken.", None),
        ("503", "The database does not answer.", Some("Retry-After")),
    ];
    if in_path {
        problems.push(("404", "It is not there, or it is another ente's.", None));
    }
    if matches!(method, HttpMethod::Post) {
        problems.push(("408", "The body did not arrive in time.", None));
        problems.push(("413", "The body is too large.", None));
        problems.push(("415", "The body is not application/json.", None));
    }
    for (status, text, header) in problems {
        let content = Content::new(Some(Ref::from_schema_name(Told::name())));
        let mut response = ResponseBuilder::new().description(text).content(problem::MEDIA_TYPE, content);
        if let Some(header) = header {
            let schema = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
            response = response.header(header, HeaderBuilder::new().schema(Some(schema)).build());
        }
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(response.build()));
    }
    if matches!(method, HttpMethod::Get) && operation.responses.responses.get("200").is_some_and(has_tag) {
        let response = ResponseBuilder::new().description("It is as you have it (If-None-Match).");
        operation.responses.responses.insert("304".to_owned(), RefOr::T(response.build()));
    }
}

fn has_tag(response: &RefOr<utoipa::openapi::Response>) -> bool {
    matches!(response, RefOr::T(response) if response.headers.contains_key("ETag"))
}

/// `/api/v1/openapi.json`.
pub(super) fn serve(description: &OpenApi, headers: &HeaderMap) -> Response {
    tagged(headers, description).unwrap_or_else(IntoResponse::into_response)
}
