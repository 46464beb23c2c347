//! Schools and classes.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, Problem,
    auth::Caller,
    extract::InQuery,
    values::{Id, after_of, limit_of, paged, tagged},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// All schools, and the school years.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Schools {
    schools: Vec<School>,
    /// The latest first.
    school_years: Vec<SchoolYear>,
}

/// A school.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct School {
    id: i64,
    /// The office's short name for it.
    code: String,
    name: String,
}

/// A school year.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SchoolYear {
    id: i64,
    #[schema(example = "2026/2027")]
    name: String,
}

/// All schools and school years
#[utoipa::path(
    get,
    path = "/api/v1/schools",
    operation_id = "schools",
    tag = "schools",
    responses((status = 200, description = "The schools.", body = Schools, headers(("ETag" = String))))
)]
pub(super) async fn schools(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InQuery(NoQuery {}): InQuery<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (schools, years) = api.desk.feed_schools(caller.ente()).await?;
    let answer = Schools {
        schools: schools.into_iter().map(|s| School { id: s.id, code: s.code, name: s.name }).collect(),
        school_years: years.into_iter().map(|y| SchoolYear { id: y.id, name: y.name }).collect(),
    };
    tagged(&headers, &answer)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassesQuery {
    /// Only classes of this school.
    #[param(value_type = Option<i64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991i64)]
    school: Option<Id>,
    /// Only classes of this school year.
    #[param(value_type = Option<i64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991i64)]
    school_year: Option<Id>,
    /// The `cursor` of the answer before.
    #[param(nullable = false, minimum = 0, maximum = 9_007_199_254_740_991i64)]
    after: Option<i64>,
    /// How many at most; 100 if it is left out.
    #[param(nullable = false, minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// A page of classes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Classes {
    items: Vec<Class>,
    /// Send it as `after` to read on.
    cursor: i64,
    /// There are more.
    more: bool,
}

/// A class.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Class {
    id: i64,
    /// The school's number.
    school: i64,
    /// The school year's number.
    school_year: i64,
    name: String,
}

/// Classes, in the order of their numbers
#[utoipa::path(
    get,
    path = "/api/v1/classes",
    operation_id = "classes",
    tag = "schools",
    params(ClassesQuery),
    responses((status = 200, description = "A page of classes.", body = Classes, headers(("ETag" = String))))
)]
pub(super) async fn classes(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InQuery(query): InQuery<ClassesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (after, limit) = (after_of(query.after)?, limit_of(query.limit)?);
    let mut rows = api.desk.calendar_book(caller.ente()).await?.classes;
    let fits = |wanted: Option<Id>, id: i64| wanted.is_none_or(|wanted| wanted.0 == id);
    rows.retain(|c| c.id > after && fits(query.school, c.school) && fits(query.school_year, c.year));
    rows.sort_by_key(|c| c.id);
    let (rows, cursor, more) = paged(rows, limit, after, |c| c.id);
    let items = rows.into_iter().map(|c| Class { id: c.id, school: c.school, school_year: c.year, name: c.name }).collect();
    tagged(&headers, &Classes { items, cursor, more })
}
