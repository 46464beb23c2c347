//! Children as numbers; names and diets only with the scopes for them. Codes, fiscal codes and adults never.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, Problem,
    auth::Caller,
    calendar::days_of,
    extract::{InPath, InQuery},
    values::{ChildPath, Day, Id, after_of, limit_of, paged, state_schema, why_schema},
};
use crate::{
    canteen::{ChildId, DayState, calendar::NoService},
    desk::{access::Scope, family::MonthDay},
    store::FeedChild,
};

/// What the trail says of a system that reads here.
const READ: &str = "ha letto dati di bambini";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ChildrenQuery {
    /// Only children of this school.
    #[param(value_type = Option<i64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991i64)]
    school: Option<Id>,
    /// Only children of this class.
    #[param(value_type = Option<i64>, nullable = false, minimum = 1, maximum = 9_007_199_254_740_991i64)]
    class: Option<Id>,
    /// The `cursor` of the answer before.
    #[param(nullable = false, minimum = 0, maximum = 9_007_199_254_740_991i64)]
    after: Option<i64>,
    /// How many at most; 100 if it is left out.
    #[param(nullable = false, minimum = 1, maximum = 500)]
    limit: Option<u16>,
}

/// A page of children.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Children {
    items: Vec<Child>,
    /// Send it as `after` to read on.
    cursor: i64,
    /// There are more.
    more: bool,
}

/// A child.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Child {
    id: i64,
    /// The school's number.
    school: i64,
    /// The class's number.
    class: i64,
    /// The first day of its enrolment, where it is not the term's.
    #[schema(required)]
    enrolled_from: Option<Day>,
    /// The last day of its enrolment, where it is not the term's.
    #[schema(required)]
    enrolled_to: Option<Day>,
    /// Only with the scope `children:names`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_name: Option<String>,
    /// Only with the scope `children:names`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    first_name: Option<String>,
    /// Only with the scope `children:diets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    diet: Option<String>,
}

impl Child {
    /// What this caller may know of it.
    fn of(child: FeedChild, caller: &Caller) -> Self {
        let names = caller.may(Scope::Names);
        Self {
            id: child.id,
            school: child.school_id,
            class: child.class_id,
            enrolled_from: child.enrolled_first.map(Day),
            enrolled_to: child.enrolled_last.map(Day),
            last_name: names.then_some(child.last_name),
            first_name: names.then_some(child.first_name),
            diet: caller.may(Scope::Diets).then_some(child.diet),
        }
    }
}

/// Children, in the order of their numbers
#[utoipa::path(
    get,
    path = "/api/v1/children",
    operation_id = "children",
    tag = "children",
    params(ChildrenQuery),
    responses((status = 200, description = "A page of children.", body = Children))
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InQuery(query): InQuery<ChildrenQuery>,
) -> Result<Json<Children>, Problem> {
    let (after, limit) = (after_of(query.after)?, limit_of(query.limit)?);
    let (school, class) = (query.school.map(|id| id.0), query.class.map(|id| id.0));
    let rows = api.desk.feed_children(caller.ente(), school, class, after, limit + 1).await?;
    caller.note(Scope::Children, READ).await?;
    let (rows, cursor, more) = paged(rows, limit, after, |c| c.id);
    Ok(Json(Children { items: rows.into_iter().map(|child| Child::of(child, &caller)).collect(), cursor, more }))
}

/// One child
#[utoipa::path(
    get,
    path = "/api/v1/children/{child}",
    operation_id = "child",
    tag = "children",
    params(ChildPath),
    responses((status = 200, description = "The child.", body = Child))
)]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InPath(ChildPath { child }): InPath<ChildPath>,
) -> Result<Json<Child>, Problem> {
    let child = api.desk.feed_child(caller.ente(), ChildId(child.0)).await?;
    caller.note(Scope::Children, READ).await?;
    Ok(Json(Child::of(child, &caller)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DaysQuery {
    /// The first day; today if it is left out.
    #[param(nullable = false)]
    from: Option<Day>,
    /// How many days; 31 if it is left out.
    #[param(nullable = false, minimum = 1, maximum = 400)]
    days: Option<u32>,
}

/// What stands for a child.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChildDays {
    /// The child's number.
    child: i64,
    days: Vec<ChildDay>,
}

/// What stands for a child on a day.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChildDay {
    day: Day,
    #[schema(schema_with = state_schema)]
    state: DayState,
    /// Why there is no service, where it is known.
    #[schema(required, schema_with = why_schema)]
    no_service: Option<&'static str>,
    /// The cut-off has passed and the day is counted: `state` is what is billed.
    is_final: bool,
    /// It was changed after the cut-off.
    corrected: bool,
}

impl From<MonthDay> for ChildDay {
    fn from(day: MonthDay) -> Self {
        let why = day.why.map(|why| match why {
            NoService::OutsideTerm => "outside_term",
            NoService::NoReturn => "no_return",
            NoService::Closed => "closed",
        });
        Self { day: Day(day.day), state: day.state, no_service: why, is_final: day.closed, corrected: day.corrected }
    }
}

/// What stands for a child, day by day
#[utoipa::path(
    get,
    path = "/api/v1/children/{child}/days",
    operation_id = "child_days",
    tag = "children",
    params(ChildPath, DaysQuery),
    responses((status = 200, description = "The days, in order.", body = ChildDays))
)]
pub(super) async fn days(
    State(api): State<Arc<Api>>,
    caller: Caller,
    InPath(ChildPath { child }): InPath<ChildPath>,
    InQuery(query): InQuery<DaysQuery>,
) -> Result<Json<ChildDays>, Problem> {
    let days = days_of(query.days)?;
    let days = api.desk.feed_days(caller.ente(), ChildId(child.0), query.from.map(|day| day.0), days).await?;
    caller.note(Scope::Children, READ).await?;
    Ok(Json(ChildDays { child: child.0, days: days.into_iter().map(ChildDay::from).collect() }))
}
